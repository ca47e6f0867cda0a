// What a client is told when it gets no server connection.

import { SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";

/** How full a pool is. */
export interface PoolUsage {
  readonly name: string;
  readonly size: number;
  readonly taken: number;
  readonly leased: number;
}

/** @param cause why the last attempt to open a member failed; null: it did not. */
export function timeoutError(usage: PoolUsage, msMax: number, cause: PgError | null): PgError {
  const failure = cause === null ? "" : ` The last attempt to open one: ${cause.message}.`;
  const isCapped = cause === null && usage.taken < usage.size;
  const setting = isCapped ? "pool_max_total" : "pool_size";
  return new PgError(
    SqlState.TooManyConnections,
    `no server connection became free within ${msMax / 1000} s`,
    {
      detail: `${describe(usage)}.${failure}`,
      hint: `End transactions sooner, or raise ${setting} or pool_checkout_timeout.`,
    },
  );
}

/** Too many wait already. */
export function crowdError(usage: PoolUsage, maxWaiting: number): PgError {
  return new PgError(
    SqlState.TooManyConnections,
    "too many clients wait for a server connection",
    {
      detail: `${describe(usage)}; pool_max_waiting is ${maxWaiting}.`,
      hint: "Use fewer connections, or raise pool_size or pool_max_waiting.",
    },
  );
}

function describe({ name, size, taken, leased }: PoolUsage): string {
  return `Pool "${name}" has ${taken} of ${size} server connections, ${leased} in use`;
}

/** Why no member could be opened, as the client is told. */
export function openError(cause: unknown): PgError {
  if (cause instanceof PgError) return cause;
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new PgError(
    SqlState.SqlClientUnableToEstablishConnection,
    `could not connect to the upstream server: ${reason}`,
    {},
    { cause },
  );
}
