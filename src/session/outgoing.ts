// Outgoing: what is to be sent of a chunk, with some of it replaced.
// Hot: runs per message. No objects, no closures, no copies but of what is rewritten.

const NO_BYTES = new Uint8Array(0);
const SIZE_MIN = 512;
/** A larger buffer is not kept for the next chunk. */
const KEPT_SIZE_MAX = 64 * 1024;
/** Up to here a loop is cheaper than a view. */
const LOOP_SIZE_MAX = 96;

/**
 * A chunk goes as it is while nothing in it is rewritten. From the first rewriting on everything
 * is collected in a buffer.
 *
 * Invariant: what lies before `#runStart` in the chunk has been collected, or nothing has been and
 * the run begins at the chunk's start.
 */
export class Outgoing {
  #chunk: Uint8Array = NO_BYTES;
  #runStart = 0;
  #bytes: Uint8Array = NO_BYTES;
  #size = 0;

  /** A chunk begins. */
  begin(chunk: Uint8Array): void {
    this.#chunk = chunk;
    this.#runStart = 0;
    this.#size = 0;
    if (this.#bytes.length > KEPT_SIZE_MAX) this.#bytes = NO_BYTES;
  }

  /** How much has been collected: where what comes next will stand. */
  get size(): number {
    return this.#size;
  }

  /** Everything of the chunk before `at` goes as it is; what is added goes behind it. */
  passUntil(at: number): void {
    if (at > this.#runStart) this.#append(this.#chunk, this.#runStart, at);
    this.#runStart = at;
  }

  /** The chunk goes on at `at`. */
  skipTo(at: number): void {
    this.#runStart = at;
  }

  add(bytes: Uint8Array): void {
    this.#append(bytes, 0, bytes.length);
  }

  /** A part of some bytes. */
  addPart(bytes: Uint8Array, start: number, end: number): void {
    this.#append(bytes, start, end);
  }

  /** Overwrites four bytes of what has been collected. */
  setInt32(at: number, value: number): void {
    const bytes = this.#bytes;
    bytes[at] = value >>> 24;
    bytes[at + 1] = value >>> 16;
    bytes[at + 2] = value >>> 8;
    bytes[at + 3] = value;
  }

  /** What is to be sent of the chunk up to `end`; valid until the next chunk begins. */
  take(end: number): Uint8Array {
    const chunk = this.#chunk;
    this.#chunk = NO_BYTES;
    if (this.#size === 0) {
      if (end === chunk.length && this.#runStart === 0) return chunk;
      return chunk.subarray(this.#runStart, Math.max(end, this.#runStart));
    }
    if (end > this.#runStart) this.#append(chunk, this.#runStart, end);
    return this.#bytes.subarray(0, this.#size);
  }

  #append(bytes: Uint8Array, start: number, end: number): void {
    const size = end - start;
    const needed = this.#size + size;
    if (needed > this.#bytes.length) this.#grow(needed);
    if (size > LOOP_SIZE_MAX) this.#bytes.set(bytes.subarray(start, end), this.#size);
    else for (let at = start, to = this.#size; at < end; at++) this.#bytes[to++] = bytes[at]!;
    this.#size = needed;
  }

  #grow(needed: number): void {
    const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2, SIZE_MIN));
    larger.set(this.#bytes.subarray(0, this.#size));
    this.#bytes = larger;
  }
}
