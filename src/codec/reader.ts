// Bounds-checked reading inside one body: every overrun is the same protocol error.

import { PgError } from "./error.ts";

const DECODER = new TextDecoder();

/** Reads the fields of one message body, `bytes[start, end)`, front to back. */
export class MessageReader {
  #at: number;

  constructor(readonly bytes: Uint8Array, start: number, readonly end: number) {
    this.#at = start;
  }

  /** Bytes that have not been read. */
  get remaining(): number {
    return this.end - this.#at;
  }

  /** The next byte. */
  byte(): number {
    return this.bytes[this.#advance(1)]!;
  }

  /** The next two bytes as an unsigned integer. */
  int16(): number {
    const at = this.#advance(2);
    return (this.bytes[at]! << 8) | this.bytes[at + 1]!;
  }

  /** The next four bytes as a signed integer. */
  int32(): number {
    return readInt32(this.bytes, this.#advance(4));
  }

  /** The next `size` bytes, as a window into the message. */
  window(size: number): Uint8Array {
    const at = this.#advance(size);
    return this.bytes.subarray(at, at + size);
  }

  /** The bytes up to the next NUL, which is read too, as a window into the message. */
  cstringBytes(): Uint8Array {
    const terminator = this.bytes.indexOf(0, this.#at);
    if (terminator < 0 || terminator >= this.end) throw overrun();
    const at = this.#advance(terminator - this.#at + 1);
    return this.bytes.subarray(at, terminator);
  }

  /** The text up to the next NUL; bytes that are not UTF-8 become replacement characters. */
  cstring(): string {
    return DECODER.decode(this.cstringBytes());
  }

  /** Throws unless everything has been read. */
  expectEnd(): void {
    if (this.remaining !== 0) throw overrun();
  }

  #advance(size: number): number {
    if (size < 0 || size > this.remaining) throw overrun();
    const at = this.#at;
    this.#at += size;
    return at;
  }
}

/** The signed big-endian integer at `offset`; the caller knows that four bytes are there. */
export function readInt32(bytes: Uint8Array, offset: number): number {
  return (bytes[offset]! << 24) | (bytes[offset + 1]! << 16) | (bytes[offset + 2]! << 8) |
    bytes[offset + 3]!;
}

function overrun(): PgError {
  return PgError.protocolViolation("invalid message format");
}

/** Where the string at `start` has its NUL; -1 when there is none before `end`. */
export function terminator(bytes: Uint8Array, start: number, end: number): number {
  for (let at = start; at < end; at++) if (bytes[at] === 0) return at;
  return -1;
}
