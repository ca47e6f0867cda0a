// The tables of the console, with PgBouncer's columns; what pgvpd has no number for is 0 or empty.

import type { ConsoleTable, Control } from "../control.ts";

type Cell = string | number | null;

/** The console whose commands and columns these are: exporters look at the version. */
const LIKE_PGBOUNCER = "PgBouncer 1.18.0";
/** Everything is one row: traffic is counted by tenant, not by database. */
const ALL_DATABASES = "all";

const CONNECTION_COLUMNS = [
  ...["type", "user", "database", "state", "addr", "port", "local_addr", "local_port"],
  ...["connect_time", "request_time", "wait", "wait_us", "close_needed", "ptr", "link"],
  ...["remote_pid", "tls", "application_name"],
];

/** By the name behind SHOW. */
export const TABLES: Readonly<Record<string, (control: Control) => ConsoleTable>> = {
  VERSION: ({ version }) => ({
    columns: ["version"],
    rows: [[`${LIKE_PGBOUNCER} (pgvpd ${version})`]],
  }),
  POOLS: pools,
  CLIENTS: clients,
  SERVERS: servers,
  STATS: stats,
  DATABASES: databases,
  LISTS: lists,
  TENANTS: tenants,
  CONFIG: (control) => ({
    columns: ["key", "value", "default", "changeable"],
    rows: control.settings().map(({ key, value, default: usual, reloadable }) => [
      ...[key, value, usual ?? "", reloadable ? "yes" : "no"],
    ]),
  }),
};

function pools(control: Control): ConsoleTable {
  return {
    columns: [
      ...["database", "user", "cl_active", "cl_waiting"],
      ...["cl_active_cancel_req", "cl_waiting_cancel_req"],
      ...["sv_active", "sv_active_cancel", "sv_being_canceled"],
      ...["sv_idle", "sv_used", "sv_tested", "sv_login", "maxwait", "maxwait_us", "pool_mode"],
    ],
    rows: control.pools().map((pool) => [
      ...[pool.database, pool.role, pool.active, pool.waiting, 0, 0],
      ...[pool.active, 0, 0, pool.idle, 0, 0, pool.opening],
      ...secondsAndMicroseconds(pool.longestWaitMs),
      control.poolMode,
    ]),
  };
}

function secondsAndMicroseconds(milliseconds: number): [number, number] {
  const microseconds = Math.round(milliseconds * 1_000);
  return [Math.floor(microseconds / 1_000_000), microseconds % 1_000_000];
}

function clients(control: Control): ConsoleTable {
  return {
    columns: [...CONNECTION_COLUMNS, "tenant", "pinned"],
    rows: control.clients().map((client) => [
      ...["C", client.role ?? "", client.database ?? "", clientState(client.state)],
      ...addressAndPort(client.peer),
      ...["", 0, timeText(client.connectedAt), "", 0, 0, 0, String(client.id), ""],
      ...[client.backend ?? 0, client.isEncrypted ? "TLS" : "", client.applicationName],
      ...[client.tenant, client.pinned],
    ]),
  };
}

/** PgBouncer has a few states only. */
function clientState(state: string): string {
  if (state === "waiting" || state === "login") return state;
  return state === "paused" ? "waiting" : "active";
}

function servers(control: Control): ConsoleTable {
  return {
    columns: [...CONNECTION_COLUMNS, "tenant"],
    rows: control.backends().map((backend) => [
      ...["S", backend.role, backend.database, backend.state],
      ...addressAndPort(backend.address),
      ...["", 0, timeText(backend.connectedAt), "", 0, 0, 0, ""],
      ...[backend.client === null ? "" : String(backend.client), backend.processId ?? 0, "", ""],
      backend.tenant,
    ]),
  };
}

/** `192.0.2.7:5432`, `[::1]:5432`, or a socket's path, which has no port. */
function addressAndPort(text: string): [string, number] {
  const at = text.lastIndexOf(":");
  const port = Number(text.slice(at + 1));
  if (at < 0 || text.startsWith("unix:") || !Number.isInteger(port)) return [text, 0];
  return [text.slice(0, at).replace("[", "").replace("]", ""), port];
}

function timeText(date: Date): string {
  const text = date.toISOString().slice(0, 19).replace("T", " ");
  return `${text} UTC`;
}

function stats(control: Control): ConsoleTable {
  const { traffic } = control.totals();
  const { transaction, query, checkoutWait } = control.meters;
  const [counts, bytes] = [
    [traffic.transactions, traffic.queries],
    [traffic.bytesIn, traffic.bytesOut],
  ];
  const microseconds = [transaction, query, checkoutWait]
    .map(({ sum }) => Math.round(sum * 1_000_000));
  const uptimeMs = Date.now() - control.startedAt.getTime();
  const seconds = Math.max(1, uptimeMs / 1_000);
  const perSecond = (value: number) => Math.round(value / seconds);
  const each = (sum = 0, count = 0) => count === 0 ? 0 : Math.round(sum / count);
  return {
    columns: [
      ...["database", "total_xact_count", "total_query_count", "total_received", "total_sent"],
      ...["total_xact_time", "total_query_time", "total_wait_time"],
      ...["avg_xact_count", "avg_query_count", "avg_recv", "avg_sent"],
      ...["avg_xact_time", "avg_query_time", "avg_wait_time"],
    ],
    rows: [[
      ALL_DATABASES,
      ...[...counts, ...bytes, ...microseconds],
      ...[...counts, ...bytes].map(perSecond),
      each(microseconds[0], traffic.transactions),
      each(microseconds[1], traffic.queries),
      perSecond(microseconds[2]!),
    ]],
  };
}

function databases(control: Control): ConsoleTable {
  const settings = new Map(control.settings().map(({ key, value }) => [key, value]));
  const number = (key: string) => Number(settings.get(key)) || 0;
  const names = new Map<string, number>();
  for (const { database, idle, active } of control.pools()) {
    names.set(database, (names.get(database) ?? 0) + idle + active);
  }
  return {
    columns: [
      ...["name", "host", "port", "database", "force_user", "pool_size", "min_pool_size"],
      ...["reserve_pool", "pool_mode", "max_connections", "current_connections"],
      ...["paused", "disabled"],
    ],
    rows: [...names].map(([name, connections]): Cell[] => [
      ...[name, settings.get("upstream_host") ?? "", number("upstream_port"), name, null],
      ...[number("pool_size"), number("pool_min_idle"), 0, control.poolMode, 0],
      ...[connections, 0, 0],
    ]),
  };
}

function lists(control: Control): ConsoleTable {
  const [pools, clients, servers] = [control.pools(), control.clients(), control.backends()];
  const distinct = (names: readonly string[]) => new Set(names).size;
  const login = clients.filter(({ state }) => state === "login").length;
  const used = servers.filter(({ state }) => state === "active").length;
  const items = {
    databases: distinct(pools.map(({ database }) => database)),
    users: distinct(pools.map(({ role }) => role)),
    pools: pools.length,
    free_clients: 0,
    used_clients: clients.length - login,
    login_clients: login,
    free_servers: servers.length - used,
    used_servers: used,
    ...{ dns_names: 0, dns_zones: 0, dns_queries: 0, dns_pending: 0 },
  };
  return { columns: ["list", "items"], rows: Object.entries(items) };
}

function tenants(control: Control): ConsoleTable {
  return {
    columns: [
      ...["tenant", "cl_total", "cl_active", "cl_waiting", "paused", "disabled"],
      ...["total_xact_count", "total_query_count", "total_received", "total_sent"],
    ],
    rows: control.tenants().map((view) => [
      ...[view.tenant, view.connections, view.active, view.waiting],
      ...[view.isPaused ? 1 : 0, view.isDenied ? 1 : 0],
      ...[view.transactions, view.queries, view.bytesIn, view.bytesOut],
    ]),
  };
}
