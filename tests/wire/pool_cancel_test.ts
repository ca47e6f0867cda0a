// Promise: in a pool a cancel request reaches the query of the session whose key it shows, never
// the query of the session that has the backend next.

import assert from "node:assert/strict";
import { Bench, DATABASE, eventually, failure, type Front } from "../support/wire_bench.ts";
import { psqlCommand, psqlMissing } from "../support/wire_clients.ts";
import { firstSeed, Random } from "../support/random.ts";
import {
  atRest,
  connectPooled,
  pooled,
  type PooledClient,
  pooledFront,
  processOf,
  sumOf,
  terminate,
} from "../support/wire_pool.ts";
import {
  type CancelKey,
  cancelKey,
  cancelRequest,
  concat,
  cstring,
  int16,
  int32,
  message,
  PROTOCOL_3_0,
  PROTOCOL_3_2,
  RawClient,
} from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await Bench.start()));
Deno.test.afterAll(() => bench.stop());

const SLEEP = "SELECT pg_sleep(60)";
const AT_ONCE_MS = 20_000;
/** What `badCancels` allows in a minute. */
const BAD_CANCELS = 60;

/** Sends a cancel request and waits, as libpq does, until the connection is closed. */
async function cancel(front: Front, key: CancelKey): Promise<void> {
  using client = await RawClient.connect(front.port);
  await client.send(cancelRequest(key));
  assert.ok(await client.ended(), "something was said to a cancel request");
}

/** @returns the process that sleeps. */
async function fallAsleep({ client }: PooledClient): Promise<number> {
  await client.send(message("Q", cstring(SLEEP)));
  return await bench.running("pg_sleep(60)");
}

async function wasCancelled({ client }: PooledClient): Promise<void> {
  assert.equal((await failure(client.until("Z"))).code, "57014");
  await client.until("Z");
  assert.deepEqual(await client.query("SELECT count(*) FROM tenants"), [["2"]]);
}

for (const [version, size] of [[PROTOCOL_3_0, 4], [PROTOCOL_3_2, 32]] as const) {
  Deno.test(`own keys of ${size} bytes, which cancel and nothing else does`, async () => {
    await using front = await pooledFront(bench, { poolSize: 2 });
    using one = await connectPooled(front.port, "tenant_a", {}, version);
    using other = await connectPooled(front.port, "tenant_b", {}, version);
    const { processId, secret } = one.key;
    assert.equal(secret.length, size);
    assert.notDeepEqual(secret, other.key.secret);
    const backend = await fallAsleep(one);
    assert.notEqual(processId, backend, "the server's own key is shown");
    const flipped = secret.slice();
    flipped[size - 1]! ^= 1;
    await cancel(front, { processId, secret: flipped });
    await cancel(front, { processId: processId ^ 1, secret });
    await cancel(front, { processId: backend, secret });
    await cancel(front, { processId, secret: secret.slice(0, 3) });
    await cancel(front, { processId, secret: concat([secret, Uint8Array.of(0)]) });
    await cancel(front, other.key);
    assert.equal(await bench.running("pg_sleep(60)"), backend, "it was cancelled");
    await cancel(front, one.key);
    await wasCancelled(one);
    assert.equal(await processOf(one.client), backend);
  });
}

Deno.test("a session's key is worthless when the session is over", async () => {
  await using front = await pooledFront(bench);
  const first = await connectPooled(front.port, "tenant_a");
  const backend = await processOf(first.client);
  await terminate(first.client);
  using second = await connectPooled(front.port, "tenant_b");
  assert.equal(await fallAsleep(second), backend, "it is another backend");
  for (let turn = 0; turn < 5; turn++) await cancel(front, first.key);
  assert.equal(await bench.running("pg_sleep(60)"), backend, "the next owner was hit");
  await cancel(front, second.key);
  await wasCancelled(second);
});

Deno.test("COPY TO STDOUT, a waiting lock, and a query without Sync are cancelled", async () => {
  await using front = await pooledFront(bench);
  using one = await connectPooled(front.port, "tenant_a");
  const { client } = one;
  const copy = "COPY (SELECT repeat('x', 1000), generate_series(1, 100000000)) TO STDOUT";
  await client.send(message("Q", cstring(copy)));
  await client.until("d");
  const cancelling = cancel(front, one.key);
  await wasCancelled(one);
  await cancelling;

  await bench.admin.run("SELECT pg_advisory_lock(77)");
  await client.send(message("Q", cstring("SELECT pg_advisory_lock(77)")));
  await bench.running("pg_advisory_lock(77)");
  await cancel(front, one.key);
  await wasCancelled(one);
  await bench.admin.run("SELECT pg_advisory_unlock(77)");

  await client.send(...extended(SLEEP), message("H"));
  await bench.running("pg_sleep(60)");
  await cancel(front, one.key);
  assert.equal((await failure(client.until("Z"))).code, "57014");
  await client.send(message("S"));
  await client.until("Z");
  assert.deepEqual(await client.query("SELECT count(*) FROM tenants"), [["2"]]);
});

/** Parse, Bind and Execute. */
function extended(sql: string): Uint8Array[] {
  return [
    message("P", cstring(""), cstring(sql), int16(0)),
    message("B", cstring(""), cstring(""), int16(0), int16(0), int16(0)),
    message("E", cstring(""), int32(0)),
  ];
}

Deno.test("cancel requests that race with reconnects never hit the next owner", async () => {
  const seed = firstSeed("SEED");
  console.log(`seed ${seed}`);
  const random = new Random(seed);
  await using front = await pooledFront(bench);
  let cancelled = 0;
  let witness = 0;
  const cancels: Promise<void>[] = [];
  for (let round = 0; round < 250; round++) {
    const victim = await connectPooled(front.port, "tenant_a");
    const backend = await processOf(victim.client);
    await victim.client.send(message("Q", cstring("SELECT pg_sleep(0.004)")));
    for (let count = random.integer(1, 3); count > 0; count--) {
      cancels.push(cancel(front, victim.key).catch(() => {}));
    }
    for (let pause = random.integer(0, 3); pause > 0; pause--) await moment();
    if (random.chance(0.5)) await victim.client.send(message("X"));
    if (random.chance(0.3)) {
      cancelled += Number(await failure(victim.client.until("Z")).then(isCancelled, () => false));
    }
    victim.client.close();
    using next = await connectPooled(front.port, "tenant_b");
    for (let query = 0; query < 3; query++) {
      const marker = random.integer(0, 1e9);
      const rows = await next.client.query(
        `SELECT ${marker}, pg_backend_pid(), count(*) FROM tenants, pg_sleep(0.001)`,
      ).catch((error) => assert.fail(`seed ${seed}, round ${round}: ${error}`));
      assert.equal(rows[0]![0], String(marker), `seed ${seed}, round ${round}`);
      if (Number(rows[0]![1]) === backend) witness++;
    }
    await terminate(next.client);
  }
  await Promise.all(cancels);
  await atRest(front);
  assert.ok(witness > 100, `the backend was inherited ${witness} times`);
  assert.ok(cancelled > 0, "no cancel request ever came in time");
});

function isCancelled(error: { code?: string }): boolean {
  return error.code === "57014";
}

function moment(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}

Deno.test("many wrong keys: the address is not listened to for a while", async () => {
  for (const [count, isHeard] of [[BAD_CANCELS - 5, true], [BAD_CANCELS + 5, false]] as const) {
    await using front = await pooledFront(bench);
    using one = await connectPooled(front.port, "tenant_a");
    const backend = await fallAsleep(one);
    const wrong = { processId: one.key.processId, secret: Uint8Array.of(1, 2, 3, 4) };
    await Promise.all(Array.from({ length: count }, () => cancel(front, wrong)));
    await cancel(front, one.key);
    if (!isHeard) {
      assert.equal(await bench.running("pg_sleep(60)"), backend);
      await bench.admin.value("SELECT pg_cancel_backend($1)", [backend]);
    }
    await wasCancelled(one);
  }
});

Deno.test("a user that is passed through cancels with the server's own key", async () => {
  await using front = await pooledFront(bench, { superuserBypass: ["trusty"] });
  using client = await RawClient.connect(front.port);
  const replies = await client.login({ user: "trusty", database: DATABASE });
  const key = cancelKey(replies);
  assert.equal(await processOf(client), key.processId, "it is not the server's own");
  await client.send(message("Q", cstring(SLEEP)));
  await bench.running("pg_sleep(60)");
  await cancel(front, { ...key, secret: Uint8Array.of(9, 9, 9, 9) });
  await bench.running("pg_sleep(60)");
  await cancel(front, key);
  assert.equal((await failure(client.until("Z"))).code, "57014");
});

Deno.test("what a client leaves running is cancelled, and its backend used again", async () => {
  await using front = await pooledFront(bench, { poolCheckoutTimeout: 30_000 });
  for (const count of [1, 3]) {
    const gone = await connectPooled(front.port, "tenant_a");
    const backend = await processOf(gone.client);
    const queries = Array.from({ length: count }, () => message("Q", cstring(SLEEP)));
    // It leaves unread what it was told: the connection breaks, and is not just ended.
    await gone.client.send(message("Q", cstring("SELECT 1")), ...queries);
    await bench.running("pg_sleep(60)");
    const startedAt = performance.now();
    gone.client.close();
    using next = await connectPooled(front.port, "tenant_b");
    assert.equal(await processOf(next.client), backend, "it is another backend");
    assert.ok(performance.now() - startedAt < AT_ONCE_MS);
    assert.deepEqual(await next.client.query("SELECT DISTINCT tenant_id FROM tenants"), [
      ["tenant_b"],
    ]);
    await terminate(next.client);
  }
  assert.equal(sumOf(front, "opened"), 1);
});

Deno.test("a query that does not let itself be cancelled costs the backend, not the slot", async () => {
  await using front = await pooledFront(bench, { poolCheckoutTimeout: 20_000 });
  const stubborn = `DO $$ BEGIN FOR i IN 1..200 LOOP BEGIN PERFORM pg_sleep(0.1);
    EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$`;
  const gone = await connectPooled(front.port, "tenant_a");
  const backend = await processOf(gone.client);
  await gone.client.send(message("Q", cstring("SELECT 1")), message("Q", cstring(stubborn)));
  await bench.running("DO $$ BEGIN FOR");
  gone.client.close();
  using next = await connectPooled(front.port, "tenant_b");
  assert.notEqual(await processOf(next.client), backend);
  await bench.admin.value("SELECT pg_terminate_backend($1)", [backend]);
  await eventually(
    "it is closed for what it is",
    () => [...front.proxy.poolStats.values()].some(({ closed }) => closed["unsettled"] === 1),
  );
});

Deno.test({
  name: "Ctrl-C in psql cancels the query",
  ignore: psqlMissing(),
  async fn() {
    await using front = await pooledFront(bench, { poolAuth: "scram" });
    const child = psqlCommand(pooled(front, "tenant_a"), ["-c", SLEEP]).spawn();
    await bench.running("pg_sleep(60)");
    child.kill("SIGINT");
    const { stderr } = await child.output();
    assert.match(new TextDecoder().decode(stderr), /canceling statement due to user request/);
  },
});
