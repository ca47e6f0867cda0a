// All pools of a proxy: made when they are asked for, gone when nothing is left in them, and under
// one ceiling together.

import { SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { systemClock } from "./clock.ts";
import { EVERYBODY, type TenantShare } from "./fairness.ts";
import { addCounters, countersOf, NOTHING_DONE, type PoolCounters } from "./counters.ts";
import { Group, type GroupedPool } from "./group.ts";
import {
  type Connector,
  type Lease,
  Pool,
  type PoolOptions,
  type PoolStats,
  type PoolSurroundings,
} from "./pool.ts";
import type { PoolMember } from "./slots.ts";

/** Those of each pool, and those of all together. */
export interface PoolsOptions extends PoolOptions {
  /** How many pools there may be at the same time. */
  readonly poolsMax: number;
  /** `pool_max_total`: the members of all pools together, those being opened included. */
  readonly maxTotal: number;
}

/**
 * Pools by key.
 *
 * At the ceiling a place is made for who waits by closing the longest idle member of another pool;
 * where all are in use, whatever is closed or becomes idle anywhere makes a place for the oldest
 * waiter of all pools. A member that is given back while others wait for it in its own pool stays,
 * unless somebody has waited in another one for too long ({@linkcode Group.mustYield}).
 */
export class Pools<M extends PoolMember> {
  readonly #pools = new Map<string, Pool<M>>();
  /** The pools hold this same object: all of them see a change at the same time. */
  readonly #settings: PoolsOptions;
  readonly #group: Group;
  readonly #surroundings: PoolSurroundings;
  /** What pools have done that are not there any more. */
  #past: PoolCounters = NOTHING_DONE;
  #closing: Promise<void> | null = null;

  /** @param connectorFor is asked once for each pool that is made. */
  constructor(
    options: PoolsOptions,
    private readonly connectorFor: (key: string) => Connector<M>,
    { clock = systemClock, random = Math.random }: Omit<PoolSurroundings, "group"> = {},
  ) {
    this.#settings = { ...options };
    const onGone = (pool: GroupedPool) =>
      this.#past = addCounters(this.#past, countersOf((pool as Pool<M>).stats));
    this.#group = new Group(this.#pools, options.maxTotal, onGone);
    this.#surroundings = { clock, random, group: this.#group };
  }

  /**
   * {@linkcode Pool.checkout} of the pool with this key.
   *
   * @throws {PgError} 53300 also when there is no such pool, and no room for another.
   */
  checkout(
    key: string,
    contextKey: string | null,
    signal: AbortSignal,
    share: TenantShare = EVERYBODY,
  ): Promise<Lease<M>> {
    if (signal.aborted) return Promise.reject(signal.reason);
    let pool = this.#pools.get(key);
    if (pool === undefined) {
      const refusal = this.#refusal();
      if (refusal !== null) return Promise.reject(refusal);
      pool = new Pool(key, this.#settings, this.connectorFor(key), this.#surroundings);
      this.#pools.set(key, pool);
    }
    return pool.checkout(contextKey, signal, share);
  }

  /** {@linkcode Pool.checkoutNow} of the pool with this key, when there is one. */
  checkoutNow(
    key: string,
    contextKey: string | null,
    share: TenantShare = EVERYBODY,
  ): Lease<M> | null {
    return this.#pools.get(key)?.checkoutNow(contextKey, share) ?? null;
  }

  /** {@linkcode Pool.drain} of the pool with this key; null when there is none. */
  drain(key: string): number | null {
    return this.#pools.get(key)?.drain() ?? null;
  }

  get options(): PoolsOptions {
    return this.#settings;
  }

  set options(options: PoolsOptions) {
    Object.assign(this.#settings, options);
    this.#group.maxTotal = options.maxTotal;
    for (const pool of this.#pools.values()) pool.options = this.#settings;
  }

  /** {@linkcode Pool.reshare} of all. */
  reshare(shareOf: (known: TenantShare) => TenantShare): void {
    for (const pool of [...this.#pools.values()]) pool.reshare(shareOf);
  }

  /** Places in use over all pools. */
  get total(): number {
    return this.#group.total;
  }

  /** Of every pool there is now, by key. */
  get stats(): Map<string, PoolStats> {
    return new Map([...this.#pools].map(([key, pool]) => [key, pool.stats]));
  }

  /** What all pools have done since the start, those that are gone included. */
  get totals(): PoolCounters {
    return [...this.stats.values()].map(countersOf).reduce(addCounters, this.#past);
  }

  /** {@linkcode Pool.close} of all. */
  close(): Promise<void> {
    this.#closing ??= Promise.all([...this.#pools.values()].map((pool) => pool.close()))
      .then(() => {});
    return this.#closing;
  }

  #refusal(): PgError | null {
    if (this.#closing !== null) {
      return new PgError(SqlState.AdminShutdown, "the connection pools are being closed");
    }
    const { poolsMax } = this.#settings;
    for (const pool of this.#pools.values()) {
      if (this.#pools.size < poolsMax) return null;
      pool.forgetFailure();
    }
    if (this.#pools.size < poolsMax) return null;
    return new PgError(SqlState.TooManyConnections, "too many connection pools", {
      detail: `There are ${poolsMax}; each database and role has one of its own.`,
      hint: "Use fewer databases and roles, or list them in pool_databases and pool_roles.",
    });
  }
}
