// Promise: each proof finds by trying what it is for, also where the catalogues look right, and
// finds nothing in a sound database.

import assert from "node:assert/strict";
import {
  proveContext,
  proveRoles,
  proveTables,
  readScene,
  type Scene,
} from "../../src/doctor/proofs.ts";
import { inDisguise, type Trial } from "../../src/doctor/session.ts";
import { DoctorBench, SEALED, TARGET } from "../support/doctor_bench.ts";

let bench: DoctorBench;
Deno.test.beforeAll(async () => void (bench = await DoctorBench.start()));
Deno.test.afterAll(() => bench[Symbol.asyncDispose]());

const APP = { login: "app_user", wholeSession: true, setRole: null };
const VARIABLE = "app.current_tenant_id";
const TABLES = { variable: VARIABLE, reads: true };

/** Plants a fault, tries as the application, and takes the fault out again. */
async function trying<T>(
  fault: string,
  work: (trial: Trial, scene: Scene) => Promise<T>,
  undo: string,
): Promise<T> {
  await bench.query(fault);
  try {
    const scene = await bench.inTransaction(async () => {
      await bench.query("SET LOCAL search_path = pg_catalog, pg_temp");
      return await readScene(bench.query, TARGET);
    });
    return await inDisguise(bench.query, APP, (trial) => work(trial, scene));
  } finally {
    await bench.query(undo);
  }
}

const tables = (fault: string, undo: string) =>
  trying(fault, (trial, scene) => proveTables(trial, scene.tables, TABLES), undo);
const roles = (fault: string, undo: string, isLogin = false) =>
  trying(
    fault,
    (trial, scene) => proveRoles(trial, scene.roles, { setRole: null, isLogin }),
    undo,
  );

Deno.test("the scene is what there is to try", async () => {
  const scene = await trying("SELECT 1", (_, scene) => Promise.resolve(scene), "SELECT 1");
  assert.deepEqual(scene.tables, [
    { name: "public.customers", columns: ["tenant_id"], type: "text", isTrusted: true },
    { name: "public.notes", columns: ["tenant_id"], type: "text", isTrusted: true },
  ]);
  assert.equal(scene.tenantFunction, "public.current_tenant_id()");
  assert.equal(scene.isSealed, false);
  assert.deepEqual(scene.roles[0], { name: "postgres", isUnbound: true });
  assert.ok(!scene.roles.some(({ name }) => name === "app_user"));
});

Deno.test("sound tables are explained, read, and not blamed", async () => {
  const proof = await tables(
    `INSERT INTO notes (tenant_id) VALUES ('acme');
     CREATE TABLE counted (tenant_id bigint); SELECT pgvpd_protect('counted');
     CREATE TABLE named (tenant_id uuid); SELECT pgvpd_protect('named');
     CREATE TABLE by_org (tenant_id text, org text); GRANT SELECT ON by_org TO app_user;
     ALTER TABLE by_org ENABLE ROW LEVEL SECURITY;
     CREATE POLICY p ON by_org USING (org = (SELECT current_tenant_id()));
     INSERT INTO counted VALUES (1)`,
    "DELETE FROM notes; DROP TABLE counted, named, by_org",
  );
  assert.deepEqual(proof, { findings: [], explained: 5, read: 5 });
});

Deno.test("a role that is not bound reads without a filter", async () => {
  const bypass = await tables("ALTER ROLE app_user BYPASSRLS", "ALTER ROLE app_user NOBYPASSRLS");
  assert.deepEqual(bypass.findings.map(({ lint, object }) => [lint, object]), [
    ["E01", "public.customers"],
    ["E01", "public.notes"],
  ]);
  const owner = await tables(
    "ALTER TABLE notes OWNER TO app_user; ALTER TABLE notes NO FORCE ROW LEVEL SECURITY",
    "ALTER TABLE notes OWNER TO keeper; SELECT pgvpd_protect('notes'); ALTER TABLE notes FORCE ROW LEVEL SECURITY",
  );
  assert.deepEqual(owner.findings.map(({ lint, object }) => [lint, object]), [
    ["E01", "public.notes"],
  ]);
});

Deno.test("rows that nobody owns are seen by a tenant who does not exist", async () => {
  const { findings } = await tables(
    `CREATE TABLE shared (tenant_id text); ALTER TABLE shared ENABLE ROW LEVEL SECURITY;
     INSERT INTO shared VALUES ('everybody'); GRANT SELECT ON shared TO app_user;
     CREATE POLICY p ON shared USING (tenant_id IN (current_tenant_id(), 'everybody'))`,
    "DROP TABLE shared",
  );
  assert.deepEqual(findings.map(({ lint, object }) => [lint, object]), [["E02", "public.shared"]]);
});

Deno.test("reading stops when its time is over, explaining does not", async () => {
  let clock = 0;
  const proof = await trying(
    "SELECT 1",
    (trial, scene) =>
      proveTables(trial, scene.tables, { ...TABLES, now: () => (clock += 4_000) - 4_000 }),
    "SELECT 1",
  );
  assert.deepEqual([proof.explained, proof.read], [2, 1]);
});

Deno.test("a table that is refused is not counted", async () => {
  const proof = await trying(
    "SELECT 1",
    (trial, { tables }) => proveTables(trial, [...tables, hidden], TABLES),
    "SELECT 1",
  );
  assert.deepEqual(proof, { findings: [], explained: 2, read: 2 });
});
const hidden = { name: "pg_catalog.pg_authid", columns: [], type: null, isTrusted: true };

Deno.test("no role can be taken on in a sound database, and that was really tried", async () => {
  const { findings, tried } = await roles("SELECT 1", "SELECT 1");
  assert.deepEqual(findings, []);
  assert.ok(tried > 20, String(tried));
});

Deno.test("a role within reach is taken on, by SET ROLE and by set_config()", async () => {
  const unbound = await roles(
    'CREATE ROLE "the Service" BYPASSRLS; GRANT "the Service" TO app_user',
    'DROP ROLE "the Service"',
  );
  assert.equal(unbound.findings.length, 1);
  const [{ lint, object, severity, fix, detail }] = unbound.findings as [
    typeof unbound.findings[0] & object,
  ];
  assert.deepEqual([lint, object, severity], ["E03", "the Service", "critical"]);
  assert.equal(fix, 'REVOKE "the Service" FROM "app_user";');
  assert.match(detail, /does not bind$/);
  const plain = await roles("CREATE ROLE middle; GRANT middle TO app_user", "DROP ROLE middle");
  assert.deepEqual(plain.findings.map(({ severity }) => severity), ["warning"]);
});

Deno.test("a session that is lent to the application by a superuser is found out", async () => {
  const { findings } = await roles("SELECT 1", "SELECT 1", true);
  assert.ok(findings.some(({ detail }) => /RESET SESSION AUTHORIZATION leads/.test(detail)));
  assert.ok(findings.every(({ severity }) => severity === "critical"));
});

Deno.test("a context is forged without a seal, and not with one", async () => {
  const forge = (fault: string, undo: string) =>
    trying(fault, (trial, scene) => proveContext(trial, scene, VARIABLE), undo);
  const [plain] = (await forge("SELECT 1", "SELECT 1"))!;
  assert.deepEqual([plain!.lint, plain!.severity], ["E04", "info"]);

  const restore = `DROP SCHEMA pgvpd CASCADE; DROP ROLE pgvpd_vault;
    CREATE OR REPLACE FUNCTION current_tenant_id() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
      AS $$ SELECT pg_catalog.current_setting('app.current_tenant_id', true) $$`;
  const sealed = `BEGIN; ${SEALED} COMMIT`;
  assert.deepEqual(await forge(sealed, restore), []);
  const careless = `${sealed}; CREATE OR REPLACE FUNCTION current_tenant_id() RETURNS text
    LANGUAGE sql STABLE AS $$ SELECT pg_catalog.current_setting('${VARIABLE}', true) $$`;
  assert.deepEqual((await forge(careless, restore))!.map(({ severity }) => severity), ["critical"]);

  const none = { tables: [], roles: [], tenantFunction: null, isSealed: false };
  assert.equal(
    await trying("SELECT 1", (trial) => proveContext(trial, none, VARIABLE), "SELECT 1"),
    null,
  );
});

const STRANGE = `
CREATE FUNCTION back() RETURNS boolean LANGUAGE plpgsql AS
  'BEGIN RESET SESSION AUTHORIZATION; RETURN current_user = ''postgres''; END';
CREATE TABLE trap (tenant_id text); INSERT INTO trap VALUES ('acme');
ALTER TABLE trap ENABLE ROW LEVEL SECURITY; GRANT SELECT ON trap TO app_user;
CREATE POLICY p ON trap USING (tenant_id <> '' AND back());`;

Deno.test("code of others is known for what it is: it could go back to the administrator", async () => {
  const undo = "DROP TABLE trap; DROP FUNCTION back()";
  const look = (owner: string) =>
    trying(
      `${STRANGE} ALTER FUNCTION back() OWNER TO ${owner}`,
      async (trial, { tables }) => {
        const trap = tables.filter(({ name }) => name === "public.trap");
        const { findings } = await proveTables(trial, trap, TABLES);
        return { isTrusted: trap[0]!.isTrusted, went: findings.map(({ lint }) => lint) };
      },
      undo,
    );
  assert.deepEqual(await look("keeper"), { isTrusted: false, went: ["E02"] }, "it really can");
  assert.equal((await look("postgres")).isTrusted, true);
});

Deno.test("whoever owns a table that is called like the keys' is no administrator by that", async () => {
  const trusted = await trying(
    `${STRANGE} ALTER FUNCTION back() OWNER TO keeper; CREATE SCHEMA pgvpd AUTHORIZATION keeper;
     CREATE TABLE pgvpd.seal_key (kid text); ALTER TABLE pgvpd.seal_key OWNER TO keeper;
     CREATE TABLE theirs (tenant_id text); ALTER TABLE theirs OWNER TO keeper;
     ALTER TABLE theirs ENABLE ROW LEVEL SECURITY; GRANT SELECT ON theirs TO app_user;
     CREATE POLICY p ON theirs USING (tenant_id <> '')`,
    (_, { tables }) => Promise.resolve(tables.map(({ name, isTrusted }) => `${name} ${isTrusted}`)),
    "DROP TABLE trap, theirs; DROP FUNCTION back(); DROP SCHEMA pgvpd CASCADE",
  );
  assert.ok(trusted.includes("public.trap false"), trusted.join());
  assert.ok(trusted.some((line) => line.startsWith("public.theirs ")), "and hides no table");
});

Deno.test("what a policy reads is code too, when it is a view or has policies", async () => {
  const trusted = (fault: string, undo: string) =>
    trying(
      `CREATE TABLE t (tenant_id text); ALTER TABLE t ENABLE ROW LEVEL SECURITY;
       GRANT SELECT ON t TO app_user; CREATE TABLE list (org text); ${fault}
       CREATE POLICY p ON t USING (tenant_id IN (SELECT org FROM list))`,
      (_, { tables }) => Promise.resolve(tables.find(({ name }) => name === "public.t")!.isTrusted),
      `DROP TABLE t; ${undo}`,
    );
  const owned = "ALTER TABLE list OWNER TO keeper;";
  assert.equal(await trusted(owned, "DROP TABLE list"), true);
  const itself = `${owned} ALTER TABLE list ENABLE ROW LEVEL SECURITY;`;
  assert.equal(await trusted(itself, "DROP TABLE list"), false);
  const view = `DROP TABLE list; CREATE VIEW list AS SELECT 'a'::text AS org;
    ALTER VIEW list OWNER TO keeper;`;
  assert.equal(await trusted(view, "DROP VIEW list"), false);
});

Deno.test("the planner runs code of indexes and constraints, a child's too", async () => {
  const made = `CREATE TABLE t (tenant_id text, body text); SELECT pgvpd_protect('t');
    CREATE TABLE child () INHERITS (t);
    CREATE FUNCTION f(x text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT x';
    CREATE STATISTICS s ON tenant_id, body FROM t;`;
  const trusted = (fault: string) =>
    trying(
      `${made} ${fault}; ALTER FUNCTION f(text) OWNER TO keeper`,
      (_, { tables }) => Promise.resolve(tables.find(({ name }) => name === "public.t")!.isTrusted),
      "DROP TABLE t CASCADE; DROP FUNCTION f(text)",
    );
  assert.equal(await trusted("CREATE INDEX ON t (lower(body))"), true);
  assert.equal(await trusted("CREATE INDEX ON t (f(body))"), false);
  assert.equal(await trusted("ALTER TABLE t ADD CHECK (f(body) <> '')"), false);
  assert.equal(await trusted("CREATE INDEX ON child (tenant_id) WHERE f(body) = 'x'"), false);
});
