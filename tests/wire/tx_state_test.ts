// Promise: what PostgreSQL reports follows a client from backend to backend, what it has been told
// is always true, and what cannot follow is handled as session_state says.

import assert from "node:assert/strict";
import { Bench, eventually, failure, type Front } from "../support/wire_bench.ts";
import { connectTx, keptReasons, sameBackend, TxClient, txFront } from "../support/wire_tx.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await Bench.start()));
Deno.test.afterAll(() => bench.stop());

/** Reported parameters with three values each, as the server writes them. */
const FOLLOWING: Record<string, readonly [string, string, string]> = {
  application_name: ["one", "two", "three"],
  client_encoding: ["UTF8", "LATIN1", "WIN1252"],
  DateStyle: ["ISO, DMY", "German, DMY", "SQL, MDY"],
  default_transaction_read_only: ["on", "off", "on"],
  IntervalStyle: ["postgres", "iso_8601", "sql_standard"],
  search_path: ["public", "pg_catalog", "pg_catalog, public"],
  standard_conforming_strings: ["on", "off", "on"],
  TimeZone: ["UTC", "Asia/Tokyo", "America/Lima"],
};

function set(name: string, value: string, how = ""): string {
  const list = name === "search_path" || name === "DateStyle";
  return `SET ${how}${name} TO ${list ? value : `'${value}'`}`;
}

/** The backend says what the client has been told, and that is what is expected. */
async function has(client: TxClient, name: string, value: string, when: string): Promise<void> {
  assert.equal(await client.value(`SELECT current_setting('${name}')`), value, `${name} ${when}`);
  assert.equal(client.told.get(name), value, `${name} as told, ${when}`);
}

/** Two clients of one tenant and one of another, taking turns on one backend. */
async function withThree(
  parameters: Record<string, string>,
  body: (client: TxClient, others: () => Promise<void>, front: Front) => Promise<void>,
): Promise<void> {
  await using front = await txFront(bench);
  using same = await TxClient.connect(front, "tenant_a");
  using other = await TxClient.connect(front, "tenant_b");
  using client = await TxClient.connect(front, "tenant_a", parameters);
  const pids = new Set<string>();
  const usual = new Map(same.told);
  const others = async () => {
    for (const each of [same, other, same]) {
      pids.add(await each.value("SELECT pg_backend_pid()"));
      for (const name of Object.keys(FOLLOWING)) {
        await has(each, name, usual.get(name)!, "of others");
      }
    }
  };
  await others();
  await body(client, others, front);
  await others();
  assert.equal(pids.size, 1, "one backend for all");
  assert.deepEqual(keptReasons(front), []);
}

for (const [name, [one, two, three]] of Object.entries(FOLLOWING)) {
  Deno.test(`${name} follows: start-up, SET, RESET, with and without a transaction`, async () => {
    await withThree({ [name]: one }, async (client, others) => {
      const step = async (sql: string, value: string) => {
        await client.run(sql);
        await has(client, name, value, `behind ${sql}`);
        await others();
        await has(client, name, value, `behind ${sql}, and others`);
      };
      await step("SELECT 1", one);
      await step(set(name, two), two);
      await step(`BEGIN; ${set(name, three)}; ROLLBACK`, two);
      await step(`BEGIN; ${set(name, three)}; COMMIT`, three);
      await step(`BEGIN; ${set(name, two, "LOCAL ")}; COMMIT`, three);
      await step(`RESET ${name}`, one);
      await step(set(name, two), two);
      await step("RESET ALL", one);
      await step(set(name, two), two);
      await step("DISCARD ALL", one);
    });
  });
}

Deno.test("RESET of one parameter leaves the others as the client has set them", async () => {
  await withThree({ DateStyle: "German, DMY", TimeZone: "Asia/Tokyo" }, async (client, others) => {
    await client.run("SET DateStyle TO ISO, MDY; SET application_name TO 'a'");
    await others();
    await client.run("RESET application_name");
    await has(client, "DateStyle", "ISO, MDY", "which RESET does not touch");
    await has(client, "TimeZone", "Asia/Tokyo", "which RESET does not touch");
    await others();
    await client.run("RESET DateStyle");
    await has(client, "DateStyle", "German, DMY", "which is what it began with");
  });
});

Deno.test("a transaction is served by one backend, with the settings made in it", async () => {
  await withThree({}, async (client) => {
    await client.run("BEGIN");
    await client.run(set("DateStyle", "German, DMY"));
    await has(client, "DateStyle", "German, DMY", "in the transaction");
    await client.run("ROLLBACK");
    await has(client, "DateStyle", "ISO, MDY", "after it");
  });
});

Deno.test("RESET in a transaction that fails, or is rolled back to a savepoint", async () => {
  await withThree({ DateStyle: "German, DMY" }, async (client, others) => {
    const context = "SELECT current_setting('app.current_tenant_id')";
    for (const end of ["ROLLBACK", "COMMIT"]) {
      await client.run("BEGIN; RESET ALL; SAVEPOINT s");
      assert.equal(
        (await failure(client.run("SELECT 1/0"))).message,
        "ERROR 22012: division by zero",
      );
      client.learn(await client.raw.until("Z"));
      await client.run("ROLLBACK TO s");
      assert.equal(await client.value(context), "tenant_a", "in the transaction");
      await client.run(end);
      assert.equal(await client.value(context), "tenant_a", `behind ${end}`);
      await has(client, "DateStyle", "German, DMY", `behind ${end}`);
      await others();
    }
    // The error comes in the same write: the context can only be restored when it is over.
    assert.match(
      (await failure(client.run("BEGIN; RESET ALL; SAVEPOINT s; SELECT 1/0"))).message,
      /zero/,
    );
    client.learn(await client.raw.until("Z"));
    await client.run("ROLLBACK TO s");
    assert.equal(await client.value(context), "tenant_a", "behind an error in the same write");
    await client.run("COMMIT");
    assert.equal(await client.value(context), "tenant_a");
  });
});

const PINNING: Record<string, [statement: string, later: string, value: string]> = {
  "temporary object": [
    "CREATE TEMP TABLE mine AS SELECT 'kept' AS a",
    "SELECT a FROM mine",
    "kept",
  ],
  "listen": ["LISTEN channel", "SELECT pg_listening_channels()", "channel"],
  "advisory lock": [
    "SELECT pg_advisory_lock(7)",
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
    "1",
  ],
  "cursor with hold": ["DECLARE c CURSOR WITH HOLD FOR SELECT 'kept'", "FETCH c", "kept"],
  "set": ["SET statement_timeout = '1h'", "SHOW statement_timeout", "1h"],
  "set_config": ["SELECT set_config('app.x', 'kept', false)", "SHOW app.x", "kept"],
  "prepare": ["PREPARE p AS SELECT 'kept'", "EXECUTE p", "kept"],
};

for (const [reason, [statement, later, value]] of Object.entries(PINNING)) {
  Deno.test(`pin: ${reason} keeps the backend until the client leaves`, async () => {
    await using front = await txFront(bench, { poolSize: 2 });
    await using other = await connectTx(front, "tenant_b");
    let pid: unknown;
    {
      await using client = await connectTx(front, "tenant_a");
      await client.run(statement);
      assert.deepEqual(keptReasons(front), [reason]);
      pid = await client.value("SELECT pg_backend_pid()");
      assert.notEqual(
        await other.value("SELECT pg_backend_pid()"),
        pid,
        "another one is served too",
      );
      assert.equal(String(await client.value(later)), value);
      assert.equal(await client.value("SELECT pg_backend_pid()"), pid);
      assert.deepEqual(keptReasons(front), [reason], "it is said once");
    }
    await eventually("its backend serves others, clean", async () => {
      await using late = await connectTx(front, "tenant_b");
      await using busy = await connectTx(front, "tenant_b");
      await busy.run("BEGIN");
      const pids = [
        await busy.value("SELECT pg_backend_pid()"),
        await late.value("SELECT pg_backend_pid()"),
      ];
      if (!pids.includes(pid)) return false;
      for (const client of [busy, late]) {
        const found = String(await client.value(later).catch(() => "nothing"));
        assert.notEqual(found, value);
        await busy.run("ROLLBACK");
      }
      return true;
    });
  });
}

Deno.test("nothing else pins", async () => {
  await using front = await txFront(bench);
  await using a = await connectTx(front, "tenant_a");
  await using b = await connectTx(front, "tenant_b");
  const statements = [
    "SELECT 1",
    "BEGIN; SET LOCAL statement_timeout = '1h'; COMMIT",
    "BEGIN; SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; COMMIT",
    "BEGIN; SET CONSTRAINTS ALL DEFERRED; COMMIT",
    "BEGIN; DECLARE c CURSOR FOR SELECT 1; FETCH c; COMMIT",
    "BEGIN; SELECT pg_advisory_xact_lock(7); COMMIT",
    "BEGIN; CREATE TEMP TABLE t (a int) ON COMMIT DROP; COMMIT",
    "SET TIME ZONE 'UTC'",
    "SET NAMES 'UTF8'",
    "SET application_name TO 'set'",
    "SET SESSION DateStyle = ISO",
    "SELECT 'LISTEN to the PREPARE of a SET'",
    "NOTIFY channel, 'a'",
    "UNLISTEN *",
    "DEALLOCATE ALL",
    "RESET ALL",
    "DISCARD ALL",
    "-- SET statement_timeout = 0\nSELECT 1",
    "SHOW search_path",
    "DO $$ BEGIN PERFORM 1; END $$",
  ];
  for (const statement of statements) {
    await a.run(statement);
    assert.deepEqual(keptReasons(front), [], statement);
    await b.value("SELECT 1");
  }
  await sameBackend(a, b);
});

Deno.test("DISCARD ALL lets a kept backend go", async () => {
  await using front = await txFront(bench);
  await using a = await connectTx(front, "tenant_a");
  await using b = await connectTx(front, "tenant_b");
  await a.run("LISTEN channel");
  assert.deepEqual(keptReasons(front), ["listen"]);
  await a.run("DISCARD ALL");
  await sameBackend(a, b);
});

Deno.test("session_state = error: the statement is not run, and the client is told", async () => {
  await using front = await txFront(bench, { sessionState: "error" });
  await using b = await connectTx(front, "tenant_b");
  for (const [reason, [statement]] of Object.entries(PINNING)) {
    await using client = await connectTx(front, "tenant_a");
    await client.run(set("DateStyle", "German, DMY"));
    const error = await failure(client.run(statement));
    assert.equal(error.code, "0A000", statement);
    assert.match(error.message, new RegExp(reason));
    assert.match(String((error as { hint?: string }).hint), /session_state/);
    assert.equal(await b.value("SELECT 1"), 1);
  }
  await using extended = await connectTx(front, "tenant_a");
  const error = await failure(extended.rows("SELECT set_config($1, $2, false)", ["app.x", "1"]));
  assert.equal(error.code, "0A000");
  assert.deepEqual(keptReasons(front), []);
});

Deno.test("session_state = ignore: nobody is kept, what cannot follow is lost and never found", async () => {
  await using front = await txFront(bench, { sessionState: "ignore" });
  await using a = await connectTx(front, "tenant_a");
  await using b = await connectTx(front, "tenant_b");
  for (const [reason, [statement, later, value]] of Object.entries(PINNING)) {
    await a.run(statement);
    assert.equal(String(await a.value(later)), value, `${reason} is there at first`);
    for (const client of [b, a]) {
      const found = await client.value(later).catch(() => "nothing");
      assert.notEqual(String(found), value, `${reason} is gone`);
    }
    await sameBackend(a, b);
  }
  assert.deepEqual(keptReasons(front), []);
});
