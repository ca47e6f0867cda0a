// The queue in front of a pool: first come, first served. Who leaves it, leaves nothing behind.

import type { PgError } from "../codec/error.ts";
import type { Clock } from "./clock.ts";

/** Somebody who waits for a `T`. */
export interface Waiter<T> {
  readonly contextKey: string | null;
  /** Its place in the order of arrival, over all pools. */
  readonly ticket: number;
  /** When it came. */
  readonly since: number;
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

/** Those who wait, in the order of their arrival. */
export class Waiters<T> {
  readonly #queue = new Set<Waiter<T>>();

  /** @param onGone somebody went away without having been served or refused. */
  constructor(private readonly clock: Clock, private readonly onGone: () => void) {}

  get length(): number {
    return this.#queue.size;
  }

  /** The one who has `index` others before it. */
  at(index: number): Waiter<T> | undefined {
    if (index >= this.#queue.size) return undefined;
    for (const waiter of this.#queue) if (index-- === 0) return waiter;
  }

  /** Stands at the end of the queue. `served` rejects with the signal's reason when it aborts. */
  join(
    contextKey: string | null,
    ticket: number,
    { signal, msMax, timeoutError }: Patience,
  ): { readonly waiter: Waiter<T>; readonly served: Promise<T> } {
    const { promise: served, resolve, reject } = Promise.withResolvers<T>();
    const leave = () => {
      this.#queue.delete(waiter);
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
      serve(value) {
        leave();
        resolve(value);
      },
      refuse(error) {
        leave();
        reject(error);
      },
    };
    this.#queue.add(waiter);
    return { waiter, served };
  }

  /** Sends everybody away. */
  refuseAll(error: PgError): void {
    for (const waiter of this.#queue) waiter.refuse(error);
  }
}
