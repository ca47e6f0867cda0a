// UnnamedStatement: a client's statement without a name, wherever its next transaction runs.
// Hot: runs per message. No objects, no closures, no copies but of the statement.

import { FrontendMessage, LENGTH_SIZE } from "../codec/codes.ts";
import type { PendingReply, ReplyFates } from "../protocol/fates.ts";
import type { Outgoing } from "./outgoing.ts";

/** Parse, its length, and an empty name. */
const PARSE: Uint8Array = Uint8Array.of(FrontendMessage.Parse, 0, 0, 0, 0, 0);
const SIZE_MIN = 256;
const CONFIRMED = -1;
const NEVER = -1;

/** Where unnamed statements are: a backend. */
export interface UnnamedHome {
  /** Whose statement is there; null: nobody's. */
  unnamedOwner: object | null;
}

/** The text that the unnamed statement had when it was parsed last. */
export class UnnamedStatement {
  /** The reply to a Parse of the client's. */
  readonly parsed: PendingReply;
  readonly #restored: PendingReply;
  readonly #closed: PendingReply;
  /** It is a DEALLOCATE ALL or DISCARD ALL. */
  deallocatesAll = false;
  /** Who it is to a backend, which may remember it for longer than the client stays. */
  readonly #owner = {};
  readonly #fates: ReplyFates;
  /** As it stands behind the name in a Parse. */
  #text: Uint8Array = new Uint8Array(SIZE_MIN);
  #size = 0;
  /** The batch of the client's last Parse. */
  #parsedIn = 0;
  /** The batch in which it was restored, until that is known to have happened. */
  #restoredIn = CONFIRMED;
  #restoredOn: UnnamedHome | null = null;
  /** The batch of the client's last Close, and what there was before. */
  #closedIn = NEVER;
  #sizeClosed = 0;

  constructor(fates: ReplyFates) {
    this.#fates = fates;
    this.parsed = {
      withheld: false,
      failed: (batch) => void (batch === this.#parsedIn && (this.#size = this.#sizeClosed = 0)),
    };
    this.#restored = {
      withheld: true,
      replied: () => void (this.#restoredIn = CONFIRMED),
      failed: (batch) => this.#restoreFailed(batch),
    };
    this.#closed = {
      withheld: false,
      replied: (batch) => this.#closeDone(batch),
      failed: (batch) => this.#closeFailed(batch),
    };
  }

  /** There is a text that could be restored. */
  get isKnown(): boolean {
    return this.#size > 0;
  }

  /** Is the client's own on this backend, as far as the client has one? */
  isOn(home: UnnamedHome): boolean {
    if (home.unnamedOwner !== this.#owner) return false;
    return this.#restoredIn === CONFIRMED || this.#restoredIn === this.#fates.batch;
  }

  /** Another client's may be there. */
  isForeignOn({ unnamedOwner }: UnnamedHome): boolean {
    return unnamedOwner !== null && unnamedOwner !== this.#owner;
  }

  /** A Parse of the client's is sent: `text[start, end)` stands in it behind the name. */
  parse(home: UnnamedHome, text: Uint8Array, start: number, end: number): void {
    const size = end - start;
    if (size > this.#text.length) this.#text = new Uint8Array(size);
    this.#text.set(text.subarray(start, end));
    this.#size = size;
    this.#sent(home);
  }

  /** The same for one that is too large to be remembered. */
  parseLarge(home: UnnamedHome): void {
    this.#size = 0;
    this.#sent(home);
  }

  #sent(home: UnnamedHome): void {
    this.deallocatesAll = false;
    this.#parsedIn = this.#fates.batch;
    this.#restoredIn = CONFIRMED;
    home.unnamedOwner = this.#owner;
    this.#fates.push(this.parsed);
  }

  /** A simple query is sent, which drops it. */
  drop(home: UnnamedHome): void {
    this.#size = 0;
    this.deallocatesAll = false;
    home.unnamedOwner = null;
  }

  /** A Close is sent. Whether it is executed, the backend knows: the statement stays the client's. */
  close(): void {
    if (this.#closedIn !== this.#fates.batch || this.#size > 0) this.#sizeClosed = this.#size;
    this.#closedIn = this.#fates.batch;
    this.#size = 0;
    this.#fates.push(this.#closed);
  }

  #closeDone(batch: number): void {
    if (batch !== this.#closedIn) return;
    this.#sizeClosed = 0;
    if (this.#size === 0) this.deallocatesAll = false;
  }

  #closeFailed(batch: number): void {
    if (batch === this.#closedIn && this.#size === 0) this.#size = this.#sizeClosed;
  }

  /** Has it parsed again. */
  restore(home: UnnamedHome, out: Outgoing): void {
    const headAt = out.size;
    out.add(PARSE);
    out.addPart(this.#text, 0, this.#size);
    out.setInt32(headAt + 1, LENGTH_SIZE + 1 + this.#size);
    home.unnamedOwner = this.#owner;
    this.#restoredIn = this.#fates.batch;
    this.#restoredOn = home;
    this.#fates.push(this.#restored);
  }

  #restoreFailed(batch: number): void {
    if (batch !== this.#restoredIn) return;
    this.#restoredIn = CONFIRMED;
    if (this.#restoredOn!.unnamedOwner === this.#owner) this.#restoredOn!.unnamedOwner = null;
  }
}
