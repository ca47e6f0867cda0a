// TransactionRelay: a client that is lent a backend for each transaction, and none in between.
// Hot: runs per read and per message. No objects, no closures, no copies but of what is rewritten.

import { assert } from "../assert.ts";
import { encodeParameterStatus, encodeReadyForQuery } from "../codec/backend.ts";
import { BackendMessage, FrontendMessage, HEADER_SIZE, TransactionStatus } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { Flow, type Inbox } from "../net/buffers.ts";
import { type Transport, writeAll } from "../net/transport.ts";
import { type BackendConsumer, Stop } from "../pool/backend.ts";
import type { Lease } from "../pool/pool.ts";
import type { PooledBackend } from "../pool/pooled_backend.ts";
import {
  elapsed,
  lingering,
  PROBE_PAUSE_MS_MAX,
  PROBE_PAUSE_MS_MIN,
  STILL_RUNNING,
  UPSTREAM_LOST,
} from "./farewell.ts";
import type { Linker } from "./linking.ts";
import type { ClientEnding } from "./pooled_relay.ts";
import { RequestRewriter } from "./rewriting.ts";

/** A ReadyForQuery as a whole. */
const READY_SIZE = HEADER_SIZE + 1;
const NO_BYTES = new Uint8Array(0);

/** What a session of a transaction pool is told when it must keep its backend. */
export type OnKept = (reason: string, member: PooledBackend) => void;

/** Moves bytes both ways, through whatever backend is the client's at the moment. */
export class TransactionRelay implements BackendConsumer {
  /** Resolves when nothing more will be read from the client or written to a backend. */
  pumped: Promise<void> = Promise.resolve();
  /** Why pgvpd itself has ended the session; null when it had no reason of its own. */
  failure: PgError | null = null;
  bytesFromClient = 0;
  bytesFromUpstream = 0;
  /** Transactions that were served. */
  transactions = 0;
  readonly requests: RequestRewriter;
  readonly #client: Transport;
  readonly #linker: Linker;
  readonly #flow: Flow;
  readonly #onKept: OnKept;
  readonly #over = Promise.withResolvers<void>();
  readonly #abandoned = new AbortController();
  #lease: Lease<PooledBackend> | null = null;
  #member: PooledBackend | null = null;
  #ending: ClientEnding | null = null;
  #kept = false;
  #linking = false;
  #writingToClient = false;
  #clientEnded = false;
  #restoreDue = false;
  /** The beginning of a message that may be withheld, or of a ReadyForQuery to be held back. */
  #withheld: Uint8Array = NO_BYTES;
  #gate: Promise<void> | null = null;
  #farewell: Uint8Array | null = null;

  constructor(client: Inbox, linker: Linker, requests: RequestRewriter, onKept: OnKept) {
    this.#client = client.transport;
    this.#flow = new Flow(client);
    this.#linker = linker;
    this.#onKept = onKept;
    this.requests = requests;
  }

  /** The backend of the moment; null between transactions. */
  get member(): PooledBackend | null {
    return this.#member;
  }

  /** It waits for a backend. */
  get linking(): boolean {
    return this.#linking;
  }

  /** Whoever takes it is its owner from then on: the session is over. */
  takeLease(): Lease<PooledBackend> | null {
    const lease = this.#lease;
    this.#lease = null;
    if (lease !== null) lease.member.backend.fates = null;
    return lease;
  }

  /** Whole messages have been sent. */
  get sentWhole(): boolean {
    return this.requests.atBoundary;
  }

  /** Resolves when the session is over. Everything the client must be told has been told. */
  async run(): Promise<ClientEnding> {
    this.pumped = this.#pumpFromClient();
    await this.#over.promise;
    const ending = this.#ending!;
    this.#abandoned.abort();
    if (ending !== "terminated" && ending !== "closed" && ending !== "vanished") {
      await this.#tellClient();
    }
    return ending;
  }

  /** Nothing is under way: a message of pgvpd's own may end the session here. */
  get idle(): boolean {
    return this.sentWhole && !this.#linking && this.#gate === null && !this.#writingToClient &&
      (this.#member === null || this.#member.backend.idle);
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

  /** From the server: everything passes, in order, but the replies to what pgvpd has put in. */
  consume(bytes: Uint8Array): Promise<void> | null {
    if (this.#gate !== null) return this.#consumeBehindGate(bytes, this.#gate);
    if (this.#restoreDue) return this.#consumeUntilReady(bytes);
    if (this.#withheld.length > 0) bytes = this.#behindWithheld(bytes);
    const { backend } = this.#member!;
    const end = bytes.length;
    this.bytesFromUpstream += end;
    let at = this.#walkedBefore;
    this.#walkedBefore = 0;
    // bytes[0, kept) is for the client; bytes[from, at) too, and not moved there yet.
    let kept = 0;
    let from = 0;
    while (at < end) {
      at = backend.walk(bytes, at, end);
      if (backend.stop === Stop.Withhold) {
        kept = this.#keep(bytes, kept, from, at - HEADER_SIZE);
        from = at;
      } else if (backend.stop === Stop.ContextLost) {
        this.#restoreDue = true;
        kept = this.#keep(bytes, kept, from, at);
        return this.#splitAt(bytes, kept, at);
      }
    }
    const open = this.requests.fates.anyWithheld ? backend.openHeaderSize : 0;
    if (open > 0) {
      this.#withheld = new Uint8Array(bytes.subarray(end - open));
      this.#walkedBefore = open;
    }
    kept = this.#keep(bytes, kept, from, end - open);
    return this.#toClient(kept === end ? bytes : bytes.subarray(0, kept));
  }

  /** Bytes of `#withheld` that have been walked already. */
  #walkedBefore = 0;

  #keep(bytes: Uint8Array, kept: number, from: number, to: number): number {
    if (to <= from) return kept;
    if (kept !== from) bytes.copyWithin(kept, from, to);
    return kept + to - from;
  }

  #behindWithheld(bytes: Uint8Array): Uint8Array {
    const whole = new Uint8Array(this.#withheld.length + bytes.length);
    whole.set(this.#withheld);
    whole.set(bytes, this.#withheld.length);
    this.bytesFromUpstream -= this.#withheld.length;
    this.#withheld = NO_BYTES;
    return whole;
  }

  lost(): void {
    this.#end("upstream");
  }

  #end(ending: ClientEnding): void {
    this.#ending ??= ending;
    this.#over.resolve();
  }

  async #toClient(bytes: Uint8Array): Promise<void> {
    if (this.#ending !== null) return;
    if (bytes.length > 0) {
      this.#writingToClient = true;
      try {
        let sent = await this.#client.write(bytes);
        while (sent < bytes.length) sent += await this.#client.write(bytes.subarray(sent));
      } catch {
        this.#end("vanished");
      }
      this.#writingToClient = false;
    }
    this.#releaseWhenOver();
    if (this.#farewell !== null && this.idle) this.#end("pgvpd");
    if (this.#clientEnded) this.#endWhenAnswered();
  }

  /** Gives the backend back at the end of a transaction, unless the client must keep it. */
  #releaseWhenOver(): void {
    const member = this.#member;
    if (member === null || !member.backend.idle || this.#ending !== null) return;
    if (!this.requests.betweenMessages || this.#gate !== null || this.#restoreDue) return;
    if (member.backend.takeStatementsLost()) this.#forgetStatements(member);
    this.transactions++;
    if (this.requests.keep !== null) return this.#keepBackend(member, this.requests.keep);
    assert(!this.requests.fates.anyWithheld, "every reply of pgvpd's own has come");
    this.#linker.unlinked(member);
    member.backend.fates = null;
    member.watch();
    this.#member = null;
    const lease = this.#lease!;
    this.#lease = null;
    lease.giveBack();
  }

  /** DISCARD ALL and DEALLOCATE ALL: nothing is prepared any more, and nothing binds to a backend. */
  #forgetStatements(member: PooledBackend): void {
    if (this.requests.takeDeallocated()) return; // it was seen on its way, and behind it others may be
    member.statements.clear();
    this.requests.forgetStatements();
  }

  #keepBackend(member: PooledBackend, reason: string): void {
    if (this.#kept) return;
    this.#kept = true;
    this.#onKept(reason, member);
  }

  async #pumpFromClient(): Promise<void> {
    const flow = this.#flow;
    const { requests } = this;
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
      if (this.#gate !== null) await this.#gate;
      if (this.#ending !== null) break;
      if (requests.cut.length > 0) bytes = this.#behindCut(bytes);
      if (this.#member === null && bytes.length < HEADER_SIZE) {
        requests.cut = new Uint8Array(bytes); // nobody is lent a backend for half a header
        continue;
      }
      if (this.#member === null && !await this.#linkFor(bytes)) break;
      const sendable = requests.take(bytes, this.#member!);
      if (sendable.length > 0 && !await this.#toUpstream(sendable)) break;
      if (requests.terminated) this.#end("terminated");
      if (requests.failure !== null) this.#fail(requests.failure);
    }
    flow.release();
  }

  #behindCut(bytes: Uint8Array): Uint8Array {
    const { cut } = this.requests;
    const whole = new Uint8Array(cut.length + bytes.length);
    whole.set(cut);
    whole.set(bytes, cut.length);
    return whole;
  }

  /** Links a backend for what begins with these bytes; Terminate needs none. */
  async #linkFor(bytes: Uint8Array): Promise<boolean> {
    if (bytes[0] === FrontendMessage.Terminate) {
      this.#end("terminated");
      return false;
    }
    this.#linking = true;
    try {
      const lease = await this.#linker.link(this.#abandoned.signal);
      if (this.#ending !== null) {
        lease.giveBack();
        return false;
      }
      this.#lease = lease;
      this.#member = lease.member;
      const { backend } = lease.member;
      backend.takeStatementsLost();
      backend.fates = this.requests.fates;
      backend.consumer = this;
      if (backend.isOver) this.lost();
    } catch (error) {
      this.#fail(error);
    }
    this.#linking = false;
    return this.#ending === null;
  }

  #fail(error: unknown): void {
    if (error instanceof PgError) {
      this.failure ??= error;
      this.#farewell ??= error.encode();
    }
    this.#end("pgvpd");
  }

  async #toUpstream(bytes: Uint8Array): Promise<boolean> {
    const member = this.#member!;
    assert(member.confirmedContext !== null, "no byte before the context is confirmed");
    assert(member.contextKey === this.#linker.contextKey, "the context is this client's");
    try {
      let sent = await member.backend.write(bytes);
      while (sent < bytes.length) sent += await member.backend.write(bytes.subarray(sent));
      return true;
    } catch {
      // Its last words may still be on their way; `lost` comes behind them.
      member.backend.ledger.uncertain = true;
      return false;
    }
  }

  /** As in a session pool; a client that sends no more and has no backend is simply done. */
  async #watchSilentClient(): Promise<void> {
    this.#clientEnded = true;
    let pauseMs = PROBE_PAUSE_MS_MIN;
    for (;;) {
      this.#endWhenAnswered();
      if (this.#ending !== null) return;
      await elapsed(pauseMs, this.#over.promise);
      pauseMs = Math.min(pauseMs * 2, PROBE_PAUSE_MS_MAX);
      if (this.#ending !== null || this.#writingToClient) continue;
      if (this.#member !== null && !this.#member.backend.atBoundary) continue;
      try {
        await writeAll(this.#client, STILL_RUNNING);
      } catch {
        this.#end("vanished");
      }
    }
  }

  /** Has a client that sends no more read all that it asked for? */
  #endWhenAnswered(): void {
    if (this.#writingToClient) return;
    const member = this.#member;
    if (member === null) return this.#end(this.sentWhole ? "closed" : "vanished");
    const { ledger } = member.backend;
    if (ledger.owed > 0 && !ledger.uncertain) return;
    this.#end(ledger.settled && this.sentWhole ? "closed" : "vanished");
  }

  /** A statement has undone the context; what stands behind its completion is looked at closely. */
  async #splitAt(bytes: Uint8Array, kept: number, at: number): Promise<void> {
    const rest = new Uint8Array(bytes.subarray(at));
    await this.#toClient(bytes.subarray(0, kept));
    this.bytesFromUpstream -= rest.length; // counted again
    if (rest.length > 0) await this.#consumeUntilReady(rest);
  }

  /** Everything passes up to the ReadyForQuery at which the context can be restored. */
  async #consumeUntilReady(chunk: Uint8Array): Promise<void> {
    const { backend } = this.#member!;
    this.bytesFromUpstream += chunk.length;
    const held = this.#withheld.length;
    const bytes = new Uint8Array(held + chunk.length);
    bytes.set(this.#withheld);
    bytes.set(chunk, held);
    this.#withheld = NO_BYTES;
    let at = held;
    let kept = 0;
    let from = 0;
    while (at < bytes.length) {
      at = backend.walk(bytes, at, bytes.length);
      if (backend.stop === Stop.Withhold) {
        kept = this.#keep(bytes, kept, from, at - HEADER_SIZE);
        from = at;
      }
      // Requests behind it were sent already: their replies come first, and see nothing.
      if (backend.stop !== Stop.Ready || !backend.ledger.settled) continue;
      kept = this.#keep(bytes, kept, from, at - READY_SIZE);
      await this.#toClient(bytes.subarray(0, kept));
      this.#gate = this.#restore(backend.ledger.transactionStatus);
      this.#restoreDue = false;
      if (at < bytes.length) backend.ledger.uncertain = true;
      return;
    }
    const open = backend.openReadySize;
    if (open > 0) this.#withheld = new Uint8Array(bytes.subarray(bytes.length - open));
    kept = this.#keep(bytes, kept, from, bytes.length - open);
    await this.#toClient(bytes.subarray(0, kept));
  }

  /** Restores the context, tells the client what has changed by it, and then that it may go on. */
  async #restore(status: number): Promise<void> {
    const member = this.#member!;
    const { parameters } = member.backend;
    const before = new Array<[string, string]>(...parameters);
    member.backend.fates = null; // what is said now is none of the client's
    if (member.backend.takeStatementsLost()) { // it was DISCARD ALL: nothing binds to a backend now
      this.#forgetStatements(member);
      if (this.requests.keep !== "protocol") this.requests.keep = null;
    }
    try {
      // In a failed transaction nothing can be set, and nothing of it will last.
      if (status !== TransactionStatus.Failed) {
        await member.restore(
          (notification) => this.#sendThrough(notification),
          this.#linker.settingsAfterReset(member),
        );
      }
    } catch (error) {
      this.#gate = null;
      return this.#fail(error);
    }
    member.backend.fates = this.requests.fates;
    for (const [name, value] of before) {
      const now = parameters.get(name)!;
      if (now !== value) await this.#sendThrough(encodeParameterStatus(name, now));
    }
    await this.#sendThrough(encodeReadyForQuery(status));
    this.#gate = null;
    this.#releaseWhenOver();
  }

  /** To the client, while everything else waits. */
  async #sendThrough(bytes: Uint8Array): Promise<void> {
    try {
      await writeAll(this.#client, bytes);
    } catch {
      this.#end("vanished");
    }
  }

  async #consumeBehindGate(bytes: Uint8Array, gate: Promise<void>): Promise<void> {
    await gate;
    if (this.#member !== null) await (this.consume(bytes) ?? undefined);
  }

  /** Says why it is over, where a message may stand, and lets the client read it. */
  async #tellClient(): Promise<void> {
    const message = this.#farewell ?? UPSTREAM_LOST;
    const backend = this.#member?.backend ?? null;
    const explained = this.#ending === "upstream" &&
      backend?.lastType === BackendMessage.ErrorResponse;
    const mayStand = !this.#writingToClient && (backend === null || backend.atBoundary);
    const farewell = async () => {
      if (!explained && mayStand) await writeAll(this.#client, message);
      await this.#client.closeWrite();
      await this.pumped;
    };
    await lingering(farewell().catch(() => {}));
  }
}
