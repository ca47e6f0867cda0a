// Promise: every lint about the database finds its fault, its fix ends it, and nothing else is
// blamed. The server's version cannot be planted: that lint is run against a table of its own.

import assert from "node:assert/strict";
import { DATABASE, FIXED_MINORS } from "../../src/doctor/database.ts";
import { DoctorBench, type LintCase, SEALED, testLints } from "../support/doctor_bench.ts";

const BY_VERSION = "D06";
const SERVER = "CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw";

const CASES: readonly LintCase[] = [
  {
    lint: "D01",
    fault: "GRANT CREATE ON SCHEMA public TO PUBLIC",
    object: "public",
    sound: "CREATE SCHEMA own AUTHORIZATION keeper",
  },
  {
    lint: "D01",
    fault: 'CREATE SCHEMA "Own" AUTHORIZATION app_user',
    object: '"Own"',
    sound: "GRANT USAGE ON SCHEMA public TO app_user",
  },
  {
    lint: "D02",
    fault: "GRANT CREATE ON DATABASE postgres TO app_user",
    object: "postgres",
    severity: "error",
    sound: "REVOKE TEMP ON DATABASE postgres FROM PUBLIC",
  },
  {
    lint: "D02", // TEMP is PUBLIC's from the start
    fault: "SELECT 1",
    object: "postgres",
    sound: "REVOKE ALL ON DATABASE postgres FROM PUBLIC",
  },
  {
    lint: "D03",
    fault: "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO app_user",
    object: "public",
    sound: `ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO keeper;
      ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO app_user`,
  },
  {
    lint: "D03",
    fault: "ALTER DEFAULT PRIVILEGES GRANT INSERT ON TABLES TO PUBLIC",
    object: "*",
  },
  {
    lint: "D04",
    fault: "SET LOCAL ROLE app_user; SELECT lo_create(0); RESET ROLE",
    object: "large objects",
    sound: "SELECT lo_create(0)",
  },
  {
    lint: "D05",
    fault: "CREATE EXTENSION dblink",
    object: "dblink",
    sound: "CREATE EXTENSION pg_trgm",
  },
  {
    lint: "D07",
    fault: `${SERVER}; GRANT USAGE ON FOREIGN SERVER far TO app_user`,
    object: "far",
    sound: SERVER,
  },
  { lint: "D08", fault: `${SEALED} GRANT SELECT ON pgvpd.seal_key TO app_user`, object: /key/ },
  {
    lint: "D08",
    fault: `${SEALED} ALTER TABLE pgvpd.seal_key DISABLE ROW LEVEL SECURITY`,
    object: "pgvpd.seal_key",
    sound: SEALED,
  },
  {
    lint: "D08",
    fault: `${SEALED} CREATE PUBLICATION leak FOR TABLE pgvpd.seal_key`,
    object: "pgvpd.seal_key",
  },
  {
    lint: "D09",
    fault: `CREATE TRUSTED LANGUAGE other HANDLER plpgsql_call_handler`,
    object: "other",
    sound: `CREATE TRUSTED LANGUAGE other HANDLER plpgsql_call_handler;
      REVOKE USAGE ON LANGUAGE other FROM PUBLIC`,
  },
  {
    lint: "D10",
    fault: "SELECT 1",
    object: "app_user",
    sound: "ALTER ROLE app_user SET track_activities = off",
  },
];

testLints(DATABASE.filter(({ id }) => id !== BY_VERSION), CASES);

Deno.test("a server below the minor with the security release is found", async () => {
  await using bench = await DoctorBench.start();
  const lint = DATABASE.find(({ id }) => id === BY_VERSION)!;
  const [{ num } = {}] = await bench.query("SELECT current_setting('server_version_num') AS num");
  const [major, minor] = [Math.floor(Number(num) / 10_000), Number(num) % 10_000];
  // 13 has ended, and is not in the table: any row may then stand for it.
  const given = `(${major in FIXED_MINORS ? major : 14}, ${
    FIXED_MINORS[major] ?? FIXED_MINORS[14]
  })`;
  assert.ok(lint.sql.includes(given));
  const found = async (least: string) =>
    await bench.inTransaction(() => bench.lint([{ ...lint, sql: lint.sql.replace(given, least) }]));
  const late = await found(`(${major}, ${minor + 1})`);
  assert.equal(late.length, 1);
  assert.equal(late[0]!.detail, `below ${major}.${minor + 1}`);
  assert.deepEqual(await found(`(${major}, ${minor})`), []);
  assert.equal((await found("(12, 1)"))[0]!.detail, "this major is no longer maintained");
});
