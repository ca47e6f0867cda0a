// What does pooling cost, and a change of tenant, beside PgBouncer and a direct connection?
//
//   deno task bench:pool [--seconds 4]
//
// One run, one machine, the routes taken in turn. Everybody but the direct route asks for SCRAM.
// Compare within a run only: PostgreSQL and pgbench share the machine.

import { EmbeddedPostgres, freePort } from "../src/commands/embedded_postgres.ts";
import { txClient } from "../tests/support/tx_front.ts";
import { cpuMicroseconds, findTool, readLatencies, runTool, waitForPort } from "./support.ts";

interface Route {
  readonly name: string;
  readonly port: number;
  readonly user: string;
  readonly processId: number | null;
  readonly modes: readonly string[];
}

const ALL_MODES = ["simple", "extended", "prepared"];
const DATABASE = "pgvpd_test";
const ROLE = "trusty";
const PASSWORD = "one for all";
const CLIENTS = 8;
const SCALE = 5;
const IDLE_CLIENTS = 1_000;
const TENANTS = 200;
const SWITCHES = 5_000;
const UNPRIVILEGED_ID = 65534;

const at = Deno.args.indexOf("--seconds");
const seconds = at < 0 ? 4 : Number(Deno.args[at + 1]);
const pgbench = findTool("pgbench", "postgresql-client (or postgresql-contrib)");
const pgbouncer = findTool("pgbouncer", "pgbouncer");

await using stack = new AsyncDisposableStack();
const server = stack.use(
  await EmbeddedPostgres.start({ hba: ["host all all 127.0.0.1/32 trust"] }),
);
await prepareDatabase();
console.log(`${Deno.build.target}, load ${Deno.loadavg()[0]!.toFixed(1)}, ${seconds} s a sample\n`);
await comparePgbench([
  { name: "direct", port: server.port, user: ROLE, processId: null, modes: ALL_MODES },
  await startPgBouncer("session", ALL_MODES),
  await startPgBouncer("transaction", ["simple", "extended"]),
  await startPgvpd("session", "scram", 20),
  await startPgvpd("transaction", "scram", 20),
]);
await measureTenants();
await measureIdle();

async function prepareDatabase(): Promise<void> {
  const { default: postgres } = await import("postgres");
  const login = { host: "127.0.0.1", port: server.port, user: "postgres", max: 1 };
  const sql = postgres({ ...login, database: "postgres" });
  await sql.unsafe(`CREATE DATABASE ${DATABASE}`);
  await sql.unsafe(`CREATE ROLE ${ROLE} LOGIN IN ROLE pg_read_all_data`);
  await sql.end();
  const admin = ["-h", "127.0.0.1", "-p", `${server.port}`, "-U", "postgres"];
  await runTool(pgbench, ["-i", "-q", "-s", `${SCALE}`, ...admin, DATABASE]);
}

async function startPgBouncer(mode: string, modes: readonly string[]): Promise<Route> {
  const port = await freePort();
  const directory = await Deno.makeTempDir({ prefix: "pgvpd-bench-" });
  stack.defer(() => Deno.remove(directory, { recursive: true }));
  await Deno.chmod(directory, 0o755);
  await Deno.writeTextFile(`${directory}/userlist.txt`, `"${ROLE}" "${PASSWORD}"\n`);
  const config = [
    ...["[databases]", `${DATABASE} = host=127.0.0.1 port=${server.port}`, "[pgbouncer]"],
    ...["listen_addr = 127.0.0.1", `listen_port = ${port}`, "auth_type = scram-sha-256"],
    ...[`auth_file = ${directory}/userlist.txt`, `pool_mode = ${mode}`, "default_pool_size = 20"],
    ...["max_client_conn = 2000", "unix_socket_dir =", "log_connections = 0"],
    ...["log_disconnections = 0", "ignore_startup_parameters = extra_float_digits", ""],
  ];
  await Deno.writeTextFile(`${directory}/pgbouncer.ini`, config.join("\n"));
  const asNobody = Deno.uid() === 0 ? { uid: UNPRIVILEGED_ID, gid: UNPRIVILEGED_ID } : {};
  const child = spawn(pgbouncer, ["-q", `${directory}/pgbouncer.ini`], asNobody);
  await waitForPort(port);
  return { name: `PgBouncer ${mode}`, port, user: ROLE, processId: child.pid, modes };
}

async function startPgvpd(mode: string, auth: string, size: number): Promise<Route> {
  const port = await freePort();
  const main = new URL("../main.ts", import.meta.url).pathname;
  const child = spawn(Deno.execPath(), [
    ...["run", "--quiet", "-A", main, "--no-config", "--port", `${port}`, "--pool-mode", mode],
    ...["--upstream-port", `${server.port}`, "--log-level", "error", "--pool-auth", auth],
    ...[
      "--pool-password",
      PASSWORD,
      "--upstream-password",
      PASSWORD,
      "--pool-size",
      `${size}`,
      "--max-client-connections",
      "2000",
    ],
  ]);
  await waitForPort(port);
  const user = `${ROLE}.acme`;
  return { name: `pgvpd ${mode}`, port, user, processId: child.pid, modes: ALL_MODES };
}

function spawn(command: string, args: string[], more: Deno.CommandOptions = {}): Deno.ChildProcess {
  const quiet = { stdin: "null", stdout: "null", stderr: "null" } as const;
  const child = new Deno.Command(command, { ...more, ...quiet, args }).spawn();
  stack.defer(async () => {
    try {
      child.kill("SIGTERM");
    } catch {
      // It has ended by itself.
    }
    await child.status;
  });
  return child;
}

async function comparePgbench(routes: readonly Route[]): Promise<void> {
  for (const route of routes) await run(route, "extended", seconds);
  console.log("| mode | route | tps | p50 ms | p99 ms | CPU µs/tx | × PgBouncer CPU |");
  console.log("|---|---|--:|--:|--:|--:|--:|");
  for (const mode of [...ALL_MODES, "connect"]) {
    let rival = NaN;
    for (const route of routes) {
      const protocol = mode === "connect" ? "simple" : mode;
      if (!route.modes.includes(protocol)) continue;
      const sample = await run(route, protocol, seconds, mode === "connect" ? ["-C"] : []);
      if (route.name.startsWith("PgBouncer")) rival = sample.cpu;
      const ratio = route.name.startsWith("pgvpd") ? (sample.cpu / rival).toFixed(2) : "";
      const cpu = route.processId === null ? "" : sample.cpu.toFixed(1);
      const { tps, p50, p99 } = sample;
      console.log(`| ${[mode, route.name, tps, p50, p99, cpu, ratio].join(" | ")} |`);
    }
  }
}

async function run(route: Route, mode: string, duration: number, more: string[] = []) {
  const logs = await Deno.makeTempDir({ prefix: "pgvpd-bench-log-" });
  const before = cpuMicroseconds(route.processId);
  await runTool(pgbench, [
    ...["-n", "-S", "-M", mode, "-c", `${CLIENTS}`, "-T", `${duration}`, ...more],
    ...["-l", "--log-prefix", `${logs}/log`, "-h", "127.0.0.1", "-p", `${route.port}`],
    ...["-U", route.user, DATABASE],
  ], { PGPASSWORD: PASSWORD });
  const cpu = cpuMicroseconds(route.processId) - before;
  const latencies = await readLatencies(logs);
  await Deno.remove(logs, { recursive: true });
  const count = latencies.length;
  const percentile = (share: number) => {
    const microseconds = latencies[Math.floor(count * share)] ?? NaN;
    return (microseconds / 1000).toFixed(2);
  };
  return {
    tps: Math.round(count / duration),
    p50: percentile(0.5),
    p99: percentile(0.99),
    cpu: cpu / count,
  };
}

/** Two clients in turn on one backend: of one tenant, and of two. */
async function measureTenants(): Promise<void> {
  const route = await startPgvpd("transaction", "cleartext", 1);
  console.log("\n| two clients in turn, one backend | µs each | proxy CPU µs | server CPU µs |");
  console.log("|---|--:|--:|--:|");
  for (const tenants of [["acme", "acme"], ["acme", "other"]] as const) {
    const [one, two] = await Promise.all(tenants.map((tenant) => txClient(route, tenant)));
    const pid = Number((await one!.query("SELECT pg_backend_pid()"))[0]![0]);
    let figures: number[] = [];
    for (const count of [SWITCHES, SWITCHES]) {
      const before = [
        performance.now() * 1000,
        cpuMicroseconds(route.processId),
        cpuMicroseconds(pid),
      ];
      for (let turn = 0; turn < count / 2; turn++) {
        await one!.query("SELECT 1");
        await two!.query("SELECT 1");
      }
      const after = [
        performance.now() * 1000,
        cpuMicroseconds(route.processId),
        cpuMicroseconds(pid),
      ];
      figures = after.map((value, index) => Math.round((value - before[index]!) / count));
    }
    one!.close();
    two!.close();
    const what = tenants[0] === tenants[1] ? "one tenant" : "two tenants: cleaned each time";
    console.log(`| ${[what, ...figures].join(" | ")} |`);
  }
}

/** Clients that have each said something and are silent now. */
async function measureIdle(): Promise<void> {
  const route = await startPgvpd("transaction", "cleartext", 20);
  const resident = () => {
    const status = Deno.readTextFileSync(`/proc/${route.processId}/status`);
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]);
  };
  const connect = async (number: number) => {
    const client = await txClient(route, `tenant_${number % TENANTS}`);
    await client.query("SELECT 1");
    return client;
  };
  for (let number = 0; number < 100; number++) (await connect(number)).close();
  const before = resident();
  const clients = [];
  for (let number = 0; number < IDLE_CLIENTS; number++) clients.push(await connect(number));
  const growth = resident() - before;
  console.log(
    `\n${IDLE_CLIENTS} idle clients of ${TENANTS} tenants on 20 server connections: ` +
      `${before} kB before, ${(growth / IDLE_CLIENTS).toFixed(1)} kB for each`,
  );
  for (const client of clients) client.close();
}
