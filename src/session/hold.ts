// TransactionHold: a session whose tenant is paused begins no new transaction; what it has begun,
// it ends.

import { FrontendMessage } from "../codec/codes.ts";

/** A relay, as far as it can be held. */
export interface Holdable {
  /** Nothing of the client is under way: what it sends next begins a transaction. */
  readonly betweenTransactions: boolean;
}

/** What a relay waits at before bytes of its client pass. One relay waits, once at a time. */
export class TransactionHold {
  /** A new transaction has been asked for, and waits. */
  isWaiting = false;
  /** Null: nothing is held. */
  #held: PromiseWithResolvers<void> | null = null;
  #isOver = false;

  /** Whether bytes may have to wait: `pass` decides. */
  get isOn(): boolean {
    return this.#held !== null;
  }

  /** From now on, until `release`. */
  hold(): void {
    if (!this.#isOver) this.#held ??= Promise.withResolvers();
  }

  release(): void {
    this.#held?.resolve();
    this.#held = null;
  }

  /** The session is over: nobody waits any more, and nobody will. */
  end(): void {
    this.#isOver = true;
    this.release();
  }

  /** Resolves when bytes may pass; `type` is the first of them. Who wants to leave may. */
  async pass(relay: Holdable, type: number): Promise<void> {
    while (this.#held !== null && type !== FrontendMessage.Terminate) {
      if (!relay.betweenTransactions) return;
      this.isWaiting = true;
      await this.#held.promise;
      this.isWaiting = false;
    }
  }
}
