// The tables have PgBouncer's columns, in its order: what reads them by name or place works.

import { strict as assert } from "node:assert";
import { TABLES } from "../../src/admin/console_tables.ts";
import type { Control } from "../../src/control.ts";
import { fakeControl, NO_CLIENT, NO_POOL, NO_TOTALS, tenantView } from "../support/fake_control.ts";

/** As PgBouncer 1.18.0 has written them. */
const COLUMNS: Readonly<Record<string, string>> = {
  STATS: "database|total_xact_count|total_query_count|total_received|total_sent|total_xact_time|" +
    "total_query_time|total_wait_time|avg_xact_count|avg_query_count|avg_recv|avg_sent|" +
    "avg_xact_time|avg_query_time|avg_wait_time",
  POOLS: "database|user|cl_active|cl_waiting|cl_active_cancel_req|cl_waiting_cancel_req|" +
    "sv_active|sv_active_cancel|sv_being_canceled|sv_idle|sv_used|sv_tested|sv_login|maxwait|" +
    "maxwait_us|pool_mode",
  CLIENTS: "type|user|database|state|addr|port|local_addr|local_port|connect_time|request_time|" +
    "wait|wait_us|close_needed|ptr|link|remote_pid|tls|application_name",
  SERVERS: "type|user|database|state|addr|port|local_addr|local_port|connect_time|request_time|" +
    "wait|wait_us|close_needed|ptr|link|remote_pid|tls|application_name",
  DATABASES: "name|host|port|database|force_user|pool_size|min_pool_size|reserve_pool|pool_mode|" +
    "max_connections|current_connections|paused|disabled",
  LISTS: "list|items",
  CONFIG: "key|value|default|changeable",
  VERSION: "version",
};

const CLIENT = { ...NO_CLIENT, peer: "[::1]:77", id: 5, applicationName: "psql", backend: 99 };
const SHOWN: Partial<Control> = {
  pools: () => [
    { ...NO_POOL, idle: 1, active: 2, waiting: 3, opening: 4, longestWaitMs: 1_500.25 },
    { ...NO_POOL, role: "other", active: 1 },
  ],
  clients: () => [
    CLIENT,
    { ...CLIENT, state: "paused", tenant: null },
    { ...CLIENT, state: "login", isEncrypted: true },
  ],
  backends: () => [{
    ...{
      pool: null,
      database: "shop",
      role: "app",
      processId: null,
      address: "/run/.s.PGSQL.5432",
    },
    ...{ state: "active", client: 5, tenant: "acme", connectedAt: new Date(0) },
  }],
  tenants: () => [tenantView("acme", { isPaused: true, queries: 7 })],
  settings: () => [
    { key: "upstream_host", value: "db", origin: "default", default: null, reloadable: false },
    { key: "pool_size", value: "20", origin: "default", default: "20", reloadable: true },
  ],
  totals: () => ({
    ...NO_TOTALS,
    traffic: { bytesIn: 1, bytesOut: 2, transactions: 3, queries: 4 },
  }),
};

function show(name: string, shown: Partial<Control> = SHOWN) {
  const { columns, rows } = TABLES[name]!(fakeControl(shown));
  return rows.map((row) => {
    assert.equal(row.length, columns.length, name);
    return Object.fromEntries(columns.map((column, index) => [column, row[index]]));
  });
}

Deno.test("the columns begin as PgBouncer's, and what pgvpd adds stands behind them", () => {
  for (const [name, columns] of Object.entries(COLUMNS)) {
    const shown = TABLES[name]!(fakeControl(SHOWN)).columns.join("|");
    assert(shown === columns || shown.startsWith(`${columns}|`), `${name}: ${shown}`);
  }
});

Deno.test("an empty proxy has empty tables, and one row of statistics", () => {
  for (const name of ["POOLS", "CLIENTS", "SERVERS", "DATABASES", "TENANTS", "CONFIG"]) {
    assert.deepEqual(show(name, {}), [], name);
  }
  assert.equal(show("STATS", {}).length, 1);
});

Deno.test("pools: who has and who waits, and for how long", () => {
  const [pool] = show("POOLS");
  assert.deepEqual(
    [pool!["cl_active"], pool!["cl_waiting"], pool!["sv_idle"], pool!["sv_login"]],
    [2, 3, 1, 4],
  );
  assert.deepEqual([pool!["maxwait"], pool!["maxwait_us"]], [1, 500_250]);
  const [database, ...more] = show("DATABASES");
  assert.deepEqual([database!["host"], database!["current_connections"]], ["db", 4]);
  assert.equal(more.length, 0);
});

Deno.test("clients and servers: where they are, in PgBouncer's words", () => {
  const [idle, paused, login] = show("CLIENTS");
  assert.deepEqual([idle!["addr"], idle!["port"], idle!["ptr"]], ["::1", 77, "5"]);
  assert.deepEqual([idle, paused, login].map((one) => one!["state"]), [
    ...["active", "waiting", "login"],
  ]);
  assert.equal(idle!["connect_time"], "1970-01-01 00:00:00 UTC");
  assert.deepEqual([idle!["tls"], login!["tls"], paused!["tenant"]], ["", "TLS", null]);
  const [server] = show("SERVERS");
  assert.deepEqual([server!["addr"], server!["port"], server!["link"]], [
    ...["/run/.s.PGSQL.5432", 0, "5"],
  ]);
});

Deno.test("statistics: counters as they are, and averages since the start", () => {
  const control = fakeControl({ ...SHOWN, startedAt: new Date(Date.now() - 1_000) });
  control.meters.query.observeMs(8);
  const { columns, rows } = TABLES["STATS"]!(control);
  const [row] = rows.map((cells) =>
    Object.fromEntries(columns.map((name, index) => [name, cells[index]]))
  );
  assert.deepEqual([row!["database"], row!["total_xact_count"], row!["total_sent"]], ["all", 3, 2]);
  assert.deepEqual([row!["total_query_time"], row!["avg_query_time"]], [8_000, 2_000]);
});

Deno.test("lists, tenants, configuration and version", () => {
  const lists = Object.fromEntries(show("LISTS").map(({ list, items }) => [list, items]));
  assert.deepEqual([lists["pools"], lists["databases"], lists["users"]], [2, 1, 2]);
  assert.deepEqual([lists["used_clients"], lists["login_clients"], lists["used_servers"]], [
    2,
    1,
    1,
  ]);
  const [tenant] = show("TENANTS");
  assert.deepEqual([tenant!["tenant"], tenant!["paused"], tenant!["total_query_count"]], [
    ...["acme", 1, 7],
  ]);
  assert.deepEqual(show("CONFIG")[1], {
    ...{ key: "pool_size", value: "20", default: "20", changeable: "yes" },
  });
  assert.match(String(show("VERSION")[0]!["version"]), /^PgBouncer 1\.18\.0 \(pgvpd 1\.2\.3\)$/);
});
