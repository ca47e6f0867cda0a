// Promise: what a statement leaves in its session is seen, as far as its text tells, and nothing
// else.

import assert from "node:assert/strict";
import {
  deallocatedName,
  FOLLOWING_PARAMETERS,
  pinReason,
} from "../../src/protocol/session_state.ts";

const UTF8 = new TextEncoder();
const REPORTED = new Map(FOLLOWING_PARAMETERS.map((name) => [name, ""]));

function reasonOf(sql: string, reported: ReadonlyMap<string, string> = REPORTED): string | null {
  const around = UTF8.encode(`LISTEN a;${sql};LISTEN b`);
  return pinReason(around, 9, around.length - 9, reported);
}

const LEAVES: Record<string, readonly string[]> = {
  "listen": ["LISTEN a", "listen a", "  \n\tListen a", "SELECT 1; LISTEN a", "/* a */ LISTEN a"],
  "prepare": [
    "PREPARE p AS SELECT 1",
    "-- a\nprepare p(int) AS SELECT $1",
    "SELECT 1;PREPARE p AS TABLE t",
  ],
  "load": ["LOAD 'auto_explain'"],
  "set": [
    "SET statement_timeout = 0",
    "set Statement_Timeout TO 0",
    "SET SESSION lock_timeout = 1",
    "SET ROLE other",
    "SET SESSION AUTHORIZATION other",
    "SET app.x = '1'",
    'SET "app.x" TO 1',
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "BEGIN; SET lock_timeout = 1; COMMIT",
    "SET LOCAL a.b = 1; SET a.b = 1",
  ],
  "set_config": [
    "SELECT set_config('a.b', 'c', false)",
    "SELECT pg_catalog.SET_CONFIG ('a.b', $1, $2)",
    "WITH x AS (SELECT set_config('a.b', 'c', true)) TABLE x",
  ],
  "advisory lock": [
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_try_advisory_lock(1, 2)",
    "SELECT pg_advisory_lock_shared (1)",
    "select PG_TRY_ADVISORY_LOCK_SHARED(1)",
  ],
  "cursor with hold": [
    "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    "declare c scroll cursor with\nhold for select 1",
  ],
  "temporary object": [
    "CREATE TEMP TABLE t (a int)",
    "CREATE TEMPORARY VIEW v AS SELECT 1",
    "create temp sequence s",
    "SELECT 1 INTO TEMP t",
    "SELECT 1 INTO LOCAL TEMPORARY TABLE t",
    "CREATE TABLE pg_temp.t (a int)",
    "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "DO $$ BEGIN CREATE TEMP TABLE t (a int); END $$",
  ],
};

for (const [reason, statements] of Object.entries(LEAVES)) {
  Deno.test(`it stays: ${reason}`, () => {
    for (const sql of statements) assert.equal(reasonOf(sql), reason, sql);
  });
}

Deno.test("it does not stay", () => {
  const statements = [
    "",
    "SELECT 1",
    "(SELECT 1)",
    "select set_bit('a', 1, 1)",
    "UPDATE settings SET statement_timeout = 0",
    "SET LOCAL statement_timeout = 0",
    "SET TRANSACTION READ ONLY",
    "SET CONSTRAINTS ALL IMMEDIATE",
    "PREPARE TRANSACTION 'a'",
    "DECLARE c CURSOR FOR SELECT 1",
    "DECLARE c CURSOR WITHOUT HOLD FOR SELECT 1",
    "CREATE TEMP TABLE t (a int) ON COMMIT DROP",
    "SELECT pg_advisory_xact_lock(1)",
    "SELECT pg_try_advisory_xact_lock_shared(1)",
    "SELECT pg_advisory_unlock_all()",
    "SELECT temp FROM weather",
    "SELECT 1 -- LISTEN a",
    "/* SET a = 1; */ SELECT 1",
    "DEALLOCATE p",
    "DISCARD ALL",
    "UNLISTEN a",
    "NOTIFY a",
    "SHOW statement_timeout",
    "LOCK TABLE t",
    "DELETE FROM t",
    "DROP TABLE t",
  ];
  for (const sql of statements) assert.equal(reasonOf(sql), null, sql);
});

Deno.test("SET of what is reported follows the client; where it is not reported it stays", () => {
  const statements: Record<string, readonly string[]> = {
    application_name: ["SET application_name = 'a'", 'set session "application_name" to a'],
    client_encoding: ["SET client_encoding TO 'LATIN1'"],
    DateStyle: ["SET datestyle = ISO", "SET DateStyle TO German, DMY"],
    search_path: ["SET search_path = a, b", "SET SEARCH_PATH TO DEFAULT"],
    TimeZone: ["SET timezone = 'UTC'"],
  };
  for (const [name, texts] of Object.entries(statements)) {
    const older = new Map(REPORTED);
    older.delete(name);
    for (const sql of texts) {
      assert.equal(reasonOf(sql), null, sql);
      assert.equal(reasonOf(sql, older), "set", `${sql}, on a server that does not report it`);
    }
  }
  for (const sql of ["SET TIME ZONE 'UTC'", "SET SESSION TIME ZONE LOCAL", "SET NAMES 'UTF8'"]) {
    assert.equal(reasonOf(sql), null, sql);
  }
});

Deno.test("the text may be cut anywhere: no look beyond its end, and no failure", () => {
  for (const sql of Object.values(LEAVES).flat()) {
    const bytes = UTF8.encode(sql);
    for (let end = 0; end <= bytes.length; end++) pinReason(bytes, 0, end, REPORTED);
  }
});

Deno.test("beyond 64 KiB nothing is looked at", () => {
  const blank = " ".repeat(64 * 1024);
  assert.equal(reasonOf(`${blank.slice(8)}LISTEN a`), "listen");
  assert.equal(reasonOf(`${blank}LISTEN a`), null);
});

Deno.test("DEALLOCATE and DISCARD ALL name what goes", () => {
  const names: [sql: string, name: string | null][] = [
    ["DEALLOCATE a", "a"],
    ["deallocate prepare A;", "a"],
    ['DEALLOCATE "A""b"', 'A"b'],
    ["DEALLOCATE ALL", "*"],
    ["DEALLOCATE PREPARE ALL ; ", "*"],
    ["DISCARD ALL", "*"],
    ["discard all;", "*"],
    ["DISCARD PLANS", null],
    ["DEALLOCATE a; SELECT 1", null],
    ["DELETE FROM t", null],
    ["DEALLOCATE", null],
  ];
  for (const [sql, name] of names) {
    const bytes = UTF8.encode(`${sql}\0`);
    assert.equal(deallocatedName(bytes, 0, bytes.length), name, sql);
  }
});
