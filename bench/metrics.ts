// What does it cost to be asked for metrics, with 10,000 tenants behind pgvpd?
//
//   deno task bench:metrics [--seconds 4] [--tenants 10000]
//
// First as many tenants log in, run a statement and leave. Then pgbench runs SELECT 1 as fast as it
// can, in turn without anybody who asks and with somebody who asks once in a second, fifteen times
// as often as Prometheus does; medians are compared. Last, one scrape by itself: its time and size.

import { EmbeddedPostgres, freePort } from "../src/commands/embedded_postgres.ts";
import { beginLogin } from "../tests/support/wire_pool.ts";
import { RawClient } from "../tests/support/wire_raw_client.ts";
import { query } from "../tests/support/messages.ts";
import { cpuMicroseconds, findTool, runTool, waitForPort } from "./support.ts";

const PASSWORD = "testpass"; // as tests/support has it
const DATABASE = "bench";
const CLIENTS = 8;
const TURNS = 5;
const AT_ONCE = 20;
const SCRAPES = 50;
/** How often Prometheus asks, usually. */
const PROMETHEUS_MS = 15_000;

const seconds = numberOf("--seconds", 4);
const tenants = numberOf("--tenants", 10_000);
const pgbench = findTool("pgbench", "postgresql-client (or postgresql-contrib)");

await using stack = new AsyncDisposableStack();
const server = stack.use(
  await EmbeddedPostgres.start({ hba: ["host all all 127.0.0.1/32 trust"] }),
);
const directory = await Deno.makeTempDir({ prefix: "pgvpd-bench-" });
stack.defer(() => Deno.remove(directory, { recursive: true }));
await Deno.writeTextFile(`${directory}/select.sql`, "SELECT 1;\n");
await prepareDatabase();
const [port, adminPort] = [await freePort(), await freePort()];
const processId = await startPgvpd();
await fillTenants();
console.log(`${Deno.build.target}, load ${Deno.loadavg()[0]!.toFixed(1)}, ${tenants} tenants\n`);
await compare();
await measureOne();

function numberOf(flag: string, usual: number): number {
  const at = Deno.args.indexOf(flag);
  return at < 0 ? usual : Number(Deno.args[at + 1]);
}

async function prepareDatabase(): Promise<void> {
  const { default: postgres } = await import("postgres");
  const login = { host: "127.0.0.1", port: server.port, user: "postgres", max: 1 };
  const admin = postgres({ ...login, database: "postgres" });
  await admin.unsafe(`CREATE DATABASE ${DATABASE}`);
  await admin.unsafe("CREATE ROLE trusty LOGIN");
  await admin.end();
}

async function startPgvpd(): Promise<number> {
  const main = new URL("../main.ts", import.meta.url).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--quiet", "-A", main, "--no-config", "--port", `${port}`],
      ...["--upstream-port", `${server.port}`, "--pool-mode", "transaction"],
      ...["--pool-auth", "cleartext", "--pool-password", PASSWORD, "--upstream-password", PASSWORD],
      ...["--admin-port", `${adminPort}`, "--log-level", "error"],
    ],
    ...{ stdin: "null", stdout: "null", stderr: "null" } as const,
  }).spawn();
  stack.defer(async () => {
    child.kill("SIGTERM");
    await child.status;
  });
  await waitForPort(port);
  return child.pid;
}

/** Every tenant leaves something behind that metrics are of. */
async function fillTenants(): Promise<void> {
  let next = 0;
  const some = async () => {
    while (next < tenants) {
      using client = await RawClient.connect(port);
      await beginLogin(client, { user: `trusty.tenant-${next++}`, database: DATABASE });
      await client.until("Z");
      await client.send(query("SELECT 1"));
      await client.until("Z");
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, some));
}

async function compare(): Promise<void> {
  const kinds = [
    { name: "nobody asks", everyMs: 0, rates: [] as number[], costs: [] as number[] },
    { name: "once in a second", everyMs: 1_000, rates: [], costs: [] },
  ];
  await run(0); // warm
  for (let turn = 0; turn < TURNS; turn++) {
    for (const kind of kinds) {
      const { rate, cost } = await run(kind.everyMs);
      kind.rates.push(rate);
      kind.costs.push(cost);
    }
  }
  console.log("| scraped | transactions/s | of nobody | CPU µs / transaction |");
  console.log("|---|--:|--:|--:|");
  const usual = median(kinds[0]!.rates);
  for (const { name, rates, costs } of kinds) {
    const rate = median(rates);
    const cells = [name, Math.round(rate), (rate / usual).toFixed(3), median(costs).toFixed(1)];
    console.log(`| ${cells.join(" | ")} |`);
  }
}

async function run(everyMs: number): Promise<{ rate: number; cost: number }> {
  const timer = everyMs === 0 ? undefined : setInterval(() => void scrape(), everyMs);
  const before = cpuMicroseconds(processId);
  const said = await runTool(pgbench, [
    ...["-n", "-f", `${directory}/select.sql`, "-c", `${CLIENTS}`, "-T", `${seconds}`],
    ...["-h", "127.0.0.1", "-p", `${port}`, "-U", "trusty.acme", DATABASE],
  ], { PGPASSWORD: PASSWORD });
  clearInterval(timer);
  const rate = Number(/tps = ([\d.]+)/.exec(said)![1]);
  return { rate, cost: (cpuMicroseconds(processId) - before) / (rate * seconds) };
}

async function scrape(): Promise<number> {
  return (await (await fetch(`http://127.0.0.1:${adminPort}/metrics`)).text()).length;
}

async function measureOne(): Promise<void> {
  const times: number[] = [];
  let size = 0;
  const before = cpuMicroseconds(processId);
  for (let each = 0; each < SCRAPES; each++) {
    const startedAt = performance.now();
    size = await scrape();
    times.push(performance.now() - startedAt);
  }
  const cpuMs = (cpuMicroseconds(processId) - before) / SCRAPES / 1_000;
  const share = (100 * cpuMs / PROMETHEUS_MS).toFixed(2);
  console.log(`\none scrape: ${median(times).toFixed(1)} ms, ${Math.round(size / 1_000)} kB`);
  console.log(`${cpuMs.toFixed(1)} ms of CPU: ${share} % of a core, asked every 15 s`);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
