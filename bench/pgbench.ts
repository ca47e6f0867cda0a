// What does pgvpd cost per transaction, beside PgBouncer, a bare loop and a direct connection?
//
//   deno task bench [--seconds 4] [--clients 1,8,64] [--modes simple,extended,prepared]
//
// One run, one machine, the routes taken in turn. CPU is the proxy's own, user and system time of
// its process over transactions done; the machine is shared with PostgreSQL and pgbench, so compare
// within a run and never across runs.

import { EmbeddedPostgres, freePort } from "../src/commands/embedded_postgres.ts";
import { cpuMicroseconds, findTool, readLatencies, runTool, waitForPort } from "./support.ts";

interface Route {
  readonly name: string;
  readonly port: number;
  readonly user: string;
  /** The proxy's process; null for the direct connection. */
  readonly processId: number | null;
}

interface Sample {
  readonly route: string;
  readonly mode: string;
  readonly clients: number;
  readonly transactionsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly cpuMicroseconds: number | null;
}

const DATABASE = "postgres";
const ROLE = "app_user";
const SCALE = 5;
/** V8 takes about this long until the loops of many connections run optimised. */
const WARM_UP_SECONDS = 10;
const WARM_UP_CLIENTS = 64;
const UNPRIVILEGED_ID = 65534;

const settings = parseArguments(Deno.args);
const pgbench = findTool("pgbench", "postgresql-client (or postgresql-contrib)");
const pgbouncer = findTool("pgbouncer", "pgbouncer");

await using stack = new AsyncDisposableStack();
const server = stack.use(
  await EmbeddedPostgres.start({
    hba: ["host all all 127.0.0.1/32 trust"],
    onProgress: (sentence) => console.log(`· ${sentence}`),
  }),
);
await prepareDatabase();
const routes: Route[] = [
  { name: "direct", port: server.port, user: ROLE, processId: null },
  await startPgBouncer(),
  await startBareLoop(),
  await startPgvpd(),
];
console.log("· Warming up: a proxy runs for months, its compiler should have had its say");
for (const route of routes) await measure(route, "prepared", WARM_UP_CLIENTS, WARM_UP_SECONDS);
const samples: Sample[] = [];
console.log(
  `\n${Deno.build.target}, ${navigator.hardwareConcurrency} cores, ${settings.seconds} s a sample\n`,
);
console.log(
  "| mode | clients | route | tps | p50 ms | p99 ms | CPU µs/tx | × PgBouncer CPU | × p99 |",
);
console.log("|---|--:|---|--:|--:|--:|--:|--:|--:|");
for (const mode of settings.modes) {
  for (const clients of settings.clients) {
    for (const route of routes) {
      const sample = await measure(route, mode, clients, settings.seconds);
      samples.push(sample);
      console.log(tableRow(sample));
    }
  }
}

function parseArguments(args: readonly string[]) {
  const value = (flag: string, otherwise: string) => {
    const at = args.indexOf(flag);
    return at < 0 ? otherwise : args[at + 1] ?? otherwise;
  };
  return {
    seconds: Number(value("--seconds", "4")),
    clients: value("--clients", "1,8,64").split(",").map(Number),
    modes: value("--modes", "simple,extended,prepared").split(","),
  };
}

async function prepareDatabase(): Promise<void> {
  const admin = ["-h", "127.0.0.1", "-p", `${server.port}`, "-U", "postgres"];
  await runTool(pgbench, ["-i", "-q", "-s", `${SCALE}`, ...admin, DATABASE]);
  const { default: postgres } = await import("postgres");
  const sql = postgres({ host: "127.0.0.1", port: server.port, user: "postgres", max: 1 });
  await sql.unsafe(
    `CREATE ROLE ${ROLE} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${ROLE}`,
  );
  await sql.end();
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
      "[databases]",
      `${DATABASE} = host=127.0.0.1 port=${server.port} dbname=${DATABASE} user=${ROLE}`,
      "[pgbouncer]",
      ...["listen_addr = 127.0.0.1", `listen_port = ${port}`, "auth_type = any"],
      ...["pool_mode = session", "default_pool_size = 200", "max_client_conn = 200"],
      ...["unix_socket_dir =", "log_connections = 0", "log_disconnections = 0", ""],
    ].join("\n"),
  );
  const asNobody = Deno.uid() === 0 ? { uid: UNPRIVILEGED_ID, gid: UNPRIVILEGED_ID } : {};
  const child = spawn(pgbouncer, ["-q", config], asNobody);
  await waitForPort(port);
  return { name: "PgBouncer", port, user: ROLE, processId: child.pid };
}

async function startPgvpd(): Promise<Route> {
  const port = await freePort();
  const main = new URL("../main.ts", import.meta.url).pathname;
  const child = spawn(Deno.execPath(), [
    ...["run", "--quiet", "-A", main, "--no-config", "--port", `${port}`],
    ...["--upstream-port", `${server.port}`, "--log-level", "warn"],
  ]);
  await waitForPort(port);
  return { name: "pgvpd", port, user: `${ROLE}.acme`, processId: child.pid };
}

/** What any proxy on Deno costs at least. */
async function startBareLoop(): Promise<Route> {
  const port = await freePort();
  const script = new URL("bare_loop.ts", import.meta.url).pathname;
  const args = ["run", "--quiet", "-A", script, `${port}`, `${server.port}`];
  const child = spawn(Deno.execPath(), args);
  await waitForPort(port);
  return { name: "bare Deno loop", port, user: ROLE, processId: child.pid };
}

function spawn(command: string, args: string[], more: Deno.CommandOptions = {}): Deno.ChildProcess {
  const child = new Deno.Command(command, {
    ...more,
    args,
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  stack.defer(async () => {
    child.kill("SIGTERM");
    await child.status;
  });
  return child;
}

async function measure(
  route: Route,
  mode: string,
  clients: number,
  seconds: number,
): Promise<Sample> {
  const logs = await Deno.makeTempDir({ prefix: "pgvpd-bench-log-" });
  const before = cpuMicroseconds(route.processId);
  await runTool(pgbench, [
    ...["-n", "-S", "-M", mode, "-c", `${clients}`, "-j", "1", "-T", `${seconds}`],
    ...["-l", "--log-prefix", `${logs}/log`],
    ...["-h", "127.0.0.1", "-p", `${route.port}`, "-U", route.user, DATABASE],
  ]);
  const cpu = cpuMicroseconds(route.processId) - before;
  const latencies = await readLatencies(logs);
  await Deno.remove(logs, { recursive: true });
  const count = latencies.length;
  return {
    route: route.name,
    mode,
    clients,
    transactionsPerSecond: count / seconds,
    p50Ms: latencies[Math.floor(count * 0.5)]! / 1000,
    p99Ms: latencies[Math.floor(count * 0.99)]! / 1000,
    cpuMicroseconds: route.processId === null ? null : cpu / count,
  };
}

function tableRow(sample: Sample): string {
  const rival = samples.find(({ route, mode, clients }) =>
    route === "PgBouncer" && mode === sample.mode && clients === sample.clients
  );
  const isOurs = sample.cpuMicroseconds !== null && rival !== undefined && rival !== sample;
  const ratio = (ours: number, theirs: number) => isOurs ? (ours / theirs).toFixed(2) : "";
  return `| ${
    [
      ...[sample.mode, sample.clients, sample.route, Math.round(sample.transactionsPerSecond)],
      ...[sample.p50Ms.toFixed(2), sample.p99Ms.toFixed(2)],
      sample.cpuMicroseconds?.toFixed(1) ?? "",
      ratio(sample.cpuMicroseconds ?? NaN, rival?.cpuMicroseconds ?? NaN),
      ratio(sample.p99Ms, rival?.p99Ms ?? NaN),
    ].join(" | ")
  } |`;
}
