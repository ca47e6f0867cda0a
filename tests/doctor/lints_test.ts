// Promise: the reference's 52 lints are all there, a database that pgvpd has made has no finding, a
// broken one has every fault found at once, and a thousand tables are looked at in one statement.

import assert from "node:assert/strict";
import { isAtLeast } from "../../src/doctor/lint.ts";
import { LINTS, runLints } from "../../src/doctor/lints.ts";
import { DoctorBench, TARGET } from "../support/doctor_bench.ts";

let bench: DoctorBench;
Deno.test.beforeAll(async () => void (bench = await DoctorBench.start()));
Deno.test.afterAll(() => bench[Symbol.asyncDispose]());

/** What no setup can change: the server that the tests run on. */
const lints = LINTS.filter(({ id }) => id !== "D06");

Deno.test("there are 52, each with an id and a name of its own, and every text", () => {
  assert.equal(LINTS.length, 52);
  assert.equal(new Set(LINTS.map(({ id }) => id)).size, 52);
  assert.equal(new Set(LINTS.map(({ name }) => name)).size, 52);
  const subjects = { R: 7, T: 15, P: 12, V: 4, F: 4, D: 10 };
  for (const [letter, count] of Object.entries(subjects)) {
    const ids = LINTS.map(({ id }) => id).filter((id) => id.startsWith(letter));
    const numbers = Array.from({ length: count }, (_, at) => String(at + 1).padStart(2, "0"));
    assert.deepEqual(ids, numbers.map((number) => letter + number));
  }
  for (const { id, finds, why, remedy } of LINTS) {
    assert.match(finds, /[^.]$/, `${id} completes a sentence`);
    assert.match(why, /\.$/, id);
    assert.match(remedy, /\.$/, id);
  }
});

Deno.test("a database made by setup.sql and pgvpd_protect() has no finding, only notes", async () => {
  const notes = await bench.inTransaction(() => bench.lint(lints));
  assert.deepEqual(notes.filter(({ severity }) => isAtLeast(severity, "warning")), []);
  assert.deepEqual(notes.map(({ lint }) => lint).toSorted(), ["D02", "D10", "P02"]);
});

const BROKEN = `
CREATE ROLE service BYPASSRLS; GRANT service TO app_user;
CREATE TABLE open_table (id int, tenant_id text);
CREATE TABLE owned (tenant_id text); ALTER TABLE owned OWNER TO app_user;
CREATE TABLE unforced (tenant_id text NOT NULL);
ALTER TABLE unforced ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON unforced USING (tenant_id = current_setting('app.current_tenant_id'));
CREATE POLICY open ON unforced USING (true);
CREATE TABLE idle_policy (tenant_id text); CREATE POLICY own ON idle_policy USING (false);
CREATE VIEW seen AS SELECT * FROM notes;
CREATE MATERIALIZED VIEW kept AS SELECT * FROM notes;
CREATE FUNCTION sum_up() RETURNS bigint LANGUAGE sql SECURITY DEFINER
  AS 'SELECT count(*) FROM notes';
CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw;
CREATE FOREIGN TABLE far_notes (tenant_id text) SERVER far;
CREATE POLICY more ON notes FOR SELECT USING (body IS NOT NULL);
GRANT ALL ON ALL TABLES IN SCHEMA public TO app_user;
GRANT CREATE ON SCHEMA public TO app_user;
`;

Deno.test("a database with many faults has each of them found at once", async () => {
  const found = await bench.inTransaction(async () => {
    await bench.query(BROKEN);
    return (await bench.lint(lints)).map(({ lint, object }) => `${lint} ${object}`);
  });
  const expected = [
    ...["R01 service", "R02 app_user", "T01 public.open_table", "T03 public.unforced"],
    ...["T05 public.idle_policy", "T07 public.notes", "P01 public.unforced", "P03 public.unforced"],
    ...["P04 public.unforced", "P06 public.notes", "P07 public.notes", "P07 public.unforced"],
    ...["P08 public.unforced", "V01 public.seen", "V02 public.kept", "V03 public.far_notes"],
    ...["F01 public.sum_up()", "F02 public.sum_up()", "D01 public", "D05 postgres_fdw"],
  ];
  for (const each of expected) assert.ok(found.includes(each), `${each} in ${found.join(", ")}`);
});

Deno.test("a thousand tables are one statement, and each is judged", async () => {
  const { findings, statements } = await bench.inTransaction(async () => {
    await bench.query(`
      DO $$ BEGIN FOR i IN 1 .. 1000 LOOP
        EXECUTE format('CREATE TABLE many_%s (tenant_id int NOT NULL)', i);
        IF i % 5 = 0 THEN
          EXECUTE format('CREATE INDEX ON many_%s (tenant_id)', i);
          PERFORM pgvpd_protect(format('many_%s', i));
        END IF;
      END LOOP; END $$;
      GRANT SELECT ON ALL TABLES IN SCHEMA public TO app_user`);
    let statements = 0;
    await bench.query("SET LOCAL search_path = pg_catalog, pg_temp");
    const findings = await runLints((text, parameters) => {
      statements++;
      return bench.query(text, parameters);
    }, TARGET);
    return { findings, statements };
  });
  assert.equal(statements, 1);
  const open = findings.filter(({ lint }) => lint === "T01");
  assert.equal(open.length, 800);
  assert.ok(open.every(({ object }) => /^public\.many_\d*[1-46-9]$/.test(object)));
  assert.deepEqual(findings.filter(({ lint }) => /^T(03|10)$/.test(lint)), []);
});

Deno.test("a fix is for the role that tenants log in as", async () => {
  const fixes = await bench.inTransaction(async () => {
    await bench.query(`CREATE ROLE "the web" LOGIN; CREATE TABLE bare (tenant_id text);
      GRANT SELECT ON bare TO "the web"`);
    const findings = await bench.lint(lints, { ...TARGET, roles: ["the web"] });
    const { fix } = findings.find(({ lint }) => lint === "T01")!;
    await bench.query(fix);
    const left = await bench.lint(lints, { ...TARGET, roles: ["the web"] });
    return { fix, left: left.filter(({ lint }) => lint === "T01") };
  });
  assert.equal(fixes.fix, "SELECT pgvpd_protect('public.bare', 'tenant_id', 'the web');");
  assert.deepEqual(fixes.left, []);
});
