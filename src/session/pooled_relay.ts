// PooledRelay: between a client and the pooled backend that is lent to it.
// Hot: runs per read. No objects, no closures, no copies; one promise per read and per write.

import { assert } from "../assert.ts";
import { encodeParameterStatus, encodeReadyForQuery } from "../codec/backend.ts";
import { BackendMessage, FrontendMessage, HEADER_SIZE, TransactionStatus } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { Framer } from "../codec/framer.ts";
import { Flow, type Inbox, joined } from "../net/buffers.ts";
import { type Transport, writeAll } from "../net/transport.ts";
import { type Backend, type BackendConsumer, Stop } from "../pool/backend.ts";
import type { PooledBackend } from "../pool/pooled_backend.ts";
import type { ClientEnding } from "./endings.ts";
import {
  cannotRestore,
  elapsed,
  lingering,
  PROBE_PAUSE_MS_MAX,
  PROBE_PAUSE_MS_MIN,
  STILL_RUNNING,
  TENANT_PAUSED,
  UPSTREAM_LOST,
} from "./farewell.ts";
import { TransactionHold } from "./hold.ts";
import { RequestTimer } from "./request_timer.ts";

/** A ReadyForQuery as a whole. */
const READY_SIZE = HEADER_SIZE + 1;

const CONFUSED: Uint8Array = PgError.protocolViolation("invalid message length").encode();
const NOTHING_COUNTED = new Uint8Array(256);
const NO_BYTES = new Uint8Array(0);

/** Moves bytes both ways. Terminate stays here; everything that is sent is entered in the ledger. */
export class PooledRelay implements BackendConsumer {
  /** Resolves when nothing more will be read from the client or written to the backend. */
  pumped: Promise<void> = Promise.resolve();
  /** Why pgvpd itself has ended the session; null when it had no reason of its own. */
  failure: PgError | null = null;
  bytesFromClient = 0;
  bytesFromUpstream = 0;
  readonly timer: RequestTimer;
  readonly hold = new TransactionHold();
  readonly #client: Transport;
  readonly #member: PooledBackend;
  readonly #backend: Backend;
  readonly #flow: Flow;
  readonly #requests = new Framer(NOTHING_COUNTED);
  /** The beginning of a header that has been cut: it may be Terminate's. */
  #cutHeader: Uint8Array = NO_BYTES;
  /** Resolves when the session is over, before anything has been cleaned up. */
  readonly #over = Promise.withResolvers<void>();
  #ending: ClientEnding | null = null;
  #writingToClient = false;
  /** A notice to a client that sends no more is being written. */
  #probing: Promise<void> | null = null;
  /** The client has ended its sending side. */
  #clientEnded = false;
  /** The session's context is gone, and to be restored at the next ReadyForQuery. */
  #restoreDue = false;
  /** The beginning of what may be that ReadyForQuery. */
  #withheld: Uint8Array = NO_BYTES;
  /** While the context is being restored nothing passes in either direction. */
  #gate: PromiseWithResolvers<void> | null = null;
  /** pgvpd talks to the server itself until then. */
  #restoring: Promise<void> = Promise.resolve();
  /** A write to the server that is under way. */
  #sending: Promise<boolean> | null = null;
  #farewell: Uint8Array | null = null;

  /** @param member established for this client; `run` takes what comes from it. */
  constructor(client: Inbox, member: PooledBackend, timer: RequestTimer = new RequestTimer()) {
    this.timer = timer;
    this.#client = client.transport;
    this.#member = member;
    this.#backend = member.backend;
    this.#flow = new Flow(client);
    assert(member.confirmedContext !== null, "the context has been confirmed");
  }

  /**
   * Resolves when the session is over; the backend may still owe replies, and is nobody's.
   * Everything the client must be told has been told, its transport is not closed.
   */
  async run(): Promise<ClientEnding> {
    this.#backend.consumer = this;
    // The beginning of a message that came before this has been read away.
    if (this.#backend.isOver || !this.#backend.atBoundary) this.lost();
    const fromClient = this.#pumpFromClient();
    this.pumped = fromClient;
    await this.#over.promise;
    const ending = this.#ending!;
    if (ending === "upstream" || ending === "pgvpd" || ending === "confused") {
      await this.#tellClient(fromClient);
    }
    await this.#restoring.catch(() => {});
    return ending;
  }

  /** The backend that the client is lent. */
  get member(): PooledBackend {
    return this.#member;
  }

  /** Nothing is under way: a message of pgvpd's own may end the session here. */
  get idle(): boolean {
    return this.#backend.idle && this.sentWhole && this.#gate === null && !this.#writingToClient;
  }

  get betweenTransactions(): boolean {
    return this.#backend.idle;
  }

  /** Whole messages have been sent: something may be sent behind them. */
  get sentWhole(): boolean {
    return this.#requests.atBoundary && this.#cutHeader.length === 0;
  }

  /** Ends the session with a message as soon as it is idle. */
  drain(farewell: Uint8Array): void {
    this.#farewell = farewell;
    if (this.idle) this.#end("pgvpd");
  }

  /** Ends the session now; the client is told when a message may stand where its stream is. */
  close(farewell: Uint8Array): void {
    this.#farewell = farewell;
    this.#end("pgvpd");
  }

  /** From the server: everything passes, in order. */
  consume(bytes: Uint8Array): Promise<void> | null {
    if (this.#restoreDue) return this.#consumeUntilReady(bytes);
    if (this.#gate !== null) return this.#consumeBehindGate(bytes, this.#gate.promise);
    const backend = this.#backend;
    const end = bytes.length;
    this.bytesFromUpstream += end;
    let at = 0;
    while (at < end) {
      at = backend.walk(bytes, at, end);
      if (backend.stop === Stop.Ready && backend.ledger.settled) this.timer.answered(backend.idle);
      if (backend.stop === Stop.ContextLost) {
        this.#restoreDue = true;
        return this.#splitAt(bytes, at);
      }
    }
    return this.#toClient(bytes);
  }

  lost(): void {
    this.#end("upstream");
  }

  #end(ending: ClientEnding): void {
    this.#ending ??= ending;
    this.hold.end();
    this.#over.resolve();
  }

  async #toClient(bytes: Uint8Array): Promise<void> {
    if (this.#ending !== null) return;
    this.#writingToClient = true;
    if (this.#probing !== null) await this.#probing;
    try {
      let sent = await this.#client.write(bytes);
      while (sent < bytes.length) sent += await this.#client.write(bytes.subarray(sent));
    } catch {
      this.#end("vanished");
    }
    this.#writingToClient = false;
    this.#afterWrite();
  }

  /** What had to wait for it. */
  #afterWrite(): void {
    if (this.#farewell !== null && this.idle) this.#end("pgvpd");
    if (this.#clientEnded) this.#endWhenAnswered();
  }

  async #pumpFromClient(): Promise<void> {
    const flow = this.#flow;
    while (this.#ending === null) {
      let bytes: Uint8Array | null = null;
      try {
        if (flow.hasRest) bytes = await flow.rest();
        if (bytes === null && !flow.ended) {
          const buffer = flow.buffer();
          const count = await this.#client.read(buffer);
          if (count !== null) bytes = flow.filled(buffer, count);
        }
      } catch {
        this.#end("vanished");
        break;
      }
      if (bytes === null) {
        await this.#watchSilentClient();
        break;
      }
      this.bytesFromClient += bytes.length;
      if (this.#gate !== null) await Promise.race([this.#gate.promise, this.#over.promise]);
      if (this.hold.isOn) await this.hold.pass(this, bytes[0]!);
      if (this.#member.isSealDue && this.#backend.idle && this.sentWhole) await this.#renewSeal();
      if (this.#ending !== null) break;
      this.timer.asked();
      if (this.#cutHeader.length > 0) {
        bytes = joined(this.#cutHeader, bytes);
        this.#cutHeader = NO_BYTES;
      }
      const size = this.#enter(bytes);
      if (size > 0) {
        this.#sending = this.#toUpstream(bytes, size);
        const isSent = await this.#sending;
        this.#sending = null;
        if (!isSent) break;
      }
      if (this.#requests.type === FrontendMessage.Terminate && this.#requests.headerEnded) {
        this.#end("terminated");
      } else if (this.#requests.lost) {
        this.#farewell = CONFUSED;
        this.#end("confused");
      }
    }
    flow.release();
  }

  /** Enters what `bytes` ask for in the ledger; returns how many of them are for the server. */
  #enter(bytes: Uint8Array): number {
    const requests = this.#requests;
    const { ledger } = this.#backend;
    let at = 0;
    while (at < bytes.length) {
      // A header that is cut is kept until it is whole.
      if (requests.atBoundary && bytes.length - at < HEADER_SIZE) {
        this.#cutHeader = new Uint8Array(bytes.subarray(at));
        return at;
      }
      const from = at;
      at = requests.step(bytes, at, bytes.length);
      if (!requests.headerEnded) continue;
      if (requests.type === FrontendMessage.Terminate || requests.lost) return from;
      ledger.request(requests.type);
    }
    return at;
  }

  async #toUpstream(bytes: Uint8Array, size: number): Promise<boolean> {
    assert(this.#member.confirmedContext !== null, "no byte before the context is confirmed");
    try {
      let sent = 0;
      while (sent < size) {
        sent += await this.#backend.write(bytes.subarray(sent, size));
      }
      return true;
    } catch {
      // Its last words may still be on their way; `lost` comes behind them.
      this.#backend.ledger.uncertain = true;
      return false;
    }
  }

  /**
   * The client has ended its sending side. It may want to read on, or it has died; only a write
   * tells, and while the server computes there is nothing to write. So it is sent a notice now and
   * then: a dead peer answers the first with a reset, and the next one fails.
   */
  async #watchSilentClient(): Promise<void> {
    this.#clientEnded = true;
    let pauseMs = PROBE_PAUSE_MS_MIN;
    for (;;) {
      this.#endWhenAnswered();
      if (this.#ending !== null) return;
      await elapsed(pauseMs, this.#over.promise);
      pauseMs = Math.min(pauseMs * 2, PROBE_PAUSE_MS_MAX);
      if (this.#ending === null) await this.probe(STILL_RUNNING);
    }
  }

  async probe(notice: Uint8Array = TENANT_PAUSED): Promise<void> {
    if (this.#writingToClient || !this.#backend.atBoundary || this.#gate !== null) return;
    this.#probing = writeAll(this.#client, notice).catch(() => this.#end("vanished"));
    await this.#probing;
    this.#probing = null;
  }

  /** Has a client that sends no more read all that it asked for? */
  #endWhenAnswered(): void {
    const { ledger } = this.#backend;
    if (this.#writingToClient || this.#gate !== null) return;
    // The data of a COPY will not come any more.
    if (ledger.owed > 0 && !ledger.uncertain && !ledger.copyIn) return;
    // What it has begun and not ended can never be answered.
    this.#end(ledger.settled && this.sentWhole ? "closed" : "vanished");
  }

  /** A statement has undone the context; what stands behind its completion is looked at closely. */
  async #splitAt(bytes: Uint8Array, at: number): Promise<void> {
    await this.#toClient(bytes.subarray(0, at));
    this.bytesFromUpstream -= bytes.length - at; // counted again
    if (at < bytes.length) await this.#consumeUntilReady(bytes.subarray(at));
  }

  /**
   * Everything passes but the ReadyForQuery at which the context can be restored. What stands
   * behind that one came without being asked for, and passes too, up to the end of its message.
   */
  async #consumeUntilReady(chunk: Uint8Array): Promise<void> {
    const backend = this.#backend;
    this.bytesFromUpstream += chunk.length;
    const held = this.#withheld.length;
    const bytes = joined(this.#withheld, chunk);
    this.#withheld = NO_BYTES;
    let passed = 0;
    for (let at = held; at < bytes.length;) {
      at = backend.walk(bytes, at, bytes.length);
      if (backend.stop !== Stop.Ready || !this.#mayRestore) continue;
      this.#gate ??= Promise.withResolvers();
      await this.#toClient(bytes.subarray(passed, at - READY_SIZE));
      passed = at;
    }
    const open = backend.openReadySize;
    if (open > 0) this.#withheld = new Uint8Array(bytes.subarray(bytes.length - open));
    await this.#toClient(bytes.subarray(passed, bytes.length - open));
    if (this.#gate === null || !backend.atBoundary || this.#ending !== null) return;
    // The server waits for the rest of it, and has nothing else to do.
    if (this.#sending !== null) await this.#sending;
    if (this.#ending !== null) return;
    const status = backend.ledger.transactionStatus;
    // ROLLBACK TO undoes it too: in a transaction it is done again behind every statement.
    this.#restoreDue = status !== TransactionStatus.Idle;
    // It has begun to listen when this returns: no byte is read before.
    void this.#restore(this.#gate, status);
  }

  /**
   * Requests behind it were sent already: their replies come first, and see nothing. In a failed
   * transaction nothing can be set: it is done when that is over.
   */
  get #mayRestore(): boolean {
    const { ledger } = this.#backend;
    return ledger.uncertain ||
      ledger.settled && ledger.transactionStatus !== TransactionStatus.Failed;
  }

  /** Restores the context, tells the client what has changed by it, and then that it may go on. */
  async #restore(gate: PromiseWithResolvers<void>, status: number): Promise<void> {
    const { parameters } = this.#backend;
    const before = [...parameters];
    try {
      // Half a message of the client's would take what pgvpd says for its other half.
      if (!this.#backend.ledger.settled || !this.#requests.atBoundary) throw cannotRestore();
      this.#restoring = this.#member.restore((notification) => this.#toClient(notification));
      await this.#restoring;
      for (const [name, value] of before) {
        const now = parameters.get(name)!;
        if (now !== value) await this.#toClient(encodeParameterStatus(name, now));
      }
      await this.#toClient(encodeReadyForQuery(status));
    } catch (error) {
      this.#fail(error);
    }
    this.#gate = null;
    gate.resolve();
    this.#afterWrite();
  }

  /** Between two requests of the client: the database will not believe the context much longer. */
  async #renewSeal(): Promise<void> {
    this.#restoring = this.#member.renewSeal(undefined, (each) => this.#toClient(each));
    await this.#restoring.catch((error) => this.#fail(error));
  }

  #fail(error: unknown): void {
    if (error instanceof PgError) {
      this.failure = error;
      this.#farewell ??= error.encode();
    }
    this.#end("pgvpd");
  }

  async #consumeBehindGate(bytes: Uint8Array, gate: Promise<void>): Promise<void> {
    await gate;
    await (this.consume(bytes) ?? undefined);
  }

  /** Says why it is over, where a message may stand, and lets the client read it. */
  async #tellClient(fromClient: Promise<void>): Promise<void> {
    const message = this.#farewell ?? UPSTREAM_LOST;
    const explained = this.#ending === "upstream" &&
      this.#backend.lastType === BackendMessage.ErrorResponse;
    const farewell = async () => {
      const isFree = this.#backend.atBoundary && !this.#writingToClient && this.#probing === null;
      if (!explained && isFree) await writeAll(this.#client, message);
      await this.#client.closeWrite();
      await fromClient;
    };
    await lingering(farewell().catch(() => {}));
  }
}
