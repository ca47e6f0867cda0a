// The queue in front of a pool: in the order of arrival for each tenant, and tenants take turns.
// Who leaves it, leaves nothing behind.

import type { PgError } from "../codec/error.ts";
import { type Link, linkFor } from "./chain.ts";
import type { Clock } from "./clock.ts";
import { type Account, EVERYBODY, FairShares } from "./fairness.ts";

/** Somebody who waits for a `T`. */
export interface Waiter<T> {
  readonly contextKey: string | null;
  /** Its place in the order of arrival, over all pools. */
  readonly ticket: number;
  /** When it came. */
  readonly since: number;
  /** Its tenant's. */
  readonly account: Account<Waiter<T>>;
  /** Takes it out of the queue, and ends its waiting. */
  serve(value: T): void;
  refuse(error: PgError): void;
}

/** How long one waits, and what ends it. */
export interface Patience {
  readonly signal: AbortSignal;
  readonly msMax: number;
  /** The refusal, made when the time is up. */
  timeoutError(): PgError;
}

/** Those who wait. */
export class Waiters<T> {
  /** Whose turn it is. */
  readonly shares = new FairShares<Waiter<T>>();

  /** @param onGone somebody went away without having been served or refused. */
  constructor(private readonly clock: Clock, private readonly onGone: () => void) {}

  get length(): number {
    return this.shares.size;
  }

  /** Who would be given a member behind `index` others that are being made ready. */
  at(index: number): Waiter<T> | undefined {
    return this.shares.next(index);
  }

  /** Stands at the end of a queue. `served` rejects with the signal's reason when it aborts. */
  join(
    contextKey: string | null,
    ticket: number,
    { signal, msMax, timeoutError }: Patience,
    account: Account<Waiter<T>> = this.shares.account(EVERYBODY),
  ): { readonly waiter: Waiter<T>; readonly served: Promise<T> } {
    const { promise: served, resolve, reject } = Promise.withResolvers<T>();
    const leave = () => {
      this.shares.leave(account, link);
      cancelTimer();
      signal.removeEventListener("abort", onAbort);
    };
    const giveUp = (reason: unknown) => {
      leave();
      reject(reason);
      this.onGone();
    };
    const onAbort = () => giveUp(signal.reason);
    const cancelTimer = this.clock.after(msMax, () => giveUp(timeoutError()));
    signal.addEventListener("abort", onAbort);
    const waiter: Waiter<T> = {
      contextKey,
      ticket,
      since: this.clock.now(),
      account,
      serve(value) {
        leave();
        resolve(value);
      },
      refuse(error) {
        leave();
        reject(error);
      },
    };
    const link: Link<Waiter<T>> = linkFor(waiter);
    this.shares.join(account, link);
    return { waiter, served };
  }

  /** Sends everybody away. */
  refuseAll(error: PgError): void {
    for (const waiter of this.shares) waiter.refuse(error);
  }
}
