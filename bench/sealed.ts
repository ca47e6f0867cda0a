// What does row-level security cost, and what a sealed context on top of it?
//
//   deno task bench:sealed [--seconds 1] [--rounds 3]
//
// pgbench asks PostgreSQL itself, without pgvpd: that is the same on all routes. The routes take
// turns, and the ratios are those of the medians. Compare within a run only; the CPU of the server
// hardly depends on what else the machine does.

import { parseArgs } from "node:util";
import { SealKey } from "../src/auth/seal.ts";
import { EmbeddedPostgres } from "../src/commands/embedded_postgres.ts";
import { SEALED_SQL, SETUP_SQL } from "../tests/support/sealed_world.ts";
import { connectPostgresJs } from "../tests/support/wire_clients.ts";
import { childrenCpuMicroseconds, findTool, runTool } from "./support.ts";

const { values } = parseArgs({
  args: Deno.args,
  options: { seconds: { type: "string", default: "1" }, rounds: { type: "string", default: "3" } },
});
const SECONDS = Number(values.seconds);
const ROUNDS = Number(values.rounds);
const PGBENCH = findTool("pgbench", "postgresql-contrib");
const TENANT = "t7";
const REAPED_MS = 100;

/** A thousand tenants with a thousand rows each. */
const FIXTURE = `
CREATE TABLE protected (tenant_id text NOT NULL, id int NOT NULL, body text NOT NULL);
INSERT INTO protected SELECT 't' || i / 1000, i % 1000, md5(i::text)
  FROM generate_series(0, 999999) AS i;
ALTER TABLE protected ADD PRIMARY KEY (tenant_id, id);
CREATE TABLE open AS TABLE protected;
ALTER TABLE open ADD PRIMARY KEY (tenant_id, id);
SELECT pgvpd_protect('protected');
GRANT SELECT ON open TO app_user;
VACUUM ANALYZE protected, open`;

/** A token as pgvpd would make it, for whoever asks: for a benchmark alone. */
const TOKEN_SQL = `
CREATE FUNCTION bench_token() RETURNS text LANGUAGE sql VOLATILE SECURITY DEFINER AS $$
  SELECT encode(sha256(k.opad || sha256(k.ipad || convert_to(concat(pg_backend_pid(), ':',
    coalesce(inet_client_port(), 0), ':', b.body), 'UTF8'))), 'hex') || b.body
  FROM pgvpd.seal_key k,
    (SELECT '9999999999k1{"app.current_tenant_id":"${TENANT}"}'::text AS body) AS b $$`;

interface Workload {
  readonly name: string;
  /** @param table the table, and a condition where nothing else says whose rows these are. */
  readonly sql: (table: string, condition: string) => string;
}

const WORKLOADS: readonly Workload[] = [
  {
    name: "point select",
    sql: (table, condition) => `SELECT body FROM ${table} WHERE ${condition} id = :id;`,
  },
  {
    name: "1,000 rows",
    sql: (table, condition) =>
      `SELECT count(body), max(id) FROM ${table} WHERE ${condition} id >= 0;`,
  },
];

interface Route {
  readonly name: string;
  readonly database: string;
  readonly table: string;
  readonly condition: string;
  /** Run once on each connection. */
  readonly begin: string;
}

const ROUTES: readonly Route[] = [
  {
    name: "no row-level security",
    ...{ database: "plain", table: "open", condition: `tenant_id = '${TENANT}' AND` },
    begin: "SELECT 1;",
  },
  {
    name: "plain policy",
    ...{ database: "plain", table: "protected", condition: "" },
    begin: `SET app.current_tenant_id = '${TENANT}';`,
  },
  {
    name: "sealed policy",
    ...{ database: "sealed", table: "protected", condition: "" },
    begin: "SELECT set_config('pgvpd.seal', bench_token(), false);",
  },
];

async function prepare(server: EmbeddedPostgres): Promise<void> {
  const connect = (database: string) =>
    connectPostgresJs({ port: server.port, user: server.superuser, database });
  {
    await using maintenance = connect("postgres");
    await maintenance.unsafe("CREATE DATABASE plain");
  }
  {
    await using plain = connect("plain");
    await plain.unsafe(SETUP_SQL);
    for (const statement of FIXTURE.split(";")) await plain.unsafe(statement);
  }
  {
    await using maintenance = connect("postgres");
    await maintenance.unsafe("CREATE DATABASE sealed TEMPLATE plain");
  }
  await using sealed = connect("sealed");
  await sealed.unsafe(SEALED_SQL);
  const key = SealKey.random("k1");
  await sealed`SELECT pgvpd.seal_key_put(${key.name}, decode(${key.hex}, 'hex'))`;
  await sealed.unsafe(TOKEN_SQL);
  await sealed.unsafe("VACUUM ANALYZE");
}

interface Sample {
  readonly tps: number;
  /** Of the server, for each transaction. */
  readonly cpuMicroseconds: number;
}

async function run(
  { port, processId }: EmbeddedPostgres,
  script: string,
  route: Route,
  clients: number,
): Promise<Sample> {
  const before = childrenCpuMicroseconds(processId);
  const said = await runTool(PGBENCH, [
    ...["-n", "-M", "prepared", "-f", script, "-D", "ready=0", "-T", String(SECONDS)],
    ...["-c", String(clients), "-j", String(Math.min(clients, 2)), "-p", String(port)],
    ...["-h", "127.0.0.1", "-U", "app_user", route.database],
  ]);
  // The server's processes end with their clients, and are counted when the postmaster knows.
  await new Promise((resolve) => setTimeout(resolve, REAPED_MS));
  const transactions = Number(/actually processed: (\d+)/.exec(said)![1]);
  return {
    tps: Number(/tps = ([\d.]+)/.exec(said)![1]),
    cpuMicroseconds: (childrenCpuMicroseconds(processId) - before) / transactions,
  };
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!;
}

async function compare(
  server: EmbeddedPostgres,
  workload: Workload,
  clients: number,
): Promise<void> {
  const samples = new Map<Route, Sample[]>(ROUTES.map((route) => [route, []]));
  const directory = await Deno.makeTempDir();
  for (let round = 0; round < ROUNDS; round++) {
    for (const route of ROUTES) {
      const script = `${directory}/script.sql`;
      const begin = `\\if :ready = 0\n${route.begin}\n\\set ready 1\n\\endif\n`;
      const ask = workload.sql(route.table, route.condition);
      await Deno.writeTextFile(script, `${begin}\\set id random(0, 999)\n${ask}\n`);
      samples.get(route)!.push(await run(server, script, route, clients));
    }
  }
  await Deno.remove(directory, { recursive: true });
  const tpsOf = (route: Route) => median(samples.get(route)!.map(({ tps }) => tps));
  for (const route of ROUTES) {
    const tps = tpsOf(route);
    const cpu = median(samples.get(route)!.map(({ cpuMicroseconds }) => cpuMicroseconds));
    const numbers = [Math.round(tps), (tps / tpsOf(ROUTES[1]!)).toFixed(2), cpu.toFixed(1)];
    console.log(`| ${workload.name} | ${clients} | ${route.name} | ${numbers.join(" | ")} |`);
  }
}

const server = await EmbeddedPostgres.start({
  hba: ["host all all 127.0.0.1/32 trust"],
  settings: ["shared_buffers = 512MB", "max_wal_size = 4GB", "fsync = off", "jit = off"],
});
try {
  console.log(`PostgreSQL 18, load ${Deno.loadavg()[0]!.toFixed(1)} at the start\n`);
  await prepare(server);
  console.log("| what | clients | route | tps | × plain | server CPU µs/tx |");
  console.log("|---|--:|---|--:|--:|--:|");
  for (const workload of WORKLOADS) {
    for (const clients of [1, 8]) await compare(server, workload, clients);
  }
} finally {
  await server.stop();
}
