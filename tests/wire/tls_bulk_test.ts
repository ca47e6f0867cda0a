// Promise: what flows through TLS never piles up, and nothing stays of who breaks off.

import assert from "node:assert/strict";
import { makeCa, makeServer } from "../support/certificates.ts";
import { Bench, DATABASE, eventually, failure } from "../support/wire_bench.ts";
import { memoryUnknown, ProxyChild } from "../support/wire_proxy_child.ts";
import { cstring, message, RawClient } from "../support/wire_raw_client.ts";
import { CLEAR_UPSTREAM, offering, TlsFiles } from "../support/wire_tls.ts";

const ROOT = await makeCa("bulk root");
const SERVER = await makeServer(ROOT);
const RAW = { caCerts: [ROOT.pem] };
const TRUSTY = { user: "trusty.tenant_a", database: DATABASE };
const MB = 1_000_000;
const SIZE = 500 * MB;
const GROWTH_MIB_MAX = 60;
const ROW_SIZE = 10_000;

const REQUIRE = { ...CLEAR_UPSTREAM, mode: "require" } as const;

let bench: Bench;
let files: TlsFiles;
let certificate: readonly string[];
Deno.test.beforeAll(async () => {
  files = await TlsFiles.make();
  certificate = [
    await files.writeForServer("server.pem", SERVER.pem),
    await files.writeForServer("server.key", SERVER.keyPem),
  ];
  bench = await Bench.start({
    settings: [
      "ssl = on",
      `ssl_cert_file = '${certificate[0]}'`,
      `ssl_key_file = '${certificate[1]}'`,
    ],
    hba: ["hostnossl all trusty 127.0.0.1/32 reject"],
  });
});
Deno.test.afterAll(async () => {
  await bench.stop();
  await files[Symbol.asyncDispose]();
});

async function loggedIn(port: number): Promise<RawClient> {
  const client = await RawClient.overTls(port, RAW);
  await client.login(TRUSTY);
  return client;
}

/** A result of `size` bytes and 2 MB more, streamed by the server as it is read. */
function result(size: number): Uint8Array {
  const rows = size / ROW_SIZE + 200;
  return message("Q", cstring(`SELECT repeat('x', 9986), generate_series(1, ${rows})`));
}

async function swallow(client: RawClient, size: number): Promise<void> {
  const buffer = new Uint8Array(256 * 1024);
  for (let received = 0; received < size;) {
    const count = await client.connection.read(buffer);
    assert.notEqual(count, null, `ended after ${received} bytes`);
    received += count!;
  }
}

Deno.test({
  name: "a result and a COPY of 500 MB each pass through a proxy that does not grow",
  ignore: memoryUnknown(),
  async fn() {
    await using proxy = await ProxyChild.start(bench.postgres.port, {}, certificate);
    for (let turn = 0; turn < 3; turn++) (await loggedIn(proxy.port)).close();
    const down = await proxy.growthDuring(async () => {
      using client = await loggedIn(proxy.port);
      await client.send(result(SIZE));
      await swallow(client, SIZE);
    });
    assert.ok(down < GROWTH_MIB_MAX, `the proxy grew by ${down} MiB with the result`);
    using client = await loggedIn(proxy.port);
    const up = await proxy.growthDuring(() => copyIn(client, SIZE));
    assert.ok(up < GROWTH_MIB_MAX, `the proxy grew by ${up} MiB with the COPY`);
  },
});

/** Into a table whose trigger throws every row away: what is measured is the way there. */
async function copyIn(client: RawClient, size: number): Promise<void> {
  await client.query(`
    CREATE TEMPORARY TABLE nothing (t text);
    CREATE FUNCTION pg_temp.drop_row() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
    CREATE TRIGGER drop_row BEFORE INSERT ON nothing FOR EACH ROW
      EXECUTE FUNCTION pg_temp.drop_row()`);
  const row = message("d", new TextEncoder().encode(`${"y".repeat(ROW_SIZE - 1)}\n`));
  const rows = Array.from({ length: 100 }, () => row);
  await client.send(message("Q", cstring("COPY nothing FROM STDIN")));
  await client.until("G");
  for (let sent = 0; sent < size; sent += 100 * ROW_SIZE) await client.send(...rows);
  await client.send(message("c"));
  await client.until("Z");
}

Deno.test("a reader that stops until everything is full, and goes on, loses nothing", async () => {
  await using proxy = await bench.front({}, offering(SERVER, null, REQUIRE));
  using client = await loggedIn(proxy.port);
  const rows = 4_000;
  await client.send(
    message("Q", cstring(`SELECT n || repeat('z', 9990) FROM generate_series(1, ${rows}) n`)),
  );
  await eventually("the server waits for the client", async () =>
    await bench.admin.value(
      "SELECT count(*)::int FROM pg_stat_activity WHERE wait_event = 'ClientWrite'",
    ) === 1, 20_000);
  let seen = 0;
  for (;;) {
    const next = await client.next();
    assert.notEqual(next, null);
    if (next!.type === "Z") break;
    if (next!.type !== "D") continue;
    const text = new TextDecoder().decode(next!.body.subarray(6));
    assert.equal(Number.parseInt(text), ++seen);
    assert.equal(text.length, String(seen).length + 9_990);
  }
  assert.equal(seen, rows);
});

Deno.test("a client that breaks off in the middle leaves nothing behind", async () => {
  await using proxy = await bench.front({}, offering(SERVER, null, REQUIRE));
  for (let turn = 0; turn < 10; turn++) {
    const client = await loggedIn(proxy.port);
    await client.send(result(100 * MB));
    await swallow(client, turn * MB + 1);
    client.close(); // over unread bytes, which is a reset
  }
  await bench.noBackends();
  await proxy.empty();
  assert.equal(proxy.entries("client disconnected").length, 10);
});

Deno.test("a server that breaks off in the middle leaves nothing behind", async () => {
  await using proxy = await bench.front({}, offering(SERVER, null, REQUIRE));
  const clients = await Promise.all(Array.from({ length: 10 }, () => loggedIn(proxy.port)));
  const asked = clients.map((client) => failure(client.query("SELECT pg_sleep(60)")));
  await bench.running("pg_sleep");
  await bench.postgres.halt("SIGKILL");
  for (const error of await Promise.all(asked)) assert.match(error.message, /connection/);
  for (const client of clients) client.close();
  await proxy.empty();
  await bench.postgres.boot();
  await bench.reconnectAdmin();
  using again = await loggedIn(proxy.port);
  assert.deepEqual(await again.query("SELECT 1"), [["1"]]);
});
