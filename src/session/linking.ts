// Linking: a backend for a client's next transaction, with the client's context and settings.

import type { SessionContext, Setting } from "../context/context.ts";
import type { Logger } from "../log.ts";
import type { Lease } from "../pool/pool.ts";
import type { PooledBackend } from "../pool/pooled_backend.ts";
import { FOLLOWING_PARAMETERS } from "../protocol/session_state.ts";
import type { Pooling, PoolKey } from "./lending.ts";

/** How many backends that turn out dead a client does not notice. */
const DEAD_BACKENDS_MAX = 3;

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
  /** What its context is by now, where that can change; the same object while it does not. */
  readonly currentContext?: ((signal: AbortSignal) => Promise<SessionContext>) | undefined;
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
  readonly #checkout: Pooling["checkout"];
  readonly #log: Logger;
  readonly #staying: readonly Setting[];
  /** The values that the client has been greeted with: what its RESET goes back to. */
  #initial: ReadonlyMap<string, string> = new Map();
  /** The values that the client has been told last; null until it has been greeted. */
  #wanted: ReadonlyMap<string, string> | null = null;
  /** The backend of the last transaction, and how much it had reported by then. */
  #lastMember: PooledBackend | null = null;
  #lastReports = 0;

  constructor(client: LinkedClient, checkout: Pooling["checkout"], log: Logger) {
    this.#client = client;
    this.#checkout = checkout;
    this.#log = log;
    this.#staying = client.settings.filter(({ name }) => !ALWAYS_FOLLOWING.has(name.toLowerCase()));
    this.#context = client.context;
    this.contextKey = this.#keyOf(client.context);
  }

  /**
   * A backend that is the client's until it is given back. The context is confirmed.
   *
   * @throws {PgError} when there is none, or a setting is refused; the signal's reason.
   */
  async link(signal: AbortSignal): Promise<Lease<PooledBackend>> {
    const { currentContext } = this.#client;
    if (currentContext !== undefined) this.#become(await currentContext(signal));
    for (let attempt = 1;; attempt++) {
      const lease = await this.#checkout(this.#client.key, this.contextKey, signal);
      try {
        const { member } = lease;
        if (!member.isUndisturbed && !await member.outlivesCancel(signal)) {
          lease.discard("cancelled");
          if (attempt < DEAD_BACKENDS_MAX) continue;
        }
        await this.#prepare(lease.member, signal);
        return lease;
      } catch (error) {
        const isDead = lease.member.backend.isOver && !signal.aborted;
        // Whatever is set on it now, it is nobody's any more.
        if (!isDead && await lease.member.reset(signal)) lease.giveBack();
        else lease.discard("switch failed");
        if (!isDead || attempt >= DEAD_BACKENDS_MAX) throw error;
        this.#log.info("a pooled connection was dead; taking another", {
          error: error instanceof Error ? error.message : String(error),
        });
      }
    }
  }

  /** The client has been told these values, at its start; they are not changed any more. */
  greeted(parameters: ReadonlyMap<string, string>): void {
    this.#initial = parameters;
    this.#wanted = parameters;
  }

  /** What a RESET of the client goes back to, where that is not what the server goes back to. */
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
    if (member.contextKey !== this.contextKey || member.confirmedContext === null) {
      await member.switchTo(this.#context, this.contextKey, this.#settingsFor(member), signal);
    } else if (this.#lastMember !== member || this.#lastReports !== backend.reports) {
      const changes = differences(this.#wanted ?? new Map(), backend.parameters);
      if (changes.length > 0) await member.adjust(changes, signal);
    }
    this.#lastMember = member;
    this.#lastReports = backend.reports;
  }

  /** What must be set on a backend that is as it was at its start. */
  #settingsFor(member: PooledBackend): Setting[] {
    if (this.#wanted === null) return [...this.#client.settings];
    return [...this.#staying, ...differences(this.#wanted, member.baseParameters)];
  }
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
