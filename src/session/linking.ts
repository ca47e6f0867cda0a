// Linking: a backend for a client's next transaction, with the client's context and settings.

import { PgError } from "../codec/error.ts";
import type { SessionContext, Setting } from "../context/context.ts";
import type { Logger } from "../log.ts";
import type { Lease } from "../pool/pool.ts";
import type { PooledBackend } from "../pool/pooled_backend.ts";
import { UncleanBackend } from "../pool/scrub.ts";
import { FOLLOWING_PARAMETERS } from "../protocol/session_state.ts";
import type { Pooling, PoolKey } from "./lending.ts";

/** How many backends that turn out dead, or cannot be cleaned, a client does not notice. */
const BAD_BACKENDS_MAX = 3;
/** How often a context is derived anew because it has changed while its client waited. */
const RENEWALS_MAX = 3;

/** Of those that follow a client, the ones that every supported server reports. */
const ALWAYS_FOLLOWING: ReadonlySet<string> = new Set([
  ...["application_name", "client_encoding", "datestyle", "intervalstyle"],
  ...["standard_conforming_strings", "timezone"],
]);

/** Who a client is to the pool. */
export interface LinkedClient {
  readonly key: PoolKey;
  readonly context: SessionContext;
  /** The settings of its start-up message that can be set later. */
  readonly settings: readonly Setting[];
  /** Its context derived anew, when it is not true any more; null: it is as it was. */
  readonly renewContext?: ((signal: AbortSignal) => Promise<SessionContext> | null) | undefined;
}

/** Links one client, and remembers what follows it from backend to backend. */
export class Linker {
  /**
   * The context and the settings that do not follow: a backend with the same is taken as it is, one
   * with another is cleaned.
   */
  contextKey: string;
  #context: SessionContext;
  readonly #client: LinkedClient;
  readonly #pool: Pick<Pooling, "checkout" | "checkoutNow">;
  readonly #log: Logger;
  readonly #staying: readonly Setting[];
  /** The values that the client has been greeted with: what its RESET goes back to. */
  #initial: ReadonlyMap<string, string> = new Map();
  /** The values that the client has been told last; null until it has been greeted. */
  #wanted: ReadonlyMap<string, string> | null = null;
  /** The backend of the last transaction, and how much it had reported by then. */
  #lastMember: PooledBackend | null = null;
  #lastReports = 0;

  constructor(
    client: LinkedClient,
    pool: Pick<Pooling, "checkout" | "checkoutNow">,
    log: Logger,
  ) {
    this.#client = client;
    this.#pool = pool;
    this.#log = log;
    this.#staying = client.settings.filter(({ name }) => !ALWAYS_FOLLOWING.has(name.toLowerCase()));
    this.#context = client.context;
    this.contextKey = this.#keyOf(client.context);
  }

  /**
   * A backend that is the client's until it is given back. The context is confirmed. At once when
   * there is one that needs nothing: that is the case that must cost nothing.
   *
   * @throws {PgError} when there is none, or a setting is refused; the signal's reason.
   */
  link(signal: AbortSignal): Lease<PooledBackend> | Promise<Lease<PooledBackend>> {
    const renewing = this.#client.renewContext?.(signal) ?? null;
    if (renewing !== null) return this.#linkAnew(renewing, signal);
    const lease = this.#pool.checkoutNow?.(this.#client.key, this.contextKey) ?? null;
    return lease !== null && this.#isReady(lease.member) ? lease : this.#linkLater(lease, signal);
  }

  async #linkAnew(renewing: Promise<SessionContext>, signal: AbortSignal) {
    this.#become(await renewing);
    return await this.#linkLater(null, signal);
  }

  /** @param first a backend that is to be prepared, if there is one already. */
  async #linkLater(
    first: Lease<PooledBackend> | null,
    signal: AbortSignal,
  ): Promise<Lease<PooledBackend>> {
    let [attempt, renewals] = [1, 0];
    for (;;) {
      const lease = first ??
        await this.#pool.checkout(this.#client.key, this.contextKey, signal);
      first = null;
      // It may have changed while it was derived, and while the client waited. Events without an
      // end do not keep it from its turn: the next transaction is the first to know of the last.
      const renewing = renewals < RENEWALS_MAX ? this.#client.renewContext?.(signal) : null;
      if (renewing) {
        renewals++;
        lease.giveBack(); // it may be what the renewal waits for
        this.#become(await renewing);
        continue;
      }
      try {
        await this.#prepare(lease.member, signal);
        return lease;
      } catch (error) {
        const isDead = (lease.member.backend.isOver || isFarewell(error)) && !signal.aborted;
        // Whatever is set on it now, it is nobody's any more.
        lease.discard("switch failed");
        const isAtFault = isDead || error instanceof UncleanBackend;
        if (!isAtFault || attempt++ >= BAD_BACKENDS_MAX) throw error;
        this.#log.info("a pooled connection was of no use; taking another", {
          error: error instanceof Error ? error.message : String(error),
        });
      }
    }
  }

  /** It has the context and everything that the client wants, and nothing is on its way. */
  #isReady(member: PooledBackend): boolean {
    if (this.#wanted === null || !member.isAtRest || member.isSealDue) return false;
    if (member.contextKey !== this.contextKey || member.confirmedContext === null) return false;
    const { reports, parameters } = member.backend;
    if (this.#lastMember === member && this.#lastReports === reports) return true;
    if (this.#changesOn(member, this.#wanted, parameters).length > 0) return false;
    this.#lastMember = member;
    this.#lastReports = reports;
    return true;
  }

  /** The client has been told these values, at its start; they are not changed any more. */
  greeted(parameters: ReadonlyMap<string, string>): void {
    this.#initial = parameters;
    this.#wanted = parameters;
  }

  /** What a RESET of the client goes back to, where that is not what the backend goes back to. */
  settingsAfterReset({ baseParameters }: PooledBackend): Setting[] {
    return [...this.#staying, ...differences(this.#initial, baseParameters)];
  }

  /** The transaction is over; what the backend has reported meanwhile, the client knows. */
  unlinked(member: PooledBackend): void {
    const { reports, parameters } = member.backend;
    if (this.#lastMember === member && this.#lastReports === reports) return;
    const changes = differences(this.#wanted ?? new Map(), parameters);
    if (this.#wanted === null || changes.length > 0) this.#wanted = new Map(parameters);
    this.#lastMember = member;
    this.#lastReports = reports;
  }

  #become(context: SessionContext): void {
    if (context === this.#context) return;
    this.#context = context;
    this.contextKey = this.#keyOf(context);
  }

  #keyOf(context: SessionContext): string {
    const settings = this.#staying.map(({ name, value }) => [name, value]);
    return JSON.stringify([context.key, settings]);
  }

  async #prepare(member: PooledBackend, signal: AbortSignal): Promise<void> {
    const { backend } = member;
    if (!member.isAtRest) await member.rest(signal);
    const isOurs = member.contextKey === this.contextKey && member.confirmedContext !== null;
    if (!isOurs || this.#wanted === null) {
      await member.switchTo(this.#context, this.contextKey, this.#settingsFor(member), signal);
    } else if (this.#lastMember !== member || this.#lastReports !== backend.reports) {
      const changes = this.#changesOn(member, this.#wanted, backend.parameters);
      if (changes.length > 0) await member.adjust(changes, signal);
    }
    if (member.isSealDue) await member.renewSeal(signal);
    this.#lastMember = member;
    this.#lastReports = backend.reports;
  }

  /** What must be set on a backend that is as it was at its start. */
  #settingsFor(member: PooledBackend): Setting[] {
    if (this.#wanted === null) return [...this.#client.settings];
    const { baseParameters } = member;
    return [...this.#staying, ...this.#changesOn(member, this.#wanted, baseParameters)];
  }

  /**
   * What is not as the client wants it. What is so by itself, though not as the client began, is
   * set all the same: a RESET of something else must find that the client has set it.
   */
  #changesOn(
    { baseParameters }: PooledBackend,
    wanted: ReadonlyMap<string, string>,
    present: ReadonlyMap<string, string>,
  ): Setting[] {
    const changes: Setting[] = [];
    for (const name of FOLLOWING_PARAMETERS) {
      const value = wanted.get(name);
      if (value === undefined) continue;
      const isBySet = value !== baseParameters.get(name) || value === this.#initial.get(name);
      if (present.get(name) !== value || !isBySet) changes.push({ name, value });
    }
    return changes;
  }
}

/** The server has said that the connection will end: class 57P, operator intervention. */
function isFarewell(error: unknown): boolean {
  return error instanceof PgError && error.sqlState.startsWith("57P");
}

function differences(
  wanted: ReadonlyMap<string, string>,
  present: ReadonlyMap<string, string>,
): Setting[] {
  const changes: Setting[] = [];
  for (const name of FOLLOWING_PARAMETERS) {
    const value = wanted.get(name);
    if (value !== undefined && present.get(name) !== value) changes.push({ name, value });
  }
  return changes;
}
