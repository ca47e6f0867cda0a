// A connection in memory: two byte pipes with back-pressure, half-close and reset, and counters.

import type { Transport } from "../../src/net/transport.ts";

/** How a pair of transports behaves. */
export interface MemoryPairOptions {
  /** Bytes that a direction holds before a writer has to wait. */
  readonly capacity?: number;
  /** How many bytes one read may give, at most: how the stream is cut. */
  readonly cut?: () => number;
  readonly peers?: readonly [string, string];
}

const RESET = "Connection reset by peer";
const CLOSED = "Bad resource ID";

/** One direction. */
class Pipe {
  #chunks: Uint8Array[] = [];
  #waiting: (() => void)[] = [];
  buffered = 0;
  bufferedMax = 0;
  ended = false;
  /** Why nobody can read, or write, any more. */
  readError: string | null = null;
  writeError: string | null = null;

  constructor(readonly capacity: number, readonly cut: () => number) {}

  async read(into: Uint8Array): Promise<number | null> {
    for (;;) {
      if (this.readError !== null) throw new Error(this.readError);
      if (this.buffered > 0) break;
      if (this.ended) return null;
      await this.#change();
    }
    const chunk = this.#chunks[0]!;
    const count = Math.min(into.length, chunk.length, Math.max(1, this.cut()));
    into.set(chunk.subarray(0, count));
    if (count === chunk.length) this.#chunks.shift();
    else this.#chunks[0] = chunk.subarray(count);
    this.buffered -= count;
    this.changed();
    return count;
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let sent = 0; sent < bytes.length;) {
      if (this.writeError !== null) throw new Error(this.writeError);
      const room = this.capacity - this.buffered;
      if (room <= 0) {
        await this.#change();
        continue;
      }
      const part = bytes.slice(sent, sent + room);
      this.#chunks.push(part);
      this.buffered += part.length;
      this.bufferedMax = Math.max(this.bufferedMax, this.buffered);
      sent += part.length;
      this.changed();
    }
    if (this.writeError !== null) throw new Error(this.writeError);
  }

  changed(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}

/** One end of a connection in memory. */
export class MemoryTransport implements Transport {
  reads = 0;
  writes = 0;
  bytesRead = 0;
  bytesWritten = 0;
  /** The largest buffer that a read was given: a pending read pins it. */
  readBufferSize = 0;
  closed = false;
  /** A write was begun while another was under way: its bytes may land inside the other's. */
  writesOverlapped = false;
  #writing = 0;

  constructor(readonly peer: string, readonly incoming: Pipe, readonly outgoing: Pipe) {}

  async read(into: Uint8Array): Promise<number | null> {
    this.reads++;
    this.readBufferSize = into.length;
    const count = await this.incoming.read(into);
    this.bytesRead += count ?? 0;
    return count;
  }

  async write(bytes: Uint8Array): Promise<number> {
    this.writes++;
    if (++this.#writing > 1) this.writesOverlapped = true;
    try {
      await this.outgoing.write(bytes);
      this.bytesWritten += bytes.length;
      return bytes.length;
    } finally {
      this.#writing--;
    }
  }

  closeWrite(): Promise<void> {
    this.outgoing.ended = true;
    this.outgoing.writeError ??= "Broken pipe";
    this.outgoing.changed();
    return Promise.resolve();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.incoming.readError ??= CLOSED;
    this.incoming.writeError ??= RESET;
    this.outgoing.writeError ??= CLOSED;
    this.outgoing.ended = true;
    this.incoming.changed();
    this.outgoing.changed();
  }

  /** The connection breaks: what was under way is lost, every read and write on it fails. */
  reset(): void {
    for (const pipe of [this.incoming, this.outgoing]) {
      pipe.readError ??= RESET;
      pipe.writeError ??= RESET;
      pipe.changed();
    }
  }
}

/** Both ends of a new connection. */
export function memoryPair(
  options: MemoryPairOptions = {},
): [near: MemoryTransport, far: MemoryTransport] {
  const { capacity = 256 * 1024, cut = () => Infinity, peers = ["near", "far"] } = options;
  const there = new Pipe(capacity, cut);
  const back = new Pipe(capacity, cut);
  return [new MemoryTransport(peers[1], back, there), new MemoryTransport(peers[0], there, back)];
}
