// TransactionRelay: a client that is lent a backend for each transaction, and none in between.
// Hot: runs per read and per message. No objects, no closures, no copies but of what is rewritten.

import { assert } from "../assert.ts";
import { encodeParameterStatus, encodeReadyForQuery } from "../codec/backend.ts";
import { FrontendMessage, HEADER_SIZE, TransactionStatus } from "../codec/codes.ts";
import { Flow, type Inbox, joined, keep } from "../net/buffers.ts";
import { type Backend, type BackendConsumer, Stop } from "../pool/backend.ts";
import type { Lease } from "../pool/pool.ts";
import type { PooledBackend } from "../pool/pooled_backend.ts";
import { ClientEnd, type ClientEnding } from "./client_end.ts";
import { cannotRestore } from "./farewell.ts";
import type { Linker } from "./linking.ts";
import { RequestRewriter } from "./rewriting.ts";

/** A ReadyForQuery as a whole. */
const READY_SIZE = HEADER_SIZE + 1;
const NO_BYTES = new Uint8Array(0);

/** What a session of a transaction pool is told when it must keep its backend. */
export type OnKept = (reason: string, member: PooledBackend) => void;

/** Moves bytes both ways, through whatever backend is the client's at the moment. */
export class TransactionRelay extends ClientEnd implements BackendConsumer {
  readonly requests: RequestRewriter;
  readonly #linker: Linker;
  readonly #flow: Flow;
  readonly #onKept: OnKept;
  readonly #abandoned = new AbortController();
  #lease: Lease<PooledBackend> | null = null;
  #member: PooledBackend | null = null;
  /** Why the client keeps its backend; null while it does not, or nobody was told yet. */
  #keptFor: string | null = null;
  #linking = false;
  #restoreDue = false;
  /** The ReadyForQuery at which it is restored has come. */
  #readyWithheld = false;
  /** The beginning of a message that may be withheld, or of a ReadyForQuery to be held back. */
  #withheld: Uint8Array = NO_BYTES;
  /** Bytes of it that have been walked already. */
  #walkedBefore = 0;
  /** pgvpd talks to the server itself until then. */
  #restoring: Promise<void> = Promise.resolve();
  /** A write to the backend that is under way. */
  #sending: Promise<boolean> | null = null;
  #bug: unknown = null;

  constructor(client: Inbox, linker: Linker, requests: RequestRewriter, onKept: OnKept) {
    super(client.transport);
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

  protected override get backend(): Backend | null {
    return this.#member?.backend ?? null;
  }

  /** Cancels what is done for the client: between transactions, or by pgvpd itself, nothing is. */
  async cancel(send: (request: Uint8Array) => Promise<void>): Promise<void> {
    if (this.gate === null) await this.#member?.cancel(send);
  }

  /** Whoever takes it is its owner from then on: the session is over. */
  takeLease(): Lease<PooledBackend> | null {
    const lease = this.#lease;
    this.#lease = null;
    if (lease !== null) lease.member.backend.fates = null;
    return lease;
  }

  /** Whole messages have been sent. */
  override get sentWhole(): boolean {
    return this.requests.atBoundary;
  }

  /**
   * Resolves when the session is over. Everything the client must be told has been told.
   *
   * @throws what is a bug in pgvpd; the backend is closed then.
   */
  async run(): Promise<ClientEnding> {
    this.pumped = this.#pumpFromClient().catch((error) => this.#crash(error));
    await this.over.promise;
    const ending = this.ending!;
    this.#abandoned.abort();
    if (this.#bug !== null) throw this.#bug;
    if (ending !== "terminated" && ending !== "closed" && ending !== "vanished") {
      await this.tellClient();
    }
    await Promise.all([this.#restoring.catch(() => {}), this.renewing]);
    return ending;
  }

  /** Nothing is under way: a message of pgvpd's own may end the session here. */
  override get idle(): boolean {
    return this.sentWhole && !this.#linking && this.gate === null && !this.writingToClient &&
      (this.#member === null || this.#member.backend.idle);
  }

  /** From the server: everything passes, in order, but the replies to what pgvpd has put in. */
  consume(bytes: Uint8Array): Promise<void> | null {
    if (this.gate !== null && !this.#readyWithheld) {
      return this.#consumeBehindGate(bytes, this.gate.promise);
    }
    if (this.#restoreDue) return this.#consumeUntilReady(bytes);
    this.bytesFromUpstream += bytes.length;
    if (this.#withheld.length > 0) {
      bytes = joined(this.#withheld, bytes);
      this.#withheld = NO_BYTES;
    }
    const { backend } = this.#member!;
    const end = bytes.length;
    let at = this.#walkedBefore;
    this.#walkedBefore = 0;
    // bytes[0, kept) is for the client; bytes[from, at) too, and not moved there yet.
    let kept = 0;
    let from = 0;
    while (at < end) {
      at = backend.walk(bytes, at, end);
      if (backend.stop === Stop.Withhold) {
        kept = keep(bytes, kept, from, at - HEADER_SIZE);
        from = at;
      } else if (backend.stop === Stop.ContextLost) {
        this.#restoreDue = true;
        kept = keep(bytes, kept, from, at);
        return this.#splitAt(bytes, kept, at);
      }
    }
    const open = this.requests.fates.anyWithheld ? backend.openHeaderSize : 0;
    if (open > 0) {
      this.#withheld = new Uint8Array(bytes.subarray(end - open));
      this.#walkedBefore = open;
    }
    kept = keep(bytes, kept, from, end - open);
    return this.#toClient(kept === end ? bytes : bytes.subarray(0, kept));
  }

  lost(): void {
    this.end("upstream");
  }

  async #toClient(bytes: Uint8Array): Promise<void> {
    if (this.ending !== null) return;
    if (bytes.length > 0) {
      this.writingToClient = true;
      try {
        let sent = await this.client.write(bytes);
        while (sent < bytes.length) sent += await this.client.write(bytes.subarray(sent));
      } catch {
        this.end("vanished");
      }
      this.writingToClient = false;
    }
    this.#afterWrite();
  }

  /** What had to wait for it. */
  #afterWrite(): void {
    this.#releaseWhenOver();
    if (this.farewell !== null && this.idle) this.end("pgvpd");
    if (this.clientEnded) this.endWhenAnswered();
  }

  /** Gives the backend back at the end of a transaction, unless the client must keep it. */
  #releaseWhenOver(): void {
    const member = this.#member;
    if (member === null || this.ending !== null) return;
    const { idle, ledger } = member.backend;
    if (ledger.settled) this.timer.answered(idle);
    if (!idle || !this.requests.betweenMessages || this.gate !== null || this.#restoreDue) return;
    if (this.#sending !== null || this.writingToClient) return;
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

  #keepBackend(member: PooledBackend, reason: string): void {
    if (this.#keptFor !== null) return;
    this.#keptFor = reason;
    this.#onKept(reason, member);
  }

  async #pumpFromClient(): Promise<void> {
    const flow = this.#flow;
    const { requests } = this;
    while (this.ending === null) {
      let bytes: Uint8Array | null = null;
      try {
        if (flow.hasRest) bytes = await flow.rest();
        if (bytes === null && !flow.ended) {
          const buffer = flow.buffer();
          const count = await this.client.read(buffer);
          if (count !== null) bytes = flow.filled(buffer, count);
        }
      } catch {
        this.end("vanished");
        break;
      }
      if (bytes === null) {
        await this.watchSilentClient();
        break;
      }
      this.bytesFromClient += bytes.length;
      if (this.gate !== null || this.hold.isOn) await this.passage(bytes[0]!);
      if (this.#member?.isSealDue === true) await this.renewSeal(this.#member);
      if (this.ending !== null) break;
      this.timer.asked();
      if (requests.cut.length > 0) bytes = joined(requests.cut, bytes);
      if (this.#member === null && bytes.length < HEADER_SIZE) {
        requests.cut = new Uint8Array(bytes); // nobody is lent a backend for half a header
        continue;
      }
      if (this.#member === null) {
        const linked = this.#linkFor(bytes);
        if (!(linked === true || linked !== false && await linked)) break;
      }
      const sendable = requests.take(bytes, this.#member!);
      if (sendable.length > 0) {
        this.#sending = this.#toUpstream(sendable);
        const isSent = await this.#sending;
        this.#sending = null;
        if (!isSent) break;
      }
      this.#releaseWhenOver(); // what nobody answers must not keep the backend
      if (requests.terminated) this.end("terminated");
      if (requests.failure !== null) this.fail(requests.failure);
    }
    flow.release();
  }

  /** Links a backend for what begins with these bytes, at once if possible; Terminate needs none. */
  #linkFor(bytes: Uint8Array): boolean | Promise<boolean> {
    if (bytes[0] === FrontendMessage.Terminate) {
      this.end("terminated");
      return false;
    }
    const linked = this.#linker.link(this.#abandoned.signal);
    return linked instanceof Promise ? this.#linkLater(linked) : this.#use(linked);
  }

  async #linkLater(linked: Promise<Lease<PooledBackend>>): Promise<boolean> {
    this.#linking = true;
    try {
      const lease = await linked;
      if (this.ending === null) this.#use(lease);
      else lease.giveBack();
    } catch (error) {
      this.fail(error);
    }
    this.#linking = false;
    return this.ending === null;
  }

  #use(lease: Lease<PooledBackend>): boolean {
    this.#lease = lease;
    this.#member = lease.member;
    const { backend } = lease.member;
    backend.takeStatementsLost();
    backend.fates = this.requests.fates;
    backend.consumer = this;
    if (backend.isOver) this.lost();
    return this.ending === null;
  }

  /** A bug in pgvpd: it costs this session and its backend, and no other. */
  #crash(error: unknown): void {
    this.#bug = error;
    this.#lease?.discard("failed");
    this.#lease = null;
    this.end("pgvpd");
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

  /** A statement has undone the context; what stands behind its completion is looked at closely. */
  async #splitAt(bytes: Uint8Array, kept: number, at: number): Promise<void> {
    const rest = new Uint8Array(bytes.subarray(at));
    await this.#toClient(bytes.subarray(0, kept));
    this.bytesFromUpstream -= rest.length; // counted again
    if (rest.length > 0) await this.#consumeUntilReady(rest);
  }

  /**
   * Everything passes but the ReadyForQuery at which the context can be restored. What stands
   * behind that one came without being asked for, and passes too, up to the end of its message.
   */
  async #consumeUntilReady(chunk: Uint8Array): Promise<void> {
    const { backend } = this.#member!;
    this.bytesFromUpstream += chunk.length;
    const held = this.#withheld.length;
    const bytes = joined(this.#withheld, chunk);
    this.#withheld = NO_BYTES;
    let at = held;
    let kept = 0;
    let from = 0;
    while (at < bytes.length) {
      at = backend.walk(bytes, at, bytes.length);
      if (backend.stop === Stop.Withhold) {
        kept = keep(bytes, kept, from, at - HEADER_SIZE);
        from = at;
      }
      if (backend.stop !== Stop.Ready || !this.#mayRestore) continue;
      this.gate ??= Promise.withResolvers();
      this.#readyWithheld = true;
      kept = keep(bytes, kept, from, at - READY_SIZE);
      from = at;
    }
    const open = backend.openReadySize;
    if (open > 0) this.#withheld = new Uint8Array(bytes.subarray(bytes.length - open));
    kept = keep(bytes, kept, from, bytes.length - open);
    await this.#toClient(bytes.subarray(0, kept));
    if (!this.#readyWithheld || !backend.atBoundary || this.ending !== null) return;
    // The server waits for the rest of it, and has nothing else to do.
    if (this.#sending !== null) await this.#sending;
    if (this.ending !== null) return;
    this.#readyWithheld = false;
    const status = backend.ledger.transactionStatus;
    // ROLLBACK TO undoes it too: in a transaction it is done again behind every statement.
    this.#restoreDue = status !== TransactionStatus.Idle;
    // It has begun to listen when this returns: no byte is read before.
    void this.#restore(this.gate!, status);
  }

  /**
   * Requests behind it were sent already: their replies come first, and see nothing. In a failed
   * transaction nothing can be set: it is done when that is over.
   */
  get #mayRestore(): boolean {
    const { ledger } = this.#member!.backend;
    return ledger.uncertain ||
      ledger.settled && ledger.transactionStatus !== TransactionStatus.Failed;
  }

  /** Restores the context, tells the client what has changed by it, and then that it may go on. */
  async #restore(gate: PromiseWithResolvers<void>, status: number): Promise<void> {
    const member = this.#member!;
    const { ledger, parameters } = member.backend;
    const before = new Array<[string, string]>(...parameters);
    member.backend.fates = null; // what is said now is none of the client's
    if (member.backend.takeStatementsLost()) { // it was DISCARD ALL: nothing binds to a backend now
      if (this.requests.keep !== "protocol") this.requests.keep = this.#keptFor = null;
    }
    try {
      // Half a message of the client's would take what pgvpd says for its other half.
      if (!ledger.settled || !this.requests.betweenMessages) throw cannotRestore();
      this.#restoring = member.restore(
        (notification) => this.sendThrough(notification),
        this.#linker.settingsAfterReset(member),
      );
      await this.#restoring;
      member.backend.fates = this.requests.fates;
      for (const [name, value] of before) {
        const now = parameters.get(name)!;
        if (now !== value) await this.sendThrough(encodeParameterStatus(name, now));
      }
      await this.sendThrough(encodeReadyForQuery(status));
    } catch (error) {
      this.fail(error);
    }
    this.gate = null;
    gate.resolve();
    this.#afterWrite();
  }

  async #consumeBehindGate(bytes: Uint8Array, gate: Promise<void>): Promise<void> {
    await gate;
    if (this.#member !== null) await (this.consume(bytes) ?? undefined);
  }
}
