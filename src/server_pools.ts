// The pools of a proxy, and everything their clients are served with.

import type { StoredPassword } from "./auth/password.ts";
import { SqlState } from "./codec/codes.ts";
import { PgError } from "./codec/error.ts";
import { createHash } from "node:crypto";
import type { BackendView, PoolView } from "./control.ts";
import type { Meters } from "./meters.ts";
import type { PoolCounters } from "./pool/counters.ts";
import type { Connector, Lease } from "./pool/pool.ts";
import { connectUpstream, type UpstreamOptions } from "./pool/connect.ts";
import { PooledBackend } from "./pool/pooled_backend.ts";
import type { Sealing } from "./pool/sealing.ts";
import { Pools, type PoolsOptions } from "./pool/pools.ts";
import type { TenantShare } from "./pool/fairness.ts";
import type { PoolStats } from "./pool/pool.ts";
import type { SessionStatePolicy } from "./protocol/session_state.ts";
import { AddressLimit } from "./session/address_limit.ts";
import type { AuthenticationMethod } from "./session/authentication.ts";
import { CancelKeys } from "./session/cancel_keys.ts";
import { AuthQuery, ConfiguredCredentials } from "./session/credentials.ts";
import type { Routes } from "./server_routes.ts";
import { Greetings } from "./session/greetings.ts";
import type { Pooling, PoolKey } from "./session/lending.ts";

/** The settings that pools need; times are in milliseconds. */
export interface PoolSettings {
  /** Time to wait for a connection in transaction mode; null: poolCheckoutTimeout. */
  readonly queryWaitTimeout: number | null;
  /** Whether FunctionCall messages pass in transaction mode. */
  readonly poolFunctionCalls: boolean;
  /** Statements that stay prepared on a server connection between transactions. */
  readonly maxPreparedStatements: number;
  readonly sessionState: SessionStatePolicy;
  readonly poolSize: number;
  readonly poolMinIdle: number;
  readonly poolMaxTotal: number | null;
  readonly poolMaxWaiting: number;
  readonly poolCheckoutTimeout: number;
  readonly poolIdleTimeout: number;
  readonly poolMaxLifetime: number;
  readonly poolCheckAfter: number;
  readonly poolPassword: string | null;
  readonly poolAuth: AuthenticationMethod;
  readonly poolAuthCleartext: "tls" | "anywhere";
  readonly poolRoles: readonly string[] | null;
  readonly poolDatabases: readonly string[] | null;
  readonly authQuery: string | null;
  readonly authUser: string | null;
  readonly authPassword: string | null;
  readonly authDatabase: string | null;
  readonly upstreamUser: string | null;
  readonly upstreamPassword: string | null;
}

/** Secrets by user name, as auth_file has them. */
export type AuthUsers = ReadonlyMap<string, StoredPassword | null>;

/** Pools at the same time: clients choose databases and roles, and each pair has its own. */
const POOLS_MAX = 1_000;
/** After a failure to connect the next try waits this long, doubled each time. */
const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 5_000;
/** How long the server may take to let pgvpd in. */
const OPEN_MS_MAX = 15_000;
/** Cancel requests that fit nobody, from one address in a minute. */
const BAD_CANCELS_PER_MINUTE = 60;

/** A server connection that is open. */
interface OpenMember {
  readonly member: PooledBackend;
  readonly keyText: string;
  readonly since: Date;
}

/** Pools, keys, and limits live as long as the proxy; what the settings say may change. */
export class ServerPools {
  readonly #pools: Pools<PooledBackend>;
  /** A client asks with the same key for every transaction. */
  readonly #keyTexts = new WeakMap<PoolKey, string>();
  readonly #cancelKeys = new CancelKeys();
  readonly #greetings = new Greetings();
  readonly #failures: AddressLimit;
  readonly #badCancels = new AddressLimit(BAD_CANCELS_PER_MINUTE);
  readonly #mode: Pooling["mode"];
  readonly #routes: Routes;
  readonly #sealing: () => Sealing | null;
  #settings: PoolSettings;
  #upstream: UpstreamOptions;
  #authQuery: AuthQuery | null = null;
  #pooling: Pooling;
  readonly #meters: Meters;
  readonly #open = new Set<OpenMember>();
  /** Since when clients wait, by pool, in the order of arrival. */
  readonly #waits = new Map<string, Set<{ readonly since: number }>>();

  constructor(
    mode: Pooling["mode"],
    settings: PoolSettings,
    upstream: UpstreamOptions,
    users: AuthUsers | null,
    failures: AddressLimit,
    routes: Routes,
    meters: Meters,
    sealing: () => Sealing | null = () => null,
  ) {
    this.#routes = routes;
    this.#meters = meters;
    this.#sealing = sealing;
    this.#mode = mode;
    this.#settings = settings;
    this.#upstream = upstream;
    this.#failures = failures;
    this.#pools = new Pools(
      poolsOptions(this.#mode, settings),
      (key) => this.#connector(JSON.parse(key), key),
    );
    this.#pooling = this.#buildPooling(users);
  }

  /** How the sessions that begin now are served. */
  get pooling(): Pooling {
    return this.#pooling;
  }

  get stats(): Map<string, PoolStats> {
    return this.#pools.stats;
  }

  /** What all pools have done since the start. */
  get totals(): PoolCounters {
    return this.#pools.totals;
  }

  /** Of every pool there is now. */
  get views(): PoolView[] {
    const now = performance.now();
    return [...this.#pools.stats].map(([keyText, stats]) => {
      const { database, user, upstream } = JSON.parse(keyText) as PoolKey;
      const [first] = this.#waits.get(keyText) ?? [];
      const { sameContext, idle, checking, ...rest } = stats;
      return {
        ...{ id: poolId(keyText), database, role: user, upstream: upstream ?? null },
        ...rest,
        idle: idle + checking,
        longestWaitMs: first === undefined ? 0 : now - first.since,
        contextChanges: stats.reuses - sameContext,
      };
    });
  }

  /** Every server connection; whose it is, the sessions know. */
  get backends(): (BackendView & { readonly member: PooledBackend })[] {
    return [...this.#open].map(({ member, keyText, since }) => {
      const { database, user } = JSON.parse(keyText) as PoolKey;
      return {
        ...{ member, pool: poolId(keyText), database, role: user, client: null, tenant: null },
        processId: member.processId,
        address: member.backend.peer,
        state: "idle",
        connectedAt: since,
      };
    });
  }

  /** Has the connections of a pool replaced; returns how many, null when there is no such pool. */
  drain(id: string): number | null {
    const key = [...this.#pools.stats.keys()].find((keyText) => poolId(keyText) === id);
    return key === undefined ? null : this.#pools.drain(key);
  }

  /** Connections that are open stay as they are until their lifetime ends. */
  reload(settings: PoolSettings, upstream: UpstreamOptions, users: AuthUsers | null): void {
    this.#settings = settings;
    this.#upstream = upstream;
    this.#pools.options = poolsOptions(this.#mode, settings);
    void this.#authQuery?.close();
    this.#pooling = this.#buildPooling(users);
  }

  /** What tenants' shares of every pool are from now on, for clients that wait too. */
  reshare(shareOf: (known: TenantShare) => TenantShare): void {
    this.#pools.reshare(shareOf);
  }

  /** Resolves when every connection is closed; those that are lent must come back first. */
  async close(): Promise<void> {
    await Promise.all([this.#authQuery?.close(), this.#pools.close()]);
  }

  #buildPooling(users: AuthUsers | null): Pooling {
    const { authQuery: sql, authUser: user, authPassword: password, authDatabase: database } =
      this.#settings;
    this.#authQuery = sql === null || user === null
      ? null
      : new AuthQuery({ sql, user, password, database, connect: this.#connect });
    return {
      mode: this.#mode,
      checkout: (key, contextKey, signal, share) =>
        this.#checkout(this.#keyText(key), contextKey, signal, share),
      checkoutNow: (key, contextKey, share) => {
        const lease = this.#pools.checkoutNow(this.#keyText(key), contextKey, share);
        if (lease !== null) this.#meters.checkoutWait.observeMs(0);
        return lease;
      },
      credentials: new ConfiguredCredentials({
        users,
        query: this.#authQuery,
        password: this.#settings.poolPassword,
      }),
      method: this.#settings.poolAuth,
      cleartextAnywhere: this.#settings.poolAuthCleartext === "anywhere",
      roles: this.#settings.poolRoles,
      databases: this.#settings.poolDatabases,
      upstreamUser: this.#settings.upstreamUser,
      failures: this.#failures,
      badCancels: this.#badCancels,
      cancelKeys: this.#cancelKeys,
      greetings: this.#greetings,
      functionCallsAllowed: this.#settings.poolFunctionCalls,
      preparedStatementsMax: this.#settings.maxPreparedStatements,
      sessionState: this.#settings.sessionState,
    };
  }

  async #checkout(
    keyText: string,
    contextKey: string,
    signal: AbortSignal,
    share?: TenantShare,
  ): Promise<Lease<PooledBackend>> {
    const wait = { since: performance.now() };
    const waits = this.#waits.get(keyText) ?? new Set();
    this.#waits.set(keyText, waits.add(wait));
    try {
      const lease = await this.#pools.checkout(keyText, contextKey, signal, share);
      this.#meters.checkoutWait.observeMs(performance.now() - wait.since);
      return lease;
    } finally {
      waits.delete(wait);
      if (waits.size === 0 && this.#waits.get(keyText) === waits) this.#waits.delete(keyText);
    }
  }

  #opened(member: PooledBackend, keyText: string): PooledBackend {
    const open = { member, keyText, since: new Date() };
    this.#open.add(open);
    void member.ended.then(() => this.#open.delete(open));
    member.backend.errors = this.#meters.serverErrors;
    return member;
  }

  #keyText(key: PoolKey): string {
    let text = this.#keyTexts.get(key);
    if (text === undefined) this.#keyTexts.set(key, text = JSON.stringify(key));
    return text;
  }

  readonly #connect = (signal: AbortSignal) => connectUpstream(this.#upstream, signal);

  #connector(
    { upstream: id, database, user, startupSettings }: PoolKey,
    keyText: string,
  ): Connector<PooledBackend> {
    const own = id === undefined ? null : this.#routes.upstreamOf(id);
    const connect = own === null
      ? this.#connect
      : (signal: AbortSignal) => connectUpstream(own.options, signal); // as it is then
    return {
      open: async (signal) => {
        const late = AbortSignal.timeout(OPEN_MS_MAX);
        try {
          const member = await PooledBackend.open({
            connect,
            credentials: {
              user,
              password: own === null ? this.#settings.upstreamPassword : own.password,
            },
            database,
            startupSettings,
            provesRoles: this.#settings.poolRoles === null,
            sealing: this.#sealing,
          }, AbortSignal.any([signal, late]));
          return this.#opened(member, keyText);
        } catch (error) {
          throw error === late.reason ? openedTooLate() : error;
        }
      },
      isAlive: (member, signal) => member.isAlive(signal),
    };
  }
}

/** Names a pool in requests: what it is of may be of any length, and hold any character. */
export function poolId(keyText: string): string {
  return createHash("sha256").update(keyText).digest("hex").slice(0, 12);
}

function openedTooLate(): PgError {
  return new PgError(
    SqlState.SqlClientUnableToEstablishConnection,
    `the upstream server did not let pgvpd in within ${OPEN_MS_MAX / 1_000} s`,
    { hint: "Is it PostgreSQL that listens at upstream_host and upstream_port?" },
  );
}

function poolsOptions(mode: Pooling["mode"], settings: PoolSettings): PoolsOptions {
  return {
    size: settings.poolSize,
    takesLongestUnused: mode === "transaction",
    minIdle: settings.poolMinIdle,
    maxWaiting: settings.poolMaxWaiting,
    checkoutTimeoutMs: mode === "transaction"
      ? settings.queryWaitTimeout ?? settings.poolCheckoutTimeout
      : settings.poolCheckoutTimeout,
    idleTimeoutMs: settings.poolIdleTimeout,
    maxLifetimeMs: settings.poolMaxLifetime,
    checkAfterIdleMs: settings.poolCheckAfter,
    retryMsMin: RETRY_MS_MIN,
    retryMsMax: RETRY_MS_MAX,
    poolsMax: POOLS_MAX,
    maxTotal: settings.poolMaxTotal ?? Infinity,
  };
}
