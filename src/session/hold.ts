// TransactionHold: a session whose tenant is paused begins no new transaction; what it has begun,
// it ends.

import { FrontendMessage } from "../codec/codes.ts";
import { elapsed, PROBE_PAUSE_MS_MAX } from "./farewell.ts";

/** Before the first notice; doubled each time. */
const PROBE_PAUSE_MS = 1_000;

/** A relay, as far as it can be held. */
export interface Holdable {
  /** Nothing of the client is under way: what it sends next begins a transaction. */
  readonly betweenTransactions: boolean;
  /**
   * Tells the client that it waits, where a message may stand; ends the session when it has died.
   * Nobody reads from it meanwhile: only a write tells.
   */
  probe(): Promise<void>;
}

/** What a relay waits at before bytes of its client pass. One relay waits, once at a time. */
export class TransactionHold {
  /** A new transaction has been asked for, and waits. */
  isWaiting = false;
  /** Null: nothing is held. */
  #held: PromiseWithResolvers<void> | null = null;
  #isOver = false;
  readonly #probePauseMs: number;

  constructor(probePauseMs = PROBE_PAUSE_MS) {
    this.#probePauseMs = probePauseMs;
  }

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
    let pauseMs = this.#probePauseMs;
    while (this.#held !== null && type !== FrontendMessage.Terminate) {
      if (!relay.betweenTransactions) break;
      this.isWaiting = true;
      const held = this.#held;
      await elapsed(pauseMs, held.promise);
      pauseMs = Math.min(pauseMs * 2, PROBE_PAUSE_MS_MAX);
      if (this.#held === held) await relay.probe();
    }
    this.isWaiting = false;
  }
}
