// Promise: as many clients as the setting says, each place given back, and a probe costs nothing.

import assert from "node:assert/strict";
import { Bench, DATABASE, eventually, failure } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";
import { RawClient } from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await Bench.start()));
Deno.test.afterAll(() => bench.stop());

const COUNT = "SELECT count(*)::int FROM tenants";
const AT_ONCE_MS = 20_000;

Deno.test("500 clients at the same time, each with its own tenant", async () => {
  await using front = await bench.front();
  const clients = await Promise.all(Array.from({ length: 500 }, async (_, n) => {
    const client = await RawClient.connect(front.port);
    await client.login({ user: `trusty.tenant_${n % 2 === 0 ? "a" : "b"}`, database: DATABASE });
    return client;
  }));
  try {
    assert.equal(front.proxy.connectionsActive, 500);
    assert.equal(await bench.backends(), 500);
    const seen = await Promise.all(
      clients.map((client) => client.query("SELECT DISTINCT left(name, 3) FROM tenants")),
    );
    assert.deepEqual(seen, clients.map((_, n) => [[n % 2 === 0 ? "Ali" : "Bob"]]));
  } finally {
    for (const client of clients) client.close();
  }
  await front.empty(AT_ONCE_MS);
  await bench.noBackends();
});

Deno.test("more clients than the server takes get the server's own 53300", async () => {
  await bench.admin.run("ALTER ROLE trusty CONNECTION LIMIT 2");
  try {
    await using front = await bench.front();
    await using _first = await PgClient.connect(front.trusty("tenant_a"));
    await using _second = await PgClient.connect(front.trusty("tenant_b"));
    const error = await failure(PgClient.connect(front.trusty("tenant_a")));
    assert.equal(error.code, "53300");
    assert.match(error.message, /for role "trusty"/);
  } finally {
    await bench.admin.run("ALTER ROLE trusty CONNECTION LIMIT -1");
  }
});

Deno.test("max_client_connections refuses with 53300 and gives the place back", async () => {
  await using front = await bench.front({ maxClientConnections: 2 });
  await using a = await PgClient.connect(front.trusty("tenant_a"));
  const b = await PgClient.connect(front.trusty("tenant_b"));
  for (let turn = 0; turn < 5; turn++) {
    const error = await failure(PgClient.connect(front.trusty("tenant_a")));
    assert.equal(error.code, "53300");
    assert.match(String((error as { hint?: string }).hint), /max_client_connections/);
  }
  assert.equal(await a.value(COUNT), 2);
  assert.equal(await b.value(COUNT), 2);
  assert.equal(await bench.backends(), 2, "a refused client reached the server");
  await b[Symbol.asyncDispose]();
  await eventually("a place is free", () => front.proxy.connectionsActive === 1);
  await using c = await PgClient.connect(front.trusty("tenant_b"));
  assert.equal(await c.value(COUNT), 2);
});

Deno.test("a place is given back by logins that fail, too", async () => {
  await using front = await bench.front({ maxClientConnections: 1 });
  for (let turn = 0; turn < 10; turn++) {
    const wrong = { ...front.app("tenant_a"), password: "wrong" };
    assert.equal((await failure(PgClient.connect(wrong))).code, "28P01");
    await front.empty(AT_ONCE_MS);
    const without = { ...front.app("tenant_a"), user: "app_user" };
    assert.equal((await failure(PgClient.connect(without))).code, "28000");
    await front.empty(AT_ONCE_MS);
  }
  await using client = await PgClient.connect(front.app("tenant_a"));
  assert.equal(await client.value(COUNT), 2);
});

Deno.test("a client that waits in a full house is told within seconds, and many are", async () => {
  await using front = await bench.front({ maxClientConnections: 1 });
  await using _only = await PgClient.connect(front.trusty("tenant_a"));
  const refusals = await Promise.all(
    Array.from({ length: 50 }, () => failure(PgClient.connect(front.trusty("tenant_a")))),
  );
  assert.deepEqual([...new Set(refusals.map(({ code }) => code))], ["53300"]);
});

Deno.test("300 connections, one after the other, leave nothing behind", async () => {
  await using front = await bench.front();
  for (let turn = 0; turn < 300; turn++) {
    using client = await RawClient.connect(front.port);
    await client.login({ user: "trusty.tenant_a", database: DATABASE });
    if (turn % 100 === 0) assert.deepEqual(await client.query("SELECT 1"), [["1"]]);
    if (turn % 2 === 0) await client.send(Uint8Array.of(0x58, 0, 0, 0, 4));
  }
  await front.empty(AT_ONCE_MS);
  await bench.noBackends();
  assert.equal(front.proxy.connectionsTotal, 300);
  assert.equal(front.entries("client connected").length, 300);
  assert.equal(front.entries("client disconnected").length, 300);
});

Deno.test("TCP probes free their place at once and are not worth a line above debug", async () => {
  await using front = await bench.front();
  for (let probe = 1; probe <= 50; probe++) {
    const socket = await Deno.connect({ hostname: "127.0.0.1", port: front.port });
    socket.close();
  }
  await eventually("all were accepted", () => front.proxy.connectionsTotal === 50);
  await front.empty(AT_ONCE_MS);
  assert.deepEqual(front.log.filter(({ level }) => level !== "DEBUG"), []);
  assert.equal(await bench.backends(), 0, "a probe reached the server");
});

Deno.test("what a client's log records say", async () => {
  await using front = await bench.front();
  {
    await using client = await PgClient.connect(front.app("tenant_a"));
    assert.equal(await client.value(COUNT), 2);
  }
  await front.empty();
  const [connected] = front.entries("client connected");
  assert.equal(connected?.["tenant"], "tenant_a");
  assert.equal(connected?.["role"], "app_user");
  assert.equal(connected?.["database"], DATABASE);
  const [disconnected] = front.entries("client disconnected");
  assert.equal(disconnected?.["ended_by"], "client");
  assert.equal(JSON.stringify(front.log).includes("testpass"), false);
});

Deno.test("stopping tells clients that are idle, and cuts the others off when time is up", async () => {
  await using front = await bench.front();
  await using idle = await PgClient.connect(front.trusty("tenant_a"));
  await using busy = await PgClient.connect(front.trusty("tenant_b"));
  assert.equal(await idle.value(COUNT), 2);
  const sleeping = failure(busy.run("SELECT pg_sleep(60)"));
  await bench.running("pg_sleep");
  const stopping = front.proxy.stop(500);
  await eventually("the idle one knows", () => idle.lost !== null);
  assert.equal((idle.lost as { code?: string } | null)?.code, "57P01");
  assert.equal((await sleeping).code, "57P01");
  await stopping;
  assert.equal(front.proxy.connectionsActive, 0);
  await failure(PgClient.connect(front.trusty("tenant_a")));
});

Deno.test("stopping lets a query that runs come to its end", async () => {
  await using front = await bench.front();
  await using client = await PgClient.connect(front.trusty("tenant_a"));
  const answer = client.value("SELECT pg_sleep(0.5) IS NOT NULL");
  await bench.running("pg_sleep");
  await front.proxy.stop(10_000);
  assert.equal(await answer, true);
});
