// Reaper: closes the idle members of a pool whose time is up. One timer for all of them.

import type { Clock } from "./clock.ts";
import type { PoolMember, Slot, Slots } from "./slots.ts";

/** The times after which idle members are closed. */
export interface ReaperLimits {
  readonly minIdle: number;
  readonly idleTimeoutMs: number;
  readonly maxLifetimeMs: number;
}

/** Looks at the idle members of a pool when the first of them may be due. */
export class Reaper<M extends PoolMember> {
  #at = Infinity;
  #cancel = () => {};

  /**
   * @param limits as they are at the moment.
   * @param close takes a slot out of the idle ones.
   * @param onReaped is called when whoever is due has been closed.
   */
  constructor(
    private readonly clock: Clock,
    private readonly slots: Slots<M>,
    private readonly limits: () => ReaperLimits,
    private readonly close: (slot: Slot<M>, reason: string) => void,
    private readonly onReaped: () => void,
  ) {}

  /** Nobody is there who could be due. */
  stop(): void {
    this.#cancel();
    this.#at = Infinity;
  }

  /** Closes the idle members whose time is up. */
  reap(): void {
    this.stop();
    const now = this.clock.now();
    const { maxLifetimeMs } = this.limits();
    for (const slot of [...this.slots.idle]) {
      if (slot.state === "idle" && slot.expiry(maxLifetimeMs) <= now) this.close(slot, "lifetime");
    }
    while (this.#idleUntil <= now) this.close(this.slots.idle[0]!, "idle");
    for (const slot of this.slots.idle) this.arm(slot);
    this.onReaped();
  }

  /** A member has become idle. Its turn may come when it is in use: others are looked at then. */
  arm(slot: Slot<M>): void {
    const at = Math.min(slot.expiry(this.limits().maxLifetimeMs), this.#idleUntil);
    if (at >= this.#at) return;
    this.#cancel();
    this.#cancel = this.clock.after(Math.max(0, at - this.clock.now()), () => this.reap());
    this.#at = at;
  }

  /** When the longest idle member has been idle for too long. */
  get #idleUntil(): number {
    const { minIdle, idleTimeoutMs } = this.limits();
    const isSpare = this.slots.idle.length > minIdle;
    return isSpare ? this.slots.idle[0]!.idleSince + idleTimeoutMs : Infinity;
  }
}
