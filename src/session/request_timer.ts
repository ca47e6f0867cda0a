// RequestTimer: how long it takes what a client asks for, by statement and by transaction.
// Hot: runs per read. No objects, no closures, no copies.

import { Histogram, type Meters } from "../meters.ts";

const UNREAD = { query: new Histogram(), transaction: new Histogram() };

/** Times of one session go into histograms that all sessions share. */
export class RequestTimer {
  /** Statements, or batches of them, that have been answered. */
  queries = 0;
  transactions = 0;
  readonly #query: Histogram;
  readonly #transaction: Histogram;
  /** Since when something is under way; 0: nothing is. */
  #queryFrom = 0;
  #transactionFrom = 0;

  /** @param meters where they go; left out: nobody wants to know. */
  constructor(meters: Pick<Meters, "query" | "transaction"> = UNREAD) {
    this.#query = meters.query;
    this.#transaction = meters.transaction;
  }

  /** The client asks for something; more of it may follow. */
  asked(): void {
    if (this.#queryFrom !== 0) return;
    this.#queryFrom = performance.now();
    if (this.#transactionFrom === 0) this.#transactionFrom = this.#queryFrom;
  }

  /** Everything that was asked for has been answered. */
  answered(outsideTransaction: boolean): void {
    if (this.#queryFrom === 0) return;
    const now = performance.now();
    this.queries++;
    this.#query.observeMs(now - this.#queryFrom);
    this.#queryFrom = 0;
    if (!outsideTransaction) return;
    this.transactions++;
    this.#transaction.observeMs(now - this.#transactionFrom);
    this.#transactionFrom = 0;
  }
}
