// The members of one pool, and what each of them is doing. Who may do what is the pool's affair.

import { assert } from "../assert.ts";

/** What the pool must know of a server connection; the rest is the caller's. */
export interface PoolMember {
  /** What it was last used for; null: nothing yet. Compared as a string. */
  readonly contextKey: string | null;
  /** Ends the connection; may be called again. It does not throw. */
  close(): void;
  /** Resolves when the connection has ended for whatever reason; never rejects. */
  readonly ended: Promise<void>;
}

/** How members come about. It bounds the time of `open` itself; the signal means: not any more. */
export interface Connector<M> {
  open(signal: AbortSignal): Promise<M>;
  /** False, or a rejection: it is dead. An answer that comes too late is not waited for. */
  isAlive(member: M, signal: AbortSignal): Promise<boolean>;
}

/** Numbers of now, and counters since the pool exists. */
export interface PoolStats {
  readonly idle: number;
  readonly checking: number;
  readonly active: number;
  readonly opening: number;
  readonly waiting: number;
  /** The last attempt to open a member failed. */
  readonly isFailing: boolean;
  readonly opened: number;
  readonly openFailures: number;
  readonly closed: Readonly<Record<string, number>>;
  readonly checkouts: number;
  /** Checkouts that were given a member used before. */
  readonly reuses: number;
  /** Checkouts whose member served the same context last. */
  readonly sameContext: number;
  readonly timeouts: number;
  /** Checkouts refused because too many waited. */
  readonly refusals: number;
  /** How long all those waited who had to, and were served. */
  readonly waitMs: number;
}

/** `checking`: being asked whether it is alive. `gone`: no longer a member. */
export type SlotState = "idle" | "checking" | "leased" | "gone";

/** The one owner of a member, and so of a place in the pool. The first call ends the ownership. */
export interface Lease<M> extends Disposable {
  readonly member: M;
  /** It is clean: to the first who waits, else to the idle ones. */
  giveBack(): void;
  /** Closes it. The reason is counted: one of a few words. */
  discard(reason: string): void;
  /** Discards it as "abandoned", unless it was given back. */
  [Symbol.dispose](): void;
}

/** Numbers of now, and counters since the pool exists. */
export interface PoolStats {
  readonly idle: number;
  readonly checking: number;
  readonly active: number;
  readonly opening: number;
  readonly waiting: number;
  /** The last attempt to open a member failed. */
  readonly isFailing: boolean;
  readonly opened: number;
  readonly openFailures: number;
  readonly closed: Readonly<Record<string, number>>;
  readonly checkouts: number;
  /** Checkouts that were given a member used before. */
  readonly reuses: number;
  /** Checkouts whose member served the same context last. */
  readonly sameContext: number;
  readonly timeouts: number;
  /** Checkouts refused because too many waited. */
  readonly refusals: number;
  /** How long all those waited who had to, and were served. */
  readonly waitMs: number;
}

/** The place of one member. */
export class Slot<M> {
  /** At first it is in the hands of who opened it. */
  state: SlotState = "leased";
  /** It was handed out before. */
  wasUsed = false;
  /** When it became idle the last time. */
  idleSince = 0;
  /** Its lifetime is over, however old it is. */
  isRetired = false;
  /** Tells whose it is that it is done with it; null while it is nobody's. */
  endUse: (() => void) | null = null;

  /** @param lifetimeShare of the longest lifetime: not all end at the same time. */
  constructor(readonly member: M, readonly openedAt: number, readonly lifetimeShare: number) {}

  /** What `endUse` is, which so is called once. */
  takeUse(): (() => void) | null {
    const { endUse } = this;
    this.endUse = null;
    return endUse;
  }

  /** When its lifetime is over. */
  expiry(lifetimeMs: number): number {
    return this.isRetired ? -Infinity : this.openedAt + this.lifetimeShare * lifetimeMs;
  }
}

/**
 * Keeps the states and their numbers together.
 *
 * Invariant: `idle` holds exactly the slots in that state, the one that is idle for longest first.
 */
export class Slots<M extends PoolMember> {
  readonly idle: Slot<M>[] = [];
  readonly count = { idle: 0, checking: 0, leased: 0 };
  readonly #all = new Set<Slot<M>>();

  get size(): number {
    return this.count.idle + this.count.checking + this.count.leased;
  }

  add(slot: Slot<M>): void {
    assert(slot.state === "leased");
    this.#all.add(slot);
    this.count.leased++;
  }

  move(slot: Slot<M>, to: SlotState, now: number): void {
    assert(slot.state !== "gone", "a member that is gone does not come back");
    if (slot.state === "idle") this.idle.splice(this.idle.lastIndexOf(slot), 1);
    this.count[slot.state]--;
    slot.state = to;
    if (to === "gone") return void this.#all.delete(slot);
    this.count[to]++;
    if (to !== "idle") return;
    slot.idleSince = now;
    this.idle.push(slot);
  }

  /** The lifetime of all that there are is over; returns how many. */
  retire(): number {
    for (const slot of this.#all) slot.isRetired = true;
    return this.#all.size;
  }

  /**
   * Of those that became idle at `since` or later: the last one that served this context, else the
   * last one.
   */
  findIdle(
    contextKey: string | null,
    since = -Infinity,
    takesLongestUnused = false,
  ): Slot<M> | undefined {
    const last = this.idle.at(-1);
    if (last === undefined || last.idleSince < since) return undefined;
    const isFresh = (slot: Slot<M>) => slot.idleSince >= since;
    return this.idle.findLast((slot) => slot.member.contextKey === contextKey && isFresh(slot)) ??
      (takesLongestUnused ? this.idle.find(isFresh) : last);
  }
}
