// PooledBackend: a server connection with what a pool and its sessions must know of it.

import { SqlState, TransactionStatus } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { encodeStartupMessage, type StartupParameter, TERMINATE } from "../codec/frontend.ts";
import type { SessionContext, Setting } from "../context/context.ts";
import { BackendStatements } from "../protocol/prepared.ts";
import { type Transport, writeAll } from "../net/transport.ts";
import { Backend } from "./backend.ts";
import type { UpstreamConnection } from "./connect.ts";
import { IdleWatch } from "./conversation.ts";
import { type ServerCredentials, ServerLogin } from "./login.ts";
import { preparation, refusedSetting, setting } from "./preparation.ts";
import { residueCheck, scrub } from "./scrub.ts";
import { asPgError, binaryQuery, converse, statements } from "./statements.ts";

const UTF8 = new TextEncoder();
const PROTOCOL_3_0 = 3 << 16;
/** Roles of which is known that they do not leave row-level security. */
const PROVED_ROLES_MAX = 100;
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
}

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
  readonly #login: ServerLogin;
  readonly #options: BackendOptions;
  readonly #provedRoles = new Set<string>();

  private constructor(backend: Backend, login: ServerLogin, options: BackendOptions) {
    this.backend = backend;
    this.statements = new BackendStatements(backend);
    this.#idleWatch = new IdleWatch(backend);
    this.baseParameters = new Map(backend.parameters);
    this.#login = login;
    this.#options = options;
  }

  /**
   * Connects, logs in, and has the server prove that row-level security binds the login role.
   *
   * @throws {PgError} that says what failed; the signal's reason when it aborts.
   */
  static async open(options: BackendOptions, signal: AbortSignal): Promise<PooledBackend> {
    const { transport, endPoint } = await options.connect(signal);
    const onAbort = () => transport.close();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      signal.throwIfAborted(); // it may have come before anybody listened
      await sendStartup(transport, options);
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
      await this.#bounded(converse(this.backend, [binaryQuery(NOTHING_QUERY, [])]), signal);
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
    await this.#proveRole(context.role, "the user name or set_role", signal).catch(refusedQuery);
    await this.#bounded(converse(this.backend, preparation(context, settings, true)), signal)
      .catch(refusedSetting);
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
        await this.#bounded(converse(this.backend, [binaryQuery(NOTHING_QUERY, [])]), signal)
          .catch(() => {}); // it was hit, and is in step, or it is over
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
    await this.#proveRole(context.role, "the user name or set_role", signal);
    const exchanges = [scrub(), residueCheck(), ...preparation(context, settings, true)];
    await this.#bounded(converse(backend, exchanges), signal).catch(refusedSetting);
    if (!backend.idle) throw lost();
    this.confirmedContext = context;
    this.contextKey = contextKey;
    this.appliedSettings = settings;
  }

  /** Sets what another client of the same context wants otherwise. */
  async adjust(settings: readonly Setting[], signal: AbortSignal): Promise<void> {
    this.unnamedOwner = null;
    await this.#bounded(converse(this.backend, [setting(settings)]), signal).catch(refusedSetting);
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
      const exchanges = preparation(context, settings, false);
      await this.#bounded(converse(this.backend, exchanges), NEVER).catch(refusedSetting);
    } finally {
      this.backend.notify = null;
    }
    this.confirmedContext = context;
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
    const inTransaction = backend.ledger.transactionStatus !== TransactionStatus.Idle;
    try {
      if (this.cancelling !== null) await this.#bounded(this.cancelling, signal);
      if (this.#cancelIsLost) return false;
      const clean = statements(...inTransaction ? ["ROLLBACK"] : [], "DISCARD ALL", newSeed());
      await this.#bounded(converse(backend, [clean]), signal);
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

  /** @throws {PgError} 28000 for a role to which row-level security does not apply. */
  async #proveRole(role: string, from: string, signal: AbortSignal): Promise<void> {
    if (!this.#options.provesRoles || this.#provedRoles.has(role)) return;
    const [[row]] = await this.#bounded(
      converse(this.backend, [binaryQuery(ROLE_QUERY, [role])]),
      signal,
    );
    if (row?.[0] === "t") {
      throw new PgError(
        SqlState.InvalidAuthorizationSpecification,
        `role ${JSON.stringify(role)} is not subject to row-level security`,
        {
          detail: `It is a superuser or has BYPASSRLS; it comes from ${from}.`,
          hint: "Take a role with NOSUPERUSER NOBYPASSRLS, or name it in pool_roles.",
        },
      );
    }
    if (row?.[0] !== "f") return; // there is no such role, yet
    if (this.#provedRoles.size >= PROVED_ROLES_MAX) this.#provedRoles.clear();
    this.#provedRoles.add(role);
  }
}

const NOTHING_QUERY = "SELECT pg_catalog.convert_to('', 'UTF8')";
const ROLE_QUERY = "SELECT pg_catalog.convert_to((SELECT pg_catalog.left((r.rolsuper OR " +
  "r.rolbypassrls)::pg_catalog.text, 1) FROM pg_catalog.pg_roles r WHERE r.rolname " +
  "OPERATOR(pg_catalog.=) pg_catalog.convert_from($1, 'UTF8')), 'UTF8')";

/** DISCARD ALL leaves the state of random(), which whoever has set or watched it can foretell. */
function newSeed(): string {
  const random = crypto.getRandomValues(new Uint32Array(2));
  return `SET seed TO ${(random[0]! / 2 ** 32 + random[1]! / 2 ** 64).toFixed(18)}`;
}

async function sendStartup(transport: Transport, options: BackendOptions): Promise<void> {
  const { credentials, database, startupSettings } = options;
  const parameters: StartupParameter[] = [
    { name: "user", value: UTF8.encode(credentials.user) },
    { name: "database", value: UTF8.encode(database) },
    ...startupSettings.map(({ name, value }) => ({ name, value: UTF8.encode(value) })),
  ];
  const packet = encodeStartupMessage({ protocolVersion: PROTOCOL_3_0, parameters });
  try {
    await writeAll(transport, packet);
  } catch (cause) {
    throw new PgError(SqlState.ConnectionFailure, "the upstream server went away", {}, { cause });
  }
}

const OWN_QUERY_REFUSED = "the upstream server refused pgvpd's own query";

function refusedQuery(error: unknown): never {
  throw asPgError(error, OWN_QUERY_REFUSED);
}

function lost(): PgError {
  return new PgError(SqlState.ConnectionFailure, "the connection to the upstream server was lost");
}
