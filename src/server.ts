// Proxy: the running whole. Listeners, accept loops, the sessions, and how everything ends.

import type { SealKey } from "./auth/seal.ts";
import { SqlState } from "./codec/codes.ts";
import { PgError } from "./codec/error.ts";
import type { ResolverPlan } from "./context/resolver_plan.ts";
import { logger } from "./log.ts";
import { isDirectory, listen } from "./net/address.ts";
import type { Listener } from "./net/tcp.ts";
import type { Transport } from "./net/transport.ts";
import type { TenantsFile } from "./config/tenants_file.ts";
import { connectUpstream, type UpstreamOptions, type UpstreamTls } from "./pool/connect.ts";
import type { Sealing } from "./pool/sealing.ts";
import type { PoolStats } from "./pool/pool.ts";
import { type AuthUsers, type PoolSettings, ServerPools } from "./server_pools.ts";
import type { TenantType } from "./context/tenant_key.ts";
import { TenantPatterns } from "./context/tenant_patterns.ts";
import { type NamedUpstream, Routes } from "./server_routes.ts";
import { AddressLimit } from "./session/address_limit.ts";
import { Admission, type Slot } from "./session/admission.ts";
import { CancelKeys } from "./session/cancel_keys.ts";
import type { GuardOptions } from "./session/guard.ts";
import type { ClientTls } from "./session/opening.ts";
import { Resolvers, type ResolverSettings, type ResolverStats } from "./session/resolving.ts";
import { Session, type SessionOptions } from "./session/session.ts";
import { TenantPolicies, type TenantSettings } from "./session/tenant_policies.ts";
import { type TenantRules, Tenants } from "./session/tenants.ts";
import { TimeLimits, type TimeLimitSettings } from "./session/time_limits.ts";

/** What a proxy needs; the names are those of the settings, times are in milliseconds. */
export interface ProxyOptions
  extends PoolSettings, TimeLimitSettings, TenantSettings, ResolverSettings {
  readonly poolMode: "none" | "session" | "transaction";
  readonly listenHost: readonly string[];
  readonly port: number;
  /** A port whose clients must use TLS; null for none. */
  readonly tlsPort: number | null;
  readonly upstreamHost: string;
  readonly upstreamPort: number;
  readonly tenantSeparator: string;
  readonly contextVariables: readonly string[];
  readonly valueSeparator: string;
  readonly superuserBypass: readonly string[];
  readonly setRole: string | null;
  readonly handshakeTimeout: number;
  readonly maxClientConnections: number;
  readonly tcpKeepalive: boolean;
  readonly unixSocketMode: number;
  readonly authFailureLimit: number;
  /** `payload`, `first`, or a context variable. */
  readonly tenantKey: string;
  /** Names and patterns; null: everybody who is not denied. */
  readonly tenantAllow: readonly string[] | null;
  readonly tenantDeny: readonly string[] | null;
  /** Whether clients may, or must, use TLS. */
  readonly clientTls: "disable" | "allow" | "require";
  /** How long a token is good for; null: as long as is usual in the pool mode. */
  readonly sealTtl: number | null;
  /** Null: log, where contexts are not sealed. */
  readonly contextGuard: "off" | GuardOptions["policy"] | null;
}

/** What was read from the files that the settings name. */
export interface FileContents {
  /** auth_file; null when there is none. */
  readonly users: AuthUsers | null;
  /** Null when there is no certificate to show. */
  readonly client: ClientTls | null;
  readonly upstream: UpstreamTls;
  /** Left out: none of them is named. */
  readonly tenants?: TenantFiles;
  /** Left out when there are no resolvers. */
  readonly resolvers?: ResolverPlan | null;
  /** seal_key_file; null when contexts are not sealed. */
  readonly sealKeys?: readonly SealKey[] | null;
}

/** What the files about tenants hold. */
export interface TenantFiles {
  /** tenant_allow_file and tenant_deny_file; null when there is none. */
  readonly allow: readonly string[] | null;
  readonly deny: readonly string[] | null;
  /** tenants. */
  readonly file?: TenantsFile;
  readonly upstreams?: ReadonlyMap<string, NamedUpstream>;
}

/** No TLS on either side, no users of their own, no resolvers. */
export const WITHOUT_TLS: FileContents = {
  users: null,
  client: null,
  upstream: { mode: "disable", direct: false, authorities: null, identity: null },
};

/** How long tokens are good for: a pooled transaction gets another one when half of it is over. */
const SEAL_TTL_MS = 5 * 60_000;
const SEAL_TTL_MS_TRANSACTION = 10_000;
/** Waiting times after a failed accept: doubled each time, so that a lasting fault costs nothing. */
const ACCEPT_RETRY_MS_MIN = 50;
const ACCEPT_RETRY_MS_MAX = 1_000;
/** Clients that may be told at once that the house is full; beyond, sockets are just closed. */
const REFUSALS_MAX = 100;

const SHUTDOWN = new PgError(
  SqlState.AdminShutdown,
  "terminating connection because pgvpd is shutting down",
  { hint: "Reconnect." },
);

/** A running proxy. */
export class Proxy {
  readonly #listeners: readonly Listener[];
  readonly #tlsOnly: readonly Listener[];
  /** Null without pooling. */
  readonly #pools: ServerPools | null;
  readonly #resolvers: Resolvers;
  readonly #admission: Admission;
  readonly #failures: AddressLimit;
  readonly #tenants: Tenants;
  readonly #limits: TimeLimits;
  readonly #routes: Routes;
  readonly #cancelKeys = new CancelKeys();
  #upstream: UpstreamOptions;
  #sealing: Sealing | null;
  /** The same object for all sessions that begin under it. */
  #sessionOptions: SessionOptions;
  #tlsOnlyOptions: SessionOptions;
  readonly #sessions = new Map<Session, Promise<void>>();
  readonly #log = logger("server");
  /** The accept loops: a unix socket's file is removed when its loop has ended. */
  #accepting: readonly Promise<void>[] = [];
  #connectionsTotal = 0;
  #refusals = 0;
  #stopping = false;

  private constructor(options: ProxyOptions, files: FileContents, listening: Listening) {
    this.#admission = new Admission(options.maxClientConnections);
    this.#failures = new AddressLimit(options.authFailureLimit);
    const rules = tenantRules(options, files);
    this.#tenants = new Tenants(rules);
    this.#limits = new TimeLimits(options);
    this.#limits.tenantShortest = rules.policies.shortestTimeout;
    this.#upstream = upstreamOptions(options, files);
    this.#sealing = sealingOf(options, files);
    this.#routes = new Routes(this.#upstream, files.tenants?.upstreams ?? new Map());
    const more = [files.users, this.#failures, this.#routes, () => this.#sealing] as const;
    this.#pools = options.poolMode === "none"
      ? null
      : new ServerPools(options.poolMode, options, this.#upstream, ...more);
    this.#resolvers = new Resolvers(
      files.resolvers ?? null,
      options,
      (signal, upstream) => {
        const own = upstream === null ? this.#upstream : this.#routes.upstreamOf(upstream).options;
        return connectUpstream(own, signal);
      },
      { isCurrent: (upstream) => upstream === null || this.#routes.isCurrent(upstream) },
    );
    this.#sessionOptions = this.#optionsForSessions(options, files);
    this.#tlsOnlyOptions = { ...this.#sessionOptions, clearAllowed: false };
    this.#listeners = [...listening.plain, ...listening.tlsOnly];
    this.#tlsOnly = listening.tlsOnly;
  }

  /** Listens and serves. Throws what listening throws, with nothing left open. */
  static async start(options: ProxyOptions, files: FileContents): Promise<Proxy> {
    const listening = await listenOnAll(options);
    const proxy = new Proxy(options, files, listening);
    proxy.#accepting = [
      ...listening.plain.map((listener) => proxy.#acceptFrom(listener, false)),
      ...listening.tlsOnly.map((listener) => proxy.#acceptFrom(listener, true)),
    ];
    return proxy;
  }

  /**
   * Takes new settings for the sessions that begin from now on; those that are open keep theirs.
   * Where it listens, and what it has accepted, stays.
   */
  reload(options: ProxyOptions, files: FileContents): void {
    this.#admission.clientsMax = options.maxClientConnections;
    this.#failures.perMinute = options.authFailureLimit;
    this.#upstream = upstreamOptions(options, files);
    this.#sealing = sealingOf(options, files);
    this.#routes.update(this.#upstream, files.tenants?.upstreams ?? new Map());
    this.#pools?.reload(options, this.#upstream, files.users);
    this.#resolvers.reload(files.resolvers ?? null, options);
    this.#sessionOptions = this.#optionsForSessions(options, files);
    this.#tlsOnlyOptions = { ...this.#sessionOptions, clearAllowed: false };
    const rules = tenantRules(options, files);
    this.#tenants.rules = rules;
    this.#pools?.reshare((known) => rules.policies.shareInstead(known));
    this.#limits.settings = options;
    this.#limits.tenantShortest = rules.policies.shortestTimeout;
  }

  /** Where clients connect. */
  get addresses(): string[] {
    return this.#listeners.map((listener) => listener.address);
  }

  /** The port that is listened on; also when a free one was asked for. */
  get port(): number {
    return this.#listeners[0]!.port;
  }

  /** The port for TLS alone; null when there is none. */
  get tlsPort(): number | null {
    return this.#tlsOnly[0]?.port ?? null;
  }

  /** What the pools hold and have done, by database and role; empty without pooling. */
  get poolStats(): Map<string, PoolStats> {
    return this.#pools?.stats ?? new Map();
  }

  /** What resolvers have done. */
  get resolverStats(): ResolverStats {
    return this.#resolvers.stats;
  }

  /** Clients connected now. */
  get connectionsActive(): number {
    return this.#admission.active;
  }

  /** Every client that was ever accepted. */
  get connectionsTotal(): number {
    return this.#connectionsTotal;
  }

  /**
   * Stops accepting, ends each session when nothing it asked for is under way, and the rest when
   * `graceMs` is over. Resolves when every session has ended.
   */
  async stop(graceMs: number): Promise<void> {
    this.#stopListening();
    for (const session of this.#sessions.keys()) session.drain(SHUTDOWN);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const overdue = new Promise((resolve) => timer = setTimeout(resolve, graceMs));
    await Promise.race([overdue, Promise.all(this.#sessions.values())]);
    clearTimeout(timer);
    await Promise.all([...this.#sessions.keys()].map((session) => session.close(SHUTDOWN)));
    await Promise.all([...this.#sessions.values(), ...this.#accepting]);
    await Promise.all([this.#pools?.close(), this.#resolvers.close()]);
  }

  #stopListening(): void {
    if (this.#stopping) return;
    this.#stopping = true;
    for (const listener of this.#listeners) listener.close();
  }

  async #acceptFrom(listener: Listener, tlsOnly: boolean): Promise<void> {
    let retryMs = ACCEPT_RETRY_MS_MIN;
    while (!this.#stopping) {
      try {
        const client = await listener.accept();
        retryMs = ACCEPT_RETRY_MS_MIN;
        this.#admit(client, tlsOnly);
      } catch (error) {
        if (this.#stopping) return;
        // Descriptors may be exhausted, or the peer was gone before we came to it: go on.
        this.#log.error("could not accept a connection", {
          listener: listener.address,
          error: error instanceof Error ? error.message : String(error),
          retry_in_ms: retryMs,
        });
        await new Promise((resolve) => setTimeout(resolve, retryMs));
        retryMs = Math.min(retryMs * 2, ACCEPT_RETRY_MS_MAX);
      }
    }
  }

  #admit(client: Transport, tlsOnly: boolean): void {
    const connection = ++this.#connectionsTotal;
    const { slot, refusal } = this.#takeSlot();
    if (slot === null) {
      this.#log.warn("client closed without a word: too many are being refused", {
        peer: client.peer,
      });
      return client.close();
    }
    const log = logger("session").with({ connection });
    const options = tlsOnly ? this.#tlsOnlyOptions : this.#sessionOptions;
    const session = new Session(client, refusal === null ? options : { ...options, refusal }, log);
    const life = session.run().finally(() => {
      slot[Symbol.dispose]();
      this.#sessions.delete(session);
    });
    this.#sessions.set(session, life);
  }

  #optionsForSessions(options: ProxyOptions, files: FileContents): SessionOptions {
    const ownKeys = this.#routes.isBranched ? this.#cancelKeys : null;
    return {
      tenantSeparator: options.tenantSeparator,
      contextVariables: options.contextVariables,
      valueSeparator: options.valueSeparator,
      superuserBypass: options.superuserBypass,
      setRole: options.setRole,
      handshakeMsMax: options.handshakeTimeout,
      refusal: null,
      clientTls: options.clientTls === "disable" ? null : files.client,
      clearAllowed: options.clientTls !== "require",
      pooling: this.#pools?.pooling ?? null,
      resolvers: this.#resolvers,
      tenantKey: options.tenantKey,
      tenantType: options.tenantType,
      tenants: this.#tenants,
      failures: this.#failures,
      limits: this.#limits,
      cancelKeys: this.#pools?.pooling.cancelKeys ?? ownKeys,
      routeOf: (upstream) => this.#routes.routeOf(upstream),
      sealing: () => this.#sealing,
      guard: guardOptions(options, files),
    };
  }

  /** A place for a client, or, when the house is full, for the time it takes to tell it so. */
  #takeSlot(): { slot: Slot | null; refusal: PgError | null } {
    try {
      return { slot: this.#admission.admit(), refusal: null };
    } catch (error) {
      if (!(error instanceof PgError)) throw error;
      if (this.#refusals >= REFUSALS_MAX) return { slot: null, refusal: error };
      this.#refusals++;
      return { slot: { [Symbol.dispose]: () => void this.#refusals-- }, refusal: error };
    }
  }
}

function upstreamOptions(options: ProxyOptions, files: FileContents): UpstreamOptions {
  const { upstreamHost: host, upstreamPort: port, tcpKeepalive: keepAlive } = options;
  return { host, port, keepAlive, tls: files.upstream };
}

function sealingOf({ sealTtl, poolMode }: ProxyOptions, files: FileContents): Sealing | null {
  const keys = files.sealKeys ?? null;
  const usual = poolMode === "transaction" ? SEAL_TTL_MS_TRANSACTION : SEAL_TTL_MS;
  return keys === null ? null : { keys, ttlMs: sealTtl ?? usual };
}

function guardOptions(options: ProxyOptions, files: FileContents): GuardOptions | null {
  const isSealed = (files.sealKeys ?? null) !== null;
  const policy = options.contextGuard ?? (isSealed ? "off" : "log");
  if (policy === "off") return null;
  const names = [...options.contextVariables, ...files.resolvers?.variables ?? []];
  return { policy, variables: new Set(names.map((name) => name.toLowerCase())) };
}

/** Who is in the setting, and who is in the file; null when there is neither. */
function tenantPatterns(
  listed: readonly string[] | null,
  inFile: readonly string[] | null | undefined,
  type: TenantType,
): TenantPatterns | null {
  if (listed === null && (inFile ?? null) === null) return null;
  return new TenantPatterns([...listed ?? [], ...inFile ?? []], type);
}

function tenantRules(options: ProxyOptions, { tenants }: FileContents): TenantRules {
  return {
    allow: tenantPatterns(options.tenantAllow, tenants?.allow, options.tenantType),
    deny: tenantPatterns(options.tenantDeny, tenants?.deny, options.tenantType),
    policies: new TenantPolicies(options, tenants?.file),
  };
}

/** Where TLS is a choice, and where it is not. */
interface Listening {
  readonly plain: Listener[];
  readonly tlsOnly: Listener[];
}

async function listenOnAll(options: ProxyOptions): Promise<Listening> {
  const { port, tlsPort, tcpKeepalive: keepAlive, unixSocketMode } = options;
  const listening: Listening = { plain: [], tlsOnly: [] };
  try {
    for (const host of options.listenHost) {
      listening.plain.push(await listen(host, port, { keepAlive, unixSocketMode }));
      // Nobody listens in on a unix socket.
      if (tlsPort === null || isDirectory(host)) continue;
      listening.tlsOnly.push(await listen(host, tlsPort, { keepAlive, unixSocketMode }));
    }
  } catch (error) {
    for (const listener of [...listening.plain, ...listening.tlsOnly]) listener.close();
    throw error;
  }
  return listening;
}
