// Conversation: pgvpd itself talks to a server, and reads every message whole.

import { BackendMessage, HEADER_SIZE, LENGTH_SIZE, SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { readInt32 } from "../codec/reader.ts";
import { type Backend, type BackendConsumer, NOBODY } from "./backend.ts";

/** The largest message that a server may answer pgvpd with. */
export const MESSAGE_SIZE_MAX = 64 * 1024;
const NO_BYTES = new Uint8Array(0);

interface Outcome {
  resolve(result: unknown): void;
  reject(reason: unknown): void;
}

/**
 * Takes what the server says until `finish` or `fail` is called; then the consumer of before is
 * back. Subclasses see whole messages, in order, one after the other.
 *
 * Several may be begun one behind the other: each takes up where the one before it has finished.
 */
export abstract class Conversation<Result> implements BackendConsumer {
  /** Rejects when the server went away, said what it must not, or the subclass said so. */
  readonly result: Promise<Result>;
  readonly #outcome: Outcome;
  #before: BackendConsumer = NOBODY;
  #next: Conversation<unknown> | null = null;
  #held: Uint8Array = NO_BYTES;
  #isOver = false;
  /** It has its result; what has come behind it is still to be looked at. */
  #conclude: (() => void) | null = null;

  constructor(protected readonly backend: Backend) {
    const outcome = Promise.withResolvers<Result>();
    this.#outcome = outcome;
    this.result = outcome.promise;
    this.result.catch(() => {}); // whoever waits is told; a caller may have gone
    const current = backend.consumer;
    if (current instanceof Conversation && !current.#isOver && !current.givesWay) {
      current.#last().#next = this;
    } else {
      if (!this.givesWay) this.#before = current;
      // The beginning of a notice may have come already.
      if (current instanceof Conversation && !current.#isOver) {
        this.#held = current.#held;
        current.#held = NO_BYTES;
      }
      backend.consumer = this;
    }
  }

  /** Whether it ends as soon as somebody else has something to say. */
  protected get givesWay(): boolean {
    return false;
  }

  /** The largest message that is taken. */
  protected get messageSizeMax(): number {
    return MESSAGE_SIZE_MAX;
  }

  /** One message with body `bytes[start, end)`. Throws, or rejects, to fail. */
  protected abstract message(
    type: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): Promise<void> | void;

  async consume(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at = this.backend.walk(bytes, at, bytes.length);
    await this.#take(bytes);
  }

  lost(): void {
    this.fail(
      new PgError(
        SqlState.ConnectionFailure,
        "the upstream server closed the connection unexpectedly",
        { hint: "Look into the server's log." },
      ),
    );
    this.#before.lost();
  }

  /** Ends the conversation well. */
  protected finish(result: Result): void {
    this.#conclude ??= () => this.#outcome.resolve(result);
  }

  /** Ends it badly, but in step: the conversations behind it go on. */
  protected finishWith(error: unknown): void {
    this.#conclude ??= () => this.#outcome.reject(error);
  }

  /** Ends it, and those behind it: what the server may still say finds nobody who expects it. */
  fail(error: unknown): void {
    if (this.#isOver) return;
    const next = this.#next;
    this.#next = null;
    this.#end();
    this.#outcome.reject(error);
    next?.fail(error);
  }

  #last(): Conversation<unknown> {
    return this.#next === null ? this : this.#next.#last();
  }

  #end(): void {
    this.#isOver = true;
    const { backend } = this;
    if (this.#next !== null) this.#next.#before = this.#before;
    if (backend.consumer === this) backend.consumer = this.#next ?? this.#before;
  }

  /** Reads the messages in what it holds and `bytes`, which have been walked. */
  async #take(bytes: Uint8Array): Promise<void> {
    let all = bytes;
    if (this.#held.length > 0) {
      all = new Uint8Array(this.#held.length + bytes.length);
      all.set(this.#held);
      all.set(bytes, this.#held.length);
    }
    let at = 0;
    try {
      while (!this.#isOver && all.length - at >= HEADER_SIZE) {
        if (this.#conclude !== null && this.#next !== null) break;
        const length = readInt32(all, at + 1);
        if (length < LENGTH_SIZE || length > this.messageSizeMax) throw malformedReply();
        const end = at + 1 + length;
        if (end > all.length) break;
        const handled = this.#handle(all, at, end);
        at = end;
        if (handled !== undefined) await handled;
      }
    } catch (error) {
      // Whoever is out of step once is not believed again.
      const isOutOfStep = error instanceof PgError && error.sqlState === SqlState.ProtocolViolation;
      if (isOutOfStep) this.backend.ledger.uncertain = true;
      return this.fail(error);
    }
    if (this.#isOver) return;
    const rest = all.slice(at);
    const next = this.#next;
    if (this.#conclude === null || next === null && rest.length > 0) {
      this.#held = rest;
      return;
    }
    this.#end();
    this.#conclude();
    if (next !== null) await next.#take(rest);
  }

  /** The message `all[at, end)`. */
  #handle(all: Uint8Array, at: number, end: number): Promise<void> | void {
    const type = all[at]!;
    const { notify, ledger } = this.backend;
    if (type === BackendMessage.NotificationResponse && notify !== null) {
      return notify(all.subarray(at, end));
    }
    if (this.#conclude === null) return this.message(type, all, at + HEADER_SIZE, end);
    if (!isAsynchronous(type)) ledger.uncertain = true; // nobody has asked for it
  }
}

/** May come between any two messages, and answers nothing. */
export function isAsynchronous(type: number): boolean {
  return type === BackendMessage.NoticeResponse || type === BackendMessage.ParameterStatus ||
    type === BackendMessage.NotificationResponse;
}

/** The server does not keep to the protocol, or is one step ahead or behind. */
export function malformedReply(): PgError {
  return PgError.protocolViolation("the upstream server sent a message that does not belong here");
}

/** Watches a connection that nobody uses: reports and notices are fine, anything else is its end. */
export class IdleWatch extends Conversation<never> {
  protected override get givesWay(): boolean {
    return true;
  }

  protected message(type: number): void {
    if (!isAsynchronous(type)) this.backend.close();
  }
}
