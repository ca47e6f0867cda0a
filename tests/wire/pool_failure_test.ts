// Promise: whatever fails around a pool, clients are told the true cause, no slot is lost, and the
// pool heals by itself.

import assert from "node:assert/strict";
import { freePort } from "../../src/commands/embedded_postgres.ts";
import { Bench, DATABASE, eventually, failure, type Front } from "../support/wire_bench.ts";
import {
  atRest,
  beginLogin,
  connectPooled,
  type PooledClient,
  pooledFront,
  processOf,
  sumOf,
  terminate,
} from "../support/wire_pool.ts";
import {
  cstring,
  message,
  RawClient,
  type RawError,
  type StartupParameters,
} from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => {
  bench = await Bench.start();
  await bench.admin.run("CREATE TABLE pile (t text); GRANT ALL ON pile TO trusty, app_user");
});
Deno.test.afterAll(() => bench.stop());

const AT_ONCE_MS = 20_000;
const SLEEP = "SELECT pg_sleep(60)";
const TRUSTY = { user: "trusty.tenant_a", database: DATABASE };

/** What a login is refused with; it must be, at once. */
async function refusal(
  front: Front,
  parameters: StartupParameters = TRUSTY,
): Promise<RawError & { code?: string }> {
  const startedAt = performance.now();
  const client = connectPooled(front.port, "tenant_a", parameters);
  const error = await failure(client);
  assert.ok(performance.now() - startedAt < AT_ONCE_MS, `${performance.now() - startedAt} ms`);
  return error as RawError;
}

/** Begins to log in and is left waiting in the queue. */
async function queued(front: Front, tenant = "tenant_b"): Promise<RawClient> {
  const waiting = sumOf(front, "waiting");
  const client = await RawClient.connect(front.port);
  await beginLogin(client, { user: `trusty.${tenant}`, database: DATABASE });
  await eventually("it waits", () => sumOf(front, "waiting") === waiting + 1);
  return client;
}

async function works(front: Front): Promise<number> {
  let process = 0;
  for (const tenant of ["tenant_a", "tenant_b"]) {
    using next = await connectPooled(front.port, tenant);
    assert.deepEqual(await next.client.query("SELECT DISTINCT tenant_id FROM tenants"), [[tenant]]);
    process = await processOf(next.client);
    await terminate(next.client);
  }
  await atRest(front);
  return process;
}

function closedFor(front: Front, reason: string): number {
  return [...front.proxy.poolStats.values()].reduce(
    (sum, { closed }) => sum + (closed[reason] ?? 0),
    0,
  );
}

async function fallAsleep({ client }: PooledClient): Promise<number> {
  await client.send(message("Q", cstring(SLEEP)));
  return await bench.running("pg_sleep(60)");
}

/** The backends of a killed postmaster hold its memory for a moment. */
async function restarted(): Promise<void> {
  await eventually(
    "PostgreSQL starts again",
    () => bench.postgres.boot().then(() => true, () => false),
  );
  await eventually(
    "PostgreSQL takes connections",
    () => bench.reconnectAdmin().then(() => true, () => false),
  );
}

Deno.test("a pooled connection that was killed is replaced, and no client notices", async () => {
  await using front = await pooledFront(bench, { poolCheckAfter: 3_600_000 });
  const first = await works(front);
  await bench.admin.value("SELECT pg_terminate_backend($1)", [first]);
  assert.notEqual(await works(front), first);
  // All of them at once, and so that nobody has heard of it when the next client comes.
  for (let turn = 0; turn < 10; turn++) {
    const [process] = await Promise.all([works(front), killIdle()]);
    assert.ok(process > 0);
  }
});

function killIdle(): Promise<unknown> {
  return bench.admin.run(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE usename = 'trusty' AND state = 'idle' AND query LIKE 'DISCARD ALL%'`,
  );
}

Deno.test("a backend that dies in a query takes its session with it, not the slot", async () => {
  await using front = await pooledFront(bench);
  using victim = await connectPooled(front.port, "tenant_a");
  const process = await fallAsleep(victim);
  await bench.admin.value("SELECT pg_terminate_backend($1)", [process]);
  const error = await failure(victim.client.until("Z")) as RawError;
  assert.deepEqual([error.code, error.fields["S"]], ["57P01", "FATAL"]);
  assert.ok(await victim.client.ended());
  assert.notEqual(await works(front), process);

  using killed = await connectPooled(front.port, "tenant_a");
  Deno.kill(await fallAsleep(killed), "SIGKILL");
  assert.match((await failure(killed.client.until("Z"))).code ?? "", /^(08006|57P02)$/);
  assert.ok(await killed.client.ended());
  await eventually("it recovers", () => bench.reconnectAdmin().then(() => true, () => false));
  await works(front);
});

Deno.test("a wrong upstream_password, and none: the true cause, each time", async () => {
  for (const upstreamPassword of ["wrong", null]) {
    await using front = await pooledFront(bench, { upstreamPassword, poolCheckoutTimeout: 60_000 });
    for (let turn = 0; turn < 2; turn++) {
      const error = await refusal(front, { ...TRUSTY, user: "app_user.tenant_a" });
      assert.equal(error.code, "28P01");
      assert.match(error.fields["H"] ?? "", /upstream_password/);
    }
    await works(front); // other roles have a pool of their own
  }
});

Deno.test("a database that does not exist: 3D000, and the others go on", async () => {
  await using front = await pooledFront(bench, { poolCheckoutTimeout: 60_000 });
  for (let turn = 0; turn < 3; turn++) {
    const error = await refusal(front, { ...TRUSTY, database: "nowhere" });
    assert.equal(error.code, "3D000");
    assert.match(error.message, /database "nowhere" does not exist/);
  }
  await works(front);
});

Deno.test("nothing listens upstream: 08001 at once, for a crowd too", async () => {
  await using front = await pooledFront(bench, {
    upstreamPort: await freePort(),
    poolCheckoutTimeout: 60_000,
  });
  const errors = await Promise.all(Array.from({ length: 50 }, () => refusal(front)));
  for (const error of errors) assert.equal(error.code, "08001");
  await atRest(front);
});

Deno.test("pool_checkout_timeout: 53300 and what to do; nobody is given a dead man's turn", async () => {
  await using front = await pooledFront(bench, { poolCheckoutTimeout: 1_500 });
  using one = await connectPooled(front.port, "tenant_a");
  const error = await refusal(front);
  assert.equal(error.code, "53300");
  assert.match(error.message, /no server connection became free within 1\.5 s/);
  assert.match(error.fields["H"] ?? "", /pool_size or pool_checkout_timeout/);
  assert.equal(sumOf(front, "timeouts"), 1);
  const gone = await queued(front);
  gone.close();
  await eventually("it waits no more", () => sumOf(front, "waiting") === 0);
  await terminate(one.client);
  await works(front);
});

Deno.test("pool_max_waiting: one more is refused at once, and the queue is served", async () => {
  await using front = await pooledFront(bench, { poolMaxWaiting: 2 });
  using one = await connectPooled(front.port, "tenant_a");
  using second = await queued(front, "tenant_a");
  using third = await queued(front, "tenant_a");
  const error = await refusal(front);
  assert.equal(error.code, "53300");
  assert.match(`${error.fields["D"]} ${error.fields["H"]}`, /pool_max_waiting/);
  await terminate(one.client);
  await second.until("Z");
  await terminate(second);
  await third.until("Z");
});

/** In which order ten are served that wait behind tenant_a; every third is tenant_a's too. */
async function queueOrder(tenantFairShares: boolean): Promise<number[]> {
  await using front = await pooledFront(bench, { tenantFairShares });
  using holder = await connectPooled(front.port, "tenant_a");
  const process = await processOf(holder.client);
  const order: number[] = [];
  const waiters: RawClient[] = [];
  for (let index = 0; index < 10; index++) {
    waiters.push(await queued(front, index % 3 === 0 ? "tenant_a" : "tenant_b"));
  }
  const served = waiters.map(async (client, index) => {
    await client.until("Z");
    order.push(index);
    assert.equal(await processOf(client), process, "handed on directly");
    await terminate(client);
  });
  await terminate(holder.client);
  await Promise.all(served);
  return order;
}

Deno.test("without fair shares the queue is first in, first out, whatever the tenants are", async () => {
  assert.deepEqual(await queueOrder(false), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

Deno.test("with fair shares the order of arrival is that of each tenant's own", async () => {
  const order = await queueOrder(true);
  assert.deepEqual(order.filter((index) => index % 3 === 0), [0, 3, 6, 9]);
  assert.deepEqual(order.filter((index) => index % 3 !== 0), [1, 2, 4, 5, 7, 8]);
});

Deno.test("pool_max_total over two databases: idle ones make room, used ones do not", async () => {
  await using front = await pooledFront(bench, {
    poolSize: 2,
    poolMaxTotal: 2,
    poolCheckoutTimeout: 1_500,
  });
  const elsewhere = { database: "trusty" };
  const one = await connectPooled(front.port, "tenant_a");
  using two = await connectPooled(front.port, "tenant_b");
  const error = await refusal(front, elsewhere);
  assert.equal(error.code, "53300");
  assert.match(error.fields["H"] ?? "", /pool_max_total/);
  await terminate(one.client);
  using third = await connectPooled(front.port, "tenant_a", elsewhere);
  assert.deepEqual(await third.client.query("SELECT current_database()"), [["trusty"]]);
  assert.equal(closedFor(front, "evicted"), 1);
  assert.deepEqual(await two.client.query("SELECT 1"), [["1"]]);
});

Deno.test("pool_idle_timeout, pool_min_idle: what is too much is closed, the rest is kept", async () => {
  await using front = await pooledFront(bench, {
    poolSize: 4,
    poolMinIdle: 1,
    poolIdleTimeout: 150,
  });
  const clients = await Promise.all(
    Array.from({ length: 4 }, () => connectPooled(front.port, "tenant_a")),
  );
  for (const { client } of clients) await terminate(client);
  await eventually("three are closed", () => closedFor(front, "idle") === 3);
  assert.equal(sumOf(front, "idle"), 1);
  assert.equal(await bench.backends(), 1);
  // One that is kept ready is replaced when it dies.
  const opened = sumOf(front, "opened");
  await bench.admin.run(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'trusty'",
  );
  await eventually(
    "another is ready",
    () => sumOf(front, "opened") > opened && sumOf(front, "idle") === 1,
  );
  await works(front);
});

Deno.test("pool_max_lifetime: it ends when nobody uses it, and not before", async () => {
  await using front = await pooledFront(bench, { poolMaxLifetime: 200 });
  using one = await connectPooled(front.port, "tenant_a");
  const process = await processOf(one.client);
  await one.client.query("SELECT pg_sleep(0.3)");
  assert.equal(await processOf(one.client), process, "it was closed under its client");
  await terminate(one.client);
  await bench.noBackends(); // and with the last of its members the pool is gone
  assert.notEqual(await works(front), process);
  await bench.noBackends();
});

Deno.test("pool_check_after: a server that is stuck is not handed out", async () => {
  await using front = await pooledFront(bench, { poolCheckAfter: 0 });
  const process = await works(front);
  Deno.kill(process, "SIGSTOP");
  try {
    using next = await connectPooled(front.port, "tenant_a");
    assert.notEqual(await processOf(next.client), process);
    assert.equal(closedFor(front, "dead"), 1);
  } finally {
    Deno.kill(process, "SIGCONT");
  }
});

Deno.test("PostgreSQL down: who waits is told so, at once; up again: healed in seconds", async () => {
  await using front = await pooledFront(bench, { poolCheckoutTimeout: 60_000 });
  for (const signal of ["SIGINT", "SIGKILL"] as const) {
    using idle = await connectPooled(front.port, "tenant_a");
    using waiting = await queued(front);
    const haltedAt = performance.now();
    const halting = bench.postgres.halt(signal);
    const told = (await failure(waiting.until("Z"))).code;
    assert.ok(performance.now() - haltedAt < AT_ONCE_MS);
    assert.match(told ?? "", /^(08001|08006|57P0[13])$/);
    await failure(idle.client.until("Z"));
    await halting;
    for (let turn = 0; turn < 3; turn++) {
      const error = await refusal(front);
      assert.match(error.code, /^(08001|57P03)$/);
    }
    await restarted();
    await eventually("it heals", () => works(front).then(() => true, () => false), 30_000);
  }
});
