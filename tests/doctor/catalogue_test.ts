// Promise: the relations that lints are written over see roles, tables and columns as they are.

import assert from "node:assert/strict";
import { CATALOGUE } from "../../src/doctor/catalogue.ts";
import { TENANT_COLUMNS } from "../../src/doctor/lints.ts";
import { DoctorBench } from "../support/doctor_bench.ts";
import { testedMajors } from "../support/sql_database.ts";

let bench: DoctorBench;
Deno.test.beforeAll(async () => void (bench = await DoctorBench.start()));
Deno.test.afterAll(() => bench[Symbol.asyncDispose]());

const rows = (sql: string, columns: readonly string[] = TENANT_COLUMNS) =>
  bench.query(CATALOGUE + sql, [JSON.stringify(["app_user"]), JSON.stringify(columns)]);

Deno.test("roles: all that can be reached, each by its shortest way, and no way round", async () => {
  await bench.inTransaction(async () => {
    await bench.query(`CREATE ROLE a; CREATE ROLE b; CREATE ROLE c; CREATE ROLE aside;
      GRANT a TO app_user; GRANT b TO a; GRANT c TO b; GRANT c TO app_user;
      GRANT app_user TO aside; GRANT c TO aside`);
    assert.deepEqual(await rows("SELECT via, parent FROM role ORDER BY via"), [
      { via: "app_user", parent: "app_user" },
      { via: "app_user -> a", parent: "app_user" },
      { via: "app_user -> a -> b", parent: "a" },
      { via: "app_user -> c", parent: "app_user" },
    ]);
  });
});

/** Memberships have options since PostgreSQL 16. */
const hasOptions = Number(testedMajors()[0]) >= 16;

Deno.test("roles: a membership that neither may be set nor inherits leads nowhere", {
  ignore: !hasOptions,
}, async () => {
  await bench.inTransaction(async () => {
    await bench.query(`CREATE ROLE a; GRANT a TO app_user WITH SET FALSE, INHERIT FALSE;
      CREATE ROLE b; GRANT b TO app_user WITH SET FALSE, INHERIT TRUE`);
    const reached = await rows("SELECT rolname::text FROM role ORDER BY 1");
    assert.deepEqual(reached.map((row) => row["rolname"]), ["app_user", "b"]);
  });
});

Deno.test("tables: the tenant's column is the protected one, else the first name that fits", async () => {
  await bench.inTransaction(async () => {
    await bench.query(`CREATE TABLE one (org_id int, tenant_id int);
      CREATE TABLE two (org_id int, other int); CREATE TABLE three (other int);
      CREATE TABLE four (tenant_id text, whose text); SELECT pgvpd_protect('four', 'whose');
      CREATE TABLE five (whose text); CREATE TABLE six (tenant_id int);
      ALTER TABLE six DROP COLUMN tenant_id`);
    const columns = await rows("SELECT relname::text AS t, tname AS c FROM tab ORDER BY relname");
    const of = Object.fromEntries(columns.map(({ t, c }) => [t, c]));
    assert.deepEqual([of["one"], of["two"], of["three"]], ["tenant_id", "org_id", null]);
    assert.deepEqual([of["four"], of["five"], of["six"]], ["whose", "whose", null]);
    const [own] = await rows("SELECT tname FROM tab WHERE relname = 'two'", ["other", "org_id"]);
    assert.equal(own!["tname"], "other");
  });
});

Deno.test("tables: reached is what a role may use, by a column, through PUBLIC, in a schema", async () => {
  await bench.inTransaction(async () => {
    await bench.query(`CREATE SCHEMA shut; CREATE TABLE shut.a (x int);
      CREATE TABLE b (x int, y int); CREATE TABLE c (x int); CREATE TABLE d (x int);
      GRANT SELECT ON shut.a TO app_user; GRANT UPDATE (y) ON b TO app_user;
      GRANT DELETE ON c TO PUBLIC; GRANT TRUNCATE ON d TO app_user`);
    const reached = await rows("SELECT fq FROM rel WHERE exposed AND tcol IS NULL ORDER BY fq");
    assert.deepEqual(reached.map(({ fq }) => fq), ["public.b", "public.c"]);
  });
});

Deno.test("what belongs to an extension is its business", async () => {
  await bench.inTransaction(async () => {
    await bench.query("CREATE EXTENSION pg_stat_statements; CREATE EXTENSION lo");
    assert.deepEqual(await rows("SELECT fq FROM rel WHERE relname LIKE 'pg_stat%'"), []);
    assert.deepEqual(await rows("SELECT fq FROM fn"), []);
  });
});
