// The connections to one server for one purpose: opened, lent, kept ready, and closed.

import { SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { Backoff, type BackoffRange } from "./backoff.ts";
import { type Clock, systemClock } from "./clock.ts";
import { type Account, EVERYBODY, type TenantShare } from "./fairness.ts";
import { Alone, type GroupedPool, type PoolGroup } from "./group.ts";
import { Reaper } from "./reaper.ts";
import { crowdRefusal, openError, type PoolUsage, timeoutError } from "./refusals.ts";
import type { Connector, Lease, PoolMember, PoolStats } from "./slots.ts";
import { Slot, Slots } from "./slots.ts";
import { type Waiter, Waiters } from "./waiters.ts";

export type { Connector, Lease, PoolMember, PoolStats } from "./slots.ts";

/** May be changed at any time. Of the times, Infinity means never. */
export interface PoolOptions extends BackoffRange {
  /** `pool_size`: members at most, those being opened included. */
  readonly size: number;
  /** When no idle member has served the same context: the longest unused one, not the last. */
  readonly takesLongestUnused?: boolean;
  /** `pool_min_idle`: idle members kept ready, once the first has been opened. */
  readonly minIdle: number;
  /** `pool_max_waiting`: clients that may wait while no member is being made ready for them. */
  readonly maxWaiting: number;
  /** `pool_checkout_timeout`: how long a client waits. */
  readonly checkoutTimeoutMs: number;
  /** `pool_idle_timeout`: when members beyond `minIdle` are closed. */
  readonly idleTimeoutMs: number;
  /** `pool_max_lifetime`: when a member is closed as soon as nobody uses it; ±10 %. */
  readonly maxLifetimeMs: number;
  /** `pool_check_after`: a member idle for longer is checked before it is lent. */
  readonly checkAfterIdleMs: number;
}

/** What a pool stands in; each part has a usual one. */
export interface PoolSurroundings {
  readonly clock?: Clock;
  /** In [0, 1). */
  readonly random?: () => number;
  readonly group?: PoolGroup;
}

/** A check takes no longer, and never more than half of the time for a checkout. */
const CHECK_MS_MAX = 1_000;
/** Lifetimes differ by this share in both directions. */
const LIFETIME_JITTER = 0.1;

/**
 * Lends members to whoever asks. Everything follows from `advance`: as many members are made ready
 * as there are waiters; a member that is ready goes to the one whose turn it is, whoever it was
 * opened for.
 *
 * Invariants: members and openings <= size; nobody waits while an idle member or a place is free,
 * but for the pause behind a failure, the bounds of the group, and a tenant that has its maximum.
 */
export class Pool<M extends PoolMember> implements GroupedPool {
  readonly #slots = new Slots<M>();
  readonly #openings = new Set<AbortController>();
  readonly #waiters: Waiters<Lease<M>>;
  readonly #backoff: Backoff;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #group: PoolGroup;
  readonly #counters = {
    ...{ opened: 0, openFailures: 0, checkouts: 0, reuses: 0, sameContext: 0 },
    ...{ timeouts: 0, refusals: 0, waitMs: 0 },
  };
  readonly #closed: Record<string, number> = {};
  /** Members whose connection has not ended, those that are gone included. */
  #connected = 0;
  readonly #reaper: Reaper<M>;
  #closing: { readonly done: PromiseWithResolvers<void>; readonly error: PgError } | null = null;

  constructor(
    readonly name: string,
    private settings: PoolOptions,
    private readonly connector: Connector<M>,
    { clock = systemClock, random = Math.random, group = new Alone() }: PoolSurroundings = {},
  ) {
    [this.#clock, this.#random, this.#group] = [clock, random, group];
    this.#waiters = new Waiters(clock, () => this.advance());
    this.#backoff = new Backoff(clock, random, () => this.advance());
    this.#reaper = new Reaper(
      clock,
      this.#slots,
      () => this.settings,
      (slot, reason) => this.#remove(slot, reason),
      () => this.advance(),
    );
  }

  /**
   * Lends a member, preferably one that served this context last.
   *
   * @throws {PgError} 53300 when none became free in time or too many wait; 57P01 when the pool is
   *     being closed; else the reason why no member can be opened.
   * @throws the signal's reason when it aborts before a member is lent.
   */
  checkout(
    contextKey: string | null,
    signal: AbortSignal,
    share: TenantShare = EVERYBODY,
  ): Promise<Lease<M>> {
    if (signal.aborted) return Promise.reject(signal.reason);
    if (this.#closing !== null) return Promise.reject(this.#closing.error);
    const lease = this.checkoutNow(contextKey, share);
    if (lease !== null) return Promise.resolve(lease);
    const account = this.#waiters.shares.account(share);
    const msMax = this.settings.checkoutTimeoutMs;
    const timeoutError = () => this.#timeoutError(msMax, account);
    const patience = { signal, msMax, timeoutError };
    const ticket = this.#group.nextTicket();
    const { waiter, served } = this.#waiters.join(contextKey, ticket, patience, account);
    this.advance();
    this.#refuseCrowd(waiter);
    return served;
  }

  /** Refuses somebody if there are too many now: whoever came last, or who fills the queue. */
  #refuseCrowd(last: Waiter<Lease<M>>): void {
    const { account } = last;
    const refusal = crowdRefusal(account, this.#coming, this.#usage, this.settings.maxWaiting);
    if (refusal === null) return;
    this.#counters.refusals++;
    const { error, isTenants } = refusal;
    const other = isTenants ? last : this.#waiters.shares.lastOfLongest ?? last;
    const isLonger = other.account.queue.size > account.queue.size;
    (isLonger ? other : last).refuse(error);
    this.advance(); // it may be unused
  }

  /** What tenants' shares are from now on, for those who wait too. */
  reshare(shareOf: (known: TenantShare) => TenantShare): void {
    this.#waiters.shares.reshare(shareOf);
    this.advance();
  }

  /** The same, when a member can be lent at once and nobody waits for it; else null. */
  checkoutNow(contextKey: string | null, share: TenantShare = EVERYBODY): Lease<M> | null {
    const { shares } = this.#waiters;
    if (this.#closing !== null || !shares.mayBegin(share)) return null;
    const { checkAfterIdleMs, takesLongestUnused } = this.settings;
    const freshSince = this.#clock.now() - checkAfterIdleMs;
    const slot = this.#slots.findIdle(contextKey, freshSince, takesLongestUnused);
    if (slot === undefined) return null;
    const lease = this.#lend(slot, contextKey, shares.account(share));
    this.advance();
    return lease;
  }

  get options(): PoolOptions {
    return this.settings;
  }

  /** Who waits already, waits as long as was said. */
  set options(options: PoolOptions) {
    this.settings = options;
    while (this.#taken > options.size && this.#slots.idle.length > 0) {
      this.#remove(this.#slots.idle[0]!, "surplus");
    }
    this.#reaper.reap();
  }

  /** Has every member replaced: idle ones now, the others as they come back. Returns how many. */
  drain(): number {
    const count = this.#slots.retire();
    this.#reaper.reap();
    return count;
  }

  get stats(): PoolStats {
    const { idle, checking, leased: active } = this.#slots.count;
    return {
      ...{ idle, checking, active, opening: this.#openings.size, waiting: this.#waiters.length },
      ...{ isFailing: this.#backoff.cause !== null, ...this.#counters },
      closed: { ...this.#closed },
    };
  }

  /**
   * Lends no more. Idle members are closed now, the others as they come back.
   *
   * @returns a promise for the end of the last connection.
   */
  close(): Promise<void> {
    if (this.#closing !== null) return this.#closing.done.promise;
    const error = new PgError(SqlState.AdminShutdown, "the connection pool is being closed");
    this.#closing = { done: Promise.withResolvers(), error };
    this.#waiters.refuseAll(error);
    this.#backoff.reset();
    for (const opening of this.#openings) opening.abort(error);
    for (const slot of [...this.#slots.idle]) this.#remove(slot, "shutdown");
    this.advance();
    return this.#closing.done.promise;
  }

  advance(): void {
    while (this.#closing === null && this.#prepareOne());
    if (this.#backoff.isPaused && this.#taken === 0) this.#waiters.refuseAll(this.#backoff.cause!);
    if (!this.isUnused) return;
    this.#reaper.stop();
    this.#closing?.done.resolve();
    this.#group.settled(this);
  }

  evict(): void {
    this.#remove(this.#slots.idle[0]!, "evicted");
  }

  /** Forgets that no member could be opened, when that is all that is left of it. */
  forgetFailure(): void {
    if (this.#taken + this.#connected + this.#waiters.length > 0) return;
    this.#backoff.reset();
    this.advance();
  }

  get isUnused(): boolean {
    const isEmpty = this.#taken === 0 && this.#connected === 0;
    return isEmpty && this.#waiters.length === 0 && this.#backoff.cause === null;
  }

  get wanting(): Waiter<Lease<M>> | null {
    return this.#mayOpen ? this.#waiters.at(this.#coming) ?? null : null;
  }

  get idleSince(): number | null {
    return this.#slots.idle[0]?.idleSince ?? null;
  }

  /** Places in use. */
  get #taken(): number {
    return this.#slots.size + this.#openings.size;
  }

  /** Members that are being made ready: as many of the first waiters need nothing more. */
  get #coming(): number {
    return this.#slots.count.checking + this.#openings.size;
  }

  /** Behind a failure one attempt at a time is enough. */
  get #mayOpen(): boolean {
    if (this.#closing !== null || this.#taken >= this.settings.size) return false;
    if (this.#backoff.cause === null) return true;
    return !this.#backoff.isPaused && this.#openings.size === 0;
  }

  get #lacksIdle(): boolean {
    const idle = this.#slots.count.idle + this.#coming - this.#waiters.shares.ready;
    return this.#counters.opened > 0 && idle < this.settings.minIdle;
  }

  /** Begins one check or one opening, if one is wanted and may be. */
  #prepareOne(): boolean {
    const waiter = this.#waiters.at(this.#coming);
    const slot = waiter && this.#slots.findIdle(waiter.contextKey);
    if (slot !== undefined) {
      this.#check(slot);
      return true;
    }
    if (!this.#mayOpen || (waiter === undefined && !this.#lacksIdle)) return false;
    if (!this.#group.take(this, waiter !== undefined)) return false;
    this.#open();
    return true;
  }

  /** Owns a place from its first line to its last, where the member takes it over. */
  async #open(): Promise<void> {
    const opening = new AbortController();
    this.#openings.add(opening);
    let member: M;
    try {
      member = await this.connector.open(opening.signal);
    } catch (cause) {
      this.#openings.delete(opening);
      this.#counters.openFailures++;
      if (this.#closing === null) this.#backoff.failed(openError(cause), this.settings);
      this.#group.freed(this);
      return;
    }
    this.#openings.delete(opening);
    const lifetimeShare = 1 + LIFETIME_JITTER * (2 * this.#random() - 1);
    const slot = new Slot(member, this.#clock.now(), lifetimeShare);
    this.#slots.add(slot);
    this.#counters.opened++;
    this.#connected++;
    this.#backoff.reset();
    member.ended.then(() => this.#onEnded(slot));
    this.#makeAvailable(slot);
    this.advance();
  }

  /** One that ends as soon as it is opened is a failure too: no loop without a pause. */
  #onEnded(slot: Slot<M>): void {
    this.#connected--;
    const isStillborn = slot.state !== "gone" && !slot.wasUsed &&
      this.#clock.now() - slot.openedAt < this.settings.retryMsMin;
    if (isStillborn) this.#backoff.failed(openError("it ended at once"), this.settings);
    this.#remove(slot, "ended");
    this.advance();
  }

  async #check(slot: Slot<M>): Promise<void> {
    this.#slots.move(slot, "checking", this.#clock.now());
    const ended = new AbortController();
    const msMax = Math.min(CHECK_MS_MAX, this.settings.checkoutTimeoutMs / 2);
    const cancelTimer = this.#clock.after(msMax, () => {
      ended.abort();
      this.#remove(slot, "dead");
    });
    let isAlive = false;
    try {
      isAlive = await this.connector.isAlive(slot.member, ended.signal);
    } catch {
      // it is dead
    }
    cancelTimer();
    if (slot.state === "gone") return;
    if (isAlive) this.#makeAvailable(slot);
    else this.#remove(slot, "dead");
  }

  /** Nobody owns it: it goes to the first waiter, to the idle ones, or it must end. */
  #makeAvailable(slot: Slot<M>): void {
    const reason = this.#reasonToClose(slot);
    if (reason !== null) return this.#remove(slot, reason);
    const waiter = this.#waiters.at(0);
    if (waiter !== undefined) {
      const now = this.#clock.now();
      if (slot.wasUsed && this.#group.mustYield(this, now)) return this.#remove(slot, "yielded");
      this.#counters.waitMs += now - waiter.since;
      waiter.serve(this.#lend(slot, waiter.contextKey, waiter.account));
      return;
    }
    this.#slots.move(slot, "idle", this.#clock.now());
    this.#reaper.arm(slot);
    this.#group.idled();
  }

  #reasonToClose(slot: Slot<M>): string | null {
    if (this.#closing !== null) return "shutdown";
    if (this.#taken > this.settings.size || this.#group.isOverfull) return "surplus";
    return slot.expiry(this.settings.maxLifetimeMs) <= this.#clock.now() ? "lifetime" : null;
  }

  #lend(
    slot: Slot<M>,
    contextKey: string | null,
    account: Account<Waiter<Lease<M>>>,
  ): Lease<M> {
    this.#counters.checkouts++;
    if (slot.wasUsed) this.#counters.reuses++;
    if (slot.member.contextKey === contextKey) this.#counters.sameContext++;
    slot.wasUsed = true;
    const since = this.#clock.now();
    this.#slots.move(slot, "leased", since);
    const use = this.#waiters.shares.begin(account);
    slot.endUse = () => this.#waiters.shares.end(use, this.#clock.now() - since);
    let isOwned = true;
    const end = (fate: () => void) => {
      const isMine = isOwned && slot.state !== "gone";
      isOwned = false;
      if (isMine) fate();
    };
    return {
      member: slot.member,
      giveBack: () =>
        end(() => {
          slot.takeUse()?.();
          this.#makeAvailable(slot);
        }),
      discard: (reason) => end(() => this.#remove(slot, reason)),
      [Symbol.dispose]: () => end(() => this.#remove(slot, "abandoned")),
    };
  }

  /** Closes a member, whatever it is doing; its place is free. The first reason counts. */
  #remove(slot: Slot<M>, reason: string): void {
    if (slot.state === "gone") return;
    this.#slots.move(slot, "gone", this.#clock.now());
    this.#closed[reason] = (this.#closed[reason] ?? 0) + 1;
    slot.takeUse()?.();
    slot.member.close();
    this.#group.freed(this);
  }

  #timeoutError(msMax: number, { share, isCapped }: Account<Waiter<Lease<M>>>): PgError {
    this.#counters.timeouts++;
    return timeoutError(this.#usage, msMax, this.#backoff.cause, isCapped ? share : null);
  }

  get #usage(): PoolUsage {
    const { name, settings: { size } } = this;
    const [{ leased }, waiting] = [this.#slots.count, this.#waiters.length];
    return { name, size, taken: this.#taken, leased, waiting };
  }
}
