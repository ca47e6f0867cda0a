// Promise: what changes under the clients of a pool, settings or its end, loses nothing: who may
// go on does, who must go is told why, and half of what a client has begun is never kept.

import assert from "node:assert/strict";
import { Bench, DATABASE, eventually, failure, type Front } from "../support/wire_bench.ts";
import { proxyOptions } from "../support/wire_options.ts";
import { WITHOUT_TLS } from "../../src/server.ts";
import {
  atRest,
  beginLogin,
  connectPooled,
  POOLED,
  pooledFront,
  processOf,
  sumOf,
  terminate,
} from "../support/wire_pool.ts";
import { cstring, int16, int32, message, RawClient } from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => {
  bench = await Bench.start();
  await bench.admin.run("CREATE TABLE pile (t text); GRANT ALL ON pile TO trusty");
});
Deno.test.afterAll(() => bench.stop());

async function queued(front: Front): Promise<RawClient> {
  const waiting = sumOf(front, "waiting");
  const client = await RawClient.connect(front.port);
  await beginLogin(client, { user: "trusty.tenant_b", database: DATABASE });
  await eventually("it waits", () => sumOf(front, "waiting") === waiting + 1);
  return client;
}

function extended(sql: string): Uint8Array[] {
  return [
    message("P", cstring(""), cstring(sql), int16(0)),
    message("B", cstring(""), cstring(""), int16(0), int16(0), int16(0)),
    message("E", cstring(""), int32(0)),
  ];
}

async function inPile(): Promise<unknown> {
  return await bench.admin.value("SELECT count(*)::int FROM pile");
}

Deno.test("what has no Sync is not kept, however its client leaves", async () => {
  await using front = await pooledFront(bench);
  const insert = extended("INSERT INTO pile VALUES ('half')");
  for (const ending of ["Terminate", "FIN", "reset"]) {
    using one = await connectPooled(front.port, "tenant_a");
    const { client } = one;
    const process = await processOf(client);
    await client.send(...insert, ...insert, message("H"));
    await client.until("C");
    await client.until("C");
    if (ending === "Terminate") await client.send(message("X"));
    if (ending === "FIN") await client.connection.closeWrite();
    if (ending === "reset") await client.send(message("Q", cstring("SELECT 1")));
    client.close();
    using next = await connectPooled(front.port, "tenant_b");
    assert.equal(await inPile(), 0, ending);
    if (ending !== "reset") assert.equal(await processOf(next.client), process, ending);
  }
  // And what has one is.
  using one = await connectPooled(front.port, "tenant_a");
  await one.client.send(...insert, message("S"), message("X"));
  await one.client.ended();
  one.client.close();
  await atRest(front);
  assert.equal(await inPile(), 1);
  await bench.admin.run("TRUNCATE pile");
});

Deno.test("a transaction and a COPY that were not ended are undone, and the backend goes on", async () => {
  await using front = await pooledFront(bench);
  const leavings: [string, Uint8Array[]][] = [
    ["a transaction", [message("Q", cstring("BEGIN; INSERT INTO pile VALUES ('half')"))]],
    ["a failed one", [message("Q", cstring("BEGIN; INSERT INTO pile VALUES (1 / 0)"))]],
    ["a COPY", [message("Q", cstring("COPY pile FROM STDIN")), copyData("half\n")]],
    ["an extended COPY", [...extended("COPY pile FROM STDIN"), message("H"), copyData("half\n")]],
    ["one with Sync", [...extended("COPY pile FROM STDIN"), message("S"), copyData("half\n")]],
  ];
  for (const [what, messages] of leavings) {
    for (const ending of ["Terminate", "FIN", "close"]) {
      const one = await connectPooled(front.port, "tenant_a");
      const { client } = one;
      await client.send(...messages);
      if (ending === "Terminate") await client.send(message("X"));
      if (ending === "FIN") await client.connection.closeWrite();
      else client.close();
      using next = await connectPooled(front.port, "tenant_b");
      assert.deepEqual(await next.client.query("SELECT count(*) FROM pile"), [["0"]], what);
      await terminate(next.client);
      client.close();
    }
  }
  await atRest(front);
});

function copyData(text: string): Uint8Array {
  return message("d", new TextEncoder().encode(text));
}

Deno.test("RESET in a transaction that fails in the same breath does not stop the proxy", async () => {
  await using front = await pooledFront(bench, { poolSize: 2 });
  using one = await connectPooled(front.port, "tenant_a");
  using other = await connectPooled(front.port, "tenant_b");
  await one.client.query("BEGIN");
  await one.client.send(...extended("RESET ALL"), ...extended("SELECT 1 / 0"), message("S"));
  assert.equal((await failure(one.client.until("Z"))).code, "22012");
  await one.client.until("Z");
  assert.deepEqual(await other.client.query("SELECT 1"), [["1"]]);
  await one.client.query("ROLLBACK");
  assert.deepEqual(await one.client.query("SELECT DISTINCT tenant_id FROM tenants"), [[
    "tenant_a",
  ]]);
});

Deno.test("reload: pool_size grows and shrinks under its clients", async () => {
  await using front = await pooledFront(bench);
  const reload = (poolSize: number) =>
    front.proxy.reload(proxyOptions(bench.postgres.port, { ...POOLED, poolSize }), WITHOUT_TLS);
  using one = await connectPooled(front.port, "tenant_a");
  using waiting = await queued(front);
  reload(3);
  await waiting.until("Z");
  using three = await connectPooled(front.port, "tenant_a");
  reload(1);
  for (const client of [one.client, waiting, three.client]) {
    assert.deepEqual(await client.query("SELECT 1"), [["1"]]);
  }
  using late = await queued(front);
  await terminate(three.client);
  await terminate(one.client);
  await eventually("two are closed", () => sumOf(front, "active") === 1);
  assert.equal(sumOf(front, "waiting"), 1, "the pool is still too large");
  await terminate(waiting);
  await late.until("Z");
  assert.equal(await bench.backends(), 1);
});

Deno.test("shutdown: who waits and who is idle is told, who works may finish", async () => {
  const front = await pooledFront(bench, { poolSize: 3 });
  using idle = await connectPooled(front.port, "tenant_a");
  using busy = await connectPooled(front.port, "tenant_a");
  using parting = await connectPooled(front.port, "tenant_a");
  using waiting = await queued(front);
  await busy.client.send(message("Q", cstring("SELECT 'done', pg_sleep(0.4)")));
  const farewell = "WITH s AS (SELECT pg_sleep(0.4)) INSERT INTO pile SELECT 'kept' FROM s";
  await parting.client.send(message("Q", cstring(farewell)), message("X"));
  await bench.running("SELECT 'kept'");
  const stopping = front.proxy.stop(10_000);
  for (const client of [idle.client, waiting]) {
    assert.equal((await failure(client.until("Z"))).code, "57P01");
    assert.ok(await client.ended());
  }
  const replies = await busy.client.until("Z");
  assert.match(new TextDecoder().decode(replies.find(({ type }) => type === "D")?.body), /done/);
  assert.equal((await failure(busy.client.until("Z"))).code, "57P01");
  await stopping;
  assert.equal(await inPile(), 1, "what was asked for before Terminate was not done");
  await bench.noBackends();
  await bench.admin.run("TRUNCATE pile");
});

Deno.test("shutdown does not wait longer than it was told to", async () => {
  const front = await pooledFront(bench, { poolSize: 2 });
  using busy = await connectPooled(front.port, "tenant_a");
  using parting = await connectPooled(front.port, "tenant_a");
  const sleep = message("Q", cstring("SELECT pg_sleep(60)"));
  await busy.client.send(sleep);
  await parting.client.send(sleep, message("X"));
  parting.client.close();
  await eventually("both sleep", async () =>
    Number(
      await bench.admin.value(
        "SELECT count(*)::int FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'",
      ),
    ) === 2);
  const startedAt = performance.now();
  await front.proxy.stop(200);
  assert.ok(performance.now() - startedAt < 30_000, `${performance.now() - startedAt} ms`);
  assert.equal(front.proxy.connectionsActive, 0);
  assert.equal(sumOf(front, "active") + sumOf(front, "idle"), 0);
  await bench.admin.run(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)'",
  );
  await bench.noBackends();
});
