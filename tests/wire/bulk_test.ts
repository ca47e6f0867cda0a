// Promise: what flows through the proxy never piles up in it. 200 MB and a slow reader take no more
// memory than a few rows do.

import assert from "node:assert/strict";
import { Bench, DATABASE } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";
import { memoryUnknown, ProxyChild } from "../support/wire_proxy_child.ts";
import { cstring, message, RawClient, startup } from "../support/wire_raw_client.ts";

let bench: Bench;
let proxy: ProxyChild;
const ignore = memoryUnknown();
Deno.test.beforeAll(async () => {
  if (ignore) return;
  bench = await Bench.start();
  proxy = await ProxyChild.start(bench.postgres.port);
  await warmUp();
});
Deno.test.afterAll(async () => {
  if (ignore) return;
  await proxy[Symbol.asyncDispose]();
  await bench.stop();
});

const MB = 1_000_000;
const SIZE = 200 * MB;
const GROWTH_MIB_MAX = 60;
const TRUSTY = { user: "trusty.tenant_a", database: DATABASE };

/** A result of `size` bytes and 2 MB more, streamed by the server as it is read. */
function result(size: number): Uint8Array {
  return message(
    "Q",
    cstring(`SELECT repeat('x', 9990), generate_series(1, ${size / 10_000 + 200})`),
  );
}

async function warmUp(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) {
    await using client = await PgClient.connect(proxy.trusty("tenant_a"));
    assert.equal(await client.value("SELECT count(*)::int FROM tenants"), 2);
  }
}

/** Reads `size` bytes and throws them away; `pauseMs` after every MB. */
async function swallow(connection: Deno.Conn, size: number, pauseMs = 0): Promise<void> {
  const buffer = new Uint8Array(256 * 1024);
  let pauseAt = MB;
  for (let received = 0; received < size;) {
    const count = await connection.read(buffer);
    assert.notEqual(count, null, `ended after ${received} bytes`);
    received += count!;
    if (pauseMs === 0 || received < pauseAt) continue;
    pauseAt += MB;
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

async function loggedIn(): Promise<RawClient> {
  const client = await RawClient.connect(proxy.port);
  await client.login(TRUSTY);
  return client;
}

Deno.test({
  name: "a result of 200 MB passes through a proxy that does not grow",
  ignore,
  async fn() {
    using client = await loggedIn();
    const growth = await proxy.growthDuring(async () => {
      await client.send(result(SIZE));
      await swallow(client.connection, SIZE);
    });
    assert.ok(growth < GROWTH_MIB_MAX, `the proxy grew by ${growth} MiB`);
  },
});

Deno.test({
  name: "a slow reader stops the server, not the proxy's memory",
  ignore,
  async fn() {
    using slow = await loggedIn();
    using other = await loggedIn();
    const growth = await proxy.growthDuring(async () => {
      await slow.send(result(SIZE));
      await swallow(slow.connection, 30 * MB, 30);
      assert.equal(await bench.running("generate_series") > 0, true, "the server is not held up");
      assert.deepEqual(await other.query("SELECT count(*) FROM tenants"), [["2"]]);
      await swallow(slow.connection, SIZE - 30 * MB);
    });
    assert.ok(growth < GROWTH_MIB_MAX, `the proxy grew by ${growth} MiB`);
  },
});

Deno.test({
  name: "twenty readers that never read hold little, and all is freed when they leave",
  ignore,
  async fn() {
    const clients = await Promise.all(Array.from({ length: 20 }, loggedIn));
    const growth = await proxy.growthDuring(async () => {
      for (const client of clients) await client.send(result(SIZE));
      await bench.running("generate_series");
      using witness = await loggedIn();
      for (let turn = 0; turn < 50; turn++) await witness.query("SELECT pg_sleep(0.01)");
    });
    for (const client of clients) client.close();
    await bench.noBackends();
    assert.ok(growth < GROWTH_MIB_MAX, `the proxy grew by ${growth} MiB`);
  },
});

Deno.test({
  name: "COPY of 200 MB into the server",
  ignore,
  async fn() {
    using client = await loggedIn();
    await client.query("CREATE TEMPORARY TABLE numbers (t text)");
    const row = message("d", new TextEncoder().encode(`${"y".repeat(9_999)}\n`));
    const rows = Array.from({ length: 100 }, () => row);
    const growth = await proxy.growthDuring(async () => {
      await client.send(message("Q", cstring("COPY numbers FROM STDIN")));
      await client.until("G");
      for (let sent = 0; sent < SIZE; sent += 100 * 10_000) await client.send(...rows);
      await client.send(message("c"));
      await client.until("Z");
    });
    assert.deepEqual(await client.query("SELECT count(*), sum(length(t)) FROM numbers"), [
      ["20000", String(20_000 * 9_999)],
    ]);
    assert.ok(growth < GROWTH_MIB_MAX, `the proxy grew by ${growth} MiB`);
  },
});

Deno.test({
  name: "both directions at once: a client that writes without reading does not stop the proxy",
  ignore,
  async fn() {
    using stuck = await loggedIn();
    using other = await loggedIn();
    const growth = await proxy.growthDuring(async () => {
      await stuck.send(result(SIZE));
      // More queries than the sockets hold: this write waits until somebody reads.
      const writing = stuck.send(...Array.from({ length: 50 }, () => padded(200_000)));
      for (let turn = 0; turn < 20; turn++) await other.query("SELECT pg_sleep(0.01)");
      await swallow(stuck.connection, SIZE);
      await writing;
    });
    assert.ok(growth < GROWTH_MIB_MAX, `the proxy grew by ${growth} MiB`);
  },
});

Deno.test({
  name: "start-up packets that never end take little",
  ignore,
  async fn() {
    const clients = await Promise.all(
      Array.from({ length: 200 }, () => RawClient.connect(proxy.port)),
    );
    const packet = startup({ ...TRUSTY, application_name: "x".repeat(9_500) });
    const growth = await proxy.growthDuring(async () => {
      await Promise.all(clients.map((client) => client.send(packet.subarray(0, -1))));
      using witness = await loggedIn();
      for (let turn = 0; turn < 10; turn++) await witness.query("SELECT pg_sleep(0.01)");
    });
    for (const client of clients) client.close();
    assert.ok(growth < GROWTH_MIB_MAX, `the proxy grew by ${growth} MiB`);
  },
});

function padded(size: number): Uint8Array {
  return message("Q", cstring(`SELECT 1 -- ${" ".repeat(size)}`));
}
