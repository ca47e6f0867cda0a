// Promise: a cancel request reaches the query that it means, and no other (W23).

import assert from "node:assert/strict";
import { Bench, DATABASE, eventually, failure, type Front } from "../support/wire_bench.ts";
import { connectPostgresJs, PgClient, psqlCommand, psqlMissing } from "../support/wire_clients.ts";
import {
  type CancelKey,
  cancelKey,
  cancelRequest,
  cstring,
  message,
  PROTOCOL_3_0,
  PROTOCOL_3_2,
  RawClient,
  SSL_REQUEST,
} from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await Bench.start()));
Deno.test.afterAll(() => bench.stop());

const TRUSTY = { user: "trusty.tenant_a", database: DATABASE };
const SLEEP = "SELECT pg_sleep(60)";
/** Nobody waits for the sleep to end. */
const AT_ONCE_MS = 20_000;

/** Sends a cancel request and waits, as libpq does, until the connection is closed. */
async function cancel(front: Front, key: CancelKey, before?: Uint8Array): Promise<void> {
  using client = await RawClient.connect(front.port);
  if (before !== undefined) {
    await client.send(before);
    assert.equal(await client.nextByte(), "N");
  }
  await client.send(cancelRequest(key));
  assert.ok(await client.ended(), "something was said to a cancel request");
}

async function asleep(front: Front, version = PROTOCOL_3_0): Promise<[RawClient, CancelKey]> {
  const client = await RawClient.connect(front.port);
  const key = cancelKey(await client.login(TRUSTY, version));
  await client.send(message("Q", cstring(SLEEP)));
  assert.equal(await bench.running("pg_sleep"), key.processId, "the key is not the server's own");
  return [client, key];
}

async function wasCancelled(client: RawClient): Promise<void> {
  const error = await failure(client.until("Z"));
  assert.equal(error.code, "57014");
  await client.until("Z");
  assert.deepEqual(await client.query("SELECT count(*) FROM tenants"), [["2"]]);
}

for (const version of [PROTOCOL_3_0, PROTOCOL_3_2]) {
  Deno.test(`a raw cancel request ends pg_sleep, protocol 3.${version & 0xffff}`, async () => {
    await using front = await bench.front();
    const startedAt = performance.now();
    const [client, key] = await asleep(front, version);
    using _ = client;
    await cancel(front, key);
    await wasCancelled(client);
    assert.ok(performance.now() - startedAt < AT_ONCE_MS);
    await eventually("it is logged", () => front.entries("cancel request passed on").length === 1);
  });
}

Deno.test("a cancel request may come behind an SSLRequest", async () => {
  await using front = await bench.front();
  const [client, key] = await asleep(front);
  using _ = client;
  await cancel(front, key, SSL_REQUEST);
  await wasCancelled(client);
});

Deno.test("a wrong key, a wrong process and a short key do nothing", async () => {
  await using front = await bench.front();
  for (const version of [PROTOCOL_3_0, PROTOCOL_3_2]) {
    const [client, { processId, secret }] = await asleep(front, version);
    using _ = client;
    const flipped = secret.slice();
    flipped[flipped.length - 1]! ^= 1;
    await cancel(front, { processId, secret: flipped });
    await cancel(front, { processId: processId + 1, secret });
    await cancel(front, { processId, secret: secret.slice(0, 3) });
    assert.equal(await bench.running("pg_sleep"), processId, "it was cancelled");
    await cancel(front, { processId, secret });
    await wasCancelled(client);
  }
});

Deno.test("a key without a secret, or with too long a one, is refused in words", async () => {
  await using front = await bench.front();
  for (const size of [0, 257]) {
    using client = await RawClient.connect(front.port);
    await client.send(cancelRequest({ processId: 1, secret: new Uint8Array(size) }));
    const reply = await client.next();
    assert.equal(reply?.type, "E", `${size} bytes`);
    assert.ok(await client.ended());
  }
});

Deno.test("one of two tenants' queries is cancelled, the other goes on", async () => {
  await using front = await bench.front();
  const [a, keyOfA] = await asleep(front);
  using _a = a;
  using b = await RawClient.connect(front.port);
  await b.login({ ...TRUSTY, user: "trusty.tenant_b" });
  await b.send(message("Q", cstring("SELECT pg_sleep(1.5), count(*) FROM tenants")));
  await bench.running("pg_sleep(1.5)");
  await cancel(front, keyOfA);
  await wasCancelled(a);
  const row = (await b.until("Z")).find(({ type }) => type === "D");
  assert.match(new TextDecoder().decode(row?.body), /2$/);
});

Deno.test("a cancel request that comes when nothing runs harms nothing", async () => {
  await using front = await bench.front();
  using client = await RawClient.connect(front.port);
  const key = cancelKey(await client.login(TRUSTY));
  await cancel(front, key);
  assert.deepEqual(await client.query("SELECT count(*) FROM tenants"), [["2"]]);
});

Deno.test("postgres.js cancels its query", async () => {
  await using front = await bench.front();
  await using sql = connectPostgresJs(front.app("tenant_a"));
  const startedAt = performance.now();
  const query = sql`SELECT pg_sleep(60)`.execute();
  await bench.running("pg_sleep");
  query.cancel();
  assert.equal((await failure(query)).code, "57014");
  assert.ok(performance.now() - startedAt < AT_ONCE_MS);
  assert.equal((await sql`SELECT 1 FROM tenants`).length, 2);
});

Deno.test("COPY TO STDOUT is cancelled in the middle", async () => {
  await using front = await bench.front();
  using client = await RawClient.connect(front.port);
  const key = cancelKey(await client.login(TRUSTY));
  const copy = "COPY (SELECT repeat('x', 1000), generate_series(1, 100000000)) TO STDOUT";
  await client.send(message("Q", cstring(copy)));
  await client.until("d");
  const cancelling = cancel(front, key);
  assert.equal((await failure(client.until("Z"))).code, "57014");
  await client.until("Z");
  await cancelling;
  assert.deepEqual(await client.query("SELECT count(*) FROM tenants"), [["2"]]);
});

Deno.test("a query can be cancelled when the house is full", async () => {
  await using front = await bench.front({ maxClientConnections: 1 });
  const [client, key] = await asleep(front);
  using _ = client;
  const refused = await failure(PgClient.connect(front.trusty("tenant_a")));
  assert.equal(refused.code, "53300", "it is not full");
  await cancel(front, key);
  await wasCancelled(client);
});

Deno.test("many cancel requests at once leave nothing behind", async () => {
  await using front = await bench.front();
  const [client, key] = await asleep(front);
  using _ = client;
  const wrong = { processId: key.processId, secret: Uint8Array.of(1, 2, 3, 4) };
  await Promise.all(Array.from({ length: 50 }, () => cancel(front, wrong)));
  await cancel(front, key);
  await wasCancelled(client);
  await eventually("one client is left", () => front.proxy.connectionsActive === 1);
  assert.equal(await bench.backends(), 1);
});

Deno.test("a cancel request whose sender leaves at once is passed on all the same", async () => {
  await using front = await bench.front();
  const [client, key] = await asleep(front);
  using _ = client;
  using hasty = await RawClient.connect(front.port);
  await hasty.send(cancelRequest(key));
  hasty.close();
  await wasCancelled(client);
});

Deno.test({
  name: "Ctrl-C in psql cancels the query",
  ignore: psqlMissing(),
  async fn() {
    await using front = await bench.front();
    const child = psqlCommand(front.app("tenant_a"), ["-c", SLEEP]).spawn();
    await bench.running("pg_sleep");
    child.kill("SIGINT");
    const { stderr } = await child.output();
    assert.match(new TextDecoder().decode(stderr), /canceling statement due to user request/);
    assert.equal(front.entries("cancel request passed on").length, 1);
  },
});
