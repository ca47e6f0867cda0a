// The pipe: two independent pumps between a client and the server that is its alone.
// Hot: runs per read. No objects, no closures, no copies; one promise per read and per write.

import { BackendMessage, FrontendMessage, TransactionStatus } from "../codec/codes.ts";
import { ANSWERS, Framer, REQUESTS_ANSWERED } from "../codec/framer.ts";
import type { Tally } from "../meters.ts";
import { Flow, type Inbox } from "../net/buffers.ts";
import { type Transport, writeAll } from "../net/transport.ts";
import { Capture, NO_PARAMETERS } from "../pool/capture.ts";
import {
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

/** Requests that a Sync must follow: a batch has been begun. */
const BATCH_TYPES = new Uint8Array(256);
BATCH_TYPES[FrontendMessage.Parse] = 1;
BATCH_TYPES[FrontendMessage.Bind] = 1;
BATCH_TYPES[FrontendMessage.Describe] = 1;
BATCH_TYPES[FrontendMessage.Execute] = 1;
BATCH_TYPES[FrontendMessage.Close] = 1;
BATCH_TYPES[FrontendMessage.Flush] = 1;

/** Who ended a relayed session. */
export type RelayEnding = "client" | "upstream" | "pgvpd";

/**
 * Moves bytes both ways until either side ends, then closes both.
 *
 * The streams are walked from header to header, so that a message of pgvpd's own never lands inside
 * another; nothing is changed, withheld or waited for.
 */
export class Relay {
  /** Bytes taken from each side. */
  bytesFromClient = 0;
  bytesFromUpstream = 0;
  readonly #client: Transport;
  readonly #upstream: Transport;
  readonly #clientFlow: Flow;
  readonly #upstreamFlow: Flow;
  readonly #requests = new Framer(REQUESTS_ANSWERED);
  readonly #answers = new Framer(ANSWERS);
  readonly #errors: Capture;
  readonly timer: RequestTimer;
  readonly hold = new TransactionHold();
  readonly #over = Promise.withResolvers<void>();
  #upstreamEnded = false;
  #writingToClient = false;
  #ending: RelayEnding | null = null;
  /** To be said when the session is idle. */
  #farewell: Uint8Array | null = null;
  /** To be said now, by the pump that alone writes to the client. */
  #lastWord: Uint8Array = UPSTREAM_LOST;

  /** @param errors counts the server's errors by class; null: nobody does. */
  constructor(
    client: Inbox,
    upstream: Inbox,
    timer: RequestTimer = new RequestTimer(),
    errors: Tally | null = null,
  ) {
    this.timer = timer;
    this.#errors = new Capture(NO_PARAMETERS, errors);
    this.#client = client.transport;
    this.#upstream = upstream.transport;
    this.#clientFlow = new Flow(client);
    this.#upstreamFlow = new Flow(upstream);
  }

  /** The session ended while the server was still working for it: its query is to be cancelled. */
  abandoned = false;

  /** Resolves, never rejects, when both directions are over and both sides are closed. */
  async run(): Promise<RelayEnding> {
    const fromUpstream = this.#pumpFromUpstream();
    const fromClient = this.#pumpFromClient(fromUpstream);
    await fromUpstream;
    if (this.#ending !== "client") await this.#tellClient(fromClient);
    this.#client.close();
    this.#upstream.close();
    await fromClient;
    this.#over.resolve();
    return this.#terminated ? "client" : this.#ending!;
  }

  /** Has everything that the client asked been answered, outside any transaction? */
  get idle(): boolean {
    return this.#answers.atBoundary && this.#requests.atBoundary &&
      this.#requests.counted === this.#answers.counted && this.outsideTransaction;
  }

  /** ReadyForQuery messages that have come. */
  get answered(): number {
    return this.#answers.counted;
  }

  /** Outside any transaction, as far as the server has said. */
  get outsideTransaction(): boolean {
    return this.#answers.counted === 0 ||
      this.#answers.transactionStatus === TransactionStatus.Idle;
  }

  /** Has everything been answered that was asked, in a transaction or not? */
  get answeredAll(): boolean {
    const requests = this.#requests;
    return this.#answers.atBoundary && requests.atBoundary &&
      requests.counted === this.#answers.counted && !BATCH_TYPES[requests.type];
  }

  get betweenTransactions(): boolean {
    return this.answeredAll && this.outsideTransaction;
  }

  async probe(): Promise<void> {
    if (!this.#answers.atBoundary || this.#writingToClient) return;
    await writeAll(this.#client, TENANT_PAUSED).catch(() => this.#abandon());
  }

  /** Ends the session with a message as soon as it is idle. */
  drain(farewell: Uint8Array): void {
    this.#farewell = farewell;
    if (this.idle) this.#sayFarewell(farewell);
  }

  /** Ends the session now; the client is told when a message may stand where its stream is. */
  async close(farewell: Uint8Array): Promise<void> {
    if (this.#ending === null && !this.idle) this.abandoned = true;
    this.#ending ??= "pgvpd";
    this.#lastWord = farewell;
    this.#upstream.close(); // ends the pump between two writes
    this.hold.end();
    await lingering(this.#over.promise);
    this.#client.close(); // it does not read: the pump is inside a write
    await this.#over.promise;
  }

  /** The client has said Terminate: whatever ends now ends in order. */
  get #terminated(): boolean {
    return this.#requests.atBoundary && this.#requests.type === FrontendMessage.Terminate;
  }

  async #pumpFromClient(fromUpstream: Promise<void>): Promise<void> {
    const flow = this.#clientFlow;
    for (;;) {
      let bytes: Uint8Array | null = null;
      try {
        if (flow.hasRest) bytes = await flow.rest();
        if (bytes === null && !flow.ended) {
          const buffer = flow.buffer();
          const count = await this.#client.read(buffer);
          if (count !== null) bytes = flow.filled(buffer, count);
        }
      } catch {
        return this.#abandon();
      }
      if (bytes === null) break;
      this.bytesFromClient += bytes.length;
      if (this.hold.isOn) await this.hold.pass(this, bytes[0]!);
      this.timer.asked();
      this.#requests.walk(bytes, 0, bytes.length);
      if (this.#upstreamEnded) continue; // read away: a reset would lose the last message
      try {
        let sent = await this.#upstream.write(bytes);
        while (sent < bytes.length) sent += await this.#upstream.write(bytes.subarray(sent));
      } catch {
        this.#upstreamEnded = true; // its last words may still be on their way to the other pump
      }
    }
    flow.release();
    if (!this.#upstreamEnded) this.#ending ??= "client";
    await this.#upstream.closeWrite();
    await this.#watchSilentClient(fromUpstream);
  }

  async #pumpFromUpstream(): Promise<void> {
    const flow = this.#upstreamFlow;
    for (;;) {
      let bytes: Uint8Array | null = null;
      try {
        if (flow.hasRest) bytes = await flow.rest();
        if (bytes === null && !flow.ended) {
          const buffer = flow.buffer();
          const count = await this.#upstream.read(buffer);
          if (count !== null) bytes = flow.filled(buffer, count);
        }
      } catch {
        break;
      }
      if (bytes === null) {
        flow.release();
        break;
      }
      this.bytesFromUpstream += bytes.length;
      this.#walkAnswers(bytes);
      if (this.answeredAll) this.timer.answered(this.outsideTransaction);
      this.#writingToClient = true;
      try {
        let sent = await this.#client.write(bytes);
        while (sent < bytes.length) sent += await this.#client.write(bytes.subarray(sent));
      } catch {
        this.#abandon();
        break;
      }
      this.#writingToClient = false;
      if (this.#farewell !== null && this.idle) this.#sayFarewell(this.#farewell);
    }
    this.#ending ??= "upstream";
    this.#upstreamEnded = true;
    this.hold.end();
  }

  #walkAnswers(bytes: Uint8Array): void {
    const answers = this.#answers;
    const errors = this.#errors;
    const end = bytes.length;
    let at = 0;
    while (at < end && !answers.lost) {
      const from = at;
      at = answers.step(bytes, at, end);
      if (!answers.headerEnded) {
        if (errors.active) errors.take(bytes, from, at, answers.bodyRemaining);
      } else if (answers.type === BackendMessage.ErrorResponse) {
        errors.begin(answers.type, answers.bodyRemaining);
      }
    }
  }

  /** The client is dead: the server's side ends, and what it was doing is to be cancelled. */
  #abandon(): void {
    if (this.#ending === null && !this.idle) this.abandoned = true;
    this.#ending ??= "client";
    this.#upstream.close();
    this.hold.end();
  }

  /**
   * The client has ended its sending side. It may want to read on, or it has died; only a write
   * tells, and while the server computes there is nothing to write. So it is sent a notice now and
   * then: a dead peer answers the first with a reset, and the next one fails.
   */
  async #watchSilentClient(fromUpstream: Promise<void>): Promise<void> {
    let pauseMs = PROBE_PAUSE_MS_MIN;
    for (;;) {
      await elapsed(pauseMs, fromUpstream);
      pauseMs = Math.min(pauseMs * 2, PROBE_PAUSE_MS_MAX);
      if (this.#upstreamEnded || this.idle || this.#terminated) return;
      if (this.#answers.atBoundary && !this.#writingToClient) {
        try {
          await writeAll(this.#client, STILL_RUNNING);
        } catch {
          this.#ending = null; // it was no orderly end after all
          return this.#abandon();
        }
      }
    }
  }

  #sayFarewell(farewell: Uint8Array): void {
    this.#farewell = null;
    void this.close(farewell);
  }

  /** The server's side is over: says why where a message may stand, and lets the client read it. */
  async #tellClient(fromClient: Promise<void>): Promise<void> {
    const explained = this.#terminated ||
      (this.#ending === "upstream" && this.#answers.type === BackendMessage.ErrorResponse);
    const farewell = async () => {
      if (!explained && this.#answers.atBoundary) await writeAll(this.#client, this.#lastWord);
      await this.#client.closeWrite();
      await fromClient;
    };
    await lingering(farewell().catch(() => {}));
  }
}
