// Session: one client connection, from its first byte to its last log record.

import type { PgError } from "../codec/error.ts";
import type { LogFields, Logger } from "../log.ts";
import { Inbox } from "../net/buffers.ts";
import type { Transport } from "../net/transport.ts";
import { activityOf, answersOf, isPooled, trafficOf, transactionsOf } from "./activity.ts";
import type { AnyRelay } from "./activity.ts";
import { forwardCancel } from "./cancel.ts";
import { CONSOLE_DATABASE, ConsoleSession, type Operating } from "./console.ts";
import { Deadline } from "./deadline.ts";
import {
  type Dedicated,
  type Established,
  handshake,
  HANDSHAKE_MESSAGE_SIZE_MAX,
  type HandshakeOptions,
  type HandshakeTarget,
  type SessionFacts,
} from "./handshake.ts";
import { checkIn } from "./check_in.ts";
import type { Lent, Route } from "./lending.ts";
import type { ContextChange, LiveContext } from "./live_context.ts";
import { CONTEXT_CHANGED, sayGoodbye } from "./farewell.ts";
import { guarded } from "./guard.ts";
import type { ClientEnding } from "./endings.ts";
import { PooledRelay } from "./pooled_relay.ts";
import { type LoginSoFar, type RecordOptions, SessionRecords } from "./records.ts";
import { Relay } from "./relay.ts";
import { RequestTimer } from "./request_timer.ts";
import { RequestRewriter } from "./rewriting.ts";
import type { Shared } from "./sharing.ts";
import type { TenantTimeouts } from "./tenant_policies.ts";
import type { TenantSession } from "./tenants.ts";
import type { Activity, LimitedSession, TimeLimits } from "./time_limits.ts";
import { TransactionRelay } from "./transaction_relay.ts";
import { SessionView } from "./view.ts";

/** What every session of a proxy is given. */
export interface SessionOptions extends HandshakeOptions {
  /** For start-up, authentication and context together. */
  readonly handshakeMsMax: number;
  readonly limits: TimeLimits;
  readonly observer: RecordOptions["observer"];
}

/** A client that will be refused is given this long to say what it wants. */
const REFUSED_HANDSHAKE_MS_MAX = 5_000;
/** For telling the server that a query is to be cancelled. */
const CANCEL_MS_MAX = 5_000;

/** Owns the client's transport and whatever is opened for it; `run()` gives everything back. */
export class Session implements HandshakeTarget, LimitedSession, TenantSession {
  #client: Inbox;
  readonly #options: SessionOptions;
  readonly #log: Logger;
  readonly #records: SessionRecords;
  /** What is told of its login. */
  readonly login: LoginSoFar;
  /** As lists and limits know it; null for a bypass user. */
  #tenant: string | null = null;
  /** Where its database is; null until that is known. */
  #route: Route | null = null;
  /** What its tenant has one less of while the session lasts. */
  #place: Disposable | null = null;
  #deadline: Deadline | null = null;
  #operator: ConsoleSession | null = null;
  #relay: AnyRelay = null;
  /** Cancels what the server does for this client now; null when nothing can be cancelled. */
  #canceller: (() => Promise<void>) | null = null;
  /** Made when somebody asks for its signal: most sessions never end that way. */
  #closed: AbortController | null = null;
  /** Aborted when nothing may go on that the client has asked for, though it said Terminate. */
  #cut: AbortController | null = null;
  #farewell: PgError | null = null;
  /** Null when no resolver has anything to say. */
  #live: LiveContext | null = null;
  /** Its tenant is paused. */
  #isHeld = false;
  /** Why it keeps its server connection; null: it does not. */
  #pinned: string | null = null;

  /** @param connection its number, which tells it apart from all others of this process. */
  constructor(client: Transport, options: SessionOptions, log: Logger, readonly connection = 0) {
    this.#client = new Inbox(client, HANDSHAKE_MESSAGE_SIZE_MAX);
    this.#options = options;
    this.#log = log;
    const { meters, observer } = options;
    this.#records = new SessionRecords(log, client.peer, { connection, meters, observer });
    this.login = this.#records.login;
  }

  /** Who is connected; null until the start-up message has been understood. */
  get facts(): SessionFacts | null {
    return this.#records.facts;
  }

  /** Serves the client until its connection is over. Never rejects. */
  async run(): Promise<void> {
    this.#log.debug("client accepted", { peer: this.#client.transport.peer });
    try {
      const established = await this.#shakeHands();
      if (established === null) return;
      this.#guard();
      if ("commands" in established) await this.#serveOperator(established);
      else if ("linker" in established) await this.#serveShared(established);
      else if ("lease" in established) await this.#serveLent(established);
      else await this.#serveDedicated(established);
    } catch (error) {
      await this.#onFailure(error);
    } finally {
      this.#live?.[Symbol.dispose]();
      this.#client.transport.close();
      this.#place?.[Symbol.dispose]();
    }
  }

  /** Tells the client why and ends the session as soon as nothing it asked for is under way. */
  drain(reason: PgError): void {
    this.#farewell = reason;
    if (this.#relay !== null) this.#relay.drain(reason.encode());
    else (this.#operator ?? this.#deadline)?.end(reason);
  }

  /** Tells the client why, where its stream allows it, and ends the session now. */
  async close(reason: PgError): Promise<void> {
    this.#farewell = reason;
    this.#closing.abort(reason);
    if (this.#relay !== null) await this.#relay.close(reason.encode());
    else (this.#operator ?? this.#deadline)?.end(reason);
  }

  async #shakeHands(): Promise<Established | null> {
    const { handshakeMsMax, refusal } = this.#options;
    using deadline = new Deadline(
      refusal === null ? handshakeMsMax : Math.min(handshakeMsMax, REFUSED_HANDSHAKE_MS_MAX),
      "waiting for the client's startup packet",
    );
    this.#deadline = deadline;
    const established = await handshake(this.#client, this.#options, deadline, this.#log, this);
    if (established === null) {
      this.#log.info("cancel request passed on", { peer: this.#client.transport.peer });
      return null;
    }
    return established;
  }

  get #closing(): AbortController {
    return this.#closed ??= new AbortController();
  }

  get #cutShort(): AbortController {
    return this.#cut ??= new AbortController();
  }

  /** Called by the handshake when there are resolvers. */
  resolvedBy(live: LiveContext): void {
    this.#live = live;
  }

  /** What its context was derived from has changed. */
  contextInvalidated(change: ContextChange): void {
    const relay = this.#relay;
    if (relay === null) return; // it is looked at when the session is served
    if (change === "close") return this.drain(CONTEXT_CHANGED);
    // Its next transaction gets a backend with the context of then, unless it keeps the one it has.
    if (relay instanceof TransactionRelay && relay.requests.keep === null) return;
    const live = this.#live!;
    this.#options.resolvers.rechecks.add(live, async (signal) => {
      if (await live.hasChanged(signal)) this.drain(CONTEXT_CHANGED);
    }, change === "refresh");
  }

  /** Served from now on: what has changed since its handshake began was not told yet. */
  #serve(relay: Relay | PooledRelay | TransactionRelay): void {
    this.#relay = relay;
    if (this.#isHeld) relay.hold.hold();
    if (this.#farewell !== null) relay.drain(this.#farewell.encode());
    if (this.#live?.stale === true) this.contextInvalidated("refresh");
  }

  /** Called by the handshake when it knows who this is. */
  identified({ facts, tenant, route }: Parameters<HandshakeTarget["identified"]>[0]): void {
    this.#records.facts = facts;
    this.#tenant = tenant;
    this.#route = route;
  }

  /** Called by the handshake when the client has shown who it is: now it counts. */
  authenticated(): void {
    if (this.#tenant === null) return;
    this.#place = this.#options.tenants.enter(this.#tenant, this);
  }

  /** Somebody has shown this session's cancel key. */
  async cancel(): Promise<void> {
    await this.#canceller?.();
  }

  /** Called by the handshake when it is an operator who wants the console. */
  operates(user: string): void {
    this.#records.facts = { role: user, database: CONSOLE_DATABASE, tenant: null };
    this.login.method = "scram";
  }

  /** Statements that would change the context are told; the limits of a bypass user are its own. */
  #guard(): void {
    if (this.#tenant === null) return;
    const note = (change: string) => this.#records.guardHit(change);
    this.#client = guarded(this.#client, this.#options.guard, note);
  }

  async #serveOperator(operating: Operating): Promise<void> {
    this.#operator = new ConsoleSession(this.#client, operating);
    this.#connected();
    if (this.#farewell !== null) this.#operator.end(this.#farewell);
    await this.#operator.run();
    this.#disconnected("client");
  }

  async #serveDedicated({ upstream, cancelRequest }: Dedicated): Promise<void> {
    this.#connected();
    const cancel = cancelRequest === null ? null : () => this.#sendCancel(cancelRequest);
    this.#canceller = cancel;
    // Where there are pools, or several servers, pgvpd must know whose key a cancel request shows.
    using _key = cancelRequest === null
      ? null
      : this.#options.cancelKeys?.adopt(cancelRequest, this);
    const { meters } = this.#options;
    const relay = new Relay(this.#client, upstream, new RequestTimer(meters), meters.serverErrors);
    this.#serve(relay);
    const watched = this.#tenant === null ? null : this.#options.limits.watch(this);
    const endedBy = await relay.run();
    watched?.[Symbol.dispose]();
    this.#disconnected(endedBy);
    const isCut = this.#cut !== null && !relay.idle;
    if ((relay.abandoned || isCut) && cancel !== null) await this.#records.abandoned(cancel);
  }

  async #serveLent({ lease, cancelKey }: Lent): Promise<void> {
    using _lease = lease; // whatever happens, its place comes back
    const { member } = lease;
    this.#connected({ backend: member.processId });
    this.#canceller = () => member.cancel((request) => this.#sendCancel(request));
    const relay = new PooledRelay(this.#client, member, new RequestTimer(this.#options.meters));
    this.#serve(relay);
    using watched = this.#options.limits.watch(this);
    const endedBy = await relay.run().finally(() => this.#released(cancelKey));
    this.#records.unserved(relay.failure);
    this.#disconnected(endedBy);
    this.#client.transport.close();
    await this.#checkIn(lease, relay, endedBy, watched);
  }

  async #serveShared({ linker, cancelKey }: Shared): Promise<void> {
    this.#connected();
    const requests = new RequestRewriter(this.#options.pooling!);
    const relay = new TransactionRelay(this.#client, linker, requests, (reason, member) => {
      this.#pinned = reason;
      this.#options.meters.pinned.add(reason);
      this.#log.info("client keeps its server connection", {
        ...this.#records.fields(),
        reason,
        backend: member.processId,
      });
      if (this.#live?.stale === true) this.contextInvalidated("refresh");
    });
    relay.timer = new RequestTimer(this.#options.meters);
    this.#canceller = () => relay.cancel((request) => this.#sendCancel(request));
    this.#serve(relay);
    using watched = this.#options.limits.watch(this);
    const endedBy = await relay.run().finally(() => this.#released(cancelKey));
    this.#records.unserved(relay.failure);
    this.#disconnected(endedBy);
    this.#client.transport.close();
    using lease = relay.takeLease();
    if (lease !== null) await this.#checkIn(lease, relay, endedBy, watched);
  }

  /** The client has left: its key is worth nothing any more. */
  #released(cancelKey: Disposable): void {
    this.#canceller = null;
    cancelKey[Symbol.dispose]();
  }

  /** What the client has left behind may go on, for as long as the limits let it. */
  async #checkIn(
    lease: Lent["lease"],
    relay: PooledRelay | TransactionRelay,
    endedBy: ClientEnding,
    watched: Disposable,
  ): Promise<void> {
    const { member } = lease;
    const cancel = () => member.cancel((request) => this.#sendCancel(request));
    this.#canceller = cancel;
    const outcome = await checkIn(lease, {
      pumped: relay.pumped,
      sentWhole: relay.sentWhole,
      finishes: endedBy === "terminated",
      hurry: this.#cutShort.signal,
      cancel,
      onSettled: () => {
        watched[Symbol.dispose]();
        this.#canceller = null;
      },
      signal: this.#closing.signal,
    });
    this.#log.debug("server connection checked in", { backend: member.processId, outcome });
  }

  get activity(): Activity {
    return activityOf(this.#relay);
  }

  get traffic(): number {
    return trafficOf(this.#relay);
  }

  get transactions(): number {
    return transactionsOf(this.#relay);
  }

  get answers(): number {
    return answersOf(this.#relay);
  }

  get isPooled(): boolean {
    return isPooled(this.#relay);
  }

  /** How it stands, for operators. */
  get view(): SessionView {
    return new SessionView(this.#records, this.#tenant, this.#relay, this.#route, this.#pinned);
  }

  get tenantTimeouts(): TenantTimeouts | null {
    return this.#tenant === null ? null : this.#options.tenants.policyOf(this.#tenant);
  }

  /** It has run for longer than its tenant may; the session goes on. */
  cancelStatement(limitMs: number): void {
    const fields = { ...this.#records.fields(), limit_ms: limitMs };
    this.#log.info("statement is over its time limit", fields);
    this.#canceller?.().catch((error) => this.#records.cancelFailed("statement", error));
  }

  /** A time limit has been passed: its backend is cleaned and used on. */
  end(reason: PgError): void {
    this.#endNow("session is over its time limit", reason);
  }

  /** Its tenant may not be here any more. */
  expel(reason: PgError): void {
    this.#endNow("session ends: its tenant may not connect any more", reason);
  }

  /** Its tenant is paused: what it has begun, it ends. */
  hold(): void {
    this.#isHeld = true;
    this.#relay?.hold.hold();
  }

  release(): void {
    this.#isHeld = false;
    this.#relay?.hold.release();
  }

  #endNow(why: string, reason: PgError): void {
    this.#records.endedNow(why, reason);
    this.#farewell = reason;
    this.#cutShort.abort();
    if (this.#relay !== null) void this.#relay.close(reason.encode());
    else (this.#operator ?? this.#deadline)?.end(reason);
  }

  /** The handshake is over, and with it everything that was waited for. */
  #connected(more: LogFields = {}): void {
    const { times } = this.#deadline!;
    this.#deadline = null;
    this.login.context = this.#live?.context ?? this.login.context;
    this.#records.connected(times, more);
  }

  #disconnected(endedBy: string): void {
    const { traffic } = this.view;
    this.#options.meters.past.add(this.#tenant, traffic);
    this.#records.disconnected(endedBy, this.#farewell, traffic);
  }

  async #sendCancel(request: Uint8Array): Promise<void> {
    using deadline = new Deadline(CANCEL_MS_MAX, "cancelling a query");
    await forwardCancel(request, this.#route!.dial, deadline);
  }

  async #onFailure(error: unknown): Promise<void> {
    const words = this.#records.failed(error, this.#farewell);
    if (words !== undefined) await sayGoodbye(this.#client, words);
  }
}
