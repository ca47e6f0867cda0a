// Proxy: the running whole. Listeners, accept loops, the sessions, and how everything ends.

import { SqlState } from "./codec/codes.ts";
import { PgError } from "./codec/error.ts";
import type { Control, OperatorConsole } from "./control.ts";
import { logger } from "./log.ts";
import { Meters } from "./meters.ts";
import type { Listener } from "./net/tcp.ts";
import type { Transport } from "./net/transport.ts";
import { connectUpstream, type UpstreamOptions } from "./pool/connect.ts";
import type { Sealing } from "./pool/sealing.ts";
import type { PoolStats } from "./pool/pool.ts";
import { type Process, ProxyControl } from "./server_control.ts";
import { ServerPools } from "./server_pools.ts";
import {
  type FileContents,
  guardOptions,
  type ProxyOptions,
  sealingOf,
  tenantRules,
  upstreamOptions,
} from "./server_options.ts";
import { Readiness } from "./server_readiness.ts";
import { type Listening, listenOnAll } from "./server_listening.ts";
import { Routes } from "./server_routes.ts";
import { AddressLimit } from "./session/address_limit.ts";
import { Admission, type Slot } from "./session/admission.ts";
import { CancelKeys } from "./session/cancel_keys.ts";
import type { ConsoleAccess } from "./session/console.ts";
import type { SessionObserver } from "./session/records.ts";
import { Resolvers, type ResolverStats } from "./session/resolving.ts";
import { Session, type SessionOptions } from "./session/session.ts";
import { Tenants } from "./session/tenants.ts";
import { TimeLimits } from "./session/time_limits.ts";

export {
  type FileContents,
  type ProxyOptions,
  type TenantFiles,
  WITHOUT_TLS,
} from "./server_options.ts";

/** What a proxy stands in. */
export interface ProxySurroundings {
  /** Hears of logins; left out: nobody does. */
  readonly observer?: SessionObserver | null;
  /** What answers operators; null while there is none. */
  readonly console?: () => OperatorConsole | null;
}

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
  /** What is measured. */
  readonly meters = new Meters();
  readonly #observer: SessionObserver | null;
  readonly #console: () => OperatorConsole | null;
  readonly #readiness = new Readiness(async (signal) => {
    const { transport } = await connectUpstream(this.#upstream, signal);
    return { transport, hasAnswered: this.#upstream.tls.mode !== "disable" };
  });
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

  private constructor(
    options: ProxyOptions,
    files: FileContents,
    listening: Listening,
    { observer = null, console = () => null }: ProxySurroundings,
  ) {
    this.#observer = observer;
    this.#console = console;
    this.#admission = new Admission(options.maxClientConnections);
    this.#failures = new AddressLimit(options.authFailureLimit);
    const rules = tenantRules(options, files);
    this.#tenants = new Tenants(rules);
    this.#limits = new TimeLimits(options);
    this.#limits.tenantShortest = rules.policies.shortestTimeout;
    this.#upstream = upstreamOptions(options, files);
    this.#sealing = sealingOf(options, files);
    this.#routes = new Routes(this.#upstream, files.tenants?.upstreams ?? new Map());
    const meters = this.meters;
    const sealing = () => this.#sealing;
    const more = [files.users, this.#failures, this.#routes, meters, sealing] as const;
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
      {
        isCurrent: (upstream) => upstream === null || this.#routes.isCurrent(upstream),
        onRun: (name, ms) => this.meters.resolverRan(name, ms),
      },
    );
    this.#sessionOptions = this.#optionsForSessions(options, files);
    this.#tlsOnlyOptions = { ...this.#sessionOptions, clearAllowed: false };
    this.#listeners = [...listening.plain, ...listening.tlsOnly];
    this.#tlsOnly = listening.tlsOnly;
  }

  /** Listens and serves. Throws what listening throws, with nothing left open. */
  static async start(
    options: ProxyOptions,
    files: FileContents,
    surroundings: ProxySurroundings = {},
  ): Promise<Proxy> {
    const listening = await listenOnAll(options);
    const proxy = new Proxy(options, files, listening, surroundings);
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

  /** The proxy as operators see it, together with the process that it runs in. */
  controlIn(process: Process): Control {
    return new ProxyControl({
      poolMode: this.#pools?.pooling.mode ?? "none",
      meters: this.meters,
      connections: () => ({ total: this.#connectionsTotal, active: this.#admission.active }),
      sessions: () => this.#sessions.keys(),
      tenants: this.#tenants,
      limits: this.#limits,
      pools: this.#pools,
      resolvers: this.#resolvers,
      readiness: async () => ({
        listening: !this.#stopping,
        upstream: await this.#readiness.isUp(),
        draining: this.#stopping,
      }),
    }, process);
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
    const own = refusal === null ? options : { ...options, refusal };
    const session = new Session(client, own, log, connection);
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
      meters: this.meters,
      observer: this.#observer,
      console: this.#consoleAccess(options, files),
      cancelKeys: this.#pools?.pooling.cancelKeys ?? ownKeys,
      routeOf: (upstream) => this.#routes.routeOf(upstream),
      sealing: () => this.#sealing,
      guard: guardOptions(options, files),
    };
  }

  #consoleAccess(options: ProxyOptions, { users }: FileContents): ConsoleAccess | null {
    const { adminUsers, adminToken: password } = options;
    if (adminUsers === null) return null;
    return { users: adminUsers, secrets: users, password, console: this.#console };
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
