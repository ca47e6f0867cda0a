// Building messages: begin, fill, end. The length is patched in one place.

import { assert } from "../assert.ts";

const ENCODER = new TextEncoder();

/** A growable area that messages are written into. */
export class MessageWriter {
  #bytes: Uint8Array<ArrayBuffer>;
  #end = 0;
  #lengthAt = -1;

  constructor(capacity = 256) {
    this.#bytes = new Uint8Array(capacity);
  }

  /** Starts a message of `type`. */
  begin(type: number): this {
    this.byte(type);
    return this.beginPacket();
  }

  /** Starts a packet that has no type byte. */
  beginPacket(): this {
    assert(this.#lengthAt < 0, "a message is already being written");
    this.#lengthAt = this.#end;
    return this.int32(0);
  }

  /** Ends the message: writes its length in. */
  end(): this {
    assert(this.#lengthAt >= 0, "no message is being written");
    const view = new DataView(this.#bytes.buffer);
    view.setInt32(this.#lengthAt, this.#end - this.#lengthAt);
    this.#lengthAt = -1;
    return this;
  }

  byte(value: number): this {
    this.#reserve(1);
    this.#bytes[this.#end++] = value;
    return this;
  }

  int16(value: number): this {
    return this.byte(value >>> 8).byte(value);
  }

  int32(value: number): this {
    return this.int16(value >>> 16).int16(value);
  }

  raw(bytes: Uint8Array): this {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#end);
    this.#end += bytes.length;
    return this;
  }

  /** Text as UTF-8 with a NUL behind it. */
  cstring(text: string): this {
    return this.cstringBytes(ENCODER.encode(text));
  }

  /** Bytes with a NUL behind them. A NUL inside would start another field: a mistake of ours. */
  cstringBytes(bytes: Uint8Array): this {
    assert(!bytes.includes(0), "a string on the wire cannot hold a NUL");
    return this.raw(bytes).byte(0);
  }

  /** What has been written, in an array of its own. */
  take(): Uint8Array<ArrayBuffer> {
    assert(this.#lengthAt < 0, "a message is still being written");
    return this.#bytes.slice(0, this.#end);
  }

  #reserve(size: number): void {
    const needed = this.#end + size;
    if (needed <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    larger.set(this.#bytes);
    this.#bytes = larger;
  }
}
