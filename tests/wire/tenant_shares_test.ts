// Shares of a pool through a real PostgreSQL: a noisy tenant, maxima, and queues that are full.

import assert from "node:assert/strict";
import { APP_PASSWORD, Bench, eventually, failure, type Front } from "../support/wire_bench.ts";
import { WITHOUT_TLS } from "../../src/server.ts";
import { connectTenant, modeFront } from "../support/wire_modes.ts";
import { proxyOptions } from "../support/wire_options.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await Bench.start()));
Deno.test.afterAll(() => bench.stop());

const NOISY = 20;

function waiting(front: Front): number {
  return [...front.proxy.poolStats.values()].reduce((sum, { waiting }) => sum + waiting, 0);
}

/** How much of a noisy tenant's queue was served when another tenant was. */
async function servedBefore(tenantFairShares: boolean): Promise<number> {
  await using front = await modeFront(bench, "transaction", { poolSize: 1, tenantFairShares });
  await using quiet = await connectTenant(front, "tenant_b");
  const pid = await quiet.value("SELECT pg_backend_pid()");
  const noisy = await Promise.all(
    Array.from({ length: NOISY }, () => connectTenant(front, "tenant_a")),
  );
  assert.equal(await noisy[0]!.value("SELECT pg_backend_pid()"), pid, "they share one connection");
  let served = 0;
  const storm = noisy.map((client) =>
    client.rows("SELECT name, pg_sleep(0.03) FROM (SELECT name FROM tenants LIMIT 1) one")
      .then((rows) => {
        assert.match(String(rows[0]!["name"]), /^Alice/);
        served++;
      })
  );
  await eventually("the queue is long", () => waiting(front) >= NOISY - 2);
  const names = await quiet.rows("SELECT name FROM tenants ORDER BY name");
  const before = served;
  assert.deepEqual(names.map(({ name }) => name), ["Bob Inc", "Bob Ltd"]);
  await Promise.all(storm);
  await Promise.all(noisy.map((client) => client[Symbol.asyncDispose]()));
  return before;
}

Deno.test("a quiet tenant does not wait for the queue of a noisy one", async () => {
  const before = await servedBefore(true);
  assert(before <= 4, `${before} of the noisy tenant were served first`);
});

Deno.test("without fair shares it does", async () => {
  const before = await servedBefore(false);
  assert(before >= NOISY - 2, `only ${before} of the noisy tenant were served first`);
});

Deno.test("transaction: tenant_pool_max leaves the rest of the pool to others", async () => {
  await using front = await modeFront(bench, "transaction", { poolSize: 2, tenantPoolMax: 1 });
  await using first = await connectTenant(front, "tenant_a");
  await using second = await connectTenant(front, "tenant_a");
  await using other = await connectTenant(front, "tenant_b");
  await first.run("BEGIN");
  const held = await first.value("SELECT pg_backend_pid()");
  const waits = second.value("SELECT pg_backend_pid()");
  await eventually("the second waits", () => waiting(front) === 1);
  assert.equal(await other.value("SELECT count(*)::int FROM tenants"), 2);
  assert.equal(waiting(front), 1, "it still waits, though a connection is idle");
  await first.run("COMMIT");
  assert.equal(await waits, held);
});

Deno.test("transaction: tenant_queue_max refuses one too many of a tenant, and nobody else", async () => {
  await using front = await modeFront(bench, "transaction", { poolSize: 1, tenantQueueMax: 1 });
  await using holder = await connectTenant(front, "tenant_a");
  await using waiter = await connectTenant(front, "tenant_a");
  await using refused = await connectTenant(front, "tenant_a");
  await using other = await connectTenant(front, "tenant_b");
  await holder.run("BEGIN");
  const waits = waiter.value("SELECT 1");
  await eventually("one waits", () => waiting(front) === 1);
  const error = await failure(refused.value("SELECT 1"));
  assert.equal(error.code, "53300");
  assert.match(error.message, /tenant "tenant_a" wait for a server connection: the limit is 1$/);
  const also = other.value("SELECT 2");
  await eventually("two wait", () => waiting(front) === 2);
  await holder.run("COMMIT");
  assert.deepEqual(await Promise.all([waits, also]), [1, 2]);
});

Deno.test("transaction: a reload with a wider tenant_pool_max is for who waits already", async () => {
  await using front = await modeFront(bench, "transaction", { poolSize: 2, tenantPoolMax: 1 });
  await using first = await connectTenant(front, "tenant_a");
  await using second = await connectTenant(front, "tenant_a");
  await first.run("BEGIN");
  const waits = second.value("SELECT 1");
  await eventually("the second waits", () => waiting(front) === 1);
  const passwords = { poolPassword: APP_PASSWORD, upstreamPassword: APP_PASSWORD };
  const options = { ...passwords, poolMode: "transaction", poolSize: 2, tenantPoolMax: 2 } as const;
  front.proxy.reload(proxyOptions(bench.postgres.port, options), WITHOUT_TLS);
  assert.equal(await waits, 1);
  await first.run("COMMIT");
});

Deno.test("transaction: a noisy tenant that fills pool_max_waiting gives way to others", async () => {
  await using front = await modeFront(bench, "transaction", { poolSize: 1, poolMaxWaiting: 2 });
  await using other = await connectTenant(front, "tenant_b");
  const noisy = await Promise.all([1, 2, 3].map(() => connectTenant(front, "tenant_a")));
  await noisy[0]!.run("BEGIN");
  const waits = noisy[1]!.value("SELECT 1");
  await eventually("one waits", () => waiting(front) === 1);
  const last = failure(noisy[2]!.value("SELECT 2"));
  await eventually("the queue is full", () => waiting(front) === 2);
  const served = other.value("SELECT count(*)::int FROM tenants");
  const refused = await last;
  assert.deepEqual([refused.code, waiting(front)], ["53300", 2]);
  assert.match(refused.message, /too many clients wait/);
  await noisy[0]!.run("COMMIT");
  assert.deepEqual(await Promise.all([served, waits]), [2, 1]);
  await Promise.all(noisy.map((client) => client[Symbol.asyncDispose]()));
});

Deno.test("session: tenant_pool_max is how many sessions a tenant has, more wait", async () => {
  await using front = await modeFront(bench, "session", {
    poolSize: 3,
    tenantPoolMax: 1,
    poolCheckoutTimeout: 1_000,
  });
  await using first = await connectTenant(front, "tenant_a");
  const late = failure(connectTenant(front, "tenant_a"));
  await eventually("it waits", () => waiting(front) === 1);
  await using other = await connectTenant(front, "tenant_b");
  assert.equal(await other.value("SELECT count(*)::int FROM tenants"), 2);
  const error = await late;
  assert.equal(error.code, "53300");
  assert.match(error.message, /^tenant "tenant_a" used its 1 server connections for 1 s$/);
  assert.equal(await first.value("SELECT count(*)::int FROM tenants"), 2);
});
