// ReplyLedger: what a server still owes for what it has been sent.
// Hot: runs per message. No objects, no closures, no promises, no copies.
// https://www.postgresql.org/docs/current/protocol-flow.html

import { assert } from "../assert.ts";
import { BackendMessage, FrontendMessage } from "../codec/codes.ts";

/** What an entry stands for. */
const QUERY = 1; // Query or FunctionCall: answered by one ReadyForQuery
const SYNC = 2; // answered by one ReadyForQuery, unless a COPY swallows it
const COPY_END = 3; // CopyDone or CopyFail: nothing answers it, but it ends what a COPY swallows

const CAPACITY_MIN = 16;
/** Requests that may be waiting for their replies; a client that sends more has lost its mind. */
export const OWED_MAX = 1 << 20;

/**
 * Counts requests against ReadyForQuery, message by message.
 *
 * Three things make this more than two counters. The server drops Sync and Flush while it reads the
 * data of a COPY, so a Sync behind the Execute of a COPY is never answered. After an error in an
 * extended query it drops everything up to the next Sync. And an extended query that has no Sync
 * yet owes something though no ReadyForQuery is due.
 *
 * What a server does with a message may depend on whether it failed before it read it, which cannot
 * be seen from here: a Sync in the data of a COPY that fails is dropped, or answered. Then the
 * ledger says that it is `uncertain`: it must not be believed again, and the connection not be used
 * again.
 */
export class ReplyLedger {
  /** The count cannot be relied on. */
  uncertain = false;
  /** Extended messages have been sent, and no Sync behind them. */
  batchOpen = false;
  /** The server reads the data of a COPY, and its end has not been sent. */
  copyIn = false;
  /** The status in the last ReadyForQuery. */
  transactionStatus = 0;
  /** The server has begun to read the data of a COPY, and has not failed or become ready since. */
  #copying = false;
  /** Syncs that this COPY has dropped, unless it had failed when they came. */
  #dropped = 0;
  /** The open batch has failed: everything up to its Sync is dropped. */
  #batchFailed = false;
  #entries = new Uint8Array(CAPACITY_MIN);
  #head = 0;
  #size = 0;
  /** Entries that a ReadyForQuery answers. */
  #owed = 0;

  /** ReadyForQuery messages that are due. */
  get owed(): number {
    return this.#owed;
  }

  /** Syncs that the COPY has swallowed that the server has just begun to read. */
  get syncsDropped(): number {
    return this.#dropped;
  }

  /** Nothing is due, and nothing has been begun: the next message is a new request. */
  get settled(): boolean {
    return this.#owed === 0 && !this.batchOpen && !this.copyIn && !this.uncertain;
  }

  /** A message of the client, by its type byte. */
  request(type: number): void {
    switch (type) {
      case FrontendMessage.Query:
      case FrontendMessage.FunctionCall:
        // Behind an error in the batch the server drops it; whether there is one is not known yet.
        if (this.batchOpen || this.copyIn) this.uncertain = true;
        this.#push(QUERY);
        return;
      case FrontendMessage.Sync:
        if (this.copyIn) {
          this.#dropped++;
          return;
        }
        this.batchOpen = false;
        this.#batchFailed = false;
        this.#push(SYNC);
        return;
      case FrontendMessage.CopyDone:
      case FrontendMessage.CopyFail:
        if (this.copyIn) this.copyIn = false;
        // The end of a COPY in the batch, or nothing: that depends on where in it it stands.
        else if (this.batchOpen) this.uncertain ||= !this.#batchFailed;
        else if (this.#owed > 0) this.#push(COPY_END);
        return;
      case FrontendMessage.Parse:
      case FrontendMessage.Bind:
      case FrontendMessage.Describe:
      case FrontendMessage.Execute:
      case FrontendMessage.Close:
        if (this.copyIn) this.uncertain = true;
        this.batchOpen = true;
        return;
      case FrontendMessage.CopyData:
      case FrontendMessage.Flush:
      case FrontendMessage.Terminate:
        return;
      default: // the server will end the connection, or worse
        this.uncertain = true;
    }
  }

  /** A message of the server other than ReadyForQuery, by its type byte. */
  reply(type: number): void {
    switch (type) {
      case BackendMessage.CopyInResponse:
        this.#copyBegins();
        return;
      case BackendMessage.CopyBothResponse:
        this.uncertain = true; // replication: another protocol from here on
        return;
      case BackendMessage.ErrorResponse:
        if (this.#copying && this.#dropped > 0) this.uncertain = true;
        this.#copying = this.copyIn = false;
        if (this.batchOpen && this.#owed === 0) this.#batchFailed = true;
        return;
    }
  }

  /** A ReadyForQuery. */
  ready(status: number): void {
    this.transactionStatus = status;
    if (this.#owed === 0 || this.copyIn) {
      this.uncertain = true; // nobody has asked for it
      return;
    }
    this.#copying = false;
    this.#pop();
    this.#dropCopyEnds();
  }

  /**
   * The server reads COPY data from here on. What had been sent before it said so is looked at now:
   * Syncs up to the end of the data are dropped by it.
   */
  #copyBegins(): void {
    this.#copying = true;
    this.#dropped = 0;
    const isSimple = this.#size > 0 && this.#peek(0) === QUERY;
    let at = isSimple ? 1 : 0;
    let kept = at;
    let ended = false;
    for (; at < this.#size && !ended; at++) {
      const entry = this.#peek(at);
      if (entry === SYNC) this.#dropped++;
      else if (entry === COPY_END) ended = true;
      else this.#put(kept++, entry), this.uncertain = true; // a Query in the middle of the data
    }
    this.#owed -= this.#dropped;
    for (; at < this.#size; at++) this.#put(kept++, this.#peek(at));
    this.#size = kept;
    this.copyIn = !ended;
    if (isSimple) return;
    this.#dropCopyEnds();
    // The batch goes on behind the data, and its own Sync is still to come.
    if (this.#owed === 0) this.batchOpen = true;
  }

  /** Ends of COPYs that the server has not begun, and will not. */
  #dropCopyEnds(): void {
    while (this.#size > 0 && this.#peek(0) === COPY_END) this.#pop();
  }

  #peek(index: number): number {
    return this.#entries[(this.#head + index) & (this.#entries.length - 1)]!;
  }

  #put(index: number, entry: number): void {
    this.#entries[(this.#head + index) & (this.#entries.length - 1)] = entry;
  }

  #pop(): void {
    assert(this.#size > 0);
    if (this.#peek(0) !== COPY_END) this.#owed--;
    this.#head = (this.#head + 1) & (this.#entries.length - 1);
    this.#size--;
  }

  #push(entry: number): void {
    if (this.#size === this.#entries.length) this.#grow();
    this.#put(this.#size++, entry);
    if (entry !== COPY_END) this.#owed++;
  }

  #grow(): void {
    if (this.#size >= OWED_MAX) {
      this.uncertain = true;
      this.#head = this.#size = this.#owed = 0;
      return;
    }
    const larger = new Uint8Array(this.#entries.length * 2);
    for (let index = 0; index < this.#size; index++) larger[index] = this.#peek(index);
    this.#entries = larger;
    this.#head = 0;
  }
}
