// 1,000 clients of 200 tenants at work: on twenty server connections of pgvpd in transaction mode,
// and with PgBouncer, which needs a user, and so a pool, for each tenant.
//
//   deno task bench:tenants [--seconds 60] [--clients 1000]
//
// Every row carries its tenant and is checked by the client that reads it: one foreign row ends the
// run. The load comes from one process, which is the same for both and is their limit too.

import { EmbeddedPostgres, freePort } from "../src/commands/embedded_postgres.ts";
import { cstring, message, RawClient, startup } from "../tests/support/wire_raw_client.ts";
import { cpuMicroseconds, findTool, waitForPort } from "./support.ts";

const TENANTS = 200;
const ROWS_EACH = 50;
const BACKENDS = 20;
const DATABASE = "postgres";
const PASSWORD = "secret";
const UNPRIVILEGED_ID = 65534;
const TEXT = new TextDecoder();

const option = (name: string, otherwise: number) => {
  const at = Deno.args.indexOf(name);
  return at < 0 ? otherwise : Number(Deno.args[at + 1]);
};
const seconds = option("--seconds", 60);
const clientCount = option("--clients", 1_000);

await using stack = new AsyncDisposableStack();
const server = stack.use(
  await EmbeddedPostgres.start({
    hba: ["host all all 127.0.0.1/32 trust"],
    settings: ["max_connections = 300"],
    onProgress: (sentence) => console.log(`· ${sentence}`),
  }),
);
const admin = await RawClient.connect(server.port);
await admin.login({ user: "postgres", database: DATABASE });
await prepare();

interface Route {
  readonly name: string;
  readonly port: number;
  readonly processId: number;
  /** The roles of its server connections, as a pattern of LIKE. */
  readonly roles: string;
  /** How the tenant logs in. */
  readonly user: (tenant: string) => string;
}

console.log(`\n${clientCount} clients of ${TENANTS} tenants, ${seconds} s each\n`);
console.log(
  "| route | server connections at most | tps | p50 ms | p99 ms | slowest tenant's tps | " +
    "CPU µs/tx | MB resident |",
);
console.log("|---|--:|--:|--:|--:|--:|--:|--:|");
for (const route of [await startPgBouncer(), await startPgvpd()]) {
  console.log(`| ${(await measure(route)).join(" | ")} |`);
}
admin.close();

async function prepare(): Promise<void> {
  const roles = Array.from({ length: TENANTS }, (_, number) => tenantName(number));
  await admin.query(`
    CREATE ROLE tenants NOLOGIN;
    CREATE ROLE app_user LOGIN IN ROLE tenants;
    ${roles.map((role) => `CREATE ROLE ${role} LOGIN IN ROLE tenants;`).join("\n")}
    CREATE TABLE accounts (tenant text, id int, balance int, PRIMARY KEY (tenant, id));
    INSERT INTO accounts SELECT 'tenant_' || t, i, t * 1000 + i
      FROM generate_series(0, ${TENANTS - 1}) t, generate_series(1, ${ROWS_EACH}) i;
    ALTER TABLE accounts ENABLE ROW LEVEL SECURITY;
    CREATE POLICY tenant ON accounts USING (tenant = coalesce(
      nullif(current_setting('app.current_tenant_id', true), ''), current_user));
    GRANT SELECT ON accounts TO tenants;
    ANALYZE accounts;`);
}

function tenantName(number: number): string {
  return `tenant_${number % TENANTS}`;
}

async function startPgBouncer(): Promise<Route> {
  const port = await freePort();
  const directory = await Deno.makeTempDir({ prefix: "pgvpd-bench-" });
  stack.defer(() => Deno.remove(directory, { recursive: true }));
  await Deno.chmod(directory, 0o755);
  const config = `${directory}/pgbouncer.ini`;
  await Deno.writeTextFile(
    config,
    [
      ...["[databases]", `${DATABASE} = host=127.0.0.1 port=${server.port}`, "[pgbouncer]"],
      ...["listen_addr = 127.0.0.1", `listen_port = ${port}`, "auth_type = trust"],
      ...[`auth_file = ${directory}/users`, "pool_mode = transaction", "default_pool_size = 1"],
      ...[`max_client_conn = ${clientCount + 100}`, "unix_socket_dir =", "log_connections = 0"],
      ...["log_disconnections = 0", ""],
    ].join("\n"),
  );
  const users = Array.from({ length: TENANTS }, (_, number) => `"${tenantName(number)}" ""`);
  await Deno.writeTextFile(`${directory}/users`, `${users.join("\n")}\n`);
  const asNobody = Deno.uid() === 0 ? { uid: UNPRIVILEGED_ID, gid: UNPRIVILEGED_ID } : {};
  const tool = findTool("pgbouncer", "pgbouncer");
  const processId = await spawn(port, tool, ["-q", config], asNobody);
  const name = "PgBouncer, a user per tenant, pools of 1";
  return { name, port, processId, roles: "tenant%", user: (tenant) => tenant };
}

async function startPgvpd(): Promise<Route> {
  const port = await freePort();
  const main = new URL("../main.ts", import.meta.url).pathname;
  const processId = await spawn(port, Deno.execPath(), [
    ...["run", "--quiet", "-A", main, "--no-config", "--port", `${port}`, "--log-level", "warn"],
    ...["--upstream-port", `${server.port}`, "--pool-mode", "transaction"],
    ...["--pool-size", `${BACKENDS}`, "--pool-auth", "cleartext"],
    ...["--pool-checkout-timeout", "30s", "--pool-max-waiting", `${clientCount}`],
  ], { env: { PGVPD_POOL_PASSWORD: PASSWORD, PGVPD_UPSTREAM_PASSWORD: "none" } });
  const user = (tenant: string) => `app_user.${tenant}`;
  return { name: "pgvpd", port, processId, roles: "app_user", user };
}

async function spawn(
  port: number,
  command: string,
  args: string[],
  more: Deno.CommandOptions,
): Promise<number> {
  const quiet = { stdin: "null", stdout: "null", stderr: "inherit" } as const;
  const child = new Deno.Command(command, { ...more, ...quiet, args }).spawn();
  stack.defer(async () => {
    child.kill("SIGTERM");
    await child.status;
  });
  await waitForPort(port);
  return child.pid;
}

async function measure(route: Route): Promise<(string | number)[]> {
  const clients = [];
  for (let number = 0; number < clientCount; number++) {
    clients.push({ tenant: tenantName(number), client: await logIn(route, tenantName(number)) });
  }
  const served = new Map<string, number>();
  const latencies: number[] = [];
  let connectionsMax = 0;
  const before = cpuMicroseconds(route.processId);
  const end = performance.now() + seconds * 1_000;
  const watching = (async () => {
    while (performance.now() < end) {
      connectionsMax = Math.max(connectionsMax, await serverConnections(route.roles));
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  })();
  await Promise.all(clients.map(async ({ tenant, client }, number) => {
    for (let turn = number; performance.now() < end; turn++) {
      const begun = performance.now();
      await readOwnRow(client, tenant, 1 + turn % ROWS_EACH);
      latencies.push(performance.now() - begun);
      served.set(tenant, (served.get(tenant) ?? 0) + 1);
    }
  }));
  await watching;
  const cpu = (cpuMicroseconds(route.processId) - before) / latencies.length;
  const resident = residentMegabytes(route.processId);
  for (const { client } of clients) client.close();
  const sorted = Float64Array.from(latencies).sort();
  const percentile = (share: number) => (sorted[Math.floor(sorted.length * share)] ?? NaN);
  if (served.size !== Math.min(TENANTS, clientCount)) throw new Error("a tenant was not served");
  return [
    ...[route.name, connectionsMax, Math.round(latencies.length / seconds)],
    ...[percentile(0.5).toFixed(1), percentile(0.99).toFixed(1)],
    ...[(Math.min(...served.values()) / seconds).toFixed(1), cpu.toFixed(1), resident],
  ];
}

async function logIn(route: Route, tenant: string): Promise<RawClient> {
  const client = await RawClient.connect(route.port);
  await client.send(startup({ user: route.user(tenant), database: DATABASE }));
  const first = await client.until("R");
  // AuthenticationCleartextPassword, or AuthenticationOk.
  if (first.at(-1)!.body.at(3) === 3) await client.send(message("p", cstring(PASSWORD)));
  await client.until("Z");
  return client;
}

async function readOwnRow(client: RawClient, tenant: string, id: number): Promise<void> {
  const rows = await client.queryBytes(`SELECT tenant, balance FROM accounts WHERE id = ${id}`);
  const found = rows.map((row) => TEXT.decode(row[0]!));
  if (found.length === 1 && found[0] === tenant) return;
  throw new Error(`${tenant} was shown the rows of ${found.join(", ") || "nobody"}`);
}

async function serverConnections(roles: string): Promise<number> {
  const rows = await admin.query(
    `SELECT count(*) FROM pg_stat_activity WHERE usename LIKE '${roles}'`,
  );
  return Number(rows[0]![0]);
}

function residentMegabytes(processId: number): number {
  const status = Deno.readTextFileSync(`/proc/${processId}/status`);
  return Math.round(Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]) / 1024);
}
