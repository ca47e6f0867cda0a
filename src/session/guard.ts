// Guard: stands before a client, and logs or refuses what openly changes its session context.
// Hot: runs per read and per message. No objects, no closures, no copies but of what has been cut.

import { BackendMessage, FrontendMessage, HEADER_SIZE, SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { Framer } from "../codec/framer.ts";
import { readInt32, terminator } from "../codec/reader.ts";
import { Flow, Inbox, joined } from "../net/buffers.ts";
import { type Transport, writeAll } from "../net/transport.ts";
import {
  changeIn,
  NOTHING_SAID,
  suspectAt,
  UNDECIDED,
  WORDS_SIZE_MAX,
} from "../protocol/context_words.ts";

/** What is looked for, and what becomes of it. */
export interface GuardOptions {
  readonly policy: "log" | "block";
  /** Names of the context's variables, in lower case. */
  readonly variables: ReadonlySet<string>;
}

/** What the log says of a statement. */
export const SUSPICIOUS = "statement would change the session context";

const NOTHING_COUNTED = new Uint8Array(256);
const NO_BYTES = new Uint8Array(0);
/** A statement's name and its first words stand within so many bytes. */
const LOOK_SIZE_MAX = 1024;
/** An ErrorResponse that is looked at; what is larger is none that a refusal causes. */
const ERROR_SIZE_MAX = 16 * 1024;
/** As long as `set role`, quotes included: the shortest that is refused. */
const MARK_SIZE = 8;
const LETTERS = "abcdefghijklmnopqrstuvwxyz";

const REFUSAL: Uint8Array = new PgError(
  SqlState.InsufficientPrivilege,
  "statement refused: it would change the session context",
  {
    severity: "ERROR",
    detail: "The tenant and the role of a connection follow from its user name.",
    hint: "Connect as another tenant instead, or set context_guard = log in pgvpd's configuration.",
  },
).encode();

/** The client as the relay is to see it; the same inbox where there is nothing to guard. */
export function guarded(
  client: Inbox,
  options: GuardOptions | null,
  report: (change: string) => void,
): Inbox {
  if (options === null) return client;
  return new Inbox(new GuardedTransport(client, options, report), client.sizeMax);
}

/**
 * A statement is refused by the server itself: its first words become a mark that is no SQL, so
 * that the error comes where it must, and everything behind it is as behind any other error. On the
 * way back the mark is known, and the error becomes pgvpd's own.
 */
export class GuardedTransport implements Transport {
  readonly #inner: Transport;
  /** What the handshake has left; null when all of it has been taken. */
  #before: Flow | null;
  readonly #options: GuardOptions;
  readonly #report: (change: string) => void;
  readonly #requests = new Framer(NOTHING_COUNTED);
  readonly #answers = new Framer(NOTHING_COUNTED);
  readonly #mark = newMark();
  /** To be handed out first. */
  #held: Uint8Array = NO_BYTES;
  #ended = false;
  #hasRefused = false;
  /** The beginning of an ErrorResponse. */
  #heldAnswer: Uint8Array = NO_BYTES;

  constructor(client: Inbox, options: GuardOptions, report: (change: string) => void) {
    this.#inner = client.transport;
    this.#before = new Flow(client);
    this.#options = options;
    this.#report = report;
  }

  get peer(): string {
    return this.#inner.peer;
  }

  closeWrite(): Promise<void> {
    return this.#inner.closeWrite();
  }

  close(): void {
    this.#inner.close();
  }

  async read(into: Uint8Array): Promise<number | null> {
    const held = this.#held;
    let size = Math.min(held.length, into.length);
    if (size > 0) {
      into.set(size === held.length ? held : held.subarray(0, size));
      this.#held = size === held.length ? NO_BYTES : held.subarray(size);
    }
    let isCut = false;
    for (;;) {
      if ((size === 0 || isCut) && !this.#ended) {
        const count = await this.#more(size === 0 ? into : into.subarray(size));
        if (count === null) this.#ended = true;
        else size += count;
      }
      if (size === 0) return null;
      const passed = this.#scan(into, size, size < into.length);
      isCut = passed === 0; // the only message in it has begun, and must be waited for
      if (isCut) continue;
      if (passed < size) this.#hold(into, passed, size);
      return passed;
    }
  }

  /** First what came during the handshake, a read that was left under way included. */
  async #more(into: Uint8Array): Promise<number | null> {
    const before = this.#before;
    if (before !== null) {
      const rest = await before.rest();
      if (rest !== null) {
        const count = Math.min(rest.length, into.length);
        into.set(rest.subarray(0, count));
        if (count < rest.length) this.#held = new Uint8Array(rest.subarray(count));
        return count;
      }
      this.#before = null;
      if (before.ended) return null;
    }
    return await this.#inner.read(into);
  }

  #hold(bytes: Uint8Array, from: number, to: number): void {
    this.#held = joined(bytes.subarray(from, to), this.#held);
  }

  /** Walks `bytes[0, size)`; returns where a message begins that cannot be judged yet, or `size`. */
  #scan(bytes: Uint8Array, size: number, hasRoom: boolean): number {
    const framer = this.#requests;
    let at = 0;
    while (at < size && !framer.lost) {
      if (framer.atBoundary) {
        const mayWait = !this.#ended && (at > 0 || hasRoom);
        if (size - at < HEADER_SIZE) {
          if (mayWait) return at;
        } else if (bytes[at] === FrontendMessage.Query || bytes[at] === FrontendMessage.Parse) {
          if (!this.#judge(bytes, at, size) && mayWait && size - at < LOOK_SIZE_MAX) return at;
        }
      }
      at = framer.step(bytes, at, size);
    }
    return size;
  }

  /** Looks at a message; returns whether what has come of it was enough. */
  #judge(bytes: Uint8Array, at: number, size: number): boolean {
    const end = at + 1 + readInt32(bytes, at + 1);
    const seen = Math.min(end, size);
    let textAt = at + HEADER_SIZE;
    if (bytes[at] === FrontendMessage.Parse) {
      textAt = terminator(bytes, textAt, seen) + 1;
      if (textAt === 0) return seen === end;
    }
    const wordsEnd = Math.min(seen, textAt + WORDS_SIZE_MAX);
    const isWhole = seen === end || seen - textAt >= WORDS_SIZE_MAX;
    const wordAt = suspectAt(bytes, textAt, wordsEnd, isWhole);
    if (wordAt === NOTHING_SAID) return true;
    if (wordAt === UNDECIDED || !isWhole) return false;
    const change = changeIn(bytes, wordAt, wordsEnd, this.#options.variables);
    if (change === null) return true;
    this.#report(change);
    if (this.#options.policy === "block") this.#refuse(bytes, wordAt, wordsEnd);
    return true;
  }

  #refuse(bytes: Uint8Array, wordAt: number, wordsEnd: number): void {
    // Where the text ends before, it is no statement anyway.
    const textEnd = terminator(bytes, wordAt, wordsEnd);
    if ((textEnd < 0 ? wordsEnd : textEnd) - wordAt < MARK_SIZE) return;
    bytes.set(this.#mark, wordAt);
    this.#hasRefused = true;
  }

  write(bytes: Uint8Array): Promise<number> {
    if (this.#options.policy === "log") return this.#inner.write(bytes);
    return this.#hasRefused ? this.#writeAnswers(bytes) : this.#writeWalked(bytes);
  }

  async #writeWalked(bytes: Uint8Array): Promise<number> {
    const sent = await this.#inner.write(bytes);
    this.#answers.walk(bytes, 0, sent);
    return sent;
  }

  /** Something has been refused: errors are looked at. */
  async #writeAnswers(chunk: Uint8Array): Promise<number> {
    const framer = this.#answers;
    const bytes = this.#heldAnswer.length === 0 ? chunk : joined(this.#heldAnswer, chunk);
    this.#heldAnswer = NO_BYTES;
    let from = 0;
    let at = 0;
    while (at < bytes.length && !framer.lost) {
      if (!framer.atBoundary || bytes.length - at < HEADER_SIZE && !maybeError(bytes, at)) {
        at = framer.step(bytes, at, bytes.length);
        continue;
      }
      if (bytes[at] === BackendMessage.ErrorResponse) {
        const end = errorEnd(bytes, at);
        if (end > bytes.length) {
          await writeAll(this.#inner, bytes.subarray(from, at));
          this.#heldAnswer = new Uint8Array(bytes.subarray(at));
          return chunk.length;
        }
        if (end > 0 && this.#isMarked(bytes, at, end)) {
          await writeAll(this.#inner, bytes.subarray(from, at));
          await writeAll(this.#inner, REFUSAL);
          from = at = end;
          continue;
        }
      }
      at = framer.step(bytes, at, bytes.length);
    }
    if (from < bytes.length) await writeAll(this.#inner, bytes.subarray(from));
    return chunk.length;
  }

  /** Whether the error in `bytes[start, end)` is about the mark: "syntax error at or near …". */
  #isMarked(bytes: Uint8Array, start: number, end: number): boolean {
    const mark = this.#mark;
    for (let at = start; at <= end - MARK_SIZE; at++) {
      let same = 0;
      while (same < MARK_SIZE && bytes[at + same] === mark[same]) same++;
      if (same === MARK_SIZE) return true;
    }
    return false;
  }
}

function maybeError(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === BackendMessage.ErrorResponse;
}

/** Where an ErrorResponse ends, beyond what has come when its header is cut; 0 when it is large. */
function errorEnd(bytes: Uint8Array, at: number): number {
  if (bytes.length - at < HEADER_SIZE) return bytes.length + 1;
  const length = readInt32(bytes, at + 1);
  return length > ERROR_SIZE_MAX ? 0 : at + 1 + length;
}

/** A quoted name, which begins no statement. It is no secret: it tells one error from others. */
function newMark(): Uint8Array {
  const mark = crypto.getRandomValues(new Uint8Array(MARK_SIZE));
  for (let at = 0; at < MARK_SIZE; at++) {
    mark[at] = LETTERS.charCodeAt(mark[at]! % LETTERS.length);
  }
  mark[0] = mark[MARK_SIZE - 1] = '"'.charCodeAt(0);
  return mark;
}
