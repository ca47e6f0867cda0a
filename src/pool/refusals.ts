// What a client is told when it gets no server connection.

import { SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { quoted } from "../config/problems.ts";
import type { TenantShare } from "./fairness.ts";

/** How full a pool is. */
export interface PoolUsage {
  readonly name: string;
  readonly size: number;
  readonly taken: number;
  readonly leased: number;
  readonly waiting: number;
}

/**
 * @param cause why the last attempt to open a member failed; null: it did not.
 * @param capped whose maximum it was that stood in the way; null: nobody's.
 */
export function timeoutError(
  usage: PoolUsage,
  msMax: number,
  cause: PgError | null,
  capped: TenantShare | null = null,
): PgError {
  if (capped !== null) return cappedError(capped, msMax);
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

function cappedError({ tenant, poolMax }: TenantShare, msMax: number): PgError {
  return new PgError(
    SqlState.TooManyConnections,
    `tenant ${quoted(tenant)} used its ${poolMax} server connections for ${msMax / 1000} s`,
    { hint: "End transactions sooner; tenant_pool_max is the limit." },
  );
}

/** Too many of one tenant wait already. */
export function tenantCrowdError({ tenant, queueMax }: TenantShare): PgError {
  return new PgError(
    SqlState.TooManyConnections,
    `too many clients of tenant ${quoted(tenant)} wait for a server connection: ` +
      `the limit is ${queueMax}`,
    { hint: "Use fewer connections; tenant_queue_max is the limit." },
  );
}

/** Why somebody may not wait. */
export interface CrowdRefusal {
  readonly error: PgError;
  /** Too many of one tenant wait; else of all together. */
  readonly isTenants: boolean;
}

/**
 * Why one more may not wait, the last of its tenant; null when it may.
 *
 * @param coming how many will be served without anybody giving anything back.
 */
export function crowdRefusal(
  { queue, ready, share }: {
    readonly queue: { readonly size: number };
    readonly ready: number;
    readonly share: TenantShare;
  },
  coming: number,
  usage: PoolUsage,
  maxWaiting: number,
): CrowdRefusal | null {
  if (queue.size - Math.min(ready, coming) > share.queueMax) {
    return { error: tenantCrowdError(share), isTenants: true };
  }
  if (usage.waiting - coming <= maxWaiting) return null;
  return { error: crowdError(usage, maxWaiting), isTenants: false };
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
