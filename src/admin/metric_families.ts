// The families of metrics, in the order in which they are written. The first seventeen have the
// names and labels that dashboards of the first pgvpd know.

import type { ClientView, Control, PoolView, Totals } from "../control.ts";
import { LOGIN_PHASES } from "../meters.ts";
import type { Labels, Sample } from "./exposition.ts";
import { labelOf, OTHER } from "./labels.ts";
import type { TenantSeries } from "./tenant_series.ts";

/** A family of metrics. */
export interface Family {
  /** Without its prefix, `pgvpd_`. */
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  read(snapshot: Snapshot): readonly Sample[];
}

/** The pools of one database and role. */
export type PoolSeries =
  & Pick<
    PoolView,
    "idle" | "active" | "opening" | "waiting" | "longestWaitMs"
  >
  & { readonly labels: Labels; readonly failing: number };

/** Everything that one answer is made from. */
export interface Snapshot {
  readonly control: Control;
  readonly totals: Totals;
  readonly clients: readonly ClientView[];
  readonly pools: readonly PoolSeries[];
  readonly tenants: readonly TenantSeries[];
  /** With sessions. */
  readonly tenantsPresent: number;
  readonly memory: Deno.MemoryUsage;
}

const NONE = {};

function counter(
  name: string,
  help: string,
  read: (snapshot: Snapshot) => number | readonly Sample[],
): Family {
  return { name, type: "counter", help, read: (snapshot) => samples(read(snapshot)) };
}

function gauge(
  name: string,
  help: string,
  read: (snapshot: Snapshot) => number | readonly Sample[],
): Family {
  return { name, type: "gauge", help, read: (snapshot) => samples(read(snapshot)) };
}

function histogram(
  name: string,
  help: string,
  read: (snapshot: Snapshot) => readonly Sample[],
): Family {
  return { name, type: "histogram", help, read };
}

function samples(read: number | readonly Sample[]): readonly Sample[] {
  return typeof read === "number" ? [[NONE, read]] : read;
}

/** One sample for each name of a tally. */
function byName(label: string, counts: Iterable<readonly [string, number]>): Sample[] {
  return [...counts].map(([name, count]) => [{ [label]: labelOf(name) }, count] as const);
}

function byPool(read: (series: PoolSeries) => number): (snapshot: Snapshot) => readonly Sample[] {
  return ({ pools }) => pools.map((series) => [series.labels, read(series)] as const);
}

function byTenant(
  read: (series: TenantSeries) => number,
): (snapshot: Snapshot) => readonly Sample[] {
  return ({ tenants }) =>
    tenants.map((series) => [{ tenant: tenantLabel(series) }, read(series)] as const);
}

function tenantLabel({ tenant }: TenantSeries): string {
  return tenant === null ? OTHER : labelOf(tenant);
}

function byResolver(read: "executions" | "errors"): (snapshot: Snapshot) => readonly Sample[] {
  return ({ totals }) =>
    byName("resolver", totals.resolvers.resolvers.map((r) => [r.name, r[read]]));
}

const SEED: readonly Family[] = [
  counter(
    "connections_total",
    "Clients that have connected, cancel requests included.",
    (s) => s.totals.connectionsTotal,
  ),
  gauge("connections_active", "Clients connected now.", (s) => s.totals.connectionsActive),
  gauge(
    "pool_connections_total",
    "Server connections that are open.",
    byPool((series) => series.idle + series.active),
  ),
  gauge(
    "pool_connections_idle",
    "Server connections that nobody uses.",
    byPool((series) => series.idle),
  ),
  counter("pool_checkouts_total", "Server connections lent.", (s) => s.totals.pool.checkouts),
  counter(
    "pool_reuses_total",
    "Server connections lent that had been used before.",
    (s) => s.totals.pool.reuses,
  ),
  counter(
    "pool_creates_total",
    "Attempts to open a server connection.",
    (s) => s.totals.pool.creates,
  ),
  counter(
    "pool_checkins_total",
    "Server connections that have come back.",
    (s) => s.totals.pool.checkins,
  ),
  counter(
    "pool_discards_total",
    "Server connections closed because they could not be used on.",
    (s) => s.totals.pool.discards,
  ),
  counter(
    "pool_timeouts_total",
    "Clients that waited for a server connection in vain.",
    (s) => s.totals.pool.timeouts,
  ),
  gauge(
    "resolver_cache_size",
    "Answers of resolvers that are kept.",
    (s) => s.totals.resolvers.resolvers.length === 0 ? [] : s.totals.resolvers.cacheSize,
  ),
  counter(
    "resolver_cache_hits_total",
    "Answers of resolvers taken from the cache.",
    (s) => s.totals.resolvers.cacheHits,
  ),
  counter(
    "resolver_cache_misses_total",
    "Answers of resolvers that were not in the cache.",
    (s) => s.totals.resolvers.cacheMisses,
  ),
  counter(
    "resolver_executions_total",
    "Queries of resolvers that were run.",
    byResolver("executions"),
  ),
  counter("resolver_errors_total", "Queries of resolvers that failed.", byResolver("errors")),
  counter("tenant_rejected_total", "Logins refused for their tenant, by reason.", ({ totals }) => [
    [{ reason: "deny" }, totals.tenant.rejectedDeny],
    [{ reason: "limit" }, totals.tenant.rejectedLimit],
    [{ reason: "rate" }, totals.tenant.rejectedRate],
  ]),
  counter(
    "tenant_timeouts_total",
    "Statements and sessions ended by a limit of their tenant.",
    (s) => s.totals.tenant.timeouts,
  ),
];

const PROCESS: readonly Family[] = [
  gauge(
    "build_info",
    "1; the labels say what is running.",
    ({ control: { version, poolMode } }) => [
      [{ version, deno: Deno.version.deno, v8: Deno.version.v8, pool_mode: poolMode }, 1],
    ],
  ),
  gauge(
    "start_time_seconds",
    "When the process has started, in Unix time.",
    (s) => s.control.startedAt.getTime() / 1_000,
  ),
  gauge("memory_bytes", "Memory of the process, by kind.", ({ memory }) => [
    [{ kind: "resident" }, memory.rss],
    [{ kind: "heap" }, memory.heapUsed],
    [{ kind: "external" }, memory.external],
  ]),
  histogram("event_loop_delay_seconds", "How late timers fire.", (s) => [
    [NONE, s.control.eventLoopDelay],
  ]),
  gauge(
    "certificate_days_left",
    "Days until a certificate of pgvpd's own ends.",
    ({ control }) =>
      control.certificates().map(({ setting, daysLeft }) => [{ setting }, daysLeft] as const),
  ),
  counter(
    "audit_lost_total",
    "Records of the audit log that could not be written.",
    (s) => s.totals.auditLost,
  ),
];

const LOGINS: readonly Family[] = [
  counter(
    "logins_total",
    "Logins that have ended, by result.",
    (s) => byName("result", s.control.meters.logins),
  ),
  histogram("login_seconds", "Time from accept to ready, of accepted logins.", (s) => [
    [NONE, s.control.meters.login],
  ]),
  histogram(
    "login_phase_seconds",
    "Time of accepted logins, by what was waited for.",
    (s) => LOGIN_PHASES.map((phase) => [{ phase }, s.control.meters.loginPhases[phase]] as const),
  ),
  histogram(
    "resolver_seconds",
    "Time that queries of resolvers took.",
    (s) =>
      [...s.control.meters.resolvers].map(([name, histogram]) =>
        [{ resolver: labelOf(name) }, histogram] as const
      ),
  ),
];

const WORK: readonly Family[] = [
  gauge(
    "clients",
    "Clients connected now, by state.",
    ({ clients }) => byName("state", tally(clients.map(({ state }) => state))),
  ),
  gauge(
    "clients_pinned",
    "Clients that keep their server connection now, by reason.",
    (s) => byName("reason", tally(s.clients.flatMap(({ pinned }) => pinned ?? []))),
  ),
  counter(
    "pins_total",
    "Clients that had to keep their server connection, by reason.",
    (s) => byName("reason", s.control.meters.pinned),
  ),
  counter("bytes_total", "Bytes moved, from clients (in) and to clients (out).", ({ totals }) => [
    [{ direction: "in" }, totals.traffic.bytesIn],
    [{ direction: "out" }, totals.traffic.bytesOut],
  ]),
  counter(
    "queries_total",
    "Statements, or batches of them, that were answered.",
    (s) => s.totals.traffic.queries,
  ),
  counter(
    "transactions_total",
    "Transactions that were served.",
    (s) => s.totals.traffic.transactions,
  ),
  histogram("query_seconds", "Time from a request to the end of its answer.", (s) => [
    [NONE, s.control.meters.query],
  ]),
  histogram("transaction_seconds", "Time from the begin of a transaction to its end.", (s) => [
    [NONE, s.control.meters.transaction],
  ]),
  counter(
    "errors_total",
    "Errors by who raised them and the class of their SQLSTATE.",
    ({ control }) =>
      (["server", "pgvpd"] as const).flatMap((origin) => {
        const { serverErrors, ownErrors } = control.meters;
        return [...origin === "server" ? serverErrors : ownErrors].map(([name, count]) =>
          [{ origin, class: labelOf(name) }, count] as const
        );
      }),
  ),
  counter(
    "cancels_total",
    "Cancel requests: forwarded, or unknown keys.",
    (s) => byName("result", s.control.meters.cancels),
  ),
  counter(
    "context_changes_total",
    "Server connections lent to another context than before.",
    (s) => s.totals.pool.contextChanges,
  ),
];

const POOLS: readonly Family[] = [
  gauge(
    "pool_connections_active",
    "Server connections that are lent.",
    byPool((series) => series.active),
  ),
  gauge(
    "pool_connections_opening",
    "Server connections that are being opened.",
    byPool((series) => series.opening),
  ),
  gauge(
    "pool_clients_waiting",
    "Clients that wait for a server connection.",
    byPool((series) => series.waiting),
  ),
  gauge(
    "pool_longest_wait_seconds",
    "How long the first of them has waited.",
    byPool((series) => series.longestWaitMs / 1_000),
  ),
  gauge(
    "pool_failing",
    "Pools whose last attempt to connect failed.",
    byPool((series) => series.failing),
  ),
  histogram("checkout_wait_seconds", "Time that clients waited for a server connection.", (s) => [
    [NONE, s.control.meters.checkoutWait],
  ]),
];

const TENANTS: readonly Family[] = [
  gauge("tenants", "Tenants with clients connected.", (s) => s.tenantsPresent),
  gauge(
    "tenant_connections",
    "Clients connected, of the tenants with the most traffic.",
    byTenant(
      (series) => series.connections,
    ),
  ),
  gauge(
    "tenant_clients_waiting",
    "Clients that wait, or are paused.",
    byTenant(
      (series) => series.waiting,
    ),
  ),
  counter(
    "tenant_queries_total",
    "Statements, or batches of them, that were answered.",
    byTenant(
      (series) => series.queries,
    ),
  ),
  counter(
    "tenant_transactions_total",
    "Transactions that were served.",
    byTenant(
      (series) => series.transactions,
    ),
  ),
  counter(
    "tenant_bytes_total",
    "Bytes moved, from clients (in) and to clients (out).",
    ({ tenants }) =>
      tenants.flatMap((series) => [
        [{ tenant: tenantLabel(series), direction: "in" }, series.bytesIn] as const,
        [{ tenant: tenantLabel(series), direction: "out" }, series.bytesOut] as const,
      ]),
  ),
];

function tally(names: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}

export const FAMILIES: readonly Family[] = [
  ...[...SEED, ...PROCESS, ...LOGINS, ...WORK, ...POOLS, ...TENANTS],
];
