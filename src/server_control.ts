// The Control of a proxy: what its parts are, seen together, and what operators have them do.

import {
  type BackendView,
  type CertificateView,
  type ClientView,
  type Control,
  ControlError,
  type InvalidationOrder,
  type LogLevelName,
  type Operator,
  type PoolView,
  type Readiness,
  type ReloadResult,
  type SettingView,
  type TenantView,
  type Totals,
} from "./control.ts";
import { SqlState } from "./codec/codes.ts";
import { PgError } from "./codec/error.ts";
import {
  addTraffic,
  type Histogram,
  type Meters,
  NO_TRAFFIC,
  type Refusal,
  type Traffic,
} from "./meters.ts";
import { NOTHING_DONE } from "./pool/counters.ts";
import type { ServerPools } from "./server_pools.ts";
import type { Resolvers } from "./session/resolving.ts";
import type { Session } from "./session/session.ts";
import { TooManyOrders } from "./session/tenant_orders.ts";
import type { Tenants } from "./session/tenants.ts";
import type { TimeLimits } from "./session/time_limits.ts";
import type { SessionView } from "./session/view.ts";

/** An act of an operator, for the audit log. */
export interface Act {
  readonly act: string;
  /** What it was about. */
  readonly target: string | null;
  /** What has come of it, or why it was refused. */
  readonly outcome: string;
  readonly by: Operator;
}

/** The process that a proxy runs in. */
export interface Process {
  readonly version: string;
  readonly startedAt: Date;
  readonly eventLoopDelay: Histogram;
  settings(): SettingView[];
  certificates(): CertificateView[];
  reload(): ReloadResult;
  drain(): void;
  setLogLevel(level: LogLevelName): void;
  /** Records of the audit log that could not be written. */
  auditLost(): number;
  acted(act: Act): void;
}

/** The parts of a proxy. */
export interface ProxyParts {
  readonly poolMode: Control["poolMode"];
  readonly meters: Meters;
  readonly connections: () => { readonly total: number; readonly active: number };
  readonly sessions: () => Iterable<Session>;
  readonly tenants: Tenants;
  readonly limits: TimeLimits;
  /** Null without pooling. */
  readonly pools: ServerPools | null;
  readonly resolvers: Resolvers;
  readonly readiness: () => Promise<Readiness>;
}

const KILLED = new PgError(
  SqlState.AdminShutdown,
  "terminating connection due to administrator command",
);

/** Reasons for which pools close connections that could be used on. */
const ORDINARY: ReadonlySet<string> = new Set([
  ...["idle", "lifetime", "surplus", "evicted", "shutdown", "drained"],
]);

/** Every act is told, also one that is refused. */
export class ProxyControl implements Control {
  readonly #parts: ProxyParts;
  readonly #process: Process;

  constructor(parts: ProxyParts, process: Process) {
    this.#parts = parts;
    this.#process = process;
  }

  get version(): string {
    return this.#process.version;
  }

  get startedAt(): Date {
    return this.#process.startedAt;
  }

  get eventLoopDelay(): Histogram {
    return this.#process.eventLoopDelay;
  }

  get poolMode(): Control["poolMode"] {
    return this.#parts.poolMode;
  }

  get meters(): Meters {
    return this.#parts.meters;
  }

  totals(): Totals {
    const { connections, tenants: { rejected }, limits, meters: { past } } = this.#parts;
    let [traffic, tenantTraffic] = [past.total, past.ofTenants];
    for (const { tenant, traffic: own } of this.#sessions()) {
      traffic = addTraffic(traffic, own);
      if (tenant !== null) tenantTraffic = addTraffic(tenantTraffic, own);
    }
    const { total: connectionsTotal, active: connectionsActive } = connections();
    return {
      ...{ connectionsTotal, connectionsActive, traffic, tenantTraffic },
      pool: this.#poolTotals(),
      resolvers: this.#resolverTotals(),
      tenant: {
        rejectedDeny: rejected.deny,
        rejectedLimit: rejected.limit,
        rejectedRate: rejected.rate,
        timeouts: limits.tenantTimeouts,
      },
      auditLost: this.#process.auditLost(),
    };
  }

  #poolTotals(): Totals["pool"] {
    const { opened, openFailures, checkouts, reuses, sameContext, timeouts, closed, active } =
      this.#parts.pools?.totals ?? NOTHING_DONE;
    const discards = Object.entries(closed)
      .filter(([reason]) => !ORDINARY.has(reason))
      .reduce((sum, [, count]) => sum + count, 0);
    return {
      ...{ checkouts, reuses, timeouts, discards },
      creates: opened + openFailures,
      checkins: checkouts - active,
      contextChanges: reuses - sameContext,
    };
  }

  #resolverTotals(): Totals["resolvers"] {
    const { plan, stats } = this.#parts.resolvers;
    const { cacheHits, cacheMisses, cacheSize, executions, errors } = stats;
    const names = new Set([...plan?.resolvers.map(({ name }) => name) ?? [], ...executions.keys()]);
    const resolvers = [...names].map((name) => ({
      name,
      executions: executions.get(name) ?? 0,
      errors: errors.get(name) ?? 0,
    }));
    return { cacheHits, cacheMisses, cacheSize, resolvers };
  }

  readiness(): Promise<Readiness> {
    return this.#parts.readiness();
  }

  tenants(): TenantView[] {
    const { meters: { past }, tenants: { orders } } = this.#parts;
    const views = new Map<string, TenantView>();
    const view = (tenant: string) => views.get(tenant) ?? this.#absent(tenant, NO_TRAFFIC);
    for (const [tenant, traffic] of past) views.set(tenant, this.#absent(tenant, traffic));
    for (const tenant of orders.tenants) views.set(tenant, view(tenant));
    for (const session of this.#sessions()) {
      const { tenant } = session;
      // Whoever has not logged in may claim to be anybody.
      if (tenant === null || session.state === "login") continue;
      views.set(tenant, withSession(view(tenant), session));
    }
    return [...views.values()];
  }

  #sessions(): SessionView[] {
    return [...this.#parts.sessions()].map(({ view }) => view);
  }

  tenant(tenant: string): TenantView | null {
    const name = this.#parts.tenants.canonical(tenant);
    return this.tenants().find((view) => view.tenant === name) ?? null;
  }

  /** There may be many: no property is copied twice. */
  #absent(tenant: string, traffic: Traffic): TenantView {
    const { tenants } = this.#parts;
    return {
      tenant,
      connections: 0,
      active: 0,
      waiting: 0,
      bytesIn: traffic.bytesIn,
      bytesOut: traffic.bytesOut,
      transactions: traffic.transactions,
      queries: traffic.queries,
      isPaused: tenants.orders.isPaused(tenant),
      isDenied: tenants.orders.isDenied(tenant) || !tenants.isListed(tenant),
    };
  }

  clients(): ClientView[] {
    return this.#sessions().map(({ client }) => client);
  }

  pools(): PoolView[] {
    return this.#parts.pools?.views ?? [];
  }

  refusals(): readonly Refusal[] {
    return this.#parts.meters.refusals.items;
  }

  backends(): BackendView[] {
    const sessions = this.#sessions();
    const holders = new Map(sessions.map((session) => [session.member, session]));
    const pooled = (this.#parts.pools?.backends ?? []).map(({ member, ...view }) => {
      const holder = holders.get(member);
      if (holder === undefined) return { ...view, state: "idle" as const };
      const { connection: client, tenant } = holder;
      return { ...view, client, tenant, state: "active" as const };
    });
    return [...pooled, ...sessions.flatMap(({ dedicated }) => dedicated ?? [])];
  }

  settings(): SettingView[] {
    return this.#process.settings();
  }

  certificates(): CertificateView[] {
    return this.#process.certificates();
  }

  disconnectTenant(tenant: string, by: Operator): number {
    return this.#act("tenant.disconnect", tenant, by, () => {
      return this.#parts.tenants.orders.disconnect(this.#spelled(tenant));
    });
  }

  pause(tenant: string | null, by: Operator): number {
    return this.#act("tenant.pause", tenant, by, () => {
      return this.#parts.tenants.orders.pause(tenant === null ? null : this.#spelled(tenant));
    });
  }

  resume(tenant: string | null, by: Operator): number {
    return this.#act("tenant.resume", tenant, by, () => {
      const name = tenant === null ? null : this.#spelled(tenant);
      const sessions = this.#parts.tenants.orders.resume(name);
      if (sessions !== null) return sessions;
      const what = tenant === null ? "nobody is paused" : "the tenant is not paused by itself";
      throw new ControlError("conflict", what);
    });
  }

  deny(tenant: string, by: Operator): number {
    return this.#act("tenant.deny", tenant, by, () => {
      return this.#parts.tenants.orders.deny(this.#spelled(tenant));
    });
  }

  allow(tenant: string, by: Operator): void {
    this.#act("tenant.allow", tenant, by, () => {
      const { tenants } = this.#parts;
      const name = this.#spelled(tenant);
      if (tenants.orders.allow(name)) return 0;
      const why = tenants.isListed(name)
        ? "the tenant is not denied"
        : "the configuration denies the tenant: change it there";
      throw new ControlError("conflict", why);
    });
  }

  /** As sessions know it. An order about a name that none can have would seem to be one. */
  #spelled(tenant: string): string {
    const name = this.#parts.tenants.canonical(tenant);
    if (name !== null) return name;
    throw new ControlError("invalid", "no tenant can have this name: see tenant_type");
  }

  disconnectClient(id: number, by: Operator): void {
    this.#act("client.disconnect", String(id), by, () => {
      for (const session of this.#parts.sessions()) {
        if (session.connection !== id) continue;
        session.expel(KILLED);
        return 1;
      }
      throw new ControlError("unknown", "there is no client of this number");
    });
  }

  drainPool(id: string | null, by: Operator): number {
    return this.#act("pool.drain", id, by, () => {
      if (id === null) {
        return this.pools().reduce(
          (sum, pool) => sum + (this.#parts.pools!.drain(pool.id) ?? 0),
          0,
        );
      }
      const count = this.#parts.pools?.drain(id) ?? null;
      if (count === null) throw new ControlError("unknown", "there is no pool of this name");
      return count;
    });
  }

  invalidateResolvers({ resolver, inputs }: InvalidationOrder, by: Operator): void {
    this.#act("resolvers.invalidate", resolver, by, () => {
      const { plan } = this.#parts.resolvers;
      const isKnown = plan?.resolvers.some(({ name }) => name === resolver) ?? false;
      if (resolver !== null && !isKnown) {
        throw new ControlError("unknown", "there is no resolver of this name");
      }
      this.#parts.resolvers.invalidate({ database: null, resolver, inputs });
      return 0;
    });
  }

  reload(by: Operator): ReloadResult {
    let result: ReloadResult = { problems: [], changes: 0 };
    this.#act("reload", null, by, () => {
      result = this.#process.reload();
      return result.changes;
    });
    return result;
  }

  drain(by: Operator): void {
    this.#act("drain", null, by, () => {
      this.#process.drain();
      return this.#parts.connections().active;
    });
  }

  setLogLevel(level: LogLevelName, by: Operator): void {
    this.#act("log-level", level, by, () => {
      this.#process.setLogLevel(level);
      return 0;
    });
  }

  /** @returns what `act` does: how many it has concerned. */
  #act(name: string, target: string | null, by: Operator, act: () => number): number {
    const told = (outcome: string) => this.#process.acted({ act: name, target, outcome, by });
    try {
      const count = act();
      told(`done, ${count}`);
      return count;
    } catch (error) {
      const refusal = error instanceof TooManyOrders
        ? new ControlError("conflict", "too many tenants are paused or denied one by one already")
        : error;
      told(refusal instanceof ControlError ? `refused: ${refusal.message}` : "failed");
      throw refusal;
    }
  }
}

function withSession(view: TenantView, { traffic, state }: SessionView): TenantView {
  return {
    ...view,
    ...addTraffic(view, traffic),
    connections: view.connections + 1,
    active: view.active + (state === "busy" || state === "in transaction" ? 1 : 0),
    waiting: view.waiting + (state === "waiting" || state === "paused" ? 1 : 0),
  };
}
