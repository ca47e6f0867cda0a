// What does one tenant's storm do to the others: with fair shares, without, and behind PgBouncer?
//
//   deno task bench:noisy [--seconds 15] [--noisy 500] [--query-ms 200]
//
// Tenant A floods a pool of ten connections; tenants B to K do one small transaction every 50 ms
// each. What they wait is measured from the moment at which they wanted to begin. Compare within a
// run only.

import pg from "pg";
import { ROLE, type Route, Routes } from "./routes.ts";

const POOL_SIZE = 10;
const QUIET_TENANTS = "bcdefghijk".split("");
const QUIET_EVERY_MS = 50;
const SETTLE_MS = 4_000;
const PASSWORD = "bench";

interface Client {
  connect(): Promise<void>;
  query(text: string): Promise<unknown>;
  end(): Promise<void>;
}

/** What was seen in one phase. */
interface Sample {
  readonly name: string;
  readonly quietMs: Float64Array;
  readonly noisyPerSecond: number;
  readonly seconds: number;
}

const [seconds, noisy, queryMs] = [
  number("--seconds", 15),
  number("--noisy", 500),
  number(
    "--query-ms",
    200,
  ),
];
await using routes = await Routes.start();
const pool = [
  ...["--pool-mode", "transaction", "--pool-size", `${POOL_SIZE}`],
  ...["--query-wait-timeout", "2m"], // who waits behind the storm is measured, not refused
  ...["--pool-password", PASSWORD, "--upstream-password", PASSWORD, "--pool-auth", "cleartext"],
];
const fair = await routes.pgvpd(pool);
const unfair = await routes.pgvpd([...pool, "--tenant-fair-shares", "false"]);
const capped = await routes.pgvpd([...pool, "--tenant-pool-max", `${POOL_SIZE - 1}`]);
const bouncer = await routes.pgBouncer([
  ...["pool_mode = transaction", `default_pool_size = ${POOL_SIZE}`, "max_client_conn = 2000"],
]);
const samples = [
  await measure("alone", fair, 0),
  await measure("fair shares off", unfair, noisy),
  await measure("fair shares on", fair, noisy),
  await measure("fair shares on, tenant_pool_max = 9", capped, noisy),
  await measure("PgBouncer, one user, alone", bouncer, 0),
  await measure("PgBouncer, one user", bouncer, noisy),
];
printTable(samples);

/** Runs the quiet tenants beside so many noisy clients, and measures when all have settled. */
async function measure(name: string, route: Route, noisyClients: number): Promise<Sample> {
  console.log(`· ${name}`);
  let [isOver, isMeasured, served] = [false, false, 0];
  const flood = await clients(route, noisyClients, () => "a");
  const storm = flood.map(async (client) => {
    while (!isOver) {
      await client.query(`SELECT pg_sleep(${queryMs / 1000})`);
      if (isMeasured) served++;
    }
  });
  const latencies: number[] = [];
  const quiet = await clients(route, QUIET_TENANTS.length, (index) => QUIET_TENANTS[index]!);
  const steady = quiet.map(async (client, index) => {
    let due = performance.now() + index * QUIET_EVERY_MS / quiet.length;
    while (!isOver) {
      await sleep(Math.max(0, due - performance.now()));
      await client.query("SELECT abalance FROM pgbench_accounts WHERE aid = 1");
      if (isMeasured) latencies.push(performance.now() - due);
      // One that took longer than the pause does not count as several late ones.
      due = Math.max(due + QUIET_EVERY_MS, performance.now());
    }
  });
  await sleep(SETTLE_MS);
  isMeasured = true;
  await sleep(seconds * 1000);
  isMeasured = false;
  isOver = true;
  await Promise.all([...storm, ...steady]);
  await Promise.all([...flood, ...quiet].map((client) => client.end()));
  const quietMs = Float64Array.from(latencies).sort();
  return { name, quietMs, noisyPerSecond: served / seconds, seconds };
}

async function clients(
  route: Route,
  count: number,
  tenantOf: (index: number) => string,
): Promise<Client[]> {
  const all: Client[] = [];
  for (let index = 0; index < count; index++) {
    const user = route.name === "pgvpd" ? `${ROLE}.${tenantOf(index)}` : ROLE;
    const login = { host: "127.0.0.1", port: route.port, user, password: PASSWORD };
    const client = new pg.Client({ ...login, database: "postgres" }) as unknown as Client;
    await client.connect();
    all.push(client);
  }
  return all;
}

function printTable(samples: readonly Sample[]): void {
  console.log(`\n${Deno.build.target}, ${navigator.hardwareConcurrency} cores, ${seconds} s a row`);
  console.log(`\n| | B to K: p50 ms | p99 ms | most ms | a second | A: queries a second |`);
  console.log("|---|--:|--:|--:|--:|--:|");
  for (const { name, quietMs, noisyPerSecond, seconds } of samples) {
    const at = (share: number) => quietMs[Math.floor((quietMs.length - 1) * share)]!.toFixed(1);
    const rate = Math.round(quietMs.length / seconds);
    const cells = [name, at(0.5), at(0.99), at(1), rate, noisyPerSecond.toFixed(1)];
    console.log(`| ${cells.join(" | ")} |`);
  }
}

function number(flag: string, otherwise: number): number {
  const at = Deno.args.indexOf(flag);
  return at < 0 ? otherwise : Number(Deno.args[at + 1]);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
