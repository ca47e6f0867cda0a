// Promise: a pool, too, lets everything flow and keeps nothing of it: large values both ways,
// clients that do not read, and a long queue.

import assert from "node:assert/strict";
import { Bench, eventually } from "../support/wire_bench.ts";
import { beginLogin, connectPooled, POOLED, processOf, terminate } from "../support/wire_pool.ts";
import { memoryUnknown, ProxyChild } from "../support/wire_proxy_child.ts";
import { cstring, int16, int32, message, RawClient } from "../support/wire_raw_client.ts";

const MB = 1_000_000;
const GROWTH_MIB_MAX = 60;
const POOL_SIZE = 20;
const WAITING = 1_000;
/**
 * A waiting client's share of the process: its socket's buffers, a session, a place in the queue,
 * and garbage, at the peak: 46 to 65 were seen. A buffer of 64 KiB for each would be too much.
 */
const WAITING_KIB_MAX = 100;

let bench: Bench;
let proxy: ProxyChild;
const ignore = memoryUnknown();
Deno.test.beforeAll(async () => {
  if (ignore) return;
  bench = await Bench.start();
  await bench.admin.run("CREATE TABLE pile (t text); GRANT ALL ON pile TO trusty");
  proxy = await ProxyChild.start(bench.postgres.port, {
    ...POOLED,
    poolSize: POOL_SIZE,
    poolMaxWaiting: WAITING,
    poolCheckoutTimeout: 60_000,
    handshakeTimeout: 60_000,
  });
  for (let turn = 0; turn < 20; turn++) {
    using warm = await connectPooled(proxy.port, "tenant_a");
    await terminate(warm.client);
  }
});
Deno.test.afterAll(async () => {
  if (ignore) return;
  await proxy[Symbol.asyncDispose]();
  await bench.stop();
});

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore, fn });
}

async function bounded(work: () => Promise<void>): Promise<void> {
  const growth = await proxy.growthDuring(work);
  assert.ok(growth < GROWTH_MIB_MAX, `the proxy grew by ${growth} MiB`);
}

/** Reads `size` bytes and throws them away. */
async function swallow({ connection }: RawClient, size: number): Promise<void> {
  const buffer = new Uint8Array(256 * 1024);
  for (let received = 0; received < size;) {
    const count = await connection.read(buffer);
    assert.notEqual(count, null, `ended after ${received} bytes`);
    received += count!;
  }
}

function query(sql: string): Uint8Array {
  return message("Q", cstring(sql));
}

/** More than `size` bytes, streamed by the server as they are read. */
function result(size: number): Uint8Array {
  return query(`SELECT repeat('x', 9990), generate_series(1, ${size / 10_000 + 200})`);
}

test("a parameter of 120 MB, and the backend goes on to the next tenant", async () => {
  const size = 120 * MB;
  using one = await connectPooled(proxy.port, "tenant_a");
  const { client } = one;
  const process = await processOf(client);
  const row: Uint8Array[] = [];
  await bounded(async () => {
    await client.send(
      message("P", cstring(""), cstring("SELECT length($1::bytea)"), int16(1), int32(17)),
      Uint8Array.of("B".charCodeAt(0)),
      int32(4 + 2 + 4 + 2 + 4 + size + 2),
      ...[cstring(""), cstring(""), int16(1), int16(1), int16(1), int32(size)],
    );
    const chunk = new Uint8Array(MB);
    for (let sent = 0; sent < size; sent += MB) await client.send(chunk);
    await client.send(int16(0), message("E", cstring(""), int32(0)), message("S"));
    row.push(...(await client.until("Z")).filter(({ type }) => type === "D").map((d) => d.body));
  });
  assert.match(new TextDecoder().decode(row[0]), /120000000$/);
  await terminate(client);
  using next = await connectPooled(proxy.port, "tenant_b");
  assert.equal(await processOf(next.client), process);
  assert.deepEqual(await next.client.query("SELECT DISTINCT tenant_id FROM tenants"), [
    ["tenant_b"],
  ]);
});

test("a result of 200 MB, and COPY of 100 MB both ways", async () => {
  using one = await connectPooled(proxy.port, "tenant_a");
  using two = await connectPooled(proxy.port, "tenant_a");
  await bounded(async () => {
    await one.client.send(result(200 * MB));
    await swallow(one.client, 200 * MB);
  });
  const rows = Array.from(
    { length: 100 },
    () => message("d", new TextEncoder().encode(`${"y".repeat(9_999)}\n`)),
  );
  await two.client.query("CREATE TEMPORARY TABLE heap (t text)");
  await bounded(async () => {
    await two.client.send(query("COPY heap FROM STDIN"));
    await two.client.until("G");
    for (let sent = 0; sent < 100 * MB; sent += MB) await two.client.send(...rows);
    await two.client.send(message("c"));
    await two.client.until("Z");
    await two.client.send(query("COPY heap TO STDOUT"));
    await swallow(two.client, 100 * MB);
  });
});

test("a client that pipelines and reads late: neither direction waits for the other", async () => {
  using stuck = await connectPooled(proxy.port, "tenant_a");
  using other = await connectPooled(proxy.port, "tenant_b");
  const count = 60;
  const each = query(`SELECT repeat('x', ${MB}) -- ${" ".repeat(200_000)}`);
  await bounded(async () => {
    // Far more than the sockets hold, both ways: this write waits until somebody reads.
    const writing = stuck.client.send(...Array.from({ length: count }, () => each));
    for (let turn = 0; turn < 20; turn++) await other.client.query("SELECT pg_sleep(0.01)");
    await swallow(stuck.client, count * MB);
    await writing;
  });
});

test("slow readers, and such as never read, do not hold up anybody", async () => {
  const sleepy = await Promise.all(
    Array.from({ length: POOL_SIZE - 1 }, () => connectPooled(proxy.port, "tenant_a")),
  );
  await bounded(async () => {
    for (const { client } of sleepy) await client.send(result(100 * MB));
    await bench.running("generate_series");
    for (let turn = 0; turn < 30; turn++) {
      using witness = await connectPooled(proxy.port, "tenant_b");
      assert.deepEqual(await witness.client.query("SELECT count(*) FROM tenants"), [["2"]]);
      await terminate(witness.client);
    }
  });
  for (const { client } of sleepy) client.close();
  await eventually("nothing is left running", async () =>
    Number(
      await bench.admin.value(
        "SELECT count(*)::int FROM pg_stat_activity WHERE state <> 'idle' AND usename = 'trusty'",
      ),
    ) === 0);
});

test(`${WAITING} clients wait: they cost little, and each has its turn`, async () => {
  const holders = await Promise.all(
    Array.from({ length: POOL_SIZE }, () => connectPooled(proxy.port, "tenant_a")),
  );
  const waiting: RawClient[] = [];
  const growth = await proxy.growthDuring(async () => {
    while (waiting.length < WAITING) {
      waiting.push(
        ...await Promise.all(Array.from({ length: 50 }, async () => {
          const client = await RawClient.connect(proxy.port);
          await beginLogin(client, { user: "trusty.tenant_b", database: "pgvpd_test" });
          return client;
        })),
      );
    }
  });
  assert.ok(growth * 1024 / WAITING < WAITING_KIB_MAX, `${growth} MiB for ${WAITING} clients`);
  const processes = new Set<number>();
  const served = waiting.map(async (client) => {
    await client.until("Z");
    processes.add(await processOf(client));
    assert.deepEqual(await client.query("SELECT DISTINCT tenant_id FROM tenants"), [["tenant_b"]]);
    await client.send(message("X"));
    client.close();
  });
  for (const { client } of holders) await terminate(client);
  await Promise.all(served);
  assert.ok(processes.size <= POOL_SIZE, `${processes.size} backends served them`);
});
