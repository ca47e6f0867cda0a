// Promise: a client's prepared statements go with it from backend to backend, through pipelines and
// their failures, and no tenant ever sees another's.

import assert from "node:assert/strict";
import { bind, close, describe, execute, FLUSH, parse, query, SYNC } from "../support/extended.ts";
import { txClient, txFront } from "../support/tx_front.ts";
import { Bench, eventually } from "../support/wire_bench.ts";
import {
  errorFields,
  message,
  type RawClient,
  type RawMessage,
} from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => {
  bench = await Bench.start();
});
Deno.test.afterAll(() => bench.stop());

const PID = "SELECT pg_backend_pid()";
const OWN = "SELECT name, statement FROM pg_prepared_statements ORDER BY 1";

/** The types of the replies up to so many ReadyForQuery, and SQLSTATEs behind errors. */
async function replies(client: RawClient, readies = 1): Promise<string> {
  let text = "";
  while (readies > 0) {
    const reply = await next(client);
    text += reply.type === "E" ? `E${errorFields(reply.body)["C"]}` : reply.type;
    if (reply.type === "Z") readies--;
  }
  return text;
}

async function next(client: RawClient): Promise<RawMessage> {
  const reply = await client.next();
  assert.ok(reply !== null, "the connection ended");
  return reply;
}

async function say(client: RawClient, ...messages: Uint8Array[]): Promise<string> {
  await client.send(...messages);
  return await replies(client, messages.filter((each) => "SQ".includes(letterOf(each))).length);
}

function letterOf(bytes: Uint8Array): string {
  return String.fromCharCode(bytes[0]!);
}

/** The only value that a prepared statement returns. */
async function valueOf(client: RawClient, name: string, values: string[] = []): Promise<string> {
  await client.send(bind("", name, values), execute(), SYNC);
  const [, row] = await client.until("Z");
  return new TextDecoder().decode(row!.body.subarray(6));
}

/** Uses the backend as another tenant, so that it is cleaned; proves that it was the same one. */
async function scrubbedBy(rival: RawClient, pid: string): Promise<void> {
  assert.deepEqual(await rival.query(PID), [[pid]], "they share a backend");
  assert.deepEqual(await rival.query(OWN), [], "nothing of the other tenant is prepared");
}

Deno.test("prepared on one backend, used on the next, and again after it was cleaned", async () => {
  await using front = await txFront(bench, { poolSize: 2 });
  using client = await txClient(front, "tenant_a");
  using other = await txClient(front, "tenant_b");
  assert.equal(await say(client, parse("s", PID), SYNC), "1Z");
  const first = await valueOf(client, "s");
  await client.query("SELECT 1");
  // Whoever holds a transaction open keeps that backend from the client.
  const pids = new Set([first]);
  for (let turn = 0; turn < 10 && pids.size < 2; turn++) {
    await other.query("BEGIN");
    pids.add(await valueOf(client, "s"));
    await other.query("COMMIT");
    await other.query(PID);
  }
  assert.equal(pids.size, 2, "both backends have served the statement");
});

Deno.test("a statement survives the clean-up of its backend, and the rival never sees it", async () => {
  await using front = await txFront(bench);
  using client = await txClient(front, "tenant_a");
  using rival = await txClient(front, "tenant_b");
  const sql = "SELECT string_agg(name, ',' ORDER BY name) FROM tenants WHERE $1::int > 0";
  const [[pid]] = await client.query(PID) as [[string]];
  assert.equal(await say(client, parse("secret", sql), SYNC), "1Z");
  for (let turn = 0; turn < 3; turn++) {
    await scrubbedBy(rival, pid);
    assert.equal(await valueOf(client, "secret", ["1"]), "Alice Corp,Alice LLC");
    assert.equal(await say(client, describe("S", "secret"), SYNC), "tTZ");
    const own = await client.query(OWN);
    assert.deepEqual(own.map(([name, text]) => [/^pgvpd_\d+$/.test(name!), text]), [[true, sql]]);
  }
});

Deno.test("the unnamed statement too, but not behind a simple query", async () => {
  await using front = await txFront(bench);
  using client = await txClient(front, "tenant_a");
  using rival = await txClient(front, "tenant_b");
  assert.equal(await say(client, parse("", PID), SYNC), "1Z");
  const pid = await valueOf(client, "");
  await scrubbedBy(rival, pid);
  assert.equal(await say(rival, parse("", "SELECT 'theirs'"), SYNC), "1Z");
  assert.equal(await valueOf(client, ""), pid);
  assert.equal(await valueOf(rival, ""), "theirs");
  await client.query("SELECT 1");
  assert.equal(await say(client, bind("", ""), SYNC), "E26000Z");
  assert.equal(await valueOf(rival, ""), "theirs");
  // Another client of the same tenant has another one.
  using sister = await txClient(front, "tenant_b");
  assert.equal(await say(sister, bind("", ""), SYNC), "E26000Z");
  assert.equal(await valueOf(rival, ""), "theirs");
});

Deno.test("one text and many names, one name and many texts", async () => {
  await using front = await txFront(bench);
  using client = await txClient(front, "tenant_a");
  using sister = await txClient(front, "tenant_a");
  for (const name of ["a", "b", 'c"d', "ünï", "x".repeat(100)]) {
    assert.equal(await say(client, parse(name, PID), SYNC), "1Z");
    assert.equal(await say(client, bind("", name), execute(), SYNC), "2DCZ");
  }
  assert.equal((await client.query(OWN)).length, 1, "prepared once");
  assert.equal(await say(sister, parse("a", "SELECT 'other'"), SYNC), "1Z");
  for (let turn = 0; turn < 3; turn++) {
    assert.match(await valueOf(client, "a"), /^\d+$/);
    assert.equal(await valueOf(sister, "a"), "other");
  }
  assert.equal(await say(sister, bind("", "b"), SYNC), "E26000Z", "names are the client's own");
});

Deno.test("a name is taken until it is closed; unknown ones and pgvpd's own are refused", async () => {
  await using front = await txFront(bench);
  using client = await txClient(front, "tenant_a");
  using sister = await txClient(front, "tenant_a");
  assert.equal(await say(client, parse("s", "SELECT 1"), SYNC), "1Z");
  assert.equal(await say(client, parse("s", "SELECT 2"), SYNC), "E42P05Z");
  assert.equal(await valueOf(client, "s"), "1");
  assert.equal(await say(client, close("S", "s"), SYNC, parse("s", "SELECT 2"), SYNC), "3Z1Z");
  assert.equal(await valueOf(client, "s"), "2");
  for (const name of ["pgvpd_1", "pgvpd_2", "nobody's"]) {
    assert.equal(await say(sister, bind("", name), execute(), SYNC), "E26000Z", name);
    assert.equal(await say(sister, describe("S", name), SYNC), "E26000Z", name);
    assert.equal(await say(sister, close("S", name), SYNC), "3Z", name);
    assert.equal(await say(sister, query(`DEALLOCATE ${JSON.stringify(name)}`)), "E26000Z", name);
  }
  assert.equal(await valueOf(client, "s"), "2");
});

Deno.test("DEALLOCATE of one, quoted and not, and of all, and DISCARD ALL", async () => {
  await using front = await txFront(bench);
  using client = await txClient(front, "tenant_a");
  using sister = await txClient(front, "tenant_a");
  using rival = await txClient(front, "tenant_b");
  const prepare = async () => {
    for (const name of ["s", "Ünï q", "other"]) await say(client, parse(name, "SELECT 1"), SYNC);
  };
  assert.equal(await say(sister, parse("s", "SELECT 1"), SYNC), "1Z");
  await prepare();
  await rival.query(PID); // the backend has none of them now
  assert.equal(await say(client, query("DEALLOCATE s")), "CZ");
  assert.equal(await say(client, query("DEALLOCATE s")), "E26000Z");
  assert.equal(await say(client, query('deallocate prepare "Ünï q";')), "CZ");
  assert.equal(await say(client, bind("", "Ünï q"), SYNC), "E26000Z");
  assert.equal(await valueOf(client, "other"), "1");
  assert.equal(await valueOf(sister, "s"), "1");
  for (const all of ["DEALLOCATE ALL", "DISCARD ALL"]) {
    await say(client, close("S", "other"), SYNC);
    await prepare();
    assert.match(await say(client, query(all)), /^C.*Z$/);
    assert.equal(await say(client, bind("", "s"), SYNC), "E26000Z", all);
    assert.equal(await valueOf(sister, "s"), "1", `${all} of one client is none of the other's`);
    assert.equal(await say(client, parse("s", "SELECT 2"), SYNC), "1Z");
    assert.equal(await valueOf(client, "s"), "2");
    await say(client, query("DEALLOCATE s"));
  }
});

Deno.test("a DEALLOCATE that fails deallocates nothing", async () => {
  await using front = await txFront(bench);
  using client = await txClient(front, "tenant_a");
  await say(client, parse("s", "SELECT 1"), SYNC);
  for (const sql of ["DEALLOCATE s", "DEALLOCATE ALL", "DISCARD ALL"]) {
    assert.equal(await say(client, query("BEGIN"), query("SELECT 1/0")), "CZE22012Z");
    assert.equal(await say(client, query(sql)), "E25P02Z");
    assert.equal(await say(client, query("ROLLBACK")), "CZ");
    assert.equal(await valueOf(client, "s"), "1", sql);
  }
});

Deno.test("an error in the middle of a pipeline: what was before it exists, what is behind not", async () => {
  await using front = await txFront(bench);
  using client = await txClient(front, "tenant_a");
  using rival = await txClient(front, "tenant_b");
  await say(client, parse("old", "SELECT 'old'"), SYNC);
  await rival.query(PID);
  const unit = [
    ...[parse("before", "SELECT 'before'"), bind("", "nothing"), parse("behind", "SELECT 1")],
    ...[bind("", "old"), execute(), SYNC],
  ];
  // What follows was sent before anybody could know of the error.
  const following = [bind("", "old"), execute(), SYNC, bind("", "behind"), SYNC];
  assert.equal(await say(client, ...unit, ...following), "1E26000Z2DCZE26000Z");
  for (let turn = 0; turn < 2; turn++) {
    assert.equal(await valueOf(client, "before"), "before");
    assert.equal(await valueOf(client, "old"), "old");
    assert.equal(await say(client, bind("", "behind"), SYNC), "E26000Z");
    await rival.query(PID);
  }
  // A Close that was skipped closes nothing.
  assert.equal(await say(client, bind("", "nothing"), close("S", "old"), SYNC), "E26000Z");
  assert.equal(await valueOf(client, "old"), "old");
  assert.equal(await say(client, parse("behind", "SELECT 2"), SYNC), "1Z");
  assert.equal(await valueOf(client, "behind"), "2");
});

Deno.test("Flush brings out what the client asked for and nothing of pgvpd's own", async () => {
  await using front = await txFront(bench);
  using client = await txClient(front, "tenant_a");
  using rival = await txClient(front, "tenant_b");
  await say(client, parse("s", "SELECT 1"), SYNC);
  await rival.query(PID);
  await client.send(bind("", "s"), FLUSH);
  assert.equal((await next(client)).type, "2");
  await client.send(describe("S", "s"), FLUSH);
  assert.equal((await next(client)).type + (await next(client)).type, "tT");
  // The Sync comes late: nobody else has the backend meanwhile.
  const waiting = rival.query("SELECT 1");
  await eventually("the rival waits", () => [...front.proxy.poolStats.values()][0]!.waiting === 1);
  assert.equal(await say(client, execute(), SYNC), "DCZ");
  assert.deepEqual(await waiting, [["1"]]);
});

Deno.test("no more statements than max_prepared_statements stay, not even of a pipeline", async () => {
  await using front = await txFront(bench, { maxPreparedStatements: 3 });
  using client = await txClient(front, "tenant_a");
  const count = 10;
  const pipeline = Array.from({ length: count }, (_, index) => [
    ...[parse(`s${index}`, `SELECT ${index}`), bind("", `s${index}`), execute()],
  ]).flat();
  await client.send(query("BEGIN"), ...pipeline, SYNC);
  assert.equal(await replies(client, 2), `CZ${"12DC".repeat(count)}Z`);
  assert.equal((await client.query(OWN)).length, count, "none goes in the middle of a transaction");
  await client.query("COMMIT");
  const kept = (await client.query(OWN)).map(([, sql]) => sql!);
  assert.deepEqual(kept.sort(), ["SELECT 7", "SELECT 8", "SELECT 9"], "the last used ones stay");
  // In one pipeline all of them are used, evicted or not, also behind an error.
  const all = Array.from({ length: count }, (_, index) => [bind("", `s${index}`), execute()]);
  assert.equal(await say(client, ...all.flat(), SYNC), `${"2DC".repeat(count)}Z`);
  const failing = [...all.flat().slice(0, 8), bind("", "nothing"), ...all.flat(), SYNC];
  assert.equal(await say(client, ...failing), `${"2DC".repeat(4)}E26000Z`);
  for (let index = 0; index < count; index++) {
    assert.equal(await valueOf(client, `s${index}`), String(index));
  }
  assert.ok((await client.query(OWN)).length <= 3);
});

Deno.test("max_prepared_statements = 0: none stays, all work", async () => {
  await using front = await txFront(bench, { maxPreparedStatements: 0 });
  using client = await txClient(front, "tenant_a");
  assert.equal(await say(client, parse("s", "SELECT 7"), SYNC), "1Z");
  assert.equal(await valueOf(client, "s"), "7");
  assert.deepEqual(await client.query(OWN), []);
  assert.equal(await valueOf(client, "s"), "7");
});

Deno.test("many clients, the same names, different texts, one backend and two tenants", async () => {
  await using front = await txFront(bench);
  const clients = await Promise.all(Array.from({ length: 12 }, async (_, number) => {
    const tenant = number % 2 === 0 ? "tenant_a" : "tenant_b";
    const client = await txClient(front, tenant);
    const first = tenant === "tenant_a" ? "Alice Corp" : "Bob Inc";
    return { client, expected: `${number} ${first}`, number };
  }));
  const pids = new Set<string>();
  await Promise.all(clients.map(async ({ client, expected, number }) => {
    const sql = `SELECT ${number} || ' ' || min(name) FROM tenants`;
    assert.equal(await say(client, parse("s", sql), parse("p", PID), SYNC), "11Z");
    for (let turn = 0; turn < 10; turn++) {
      assert.equal(await valueOf(client, "s"), expected);
      pids.add(await valueOf(client, "p"));
    }
    client.close();
  }));
  assert.equal(pids.size, 1);
});

Deno.test("a client that leaves behind a Parse without a Sync leaves nothing", async () => {
  await using front = await txFront(bench);
  for (let turn = 0; turn < 3; turn++) {
    const leaver = await txClient(front, "tenant_a");
    await leaver.send(parse("s", "SELECT 'left'"), parse("", "SELECT 'left'"), FLUSH);
    assert.equal((await next(leaver)).type + (await next(leaver)).type, "11");
    if (turn === 1) await leaver.send(message("X"));
    leaver.close();
    using heir = await txClient(front, turn === 2 ? "tenant_b" : "tenant_a");
    assert.equal(await say(heir, bind("", ""), SYNC), "E26000Z");
    assert.equal(await say(heir, bind("", "s"), SYNC), "E26000Z");
    assert.equal(await say(heir, parse("s", "SELECT 'mine'"), SYNC), "1Z");
    assert.equal(await valueOf(heir, "s"), "mine");
  }
});

Deno.test("a Parse larger than any buffer, named and not", async () => {
  await using front = await txFront(bench);
  using client = await txClient(front, "tenant_a");
  using rival = await txClient(front, "tenant_b");
  const text = (size: number) => `SELECT length('${"x".repeat(size)}')`;
  assert.equal(await say(client, parse("large", text(900_000)), SYNC), "1Z");
  await rival.query(PID);
  assert.equal(await valueOf(client, "large"), "900000");
  assert.equal(await say(client, parse("", text(900_000)), SYNC), "1Z");
  await rival.query(PID);
  assert.equal(await valueOf(client, ""), "900000");
  // Of an unnamed one above 1 MiB no copy is kept: the client keeps its backend.
  assert.equal(await say(client, parse("", text(3_000_000)), SYNC), "1Z");
  assert.equal(await valueOf(client, ""), "3000000");
  await client.send(message("X"));
  using unlucky = await txClient(front, "tenant_a");
  await unlucky.send(parse("large", text(3_000_000)));
  const refusal = await unlucky.until("Z").then(() => null, (error) => error.code);
  assert.equal(refusal, "54000");
});

Deno.test("a Bind of 5 MB passes, on a backend that has to prepare first", async () => {
  await using front = await txFront(bench);
  using client = await txClient(front, "tenant_a");
  using rival = await txClient(front, "tenant_b");
  assert.equal(await say(client, parse("s", "SELECT length($1)"), SYNC), "1Z");
  await rival.query(PID);
  assert.equal(await valueOf(client, "s", ["y".repeat(5_000_000)]), "5000000");
});

Deno.test("a table that has changed: what PostgreSQL says, and what a new preparation gives", async () => {
  await using front = await txFront(bench);
  using client = await txClient(front, "tenant_a");
  using rival = await txClient(front, "tenant_b");
  await bench.admin.run("CREATE TABLE changing (a int); GRANT ALL ON changing TO trusty");
  await bench.admin.run("INSERT INTO changing VALUES (1)");
  assert.equal(await say(client, parse("s", "SELECT * FROM changing"), SYNC), "1Z");
  assert.equal(await valueOf(client, "s"), "1");
  await bench.admin.run("ALTER TABLE changing ALTER a TYPE text USING 'now text'");
  assert.equal(await say(client, bind("", "s"), execute(), SYNC), "E0A000Z");
  await rival.query(PID);
  assert.equal(await valueOf(client, "s"), "now text");
  await bench.admin.run("DROP TABLE changing");
  await rival.query(PID);
  assert.equal(await say(client, bind("", "s"), execute(), SYNC), "E42P01Z");
  assert.equal(await say(client, close("S", "s"), SYNC), "3Z");
});

Deno.test("the same bytes under other settings are another statement", async () => {
  await using front = await txFront(bench);
  using german = await txClient(front, "tenant_a");
  await german.query("SET DateStyle = 'German, DMY'");
  using american = await txClient(front, "tenant_a");
  const sql = "SELECT extract(month FROM '01/02/2020'::date)";
  for (const client of [german, american]) {
    assert.equal(await say(client, parse("s", sql), SYNC), "1Z");
  }
  for (let turn = 0; turn < 2; turn++) {
    assert.equal(await valueOf(german, "s"), "2");
    assert.equal(await valueOf(american, "s"), "1");
  }
});

Deno.test("a moment in a text is the moment of the client's own Parse", async () => {
  await using front = await txFront(bench);
  using early = await txClient(front, "tenant_a");
  using late = await txClient(front, "tenant_a");
  const sql = "SELECT 'now'::timestamptz";
  assert.equal(await say(early, parse("s", sql), SYNC), "1Z");
  const [[between]] = await early.query("SELECT clock_timestamp()") as [[string]];
  assert.equal(await say(late, parse("s", sql), SYNC), "1Z");
  assert.ok(Date.parse(await valueOf(early, "s")) <= Date.parse(between));
  assert.ok(Date.parse(await valueOf(late, "s")) >= Date.parse(between));
});
