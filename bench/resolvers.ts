// What do resolvers cost a login, from the cache and without it?
//
//   deno task bench:resolvers [--seconds 3]
//
// First logins per second, by pgbench -C: without resolvers, with three that are cached, with three
// that are not. The kinds are taken in turn, three times, and the medians compared. Then the time
// of one login over a line with a known delay to PostgreSQL: what a resolver adds, in round trips.

import { EmbeddedPostgres, freePort } from "../src/commands/embedded_postgres.ts";
import { configureLog } from "../src/log.ts";
import { Proxy, WITHOUT_TLS } from "../src/server.ts";
import { planOf } from "../tests/support/resolver_plan.ts";
import { beginLogin } from "../tests/support/wire_pool.ts";
import { proxyOptions } from "../tests/support/wire_options.ts";
import { RawClient } from "../tests/support/wire_raw_client.ts";
import { findTool, runTool, waitForPort } from "./support.ts";

const PASSWORD = "testpass"; // as tests/support has it
const DATABASE = "bench";
const CLIENTS = 4;
const TURNS = 3;
const DELAY_MS = 10;
const LOGINS = 15;

const at = Deno.args.indexOf("--seconds");
const seconds = at < 0 ? 3 : Number(Deno.args[at + 1]);
const pgbench = findTool("pgbench", "postgresql-client (or postgresql-contrib)");

/** Three resolvers: one after the other, or all at once. */
function three({ chained = true, cached = false } = {}): string {
  const inputs = chained ? ["app.current_tenant_id", "app.v1", "app.v2"] : Array(3).fill(
    "app.current_tenant_id",
  );
  return inputs.map((input, index) => `
[[resolver]]
name = "r${index + 1}"
query = "SELECT $1::text AS v FROM members WHERE name = 'acme'"
params = ["${input}"]
inject = { "app.v${index + 1}" = "v" }
cache_ttl = ${cached ? 3600 : 0}
`).join("");
}

await using stack = new AsyncDisposableStack();
const server = stack.use(
  await EmbeddedPostgres.start({ hba: ["host all all 127.0.0.1/32 trust"] }),
);
const directory = await Deno.makeTempDir({ prefix: "pgvpd-bench-" });
stack.defer(() => Deno.remove(directory, { recursive: true }));
await prepareDatabase();
console.log(`${Deno.build.target}, load ${Deno.loadavg()[0]!.toFixed(1)}, ${seconds} s a sample\n`);
await compareLogins();
await measureRoundTrips();

async function prepareDatabase(): Promise<void> {
  const { default: postgres } = await import("postgres");
  const login = { host: "127.0.0.1", port: server.port, user: "postgres", max: 1 };
  const admin = postgres({ ...login, database: "postgres" });
  await admin.unsafe(`CREATE DATABASE ${DATABASE}`);
  await admin.end();
  const sql = postgres({ ...login, database: DATABASE });
  await sql.unsafe(`CREATE ROLE trusty LOGIN; CREATE ROLE resolver LOGIN;
    CREATE TABLE members (name text PRIMARY KEY); INSERT INTO members VALUES ('acme');
    GRANT SELECT ON members TO trusty, resolver`);
  await sql.end();
  await Deno.writeTextFile(`${directory}/select.sql`, "SELECT 1;\n");
}

async function compareLogins(): Promise<void> {
  console.log("| pool_mode | resolvers | logins/s | of none |");
  console.log("|---|---|--:|--:|");
  for (const mode of ["none", "session", "transaction"]) {
    const kinds = [
      { name: "none", port: await startPgvpd(mode, null) },
      { name: "3, cached", port: await startPgvpd(mode, three({ cached: true })) },
      { name: "3 in a chain, not cached", port: await startPgvpd(mode, three()) },
    ];
    const rates = kinds.map((): number[] => []);
    for (const { port } of kinds) await loginsPerSecond(port); // warm
    for (let turn = 0; turn < TURNS; turn++) {
      for (const [index, { port }] of kinds.entries()) {
        rates[index]!.push(await loginsPerSecond(port));
      }
    }
    const none = median(rates[0]!);
    kinds.forEach(({ name }, index) => {
      const rate = median(rates[index]!);
      console.log(`| ${mode} | ${name} | ${Math.round(rate)} | ${(rate / none).toFixed(2)} |`);
    });
  }
}

async function startPgvpd(mode: string, toml: string | null): Promise<number> {
  const port = await freePort();
  const main = new URL("../main.ts", import.meta.url).pathname;
  const resolvers: string[] = [];
  if (toml !== null) {
    const path = `${directory}/${port}.toml`;
    await Deno.writeTextFile(path, toml);
    resolvers.push("--resolvers", path, "--resolver-user", "resolver");
  }
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--quiet", "-A", main, "--no-config", "--port", `${port}`, "--pool-mode", mode],
      ...["--upstream-port", `${server.port}`, "--log-level", "error"],
      ...["--pool-password", PASSWORD, "--upstream-password", PASSWORD, ...resolvers],
    ],
    ...{ stdin: "null", stdout: "null", stderr: "null" } as const,
  }).spawn();
  stack.defer(async () => {
    child.kill("SIGTERM");
    await child.status;
  });
  await waitForPort(port);
  return port;
}

async function loginsPerSecond(port: number): Promise<number> {
  const said = await runTool(pgbench, [
    ...["-n", "-C", "-f", `${directory}/select.sql`, "-c", `${CLIENTS}`, "-T", `${seconds}`],
    ...["-h", "127.0.0.1", "-p", `${port}`, "-U", "trusty.acme", DATABASE],
  ], { PGPASSWORD: PASSWORD });
  return Number(/tps = ([\d.]+)/.exec(said)![1]);
}

async function measureRoundTrips(): Promise<void> {
  configureLog({ level: "error", format: "text", colour: false, write: console.error });
  using line = delayedLine(server.port, DELAY_MS);
  console.log(`\nRound trip to PostgreSQL ${2 * DELAY_MS} ms, medians of ${LOGINS} logins\n`);
  console.log("| pool_mode | resolvers | run as | login ms | round trips more |");
  console.log("|---|---|---|--:|--:|");
  for (const mode of ["none", "session", "transaction"] as const) {
    let none = 0;
    const kinds: [name: string, toml: string | null, user: string | null][] = [
      ["none", null, null],
      ["1", three().split("\n\n")[0]!, "resolver"],
      ["3 in a chain", three(), "resolver"],
      ["3 at once", three({ chained: false }), "resolver"],
      ["3 in a chain, cached", three({ cached: true }), "resolver"],
      ["3 in a chain", three(), null],
    ];
    for (const [name, toml, user] of kinds) {
      const ms = await loginMs(mode, line.port, toml, user);
      if (toml === null) none = ms;
      const more = toml === null ? "" : ((ms - none) / (2 * DELAY_MS)).toFixed(1);
      const who = toml === null ? "" : user ?? "the login role";
      console.log(`| ${mode} | ${name} | ${who} | ${ms.toFixed(0)} | ${more} |`);
    }
  }
}

async function loginMs(
  mode: "none" | "session" | "transaction",
  upstreamPort: number,
  toml: string | null,
  user: string | null,
): Promise<number> {
  const options = proxyOptions(upstreamPort, {
    poolMode: mode,
    poolAuth: "cleartext",
    poolPassword: PASSWORD,
    upstreamPassword: PASSWORD,
    resolverUser: user,
  });
  const resolvers = toml === null ? null : planOf(toml);
  const proxy = await Proxy.start(options, { ...WITHOUT_TLS, resolvers });
  const samples: number[] = [];
  for (let login = 0; login < LOGINS; login++) {
    using client = await RawClient.connect(proxy.port);
    const parameters = { user: "trusty.acme", database: DATABASE };
    const startedAt = performance.now();
    if (mode === "none") await client.login(parameters);
    else {
      await beginLogin(client, parameters);
      await client.until("Z");
    }
    samples.push(performance.now() - startedAt);
    while (proxy.connectionsActive > 1) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await proxy.stop(0);
  return median(samples);
}

/** A TCP line on which every byte takes its time, in both directions. */
function delayedLine(target: number, delayMs: number) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const pump = async (from: Deno.TcpConn, to: Deno.TcpConn) => {
    let last: Promise<unknown> = Promise.resolve();
    try {
      for (;;) {
        const buffer = new Uint8Array(65_536);
        const count = await from.read(buffer);
        if (count === null) break;
        const ready = new Promise((resolve) => setTimeout(resolve, delayMs));
        last = Promise.all([last, ready]).then(() => to.write(buffer.subarray(0, count)));
        last.catch(() => {});
      }
      await last;
    } catch {
      // One side has gone, and takes the other along.
    }
    for (const side of [from, to]) {
      try {
        side.close();
      } catch {
        // It is closed already.
      }
    }
  };
  const accept = async () => {
    for await (const near of listener) {
      const far = await Deno.connect({ hostname: "127.0.0.1", port: target });
      for (const side of [near, far]) side.setNoDelay(true);
      void pump(near, far);
      void pump(far, near);
    }
  };
  accept().catch(() => {});
  return {
    port: listener.addr.port,
    [Symbol.dispose]: () => listener.close(),
  };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
