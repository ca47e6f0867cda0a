// TLS as a Transport over a Transport, for both roles.
// Hot: read and write run per message. No closures and no copies but the engine's own.

import { FLOWING_BUFFER_SIZE, WAITING_BUFFER_SIZE } from "./buffers.ts";
import { TlsEngine, TlsError } from "./tls_engine.ts";
import { type Transport, writeAll } from "./transport.ts";

/**
 * The plaintext in one record. Records larger than 8 KiB have blocked libpq's non-blocking API: it
 * reads that much from the socket and forgets what the TLS library still holds.
 */
const RECORD_SIZE_MAX = 8 * 1024;
/** Plaintext that is encrypted and written at once: what the engine takes without queueing. */
const WRITE_SIZE_MAX = 4 * RECORD_SIZE_MAX;

/**
 * Gives memory of the engine back now: V8 hardly counts it and would let hundreds of megabytes pile
 * up before it collects them.
 */
function free(bytes: Uint8Array): void {
  (bytes.buffer as ArrayBuffer).transfer(0);
}

/** A connection with TLS established. */
export class TlsTransport implements Transport {
  readonly #below: Transport;
  readonly engine: TlsEngine;
  #waitingBuffer: Uint8Array | null = null;
  #flowingBuffer: Uint8Array | null = null;
  #isFull = false;
  /** Bytes of `plaintext[0]` that have been taken. */
  #taken = 0;
  /** A write of the reading side (an answer of the protocol itself) that is under way. */
  #answering: Promise<void> | null = null;
  #writing = false;
  #closed = false;

  constructor(below: Transport, engine: TlsEngine) {
    this.#below = below;
    this.engine = engine;
  }

  get peer(): string {
    return this.#below.peer;
  }

  async read(into: Uint8Array): Promise<number | null> {
    const { engine } = this;
    while (engine.plaintext.length === 0) {
      if (engine.failure !== null) throw engine.failure;
      if (engine.ended) return null;
      await this.#receive();
    }
    const first = engine.plaintext[0]!;
    const size = Math.min(into.length, first.length - this.#taken);
    into.set(
      this.#taken === 0 && size === first.length
        ? first
        : first.subarray(this.#taken, this.#taken + size),
    );
    this.#taken += size;
    if (this.#taken === first.length) {
      engine.plaintext.shift();
      this.#taken = 0;
      free(first);
    }
    return size;
  }

  async write(bytes: Uint8Array): Promise<number> {
    const { engine } = this;
    if (this.#answering !== null) await this.#answering;
    if (this.#closed) throw new TlsError("the connection is closed");
    if (engine.failure !== null) throw engine.failure;
    const size = Math.min(bytes.length, WRITE_SIZE_MAX);
    if (size <= RECORD_SIZE_MAX) {
      engine.send(size === bytes.length ? bytes : bytes.subarray(0, size));
    } else {
      for (let at = 0; at < size; at += RECORD_SIZE_MAX) {
        engine.send(bytes.subarray(at, Math.min(at + RECORD_SIZE_MAX, size)));
      }
    }
    await this.#flush();
    return size;
  }

  async closeWrite(): Promise<void> {
    if (this.#closed) return;
    try {
      if (this.#answering !== null) await this.#answering;
      if (this.engine.failure === null && !this.#writing) {
        this.engine.sendEnd();
        await this.#flush();
      }
    } catch {
      // The peer has gone already: there is nobody left to tell.
    }
    await this.#below.closeWrite();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (!this.#writing && this.#answering === null) this.#sayEnd();
    this.#below.close();
    this.engine.destroy();
  }

  /** Without it OpenSSL takes the end for an attack. Nobody waits: a full socket is not worth it. */
  #sayEnd(): void {
    if (this.engine.failure !== null) return;
    this.engine.sendEnd();
    const bytes = this.engine.outgoing();
    if (bytes.length > 0) this.#below.write(bytes).catch(() => {});
  }

  /** Waits for more ciphertext and has it decrypted. */
  async #receive(): Promise<void> {
    const buffer = this.#buffer();
    const count = await this.#below.read(buffer);
    if (this.#closed) throw new TlsError("the connection is closed");
    if (count === null) return this.engine.receiveEnd();
    this.#isFull = count === buffer.length;
    this.engine.receive(this.#isFull ? buffer : buffer.subarray(0, count));
    if (this.#writing) return; // the one who writes takes along what there is to answer
    const answer = this.engine.outgoing();
    if (answer.length > 0) await this.#answer(answer);
  }

  async #answer(bytes: Uint8Array): Promise<void> {
    const answering = writeAll(this.#below, bytes);
    this.#answering = answering;
    try {
      await answering;
    } catch {
      // What is being read may still be complete: the next read or write tells.
    } finally {
      this.#answering = null;
    }
  }

  async #flush(): Promise<void> {
    this.#writing = true;
    try {
      let bytes = this.engine.outgoing();
      while (bytes.length > 0) {
        let sent = await this.#below.write(bytes);
        while (sent < bytes.length) sent += await this.#below.write(bytes.subarray(sent));
        free(bytes);
        bytes = this.engine.outgoing();
      }
    } finally {
      this.#writing = false;
    }
  }

  /** Small while little comes, because a pending read pins it. */
  #buffer(): Uint8Array {
    if (this.#isFull) return this.#flowingBuffer ??= new Uint8Array(FLOWING_BUFFER_SIZE);
    this.#flowingBuffer = null;
    return this.#waitingBuffer ??= new Uint8Array(WAITING_BUFFER_SIZE);
  }
}

/**
 * Carries the handshake through.
 *
 * @param received what has come from the peer already: the beginning of its handshake.
 * @throws {TlsError} when it fails, after the peer has been told so; and what reading throws.
 */
export async function establishTls(
  below: Transport,
  engine: TlsEngine,
  received: Uint8Array | null,
): Promise<TlsTransport> {
  const buffer = new Uint8Array(WAITING_BUFFER_SIZE);
  try {
    if (received !== null && received.length > 0) engine.receive(received);
    for (;;) {
      const answer = engine.outgoing();
      if (answer.length > 0) await writeAll(below, answer);
      if (engine.failure !== null) throw engine.failure;
      if (engine.established) return new TlsTransport(below, engine);
      const count = await below.read(buffer);
      if (count === null) throw new TlsError("the peer closed the connection in the handshake");
      engine.receive(buffer.subarray(0, count));
    }
  } catch (error) {
    engine.destroy();
    throw error;
  }
}
