// Without pools a sealed session is served by other code than one that is not: what a client may
// rely on is the same.

import { strict as assert } from "node:assert";
import { SealedWorld } from "../support/sealed_world.ts";
import { COPY_DONE, copyData } from "../support/extended.ts";
import { DATABASE, eventually, type Front } from "../support/wire_bench.ts";
import {
  cancelKey,
  cancelRequest,
  cstring,
  message,
  RawClient,
  RawError,
  startup,
} from "../support/wire_raw_client.ts";
import { PgClient } from "../support/wire_clients.ts";

let world: SealedWorld;
let front: Front;
Deno.test.beforeAll(async () => {
  world = await SealedWorld.start();
  await world.bench.admin.run("CREATE TABLE bulk (line text); GRANT ALL ON bulk TO trusty");
});
Deno.test.beforeEach(async () => void (front = await world.front("none")));
Deno.test.afterEach(() => front[Symbol.asyncDispose]());
Deno.test.afterAll(() => world[Symbol.asyncDispose]());

async function connect() {
  const client = await RawClient.connect(front.port);
  const greeting = await client.login({ user: "trusty.acme", database: DATABASE });
  return { client, key: cancelKey(greeting), greeting };
}

/** The server has let go of the client's connection. */
async function noBackends(): Promise<void> {
  const sql = "SELECT count(*)::int FROM pg_stat_activity WHERE usename = 'trusty'";
  await eventually("no backend", async () => await world.bench.admin.value(sql) === 0);
}

const OWN = "SELECT string_agg(body, ',' ORDER BY id) FROM notes";

Deno.test("sealed passthrough: the greeting is the server's, once", async () => {
  const { client, greeting, key } = await connect();
  using _ends = client;
  const types = greeting.map(({ type }) => type).join("");
  assert.match(types, /^RS+KS*Z$/);
  assert.equal(Number((await client.query("SELECT pg_backend_pid()"))[0]![0]), key.processId);
  assert.deepEqual(await client.query(OWN), [["a1,a2"]]);
});

Deno.test("sealed passthrough: what is sent before the greeting has ended waits its turn", async () => {
  using client = await RawClient.connect(front.port);
  await client.send(
    startup({ user: "trusty.acme", database: DATABASE }),
    message("Q", cstring(OWN)),
  );
  await client.until("Z");
  const row = (await client.until("Z")).find(({ type }) => type === "D");
  assert.match(new TextDecoder().decode(row!.body), /a1,a2/);
});

Deno.test("sealed passthrough: a query is cancelled, and the session goes on", async () => {
  const { client, key } = await connect();
  using _ends = client;
  const sleeping = client.query("SELECT pg_sleep(60)").catch((error) => error);
  await world.bench.running("pg_sleep(60)");
  using other = await RawClient.connect(front.port);
  await other.send(cancelRequest(key));
  const error = await sleeping;
  assert(error instanceof RawError);
  assert.equal(error.code, "57014");
  assert.deepEqual(await client.query(OWN), [["a1,a2"]]);
});

Deno.test("sealed passthrough: what RESET does not mean stays as it is", async () => {
  await using client = await PgClient.connect({ ...front.app("acme"), database: DATABASE });
  await client.run("SET ROLE authenticated; SET work_mem = '5MB'");
  await client.run("RESET search_path");
  assert.equal(await client.value("SELECT current_user"), "authenticated");
  assert.equal(await client.value("SHOW work_mem"), "5MB");
  assert.equal(await client.value(OWN), "a1,a2");
  await client.run("RESET ALL");
  assert.equal(await client.value(OWN), "a1,a2");
  assert.equal(await client.value("SELECT current_setting('app.current_tenant_id')"), "acme");
  await client.run("DISCARD ALL");
  assert.equal(await client.value("SELECT current_user"), "app_user");
  assert.equal(await client.value(OWN), "a1,a2");
});

Deno.test("sealed passthrough: much passes both ways", async () => {
  const { client } = await connect();
  using _ends = client;
  await client.send(message("Q", cstring("COPY bulk FROM STDIN")));
  await client.until("G");
  const line = `${"x".repeat(999)}\n`;
  for (let part = 0; part < 40; part++) await client.send(copyData(line.repeat(100)));
  await client.send(COPY_DONE);
  await client.until("Z");
  const rows = await client.query("SELECT line FROM bulk");
  assert.equal(rows.length, 4_000);
  assert(rows.every(([each]) => each!.length === 999));
});

Deno.test("sealed passthrough: Terminate ends what it came behind, in order", async () => {
  const { client } = await connect();
  await client.send(
    message("Q", cstring("INSERT INTO bulk SELECT 'last will' FROM pg_sleep(0.2)")),
    message("X"),
  );
  await client.ended();
  client.close();
  await front.empty();
  await noBackends();
  const sql = "SELECT count(*)::int FROM bulk WHERE line = 'last will'";
  assert.equal(await world.bench.admin.value(sql), 1);
});

Deno.test("sealed passthrough: what nobody waits for any more is cancelled", async () => {
  const { client } = await connect();
  const sleeping = client.query("SELECT pg_sleep(120)").catch(() => {});
  await world.bench.running("pg_sleep(120)");
  client.close();
  await sleeping;
  await front.empty();
  await noBackends();
});

Deno.test("sealed passthrough: a server that ends the connection is heard", async () => {
  const { client, key } = await connect();
  using _ends = client;
  await world.bench.admin.value("SELECT pg_terminate_backend($1)", [key.processId]);
  const said = await client.next();
  assert.equal(said!.type, "E");
  assert.match(new TextDecoder().decode(said!.body), /57P01/);
  assert(await client.ended());
});

Deno.test("sealed passthrough: pgvpd's own end is told at the end of a transaction", async () => {
  await using client = await PgClient.connect({ ...front.app("acme"), database: DATABASE });
  await client.run("BEGIN");
  const stopping = front.proxy.stop(30_000);
  assert.equal(await client.value(OWN), "a1,a2");
  await client.run("COMMIT");
  await stopping;
  await eventually("the client has been told", () => client.lost !== null);
  assert.match(client.lost!.message, /pgvpd is shutting down/);
});
