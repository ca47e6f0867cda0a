// Promise: behind the login a client has PostgreSQL itself, whatever it asks.

import assert from "node:assert/strict";
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import { Bench, DATABASE, eventually, failure } from "../support/wire_bench.ts";
import { connectPostgresJs, PgClient } from "../support/wire_clients.ts";
import {
  cstring,
  int16,
  int32,
  message,
  RawClient,
  type RawMessage,
} from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await Bench.start()));
Deno.test.afterAll(() => bench.stop());

const TRUSTY = { user: "trusty.tenant_a", database: DATABASE };
const COUNT = "SELECT count(*)::int FROM tenants";
const text = new TextDecoder();

Deno.test("prepared statements by name, with pg, used again and beside others", async () => {
  await using front = await bench.front();
  await using a = await PgClient.connect(front.app("tenant_a"));
  await using b = await PgClient.connect(front.app("tenant_b"));
  const select = "SELECT name FROM tenants WHERE name LIKE $1 ORDER BY name";
  for (let turn = 0; turn < 3; turn++) {
    assert.equal((await a.rows(select, ["A%"], "by_name")).length, 2);
    assert.equal((await b.rows(select, ["A%"], "by_name")).length, 0);
    assert.equal((await b.rows(select, ["B%"], "by_name")).length, 2);
  }
  const prepared = "SELECT count(*)::int FROM pg_prepared_statements WHERE name = 'by_name'";
  assert.equal(await a.value(prepared), 1);
  assert.equal(await a.value("SELECT count(*)::int FROM pg_prepared_statements"), 1);
});

Deno.test("prepared statements and parameters with postgres.js", async () => {
  await using front = await bench.front();
  await using sql = connectPostgresJs(front.app("tenant_a"));
  for (const pattern of ["Alice%", "Bob%", "%"]) {
    const rows = await sql`SELECT name FROM tenants WHERE name LIKE ${pattern}`;
    assert.equal(rows.length, pattern === "Bob%" ? 0 : 2);
  }
  const [row] = await sql`SELECT ${sql.json({ deep: ["ü", 1, null] })}::jsonb AS value`;
  assert.deepEqual(row?.["value"], { deep: ["ü", 1, null] });
});

Deno.test("SQL-level PREPARE, EXECUTE and DEALLOCATE", async () => {
  await using front = await bench.front();
  await using client = await PgClient.connect(front.app("tenant_a"));
  await client.run(`PREPARE mine (text) AS ${COUNT} WHERE name LIKE $1`);
  assert.equal(await client.value("EXECUTE mine('%LLC')"), 1);
  await client.run("DEALLOCATE ALL");
  assert.equal((await failure(client.run("EXECUTE mine('%')"))).code, "26000");
});

Deno.test("a transaction commits, another is rolled back, an error ends one", async () => {
  await using front = await bench.front();
  await using sql = connectPostgresJs(front.app("tenant_a"));
  const add = (name: string) =>
    sql`INSERT INTO tenants (tenant_id, name) VALUES ('tenant_a', ${name})`;
  const count = async () => (await sql`SELECT 1 FROM tenants WHERE name LIKE 'tx %'`).length;
  await sql.begin(async (sql) => {
    await sql`INSERT INTO tenants (tenant_id, name) VALUES ('tenant_a', 'tx 1')`;
    await sql`SAVEPOINT here`;
    await sql`INSERT INTO tenants (tenant_id, name) VALUES ('tenant_a', 'tx 2')`;
    await sql`ROLLBACK TO here`;
  });
  assert.equal(await count(), 1);
  const error = await failure(sql.begin(async (sql) => {
    await sql`INSERT INTO tenants (tenant_id, name) VALUES ('tenant_a', 'tx 3')`;
    await sql`SELECT 1 / 0`;
  }));
  assert.equal(error.code, "22012");
  assert.equal(await count(), 1);
  await add("tx 4");
  assert.equal(await count(), 2);
  await sql`DELETE FROM tenants WHERE name LIKE 'tx %'`;
});

Deno.test("an error in a transaction: 25P02 until ROLLBACK, and the context is the same", async () => {
  await using front = await bench.front();
  await using client = await PgClient.connect(front.app("tenant_a"));
  await client.run("BEGIN");
  assert.equal((await failure(client.run("SELECT nothing"))).code, "42703");
  assert.equal((await failure(client.run("SELECT 1"))).code, "25P02");
  await client.run("ROLLBACK");
  assert.equal(await client.value(COUNT), 2);
});

Deno.test("COPY in and out, in text, with the tenant's rows only", async () => {
  await using front = await bench.front();
  await using sql = connectPostgresJs(front.app("tenant_a"));
  await sql`CREATE TEMPORARY TABLE arrivals (tenant_id text, name text)`;
  const into = await sql`COPY arrivals FROM STDIN`.writable();
  const lines = Array.from({ length: 1_000 }, (_, row) => `tenant_a\tcopied ${row}\n`);
  await pipeline(Readable.from(lines), into);
  await sql`INSERT INTO tenants (tenant_id, name) SELECT * FROM arrivals`;
  const out = await sql`COPY (SELECT name FROM tenants) TO STDOUT`.readable();
  let copied = "";
  for await (const chunk of out) copied += text.decode(chunk);
  assert.equal(copied.split("\n").filter((line) => line.startsWith("copied ")).length, 1_000);
  assert.equal(copied.includes("Alice LLC\n"), true);
  assert.equal(copied.includes("Bob"), false);
  await sql`DELETE FROM tenants WHERE name LIKE 'copied %'`;
});

Deno.test("COPY into a protected table is refused by the server, and the connection goes on", async () => {
  await using front = await bench.front();
  using client = await RawClient.connect(front.port);
  await client.login(TRUSTY);
  const copy = message("Q", cstring("COPY tenants (tenant_id, name) FROM STDIN"));
  // Row-level security has PostgreSQL refuse COPY FROM itself.
  await client.send(copy);
  assert.equal((await failure(client.until("G"))).code, "0A000");
  await client.until("Z");
  assert.deepEqual(await client.query(COUNT), [["2"]]);
});

Deno.test("COPY that the client breaks off, and one that the server does", async () => {
  await using front = await bench.front();
  using client = await RawClient.connect(front.port);
  await client.login(TRUSTY);
  await client.query("CREATE TEMPORARY TABLE numbers (n int)");
  const copy = message("Q", cstring("COPY numbers FROM STDIN"));
  const line = (data: string) => message("d", new TextEncoder().encode(`${data}\n`));
  await client.send(copy, line("1"), message("f", cstring("no more")));
  assert.equal((await failure(client.until("C"))).code, "57014");
  await client.until("Z");
  await client.send(copy, line("1"), line("not a number"), message("c"));
  assert.equal((await failure(client.until("C"))).code, "22P02");
  await client.until("Z");
  await client.send(copy, line("1"), line("2"), message("c"));
  await client.until("Z");
  assert.deepEqual(await client.query("SELECT sum(n) FROM numbers"), [["3"]]);
});

Deno.test("NOTIFY reaches a listener on another connection of the proxy", async () => {
  await using front = await bench.front();
  await using listener = await PgClient.connect(front.app("tenant_a"));
  await using speaker = await PgClient.connect(front.app("tenant_a"));
  await listener.run("LISTEN news");
  await speaker.run("BEGIN; NOTIFY news, 'never'; ROLLBACK");
  await speaker.run("NOTIFY news, 'first'");
  await speaker.value("SELECT pg_notify('news', $1)", ["zwölf"]);
  await eventually("both have come", () => listener.notifications.length === 2);
  assert.deepEqual(listener.notifications, ["first", "zwölf"]);
});

Deno.test("LISTEN with postgres.js", async () => {
  await using front = await bench.front();
  await using sql = connectPostgresJs(front.app("tenant_a"));
  const heard: string[] = [];
  const { unlisten } = await sql.listen("news", (payload) => heard.push(payload));
  await sql.notify("news", "hello");
  await eventually("it has come", () => heard.length === 1);
  assert.deepEqual(heard, ["hello"]);
  await unlisten();
});

Deno.test("notices and changed parameters are passed on", async () => {
  await using front = await bench.front();
  using client = await RawClient.connect(front.port);
  await client.login(TRUSTY);
  await client.send(message(
    "Q",
    cstring(
      "DO $$ BEGIN RAISE NOTICE 'mind the gap'; END $$; SET application_name = 'renamed'",
    ),
  ));
  const replies = await client.until("Z");
  assert.match(body(replies, "N"), /mind the gap/);
  assert.equal(body(replies, "S"), "application_name\0renamed\0");
});

Deno.test("a thousand queries in one pipeline come back in order", async () => {
  await using front = await bench.front();
  await using sql = connectPostgresJs(front.app("tenant_a"));
  const answers = await Promise.all(
    Array.from({ length: 1_000 }, (_, n) => sql`SELECT ${n}::int AS n, count(*)::int FROM tenants`),
  );
  assert.deepEqual(answers.map(([row]) => row?.["n"]), Array.from({ length: 1_000 }, (_, n) => n));
  assert.ok(answers.every(([row]) => row?.["count"] === 2));
});

Deno.test("a pipeline of large answers that is not read while it is written", async () => {
  await using front = await bench.front();
  using client = await RawClient.connect(front.port);
  await client.login(TRUSTY);
  const queries = 200;
  const query = message(
    "Q",
    cstring(`SELECT repeat('x', 100000) /* ${"padding ".repeat(12_500)} */`),
  );
  const writing = client.send(...Array.from({ length: queries }, () => query));
  for (let answered = 0; answered < queries; answered++) {
    const row = (await client.until("Z")).find(({ type }) => type === "D");
    assert.equal(row?.body.length, 2 + 4 + 100_000);
  }
  await writing;
});

Deno.test("a parameter of 20 MB goes up and comes down", async () => {
  await using front = await bench.front();
  await using client = await PgClient.connect(front.app("tenant_a"));
  const large = "äbc".repeat(5_000_000);
  const value = await client.value("SELECT $1::text", [large]);
  assert.ok(value === large, "it came back changed");
});

Deno.test("several statements in one string, with an error in the middle", async () => {
  await using front = await bench.front();
  using client = await RawClient.connect(front.port);
  await client.login(TRUSTY);
  assert.deepEqual(await client.query(`${COUNT}; SELECT 'two'; ; SELECT 3`), [
    ["2"],
    ["two"],
    ["3"],
  ]);
  assert.equal((await failure(client.query("SELECT 1; SELECT 1/0; SELECT 3"))).code, "22012");
  assert.deepEqual(await client.query(""), []);
});

Deno.test("a cursor, rows at a time", async () => {
  await using front = await bench.front();
  await using sql = connectPostgresJs(front.app("tenant_a"));
  const sizes: number[] = [];
  await sql`SELECT n FROM generate_series(1, 250) AS n`.cursor(100, (rows) => {
    sizes.push(rows.length);
  });
  assert.deepEqual(sizes, [100, 100, 50]);
  await using client = await PgClient.connect(front.app("tenant_a"));
  await client.run("BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT name FROM tenants; COMMIT");
  assert.equal((await client.rows("FETCH 1 FROM c")).length, 1);
  assert.equal((await client.rows("FETCH ALL FROM c")).length, 1);
});

Deno.test("a portal is suspended and goes on; Flush and Sync mean what they mean", async () => {
  await using front = await bench.front();
  using client = await RawClient.connect(front.port);
  await client.login(TRUSTY);
  await client.send(
    message("P", cstring("s"), cstring("SELECT generate_series(1, 5)"), int16(0)),
    message("B", cstring("p"), cstring("s"), int16(0), int16(0), int16(0)),
    message("E", cstring("p"), int32(2)),
    message("H"),
  );
  assert.equal(types(await client.until("s")), "12DDs");
  await client.send(message("E", cstring("p"), int32(2)), message("H"));
  assert.equal(types(await client.until("s")), "DDs");
  await client.send(message("E", cstring("p"), int32(0)), message("S"));
  assert.equal(types(await client.until("Z")), "DCZ");
});

Deno.test("an error in a pipeline skips to the Sync, and the next one works", async () => {
  await using front = await bench.front();
  using client = await RawClient.connect(front.port);
  await client.login(TRUSTY);
  const query = (sql: string) => [
    message("P", cstring(""), cstring(sql), int16(0)),
    message("B", cstring(""), cstring(""), int16(0), int16(0), int16(0)),
    message("E", cstring(""), int32(0)),
  ];
  const sync = message("S");
  await client.send(...query("SELECT 1/0"), ...query("SELECT 2"), sync, ...query(COUNT), sync);
  assert.equal((await failure(client.until("Z"))).code, "22012");
  assert.equal(types(await client.until("Z")), "Z");
  const replies = await client.until("Z");
  assert.equal(types(replies), "12DCZ");
  assert.match(body(replies, "D"), /2$/);
});

Deno.test("a function call message works, and large objects with it", async () => {
  await using front = await bench.front();
  using client = await RawClient.connect(front.port);
  await client.login(TRUSTY);
  const [row] = await client.query("SELECT 'pg_catalog.abs(int4)'::regprocedure::oid");
  await client.send(message(
    "F",
    ...[int32(Number(row![0])), int16(1), int16(1), int16(1), int32(4), int32(-7), int16(1)],
  ));
  const replies = await client.until("Z");
  assert.equal(types(replies), "VZ");
  assert.deepEqual([...replies[0]!.body], [0, 0, 0, 4, 0, 0, 0, 7]);
});

function types(messages: readonly RawMessage[]): string {
  return messages.map(({ type }) => type).join("");
}

function body(messages: readonly RawMessage[], type: string): string {
  return text.decode(messages.find((message) => message.type === type)?.body);
}
