// Finds message boundaries in a byte stream, wherever the stream is cut.
// Hot: runs per message. No objects, no closures, no promises, no copies.

import { BackendMessage, FrontendMessage, HEADER_SIZE, LENGTH_SIZE } from "./codes.ts";

/** Which message types a framer counts: 1 at the index of their type byte. */
function counting(...types: number[]): Uint8Array {
  const table = new Uint8Array(256);
  for (const type of types) table[type] = 1;
  return table;
}

/** The requests of a frontend that are each answered by one ReadyForQuery. */
export const REQUESTS_ANSWERED: Uint8Array = counting(
  FrontendMessage.Query,
  FrontendMessage.FunctionCall,
  FrontendMessage.Sync,
);
/** The answers to them. */
export const ANSWERS: Uint8Array = counting(BackendMessage.ReadyForQuery);

/** Follows a stream of typed messages from header to header without looking into their bodies. */
export class Framer {
  /** Type byte of the message being walked, or of the last one when at a boundary. */
  type = 0;
  /** Body bytes of the current message that have not come yet. */
  bodyRemaining = 0;
  /** A length below four was seen: where messages begin is no longer known. */
  lost = false;
  /** Messages of the counted types that have begun. */
  counted = 0;
  /** The last byte of the last ReadyForQuery: the transaction status. */
  transactionStatus = 0;
  /** The last step ended with a header: `type` and `bodyRemaining` are those of a new message. */
  headerEnded = false;
  #headerSeen = 0;
  #length = 0;
  readonly #counting: Uint8Array;

  constructor(counting: Uint8Array) {
    this.#counting = counting;
  }

  /** Does the next byte begin a message? */
  get atBoundary(): boolean {
    return !this.lost && this.#headerSeen === 0 && this.bodyRemaining === 0;
  }

  /** Bytes of the next header that have come; it may be cut anywhere. */
  get headerSeen(): number {
    return this.#headerSeen;
  }

  /** Walks `bytes[start, end)`. */
  walk(bytes: Uint8Array, start: number, end: number): void {
    let at = start;
    while (at < end && !this.lost) at = this.step(bytes, at, end);
  }

  /**
   * Walks on from `at`, and stops behind the next header, behind the body before it, or at the end.
   *
   * @returns where it stopped: a message has begun there if `headerEnded`.
   */
  step(bytes: Uint8Array, at: number, end: number): number {
    this.headerEnded = false;
    if (this.bodyRemaining > 0) {
      const size = Math.min(this.bodyRemaining, end - at);
      this.bodyRemaining -= size;
      if (this.type === BackendMessage.ReadyForQuery) {
        this.transactionStatus = bytes[at + size - 1]!;
      }
      return at + size;
    }
    if (this.#headerSeen === 0 && end - at >= HEADER_SIZE) {
      this.type = bytes[at]!;
      this.#begin(
        (bytes[at + 1]! << 24) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 8) | bytes[at + 4]!,
      );
      return at + HEADER_SIZE;
    }
    this.#headerByte(bytes[at]!);
    return at + 1;
  }

  #headerByte(byte: number): void {
    if (this.#headerSeen === 0) {
      this.type = byte;
      this.#length = 0;
    } else {
      this.#length = (this.#length << 8) | byte;
    }
    if (++this.#headerSeen === HEADER_SIZE) this.#begin(this.#length);
  }

  #begin(length: number): void {
    this.#headerSeen = 0;
    this.headerEnded = true;
    this.counted += this.#counting[this.type]!;
    this.bodyRemaining = length - LENGTH_SIZE;
    if (this.bodyRemaining < 0) this.lost = true;
  }
}
