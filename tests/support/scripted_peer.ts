// A peer that says what a test tells it to, and expects what the test expects, message by message.

import { strict as assert } from "node:assert";
import type { MemoryTransport } from "./memory_transport.ts";

/** Drives one end of a connection. */
export class ScriptedPeer {
  #received = new Uint8Array(0);
  #ended = false;

  constructor(readonly transport: MemoryTransport) {}

  /** Says something; what has no reader any more is said to nobody. */
  async send(...messages: readonly Uint8Array[]): Promise<void> {
    for (const bytes of messages) await this.transport.write(bytes);
  }

  /** Waits for a message of this type and returns it, header included. */
  async expect(type: string): Promise<Uint8Array> {
    const next = await this.next();
    assert.notEqual(next, null, `expected message ${type}, got the end of the stream`);
    const got = String.fromCharCode(next![0]!);
    assert.equal(got, type, `expected message ${type}, got ${got}: ${describe(next!)}`);
    return next!;
  }

  /** Waits for one message of each of these types, in this order. */
  async expectAll(types: string): Promise<Uint8Array[]> {
    const messages: Uint8Array[] = [];
    for (const type of types) messages.push(await this.expect(type));
    return messages;
  }

  /** Waits for a packet without a type. */
  async expectPacket(): Promise<Uint8Array> {
    const header = await this.#need(4, "a packet");
    const size = new DataView(header.buffer, header.byteOffset).getInt32(0);
    return this.#take(await this.#need(size, "a packet"), size);
  }

  /** Waits for exactly these bytes. */
  async expectBytes(size: number): Promise<Uint8Array> {
    return this.#take(await this.#need(size, `${size} bytes`), size);
  }

  /** Waits for the end of the stream, with nothing before it. */
  async expectEnd(): Promise<void> {
    const rest = await this.rest();
    assert.equal(rest.length, 0, `expected the end of the stream, got ${describe(rest)}`);
  }

  /** Everything up to the end of the stream. */
  async rest(): Promise<Uint8Array> {
    while (await this.#more());
    return this.#take(this.#received, this.#received.length);
  }

  /** The next message whole, or null at the end of the stream. */
  async next(): Promise<Uint8Array | null> {
    if (this.#received.length === 0 && !await this.#more()) return null;
    const header = await this.#need(5, "a header");
    const size = 1 + new DataView(header.buffer, header.byteOffset).getInt32(1);
    assert(size >= 5, "a message with a length below four");
    return this.#take(await this.#need(size, "a message"), size);
  }

  /** Bytes that have been received and nobody has asked for. */
  get unread(): number {
    return this.#received.length + this.transport.incoming.buffered;
  }

  async #need(size: number, what: string): Promise<Uint8Array> {
    while (this.#received.length < size) {
      if (!await this.#more()) {
        assert.fail(`the stream ended inside ${what}: ${describe(this.#received)}`);
      }
    }
    return this.#received;
  }

  #take(bytes: Uint8Array, size: number): Uint8Array {
    this.#received = bytes.slice(size);
    return bytes.slice(0, size);
  }

  async #more(): Promise<boolean> {
    if (this.#ended) return false;
    const buffer = new Uint8Array(64 * 1024);
    const count = await this.transport.read(buffer);
    if (count === null) {
      this.#ended = true;
      return false;
    }
    const joined = new Uint8Array(this.#received.length + count);
    joined.set(this.#received);
    joined.set(buffer.subarray(0, count), this.#received.length);
    this.#received = joined;
    return true;
  }
}

function describe(bytes: Uint8Array): string {
  return JSON.stringify(new TextDecoder("latin1").decode(bytes.subarray(0, 200)));
}
