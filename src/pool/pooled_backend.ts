// PooledBackend: a server connection with what a pool and its sessions must know of it.

import { FrontendMessage, SqlState, TransactionStatus } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { TERMINATE } from "../codec/frontend.ts";
import type { SessionContext, Setting } from "../context/context.ts";
import { BackendStatements } from "../protocol/prepared.ts";
import type { Inbox } from "../net/buffers.ts";
import { Backend } from "./backend.ts";
import type { UpstreamConnection } from "./connect.ts";
import { IdleWatch } from "./conversation.ts";
import { sendStartup, type ServerCredentials, ServerLogin } from "./login.ts";
import { preparation, refusedSetting, setting } from "./preparation.ts";
import { discard, residueCheck, scrub } from "./scrub.ts";
import { RoleProof } from "./role_proof.ts";
import { BackendSeal, type Sealing, type SealOutcome } from "./sealing.ts";
import { asPgError, converse, type Exchange, nothingQuery, type Say } from "./statements.ts";

/** How long a connection may take to answer a question of pgvpd's own. */
const ANSWER_MS_MAX = 5_000;
const NEVER = new AbortController().signal;

/** How a pool's connections are opened. */
export interface BackendOptions {
  readonly connect: (signal: AbortSignal) => Promise<UpstreamConnection>;
  readonly credentials: ServerCredentials;
  readonly database: string;
  /** Start-up settings that cannot be changed later. */
  readonly startupSettings: readonly Setting[];
  /** Whether the login role, and every role that is set, must be subject to row-level security. */
  readonly provesRoles: boolean;
  /** What contexts are sealed with, as it is now; null: with nothing. */
  readonly sealing?: () => Sealing | null;
}

/** What is known of the server's process. */
type ServerProcess = Pick<ServerLogin, "processId" | "cancelRequest">;

/** One member of a pool. */
export class PooledBackend {
  readonly backend: Backend;
  /** What the last session was, so that the next of its kind is preferred. */
  contextKey: string | null = null;
  /** Set by the server's own confirmation alone; null while the connection belongs to nobody. */
  confirmedContext: SessionContext | null = null;
  /** The settings of the client that has it. */
  appliedSettings: readonly Setting[] = [];
  /** Prepared under the present context, by pgvpd's own names. */
  readonly statements: BackendStatements;
  /** Whose unnamed statement is there; null: nobody's. */
  unnamedOwner: object | null = null;
  /** A cancel request that is on its way; the connection must not change hands before. */
  cancelling: Promise<void> | null = null;
  /** Nobody knows whether, or when, the server acts on a cancel request. */
  #cancelIsLost = false;
  /** What the server reported at its start: what RESET ALL goes back to. */
  readonly baseParameters: ReadonlyMap<string, string>;
  readonly #idleWatch: IdleWatch;
  readonly #login: ServerProcess;
  readonly #roles: RoleProof | null;
  readonly #seal: BackendSeal;

  private constructor(
    backend: Backend,
    login: ServerProcess,
    options: Pick<BackendOptions, "provesRoles" | "sealing">,
    /** It is one client's alone, which has logged in to the server itself. */
    readonly isDedicated = false,
  ) {
    this.backend = backend;
    this.#seal = new BackendSeal(options.sealing);
    this.statements = new BackendStatements(backend);
    this.#idleWatch = new IdleWatch(backend);
    this.baseParameters = new Map(backend.parameters);
    this.#login = login;
    this.#roles = options.provesRoles ? new RoleProof() : null;
  }

  /**
   * Connects, logs in, and has the server prove that row-level security binds the login role.
   *
   * @throws {PgError} that says what failed; the signal's reason when it aborts.
   */
  static async open(options: BackendOptions, signal: AbortSignal): Promise<PooledBackend> {
    const { startupSettings } = options;
    const { transport, endPoint } = await options.connect(signal);
    const onAbort = () => transport.close();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      signal.throwIfAborted(); // it may have come before anybody listened
      await sendStartup(transport, options.credentials.user, options.database, startupSettings);
      const backend = new Backend(transport, new Map());
      const login = new ServerLogin(backend, options.credentials, endPoint);
      backend.start();
      await login.result;
      const member = new PooledBackend(backend, login, options);
      await member.#proveRole(options.credentials.user, "upstream_user, or the user name", signal);
      member.watch();
      return member;
    } catch (error) {
      transport.close();
      if (signal.aborted) throw signal.reason;
      throw asPgError(error, OWN_QUERY_REFUSED);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** A connection on which a client has logged in itself; the server is ready for a query. */
  static adopt(
    upstream: Inbox,
    login: ServerProcess,
    sealing: () => Sealing | null,
  ): PooledBackend {
    const backend = new Backend(upstream.transport, new Map(), upstream);
    backend.ledger.request(FrontendMessage.Sync);
    backend.ledger.ready(TransactionStatus.Idle);
    const member = new PooledBackend(backend, login, { provesRoles: false, sealing }, true);
    member.watch();
    backend.start();
    return member;
  }

  /** Resolves when the connection has ended for whatever reason. */
  get ended(): Promise<void> {
    return this.backend.ended;
  }

  /** The server's process. */
  get processId(): number {
    return this.#login.processId;
  }

  /** The packet that cancels what the connection does; null when the server gave no key. */
  get cancelRequest(): Uint8Array | null {
    return this.#login.cancelRequest;
  }

  /**
   * Has the server cancel what it does for the client that has the connection. A connection does
   * not change hands while a cancel request is on its way: it would hit the next one.
   */
  async cancel(send: (request: Uint8Array) => Promise<void>): Promise<void> {
    if (this.cancelRequest === null || this.backend.ledger.settled) return;
    const sending = send(this.cancelRequest);
    const before = this.cancelling;
    sending.catch(() => this.#cancelIsLost = true);
    const all = Promise.allSettled([before, sending]).then(() => {
      if (this.cancelling === all) this.cancelling = null;
    });
    this.cancelling = all;
    await sending;
  }

  /** Ends the connection, in order when nothing is under way. May be called again. */
  close(): void {
    const { backend } = this;
    if (backend.isOver) return;
    if (!backend.idle) return backend.close();
    backend.send(TERMINATE).catch(() => {}).finally(() => backend.close());
  }

  /** Whether it answers. */
  async isAlive(signal: AbortSignal): Promise<boolean> {
    if (!this.backend.idle) return false;
    this.unnamedOwner = null;
    try {
      await this.#say([nothingQuery()], signal);
      return this.backend.idle;
    } catch {
      return false;
    }
  }

  /**
   * Makes it a session's: the client's settings and the context, confirmed.
   *
   * @throws {PgError} for a setting that the server does not take (the connection is clean again
   * when it is `idle` then), a role that is not proved, a context that is not confirmed.
   */
  async establish(
    context: SessionContext,
    settings: readonly Setting[],
    signal: AbortSignal,
  ): Promise<void> {
    if (!this.backend.idle) throw lost();
    await this.#proveRole(context.role, ROLE_FROM, signal).catch((error) => {
      throw asPgError(error, OWN_QUERY_REFUSED);
    });
    await this.#converseSealed(context, preparation(context, settings, true), signal);
    if (!this.backend.idle) throw lost();
    this.confirmedContext = context;
    this.appliedSettings = settings;
  }

  /** Nothing is under way, and no cancel request for the client before can hit the next one. */
  get isAtRest(): boolean {
    return this.cancelling === null && !this.#cancelIsLost && this.backend.idle;
  }

  /**
   * Waits for a cancel request that is on its way: it means what was done before. One that comes
   * late hits a question of pgvpd's own.
   *
   * @throws {PgError} 08006 when the connection is of no use; it is closed then.
   */
  async rest(signal: AbortSignal): Promise<void> {
    if (this.cancelling !== null) {
      this.unnamedOwner = null;
      await this.#bounded(this.cancelling, signal);
      if (this.backend.idle) {
        // It was hit, and is in step, or it is over.
        await this.#say([nothingQuery()], signal).catch(() => {});
      }
    }
    if (this.backend.idle && !this.#cancelIsLost) return;
    this.backend.close();
    await this.#bounded(this.ended, signal);
    throw lost();
  }

  /**
   * Takes a connection over from another context, which may have left anything, or from none:
   * cleans, looks for what the cleaning could not remove, sets, and has the context confirmed, all
   * in one round trip.
   *
   * @throws {PgError} when anything is not as it must be: the connection must be closed then.
   */
  async switchTo(
    context: SessionContext,
    contextKey: string,
    settings: readonly Setting[],
    signal: AbortSignal,
  ): Promise<void> {
    const { backend } = this;
    if (!backend.idle) throw lost();
    this.confirmedContext = null;
    this.contextKey = null;
    this.statements.clear();
    this.unnamedOwner = null;
    await this.#proveRole(context.role, ROLE_FROM, signal);
    const exchanges = [scrub(), residueCheck(), ...preparation(context, settings, true)];
    await this.#converseSealed(context, exchanges, signal);
    if (!backend.idle) throw lost();
    this.confirmedContext = context;
    this.contextKey = contextKey;
    this.appliedSettings = settings;
  }

  /** Sets what another client of the same context wants otherwise. */
  async adjust(settings: readonly Setting[], signal: AbortSignal): Promise<void> {
    this.unnamedOwner = null;
    await this.#say([setting(settings)], signal).catch(refusedSetting);
    if (!this.backend.idle) throw lost();
  }

  /**
   * Sets what a session has reset once more, in its middle: the context, and of its settings those
   * that it has not set otherwise since.
   *
   * @param notify is given the notifications that come meanwhile: they are the session's.
   * @throws {PgError} when that fails: the session cannot go on.
   */
  async restore(
    notify: (notification: Uint8Array) => Promise<void>,
    settings: readonly Setting[] = this.appliedSettings,
  ): Promise<void> {
    const context = this.confirmedContext;
    if (context === null) throw lost();
    this.confirmedContext = null;
    this.unnamedOwner = null;
    this.backend.notify = notify;
    try {
      // What a client of its own connection resets goes back to the context by itself.
      const exchanges = this.isDedicated ? [] : preparation(context, settings, false);
      await this.#converseSealed(context, exchanges, NEVER);
    } finally {
      this.backend.notify = null;
    }
    this.confirmedContext = context;
  }

  /** The database will not believe the context for much longer, or does not yet. */
  get isSealDue(): boolean {
    return this.#seal.isDue;
  }

  /**
   * Proves the context that is there once more, between two requests of the client.
   *
   * @param notify as in `restore`.
   * @throws {PgError} when the database does not believe it: the session cannot go on.
   */
  async renewSeal(
    signal: AbortSignal = NEVER,
    notify: ((notification: Uint8Array) => Promise<void>) | null = null,
  ): Promise<void> {
    const { backend, confirmedContext: context } = this;
    if (context === null || !backend.idle) throw lost();
    const { fates } = backend;
    backend.fates = null; // what is said now is none of the client's
    backend.notify = notify;
    try {
      await this.#seal.renew(context, (exchanges) => this.#say(exchanges, signal));
    } finally {
      backend.notify = null;
      backend.fates = fates;
    }
    if (!backend.idle) throw lost();
  }

  /** Says what makes a context, and what proves it, in one write. */
  async #converseSealed(
    context: SessionContext,
    exchanges: readonly Exchange<unknown>[],
    signal: AbortSignal,
  ): Promise<void> {
    const say: Say = (exchanges) => this.#say(exchanges, signal);
    await this.#seal.prepare(say);
    const all = [...exchanges, ...this.#seal.exchanges(context)];
    const results = all.length === 0 ? [] : await say(all).catch(refusedSetting);
    await this.#seal.conclude(context, results[exchanges.length] as SealOutcome | undefined, say);
  }

  async #proveRole(role: string, from: string, signal: AbortSignal): Promise<void> {
    await this.#roles?.prove(role, from, (exchanges) => this.#say(exchanges, signal));
  }

  #say<Results extends readonly unknown[]>(
    exchanges: Parameters<typeof converse<Results>>[1],
    signal: AbortSignal,
  ): Promise<Results> {
    return this.#bounded(converse<Results>(this.backend, exchanges), signal);
  }

  /**
   * Removes everything that a session can leave behind. Call it when everything it has asked for is
   * answered.
   *
   * @returns whether it is as new; when not, it must be closed.
   */
  async reset(signal: AbortSignal): Promise<boolean> {
    const { backend } = this;
    this.confirmedContext = null;
    if (!backend.ledger.settled || !backend.atBoundary || backend.isOver) return false;
    if (this.isDedicated) return backend.idle; // nobody comes behind
    const inTransaction = backend.ledger.transactionStatus !== TransactionStatus.Idle;
    try {
      if (this.cancelling !== null) await this.#bounded(this.cancelling, signal);
      if (this.#cancelIsLost) return false;
      await this.#say([discard(inTransaction)], signal);
    } catch {
      return false;
    }
    this.appliedSettings = [];
    this.statements.clear();
    this.unnamedOwner = null;
    if (!backend.idle) return false;
    this.watch();
    return true;
  }

  /** Has somebody look out for the connection's end while nobody uses it. */
  watch(): void {
    this.backend.consumer = this.#idleWatch;
  }

  /** Waits for an answer, but not for ever: a server that does not answer is as good as gone. */
  async #bounded<T>(answer: Promise<T>, signal: AbortSignal): Promise<T> {
    const late = Promise.withResolvers<never>();
    late.promise.catch(() => {});
    const giveUp = () => {
      this.backend.close();
      late.reject(signal.aborted ? signal.reason : lost());
    };
    const timer = setTimeout(giveUp, ANSWER_MS_MAX);
    signal.addEventListener("abort", giveUp, { once: true });
    try {
      if (signal.aborted) giveUp();
      return await Promise.race([answer, late.promise]);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", giveUp);
    }
  }
}

const ROLE_FROM = "the user name or set_role";
const OWN_QUERY_REFUSED = "the upstream server refused pgvpd's own query";

function lost(): PgError {
  return new PgError(SqlState.ConnectionFailure, "the connection to the upstream server was lost");
}
