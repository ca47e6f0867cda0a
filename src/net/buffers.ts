// Receive buffers: small while a connection waits, large while bytes flow.
// Hot: used per read. No closures, no copies but of what must be kept.

import { assert } from "../assert.ts";
import type { Transport } from "./transport.ts";

/** What every waiting direction holds: a pending read pins its buffer. */
export const WAITING_BUFFER_SIZE = 2 * 1024;
/** What a direction holds while its reads fill the buffer. */
export const FLOWING_BUFFER_SIZE = 64 * 1024;
/** What an inbox begins with, and what most of them need. */
const INBOX_SIZE_MIN = 1024;
const NO_BYTES = new Uint8Array(0);
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
  bytes: Uint8Array = NO_BYTES;
  start = 0;
  end = 0;
  /** The peer has ended its stream. */
  ended = false;
  #pending: Promise<number | null> | null = null;
  #transport: Transport;

  constructor(transport: Transport, readonly sizeMax: number) {
    this.#transport = transport;
  }

  /** Where the bytes come from. */
  get transport(): Transport {
    return this.#transport;
  }

  /** From here on bytes come through another layer over the same connection: TLS has begun. */
  switchTo(transport: Transport): void {
    assert(this.length === 0 && !this.reading, "bytes of the layer below would be lost");
    this.#transport = transport;
  }

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

  /** Frees its memory, when nothing is in it or coming. It may be filled again. */
  release(): void {
    if (this.length === 0 && !this.reading) this.bytes = NO_BYTES;
  }

  async #read(): Promise<number | null> {
    try {
      const count = await this.#transport.read(this.bytes.subarray(this.end));
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
      const size = Math.max(INBOX_SIZE_MIN, this.bytes.length * 4);
      const larger = new Uint8Array(Math.min(this.sizeMax, size));
      larger.set(this.bytes);
      this.bytes = larger;
    }
    this.end -= this.start;
    this.start = 0;
  }
}

/**
 * The buffers for everything that one peer sends: first what the handshake left in its inbox, then
 * a small buffer while little comes and a large one while reads fill it.
 *
 * Use: `rest()` while it `hasRest`; then again and again read into `buffer()` and say `filled()`.
 */
export class Flow {
  /** Null when all of it has been handed out: its buffer is not kept alive for nothing. */
  #inbox: Inbox | null;
  #small: Uint8Array | null = null;
  #large: Uint8Array | null = null;
  #isFull = false;
  #ended = false;

  /** @param inbox what the handshake has left; null when there was none. */
  constructor(inbox: Inbox | null) {
    this.#inbox = inbox;
  }

  /**
   * What the handshake has received and nobody has taken, a read that it left under way included;
   * null when that is all. The returned bytes are valid until the next call.
   */
  async rest(): Promise<Uint8Array | null> {
    const inbox = this.#inbox;
    if (inbox === null) return null;
    if (inbox.length === 0 && inbox.reading) await inbox.fill();
    if (inbox.length === 0) {
      this.#ended = inbox.ended;
      inbox.release();
      this.#inbox = null;
      return null;
    }
    const rest = inbox.bytes.subarray(inbox.start, inbox.end);
    inbox.take(rest.length);
    return rest;
  }

  /** `rest()` has not been null yet. */
  get hasRest(): boolean {
    return this.#inbox !== null;
  }

  /** The peer has ended its stream behind what `rest()` gave. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Where to read into; what the one before held is no longer needed. */
  buffer(): Uint8Array {
    if (!this.#isFull) this.release();
    else this.#large ??= spareBuffers.pop() ?? new Uint8Array(FLOWING_BUFFER_SIZE);
    return this.#large ?? (this.#small ??= new Uint8Array(WAITING_BUFFER_SIZE));
  }

  /** Of `buffer`, `count` bytes have been read into: the window with them. */
  filled(buffer: Uint8Array, count: number): Uint8Array {
    this.#isFull = count === buffer.length;
    return this.#isFull ? buffer : buffer.subarray(0, count);
  }

  /** Gives the large buffer back, when no read is under way into it. */
  release(): void {
    if (this.#large === null) return;
    if (spareBuffers.length < SPARE_BUFFERS_MAX) spareBuffers.push(this.#large);
    this.#large = null;
  }
}

/** What has come, behind what was kept of it before. */
export function joined(kept: Uint8Array, bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array(kept.length + bytes.length);
  whole.set(kept);
  whole.set(bytes, kept.length);
  return whole;
}

/** Moves `bytes[from, to)` down to `kept`, behind what was kept before; returns its end there. */
export function keep(bytes: Uint8Array, kept: number, from: number, to: number): number {
  if (to <= from) return kept;
  if (kept !== from) bytes.copyWithin(kept, from, to);
  return kept + to - from;
}
