// Receive buffers: small while a connection waits, large while bytes flow.
// Hot: used per read. No closures, no copies but of what must be kept.

import { assert } from "../assert.ts";
import type { Transport } from "./transport.ts";

/** What every waiting direction holds: a pending read pins its buffer. */
export const WAITING_BUFFER_SIZE = 4 * 1024;
/** What a direction holds while its reads fill the buffer. */
export const FLOWING_BUFFER_SIZE = 64 * 1024;
/** Large buffers kept for the next flow when nobody needs them: 2 MiB at most. */
const SPARE_BUFFERS_MAX = 32;

const spareBuffers: Uint8Array[] = [];

/**
 * What one peer has sent and nobody has taken yet, while a connection is being established.
 *
 * Invariant: 0 <= start <= end <= bytes.length. At most one read is pending; it survives the
 * handshake, so that a side which stays silent never loses a byte.
 */
export class Inbox {
  bytes: Uint8Array = new Uint8Array(1024);
  start = 0;
  end = 0;
  /** The peer has ended its stream. */
  ended = false;
  #pending: Promise<number | null> | null = null;

  constructor(readonly transport: Transport, readonly sizeMax: number) {}

  /** Bytes that have come and not been taken. */
  get length(): number {
    return this.end - this.start;
  }

  /** No more bytes fit until some are taken. */
  get full(): boolean {
    return this.length >= this.sizeMax;
  }

  /** A read is under way. */
  get reading(): boolean {
    return this.#pending !== null;
  }

  /**
   * Resolves when more has come, or with `null` at the end of the stream. May be asked again while
   * it is pending: the same read is meant. Rejects when the connection is broken.
   */
  fill(): Promise<number | null> {
    if (this.#pending === null) {
      assert(!this.full, "an inbox that is full cannot be filled");
      this.#makeRoom();
      const pending = this.#read();
      pending.catch(() => {}); // whoever waits is told; nobody may be waiting any more
      this.#pending = pending;
    }
    return this.#pending;
  }

  /** Gives up `size` bytes from the front. */
  take(size: number): void {
    assert(size >= 0 && size <= this.length);
    this.start += size;
  }

  async #read(): Promise<number | null> {
    try {
      const count = await this.transport.read(this.bytes.subarray(this.end));
      if (count === null) this.ended = true;
      else this.end += count;
      return count;
    } finally {
      this.#pending = null;
    }
  }

  #makeRoom(): void {
    if (this.start === this.end) this.start = this.end = 0;
    if (this.end < this.bytes.length) return;
    if (this.start > 0) {
      this.bytes.copyWithin(0, this.start, this.end);
    } else {
      const larger = new Uint8Array(Math.min(this.sizeMax, this.bytes.length * 4));
      larger.set(this.bytes);
      this.bytes = larger;
    }
    this.end -= this.start;
    this.start = 0;
  }
}

/**
 * Everything that one peer sends, read after read: first what the handshake left in its inbox, then
 * from the transport, into a small buffer while little comes and a large one while reads fill it.
 */
export class Flow {
  #inbox: Inbox | null;
  readonly #transport: Transport;
  #small: Uint8Array | null = null;
  #large: Uint8Array | null = null;
  #filled = false;

  constructor(inbox: Inbox) {
    this.#inbox = inbox;
    this.#transport = inbox.transport;
  }

  /**
   * The next bytes, or null at the end of the stream. The returned bytes are a window, valid until
   * the next call. Rejects when the connection is broken or closed.
   */
  async next(): Promise<Uint8Array | null> {
    if (this.#inbox !== null) {
      const rest = await this.#fromInbox(this.#inbox);
      if (rest !== null) return rest;
      if (this.#inbox.ended) return null;
      this.#inbox = null;
    }
    const buffer = this.#buffer();
    const count = await this.#transport.read(buffer);
    if (count === null) {
      this.#filled = false;
      this.#shrink();
      return null;
    }
    this.#filled = count === buffer.length;
    return this.#filled ? buffer : buffer.subarray(0, count);
  }

  async #fromInbox(inbox: Inbox): Promise<Uint8Array | null> {
    if (inbox.length === 0 && inbox.reading) await inbox.fill();
    if (inbox.length === 0) return null;
    const rest = inbox.bytes.subarray(inbox.start, inbox.end);
    inbox.take(rest.length);
    return rest;
  }

  #buffer(): Uint8Array {
    if (!this.#filled) this.#shrink();
    else this.#large ??= spareBuffers.pop() ?? new Uint8Array(FLOWING_BUFFER_SIZE);
    return this.#large ?? (this.#small ??= new Uint8Array(WAITING_BUFFER_SIZE));
  }

  #shrink(): void {
    if (this.#large === null) return;
    if (spareBuffers.length < SPARE_BUFFERS_MAX) spareBuffers.push(this.#large);
    this.#large = null;
  }
}
