// The first words of a statement: which of them are about the session context.

import { strict as assert } from "node:assert";
import {
  changeIn,
  NOTHING_SAID,
  suspectAt,
  UNDECIDED,
  WORDS_SIZE_MAX,
} from "../../src/protocol/context_words.ts";

const VARIABLES: ReadonlySet<string> = new Set(["app.current_tenant_id", "app.org"]);
const UTF8 = new TextEncoder();

/** What is found when all of the text has come. */
function changeOf(sql: string): string | null {
  const bytes = UTF8.encode(sql);
  const at = suspectAt(bytes, 0, bytes.length, true);
  assert.notEqual(at, UNDECIDED);
  return at === NOTHING_SAID ? null : changeIn(bytes, at, bytes.length, VARIABLES);
}

const CHANGES: readonly (readonly [sql: string, change: string])[] = [
  ["SET app.current_tenant_id = 'globex'", "SET app.current_tenant_id"],
  ["set local App.Current_Tenant_Id to x", "SET app.current_tenant_id"],
  ["SET SESSION app.org TO 'x'", "SET app.org"],
  ['SET "app"."org" = 1', "SET app.org"],
  ['SET "app.org" = 1', "SET app.org"],
  ["SET app . org = 1", "SET app.org"],
  ["RESET app.org", "RESET app.org"],
  ["SET pgvpd.seal = 'x'", "SET pgvpd.seal"],
  ["SET ROLE other", "SET role"],
  ["SET role=other", "SET role"],
  ["set session role other", "SET role"],
  ["RESET ROLE;", "RESET role"],
  ["SET SESSION AUTHORIZATION x", "SET session_authorization"],
  ["SET LOCAL SESSION  AUTHORIZATION x", "SET session_authorization"],
  ["RESET SESSION AUTHORIZATION", "RESET session_authorization"],
  ["SET session_authorization = x", "SET session_authorization"],
  ["select set_config('app.org', 'x', false)", "set_config app.org"],
  ["SELECT pg_catalog.set_config( 'role', 'x', false)", "set_config role"],
  ['SELECT "pg_catalog"."set_config"(\'APP.ORG\', $1, $2)', "set_config app.org"],
  ["SELECT set_config(E'app.org', 'x', false)", "set_config app.org"],
  ["/* a */ -- b\n ;(SELECT set_config('app.org', 'x', false))", "set_config app.org"],
];
for (const [sql, change] of CHANGES) {
  Deno.test(`context words: ${sql}`, () => assert.equal(changeOf(sql), change));
}

const HARMLESS = [
  ...["", " ", "S", "SET", "SELECT", "RESET", "SELECT 1", "select", "--", "/*"],
  ...["SET search_path = x", "SET app.other = 1", "RESET ALL", "RESET search_path"],
  ...["SET roles = 1", "SET role_x = 1", "SET app.organisation = 1", "SET app.org.x = 1"],
  ...["SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET TIME ZONE 'UTC'"],
  ...["SELECT set_config('search_path', 'x', false)", "SELECT setseed(1)", "SELECT pg_sleep(1)"],
  ...['SELECT "set_config" FROM t', "SELECT set_configuration('app.org')", "SELECT 'SET ROLE x'"],
  ...["INSERT INTO t VALUES ('SET ROLE x')", "DO $$ BEGIN SET ROLE x; END $$", "BEGIN"],
  ...["-- SET ROLE x", "/* SET ROLE x */ SELECT 1", "SHOW role", "VALUES (1)"],
];
for (const sql of HARMLESS) {
  Deno.test(`context words: nothing in ${JSON.stringify(sql)}`, () => {
    assert.equal(changeOf(sql), null);
  });
}

Deno.test("context words: cut anywhere, a change is found or waited for, never passed over", () => {
  for (const [sql] of CHANGES) {
    const bytes = UTF8.encode(sql);
    for (let end = 0; end < bytes.length; end++) {
      const at = suspectAt(bytes, 0, end, false);
      assert.notEqual(at, NOTHING_SAID, `${sql} cut at ${end}`);
    }
  }
});

Deno.test("context words: most statements are decided by their first letters", () => {
  for (const sql of ["SELECT 1", "INSERT", "update", "WITH x", 'select "a"', "SELECT s.a"]) {
    const bytes = UTF8.encode(`${sql}        `);
    assert.equal(suspectAt(bytes, 0, bytes.length, false), NOTHING_SAID, sql);
  }
});

Deno.test("context words: a comment longer than what is looked at hides the rest", () => {
  const bytes = UTF8.encode(`/*${" ".repeat(WORDS_SIZE_MAX)}*/ SET ROLE x`);
  assert.equal(suspectAt(bytes, 0, WORDS_SIZE_MAX, true), NOTHING_SAID);
});
