// Backend: one connection to the server, which outlives the clients it serves.
// Hot: runs per read and per message. No objects, no closures, no copies; one promise per read.

import { BackendMessage, HEADER_SIZE, TransactionStatus } from "../codec/codes.ts";
import { Framer } from "../codec/framer.ts";
import { Flow, type Inbox } from "../net/buffers.ts";
import type { Tally } from "../meters.ts";
import { type Transport, writeAll } from "../net/transport.ts";
import { ReplyLedger } from "../protocol/ledger.ts";
import type { ReplyFates } from "../protocol/fates.ts";
import { Capture } from "./capture.ts";

/** Who is given what the server says. One at a time; whoever it is replaces another by itself. */
export interface BackendConsumer {
  /**
   * Takes bytes, which are valid until the returned promise resolves; null when they have been
   * taken already. Nothing more is read before. It must walk all of them with `backend.walk`.
   */
  consume(bytes: Uint8Array): Promise<void> | null;
  /** The connection is over. */
  lost(): void;
}

/** Why `walk` has stopped. */
export const Stop = { AtEnd: 0, Ready: 1, ContextLost: 2, Withhold: 3 } as const;

/** Takes nothing in: for the moment before anybody talks. */
export const NOBODY: BackendConsumer = { consume: () => null, lost: () => {} };

/** Message types that are counted: none, the ledger counts. */
const NOTHING_COUNTED = new Uint8Array(256);

/** The tags that undo a context or prepared statements, with their terminators. */
const RESET_SIZE = 6;
const DISCARD_ALL_SIZE = 12;
const DEALLOCATE_ALL_SIZE = 15;
/** That of one; as long as that of an INSERT. */
const DEALLOCATE_SIZE = 11;

/**
 * Reads for the whole life of the connection and hands everything to the consumer of the moment, so
 * that no read is ever left pending in the hands of a client that has gone.
 */
export class Backend {
  readonly ledger = new ReplyLedger();
  /** The last ParameterStatus of each parameter. */
  readonly parameters: Map<string, string>;
  /** Which replies are pgvpd's own, when there may be some among a client's. */
  fates: ReplyFates | null = null;
  /** ParameterStatus messages that have come. */
  reports = 0;
  /** Takes the notifications that come while pgvpd itself talks to the server; null: nobody's. */
  notify: ((notification: Uint8Array) => Promise<void>) | null = null;
  /** Why the last walk has stopped. */
  stop: number = Stop.AtEnd;
  /** Resolves when the connection has ended for whatever reason. */
  readonly ended: Promise<void>;
  bytesReceived = 0;
  #consumer: BackendConsumer = NOBODY;
  #isOver = false;
  #statementsLost = false;
  readonly #transport: Transport;
  #inbox: Inbox | null;
  readonly #framer = new Framer(NOTHING_COUNTED);
  readonly #capture: Capture;
  readonly #over = Promise.withResolvers<void>();

  /**
   * @param parameters filled with what the server reports.
   * @param inbox what has come before; null when nothing has been read yet.
   */
  constructor(
    transport: Transport,
    parameters: Map<string, string>,
    inbox: Inbox | null = null,
  ) {
    this.#transport = transport;
    this.#inbox = inbox;
    this.parameters = parameters;
    this.#capture = new Capture(parameters);
    this.ended = this.#over.promise;
  }

  /** Counts the server's errors by the class of their SQLSTATE; null: nobody does. */
  set errors(errors: Tally | null) {
    this.#capture.errors = errors;
  }

  /** Begins to read, once there is somebody to read for. */
  start(): void {
    void this.#read();
  }

  get peer(): string {
    return this.#transport.peer;
  }

  /** Nothing more will come. */
  get isOver(): boolean {
    return this.#isOver;
  }

  get consumer(): BackendConsumer {
    return this.#consumer;
  }

  /** Who is given what comes from now on. */
  set consumer(consumer: BackendConsumer) {
    this.#consumer = consumer;
  }

  /** Does the next byte begin a message? */
  get atBoundary(): boolean {
    return this.#framer.atBoundary;
  }

  /** The type of the last message, which may not have come as a whole. */
  get lastType(): number {
    return this.#framer.type;
  }

  /** Bytes of a header that has been cut. */
  get openHeaderSize(): number {
    return this.#framer.headerSeen;
  }

  /** Bytes of a ReadyForQuery that has begun and not ended, or of a header that may be one's. */
  get openReadySize(): number {
    const { headerSeen, type, bodyRemaining } = this.#framer;
    if (headerSeen > 0) return headerSeen;
    return type === BackendMessage.ReadyForQuery && bodyRemaining > 0 ? HEADER_SIZE : 0;
  }

  /** Everything that was sent is answered, outside any transaction, and nothing stands in between. */
  get idle(): boolean {
    return this.ledger.settled && this.ledger.transactionStatus === TransactionStatus.Idle &&
      this.#framer.atBoundary && !this.#isOver;
  }

  /**
   * Follows `bytes[at, end)`, keeps the ledger and the parameters, and stops behind each
   * ReadyForQuery, and behind the completion of a statement that has undone the session's context.
   */
  walk(bytes: Uint8Array, at: number, end: number): number {
    const framer = this.#framer;
    while (at < end) {
      if (framer.lost) {
        this.ledger.uncertain = true;
        break;
      }
      const from = at;
      at = framer.step(bytes, at, end);
      if (framer.headerEnded) {
        if (this.#messageBegins()) return at;
        continue;
      }
      if (this.#capture.active) this.#captureBody(bytes, from, at);
      if (!framer.atBoundary) continue;
      if (framer.type === BackendMessage.ReadyForQuery) {
        this.ledger.ready(framer.transactionStatus);
        if (this.fates !== null) this.fates.ready();
        this.stop = Stop.Ready;
        return at;
      }
      if (this.#capture.contextLost) {
        this.#capture.contextLost = false;
        this.stop = Stop.ContextLost;
        return at;
      }
    }
    this.stop = Stop.AtEnd;
    return end;
  }

  #captureBody(bytes: Uint8Array, start: number, end: number): void {
    const capture = this.#capture;
    capture.take(bytes, start, end, this.#framer.bodyRemaining);
    if (!capture.statementLost && !capture.statementsLost) return;
    if (this.fates !== null) this.fates.deallocated(capture.statementsLost);
    if (capture.statementsLost) this.#statementsLost = true;
    capture.statementLost = capture.statementsLost = false;
  }

  /** Returns whether the message is to be withheld; it has no body then. */
  #messageBegins(): boolean {
    const { type, bodyRemaining } = this.#framer;
    switch (type) {
      case BackendMessage.ReadyForQuery:
        return false;
      case BackendMessage.ParameterStatus:
        this.reports++;
        this.#capture.begin(type, bodyRemaining);
        return false;
      case BackendMessage.CommandComplete:
        if (
          bodyRemaining === RESET_SIZE || bodyRemaining === DISCARD_ALL_SIZE ||
          bodyRemaining === DEALLOCATE_ALL_SIZE ||
          bodyRemaining === DEALLOCATE_SIZE && this.fates !== null && this.fates.deallocating
        ) {
          this.#capture.begin(type, bodyRemaining);
        }
        return false;
      case BackendMessage.ParseComplete:
      case BackendMessage.CloseComplete:
        if (this.fates === null || !this.fates.replied()) return false;
        this.stop = Stop.Withhold;
        return true;
      default:
        if (type === BackendMessage.ErrorResponse) this.#capture.begin(type, bodyRemaining);
        this.ledger.reply(type);
        if (type === BackendMessage.CopyInResponse && this.fates !== null) {
          this.fates.unitsDropped(this.ledger.syncsDropped);
        }
        return false;
    }
  }

  /** Resolves once the layer below has taken every byte. One at a time. */
  send(bytes: Uint8Array): Promise<void> {
    return writeAll(this.#transport, bytes);
  }

  /** What `send` does, for loops that go on with the rest themselves. */
  write(bytes: Uint8Array): Promise<number> {
    return this.#transport.write(bytes);
  }

  /** Whether all prepared statements have been deallocated since it was asked last. */
  takeStatementsLost(): boolean {
    const lost = this.#statementsLost;
    this.#statementsLost = false;
    return lost;
  }

  /** Ends the connection. May be called again. */
  close(): void {
    this.#transport.close();
  }

  async #read(): Promise<void> {
    const flow = new Flow(this.#inbox);
    this.#inbox = null;
    try {
      for (;;) {
        let bytes = flow.hasRest ? await flow.rest() : null;
        if (bytes === null) {
          if (flow.ended) break;
          const buffer = flow.buffer();
          const count = await this.#transport.read(buffer);
          if (count === null) break;
          bytes = flow.filled(buffer, count);
        }
        this.bytesReceived += bytes.length;
        const taken = this.#consumer.consume(bytes);
        if (taken !== null) await taken;
      }
      flow.release();
    } catch {
      // A broken connection is one that is over.
    }
    this.#isOver = true;
    this.#transport.close();
    this.#consumer.lost();
    this.#over.resolve();
  }
}
