// Who may open a member: the places that the pools of a proxy have together.

/** What the pools of a group know of each other. */
export interface GroupedPool {
  readonly name: string;
  /** Nothing is left in it that would have to be kept. */
  readonly isUnused: boolean;
  /** The first waiter for whom a member could be opened now; null: nobody. */
  readonly wanting: { readonly ticket: number; readonly since: number } | null;
  /** Since when its longest idle member is idle; null: it has none. */
  readonly idleSince: number | null;
  /** Opens and checks members as far as it is needed and allowed. */
  advance(): void;
  /** Closes the longest idle member. */
  evict(): void;
}

/** Divides a number of places among pools. */
export interface PoolGroup {
  /** There are more members than there may be. */
  readonly isOverfull: boolean;
  /** Numbers in the order of arrival. */
  nextTicket(): number;
  /** Asks for a place. With `isUrgent` somebody waits, and `advance` is called when there is one. */
  take(pool: GroupedPool, isUrgent: boolean): boolean;
  /**
   * A member is free, and somebody of its own pool would have it: whether it must be closed all the
   * same, and its place given back at once, for somebody else.
   */
  mustYield(pool: GroupedPool, now: number): boolean;
  /** A place was given back: calls `advance` of whoever may go on, this pool included. */
  freed(pool: GroupedPool): void;
  /** A member has become idle. */
  idled(): void;
  /** The pool may have become unused. */
  settled(pool: GroupedPool): void;
}

/** The group of a pool that has to share with nobody. */
export class Alone implements PoolGroup {
  readonly isOverfull = false;
  #ticket = 0;

  nextTicket(): number {
    return this.#ticket++;
  }

  take(): boolean {
    return true;
  }

  mustYield(): boolean {
    return false;
  }

  freed(pool: GroupedPool): void {
    pool.advance();
  }

  idled(): void {}
  settled(): void {}
}

/** Who has waited for so long gets a place of a pool that is never at rest. */
export const YIELD_AFTER_MS = 500;
/** It costs a new connection, so it happens no more often. */
export const YIELD_PAUSE_MS = 100;

/**
 * The places under the ceiling.
 *
 * Invariant: while a pool is starved, the ceiling is reached and no other pool has an idle member.
 * A pool that always has somebody waiting would never give a place back: it yields one at times.
 */
export class Group implements PoolGroup {
  total = 0;
  #tickets = 0;
  #maxTotal: number;
  #isEvicting = false;
  /** Pools that were refused a place for somebody who waits. */
  readonly #starved = new Set<GroupedPool>();
  /** Has promised its next place to another one. */
  #yielding: GroupedPool | null = null;
  #yieldedAt = -Infinity;

  /** @param onGone is told of a pool that is no more in `pools`. */
  constructor(
    private readonly pools: Map<string, GroupedPool>,
    maxTotal: number,
    private readonly onGone: (pool: GroupedPool) => void = () => {},
  ) {
    this.#maxTotal = maxTotal;
  }

  set maxTotal(maxTotal: number) {
    this.#maxTotal = maxTotal;
    while (this.isOverfull && this.#evictOther(null));
    this.#feed();
  }

  get isOverfull(): boolean {
    return this.total > this.#maxTotal;
  }

  nextTicket(): number {
    return this.#tickets++;
  }

  take(pool: GroupedPool, isUrgent: boolean): boolean {
    while (this.total >= this.#maxTotal) {
      if (isUrgent && this.#evictOther(pool)) continue;
      if (isUrgent) this.#starved.add(pool);
      return false;
    }
    this.total++;
    return true;
  }

  mustYield(pool: GroupedPool, now: number): boolean {
    if (this.#starved.size === 0 || now - this.#yieldedAt < YIELD_PAUSE_MS) return false;
    const since = this.#oldestStarved(pool)?.wanting?.since ?? Infinity;
    if (now - since < YIELD_AFTER_MS) return false;
    [this.#yielding, this.#yieldedAt] = [pool, now];
    return true;
  }

  freed(pool: GroupedPool): void {
    const wasFull = this.total >= this.#maxTotal;
    this.total--;
    if (this.#isEvicting) return; // the place is promised
    this.#feed();
    pool.advance();
    if (wasFull) this.#replenish();
  }

  idled(): void {
    this.#feed();
  }

  settled(pool: GroupedPool): void {
    this.#starved.delete(pool);
    if (this.pools.get(pool.name) !== pool || !pool.isUnused) return;
    this.pools.delete(pool.name);
    this.onGone(pool);
  }

  /** Gives places to the starved, the oldest waiter first. */
  #feed(): void {
    while (this.#starved.size > 0) {
      const pool = this.#oldestStarved(this.#yielding);
      this.#yielding = null;
      if (pool === null) return;
      if (this.total >= this.#maxTotal && this.#longestIdle(pool) === null) return;
      this.#starved.delete(pool);
      pool.advance();
    }
  }

  /** Lets pools that lack idle members open them. */
  #replenish(): void {
    for (const pool of this.pools.values()) {
      if (this.total >= this.#maxTotal) return;
      pool.advance();
    }
  }

  #oldestStarved(except: GroupedPool | null): GroupedPool | null {
    let [oldest, first]: [GroupedPool | null, number] = [null, Infinity];
    for (const pool of this.#starved) {
      const ticket = pool.wanting?.ticket ?? null;
      if (ticket === null) this.#starved.delete(pool);
      else if (ticket < first && pool !== except) [oldest, first] = [pool, ticket];
    }
    return oldest;
  }

  /** The pool, other than the asker, with the member that has been idle for longest. */
  #longestIdle(asker: GroupedPool | null): GroupedPool | null {
    let [found, first]: [GroupedPool | null, number] = [null, Infinity];
    for (const pool of this.pools.values()) {
      const since = pool === asker ? null : pool.idleSince;
      if (since !== null && since < first) [found, first] = [pool, since];
    }
    return found;
  }

  #evictOther(asker: GroupedPool | null): boolean {
    const victim = this.#longestIdle(asker);
    if (victim === null) return false;
    this.#isEvicting = true;
    victim.evict();
    this.#isEvicting = false;
    return true;
  }
}
