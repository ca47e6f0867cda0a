// sql/setup.sql against a real PostgreSQL: what it isolates, refuses and leaves behind.
//
// PGVPD_TEST_PG_MAJORS=13,18 runs it on those majors, `deno task test:matrix` on all.

import assert from "node:assert/strict";
import {
  snapshot,
  type SqlClient,
  startServer,
  TestDatabase,
  testedMajors,
} from "../support/sql_database.ts";
import { COLUMN_TYPES, FAULTS, FORMER_VERSION, REFUSALS } from "../support/sql_setup_cases.ts";

const SETUP = await Deno.readTextFile(new URL("../../sql/setup.sql", import.meta.url));
const DENIED = "42501";
const POLICY = /violates row-level security policy/;

const scenarios: Record<string, (database: TestDatabase) => Promise<void>> = {};

for (const major of testedMajors()) {
  Deno.test(`sql/setup.sql on PostgreSQL ${major}`, async (test) => {
    await using server = await startServer(major);
    let number = 0;
    for (const [name, scenario] of Object.entries(scenarios)) {
      await test.step(name, async () => {
        await using database = await TestDatabase.create(server, `scenario_${++number}`);
        await scenario(database);
      });
    }
  });
}

/** Two rows, one of tenant acme and one of tenant umbrella. */
async function protectedNotes({ admin }: TestDatabase): Promise<void> {
  await admin.run(SETUP);
  await admin.run(`
    CREATE TABLE notes (id serial, tenant_id text NOT NULL, body text);
    CREATE INDEX ON notes (tenant_id);
    INSERT INTO notes (tenant_id, body) VALUES ('acme', 'a'), ('umbrella', 'u');
    SELECT pgvpd_protect('notes')`);
}

async function missingIn(admin: SqlClient, table: string): Promise<string> {
  const rows = await admin.run(`SELECT missing FROM pgvpd_status() WHERE table_name = '${table}'`);
  assert.equal(rows.length, 1, `${table} is in pgvpd_status() once`);
  return rows[0]?.["missing"] ?? "nothing";
}

scenarios["every column type isolates, and fits no other context"] = async (database) => {
  const { admin } = database;
  await admin.run(SETUP);
  await admin.run(`CREATE TYPE tenant_enum AS ENUM ('acme', 'umbrella');
    CREATE DOMAIN tenant_domain AS integer CHECK (value > 0)`);
  const app = database.connect("app_user");
  for (const [type, one, other, nobody] of COLUMN_TYPES) {
    await admin.run(`CREATE TABLE typed (tenant_id ${type}, body text);
      INSERT INTO typed VALUES ('${one}', 'mine'), ('${other}', 'theirs'), (NULL, 'orphan');
      SELECT pgvpd_protect('typed')`);
    for (const context of [null, "", ...nobody]) {
      await app.becomeTenant(context);
      assert.deepEqual(await app.column("SELECT body FROM typed"), [], `${type}: ${context}`);
      await app.refused(`INSERT INTO typed VALUES ('${one}')`, DENIED, POLICY);
    }
    await app.becomeTenant(one);
    assert.deepEqual(await app.column("SELECT body FROM typed"), ["mine"], type);
    await app.refused(`INSERT INTO typed VALUES ('${other}')`, DENIED, POLICY);
    await app.refused(`UPDATE typed SET tenant_id = '${other}'`, DENIED, POLICY);
    assert.equal((await app.run("UPDATE typed SET body = 'changed'")).count, 1, type);
    await app.run(`INSERT INTO typed VALUES ('${one}', 'new')`);
    assert.equal((await app.run("DELETE FROM typed")).count, 2, type);
    await app.becomeTenant(other);
    assert.deepEqual(await app.column("SELECT body FROM typed"), ["theirs"], type);
    await admin.run("DROP TABLE typed");
  }
};

scenarios["a context that cannot be cast fails closed"] = async (database) => {
  await database.admin.run(SETUP);
  await database.admin.run(`CREATE TABLE counted (tenant_id numeric); CREATE TABLE big (tenant_id
    bigint); INSERT INTO counted VALUES (1); INSERT INTO big VALUES (1);
    SELECT pgvpd_protect('counted'), pgvpd_protect('big')`);
  const app = await database.connect("app_user").becomeTenant("acme");
  await app.refused("SELECT * FROM counted", "22P02", /invalid input syntax for type numeric/);
  await app.becomeTenant("9".repeat(19));
  await app.refused("SELECT * FROM big", "22003", /out of range/);
};

scenarios["names: qualified, quoted, long, and found by the caller's search_path"] = async (
  database,
) => {
  const { admin } = database;
  await admin.run(SETUP);
  await admin.run(`CREATE SCHEMA billing; CREATE SCHEMA "Odd Schema"`);
  const app = database.connect("app_user");
  const names = [
    "billing.invoices",
    `"Weird Table"`,
    `"Odd Schema"."it's ""odd"".table"`,
    "t".repeat(63),
    `"${"ü".repeat(31)}"`,
  ];
  for (const name of names) {
    await admin.run(`CREATE TABLE ${name} ("Tenant Of" text);
      INSERT INTO ${name} VALUES ('acme'), ('umbrella');
      SELECT pgvpd_protect('${name.replaceAll("'", "''")}', 'Tenant Of')`);
    await app.becomeTenant("acme");
    assert.deepEqual(await app.column(`SELECT * FROM ${name}`), ["acme"], name);
  }
  // The bare name means billing's table to this caller, although public has one too.
  await admin.run(`CREATE TABLE public.shared (tenant_id text);
    CREATE TABLE billing.shared (tenant_id text); SET search_path = billing, public;
    SELECT pgvpd_protect('shared'); SET search_path = public`);
  const forced =
    "SELECT schema_name FROM pgvpd_status() WHERE table_name = 'shared' AND rls_forced";
  assert.deepEqual(await admin.column(forced), ["billing"]);
  await admin.run("ALTER TABLE billing.shared RENAME TO renamed");
  await admin.run("SELECT pgvpd_protect('billing.renamed')");
  const policies = "SELECT policyname FROM pg_policies WHERE tablename = 'renamed' ORDER BY 1";
  assert.deepEqual(await admin.column(policies), [
    "pgvpd_tenant_boundary_renamed",
    "pgvpd_tenant_isolation_renamed",
  ]);
};

scenarios["partitions of partitions and inheritance children are isolated"] = async (database) => {
  const { admin } = database;
  await admin.run(SETUP);
  await admin.run(`
    CREATE TABLE event (tenant_id integer NOT NULL, year int) PARTITION BY LIST (year);
    CREATE TABLE event_old PARTITION OF event FOR VALUES IN (1, 2) PARTITION BY LIST (year);
    CREATE TABLE event_1 PARTITION OF event_old FOR VALUES IN (1);
    CREATE TABLE event_9 (year int, dropped int, tenant_id integer NOT NULL);
    ALTER TABLE event_9 DROP COLUMN dropped;
    ALTER TABLE event ATTACH PARTITION event_9 FOR VALUES IN (9);
    CREATE TABLE event_heir (tenant_id integer, year int);
    CREATE TABLE child () INHERITS (event_heir);
    INSERT INTO event VALUES (1, 1), (2, 1), (1, 9), (2, 9);
    INSERT INTO child VALUES (1, 1), (2, 2); GRANT ALL ON event_1, event_9 TO app_user, PUBLIC;
    SELECT pgvpd_protect('event'), pgvpd_protect('event_heir');
    CREATE ROLE reader LOGIN; GRANT SELECT ON event_1, event_9, child TO reader;
    GRANT EXECUTE ON FUNCTION current_tenant_id() TO reader`);
  const app = await database.connect("app_user").becomeTenant("2");
  const reader = await database.connect("reader").becomeTenant("2");
  assert.deepEqual(await app.column("SELECT year FROM event ORDER BY 1"), ["1", "9"]);
  assert.deepEqual(await app.column("SELECT year FROM event_heir"), ["2"]);
  await app.refused("INSERT INTO event VALUES (1, 9)", DENIED, POLICY);
  await app.run("INSERT INTO event VALUES (2, 9)");
  for (const part of ["event_old", "event_1", "event_9", "child"]) {
    await app.refused(`SELECT * FROM ${part}`, DENIED, /permission denied/);
    assert.equal(await missingIn(admin, part), "nothing");
  }
  for (const part of ["event_1", "event_9", "child"]) {
    const seen = await reader.column(`SELECT DISTINCT tenant_id FROM ${part}`);
    assert.deepEqual(seen, ["2"], `directly from ${part}`);
  }
  await admin.run("CREATE TABLE event_2 PARTITION OF event_old FOR VALUES IN (2)");
  assert.equal(await missingIn(admin, "event"), "partition public.event_2 is unprotected");
  await admin.run("SELECT pgvpd_protect('event')");
  assert.equal(await missingIn(admin, "event"), "nothing");
};

scenarios["nothing opens it: permissive policies, other roles, ownership, search_path"] = async (
  database,
) => {
  await protectedNotes(database);
  const { admin } = database;
  await admin.run(`
    INSERT INTO notes (tenant_id, body) VALUES ('', 'nobody''s');
    CREATE POLICY open ON notes USING (true) WITH CHECK (true);
    CREATE ROLE owner_role LOGIN; ALTER TABLE notes OWNER TO owner_role;
    GRANT EXECUTE ON FUNCTION current_tenant_id() TO owner_role;
    CREATE SCHEMA trap; GRANT USAGE ON SCHEMA trap TO app_user;
    CREATE FUNCTION trap.yes(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
    CREATE OPERATOR trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.yes);
    CREATE FUNCTION trap.length(text) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION trap.current_setting(text, boolean) RETURNS text
      LANGUAGE sql AS $$ SELECT 'umbrella'::text $$`);
  for (const role of ["app_user", "owner_role"]) {
    const client = await database.connect(role).becomeTenant("acme");
    await client.run("SET search_path = trap, pg_catalog, public");
    assert.deepEqual(await client.column("SELECT body FROM notes"), ["a"], role);
    await client.refused("INSERT INTO notes VALUES (9, 'umbrella')", DENIED, POLICY);
    await client.run("SET app.current_tenant_id = ''");
    assert.deepEqual(await client.column("SELECT body FROM notes"), [], role);
    await client.run("BEGIN; SET LOCAL app.current_tenant_id = 'acme'; COMMIT");
    assert.deepEqual(await client.column("SELECT body FROM notes"), [], role);
  }
};

scenarios["privileges that go round the policies are taken away"] = async (database) => {
  const { admin } = database;
  await admin.run(SETUP);
  await admin.run(`CREATE TABLE notes (tenant_id text); CREATE TABLE other (id serial);
    GRANT ALL ON notes TO app_user, PUBLIC; GRANT SELECT (tenant_id) ON notes TO PUBLIC;
    SELECT pgvpd_protect('notes')`);
  const app = await database.connect("app_user").becomeTenant("acme");
  await app.refused("TRUNCATE notes", DENIED, /permission denied/);
  const privileges = await admin.column(`SELECT a.privilege_type
    FROM pg_class c, aclexplode(c.relacl) a WHERE c.relname = 'notes'
     AND a.grantee IN (0, 'app_user'::regrole) ORDER BY 1`);
  assert.deepEqual(privileges, ["DELETE", "INSERT", "SELECT", "UPDATE"]);
  await admin.run(`CREATE ROLE granter; GRANT TRUNCATE ON notes TO granter WITH GRANT OPTION;
    SET ROLE granter; GRANT TRUNCATE ON notes TO app_user; RESET ROLE;
    SELECT pgvpd_protect('notes')`);
  assert.match(admin.notices.join("\n"), /WARNING: pgvpd: role app_user may still TRUNCATE/);
  await app.refused("SELECT nextval('other_id_seq')", DENIED, /permission denied for sequence/);
  const granted = await admin.column(`
    SELECT oid::regprocedure::text FROM pg_proc p, aclexplode(coalesce(p.proacl,
        acldefault('f', p.proowner))) a
     WHERE p.pronamespace = 'public'::regnamespace AND a.grantee = 0
    UNION ALL SELECT c.relname FROM pg_class c, aclexplode(c.relacl) a
     WHERE c.relnamespace = 'public'::regnamespace AND a.grantee = 0
    UNION ALL SELECT attrelid::regclass::text FROM pg_attribute a, aclexplode(a.attacl) x
     WHERE x.grantee = 0 AND a.attrelid = 'notes'::regclass`);
  assert.deepEqual(granted, [], "granted to PUBLIC");
};

scenarios["serial and identity columns work without any other grant"] = async (database) => {
  await database.admin.run(SETUP);
  await database.admin.run(`CREATE SCHEMA shop;
    CREATE TABLE shop.orders (id serial, line int GENERATED BY DEFAULT AS IDENTITY, tenant_id text);
    SELECT pgvpd_protect('shop.orders')`);
  const app = await database.connect("app_user").becomeTenant("acme");
  const text = "INSERT INTO shop.orders (tenant_id) VALUES ('acme') RETURNING id + line";
  assert.deepEqual(await app.column(text), ["2"]);
  assert.deepEqual(await app.column("SELECT currval('shop.orders_line_seq')"), ["1"]);
};

scenarios["the tenant is evaluated once per query, inlined, and an index serves it"] = async (
  database,
) => {
  await protectedNotes(database);
  await database.admin.run(`CREATE TABLE numbered (tenant_id integer PRIMARY KEY);
    SELECT pgvpd_protect('numbered')`);
  const app = await database.connect("app_user").becomeTenant("7");
  await app.run("SET enable_seqscan = off; SET enable_bitmapscan = off");
  for (const table of ["notes", "numbered"]) {
    const plan = (await app.column(`EXPLAIN (VERBOSE, COSTS off) SELECT * FROM ${table}`)).join(
      "\n",
    );
    assert.equal(plan.match(/^ +InitPlan/gm)?.length, 1, plan);
    assert.match(
      plan,
      /Index Cond: \(\(?\w+\.tenant_id\)?(::text)? = (\$0|\(InitPlan 1\)\.col1)\)/,
    );
    assert.match(plan, /CASE WHEN .*current_setting\('app\.current_tenant_id'/);
    assert.doesNotMatch(plan, /current_tenant_id\(\)/);
  }
  const attributes = `SELECT provolatile::text || proparallel::text || (proconfig IS NULL)
    FROM pg_proc WHERE proname = 'current_tenant_id'`;
  assert.deepEqual(await database.admin.column(attributes), ["sstrue"]);
};

scenarios["running it again changes nothing"] = async (database) => {
  await protectedNotes(database);
  const { admin } = database;
  await admin.run("CREATE ROLE backend; SELECT pgvpd_protect('notes', app_role => 'backend')");
  const before = await snapshot(admin);
  await admin.run(SETUP);
  await admin.run("SELECT pgvpd_protect('notes')");
  assert.deepEqual(await snapshot(admin), before);
  await admin.run(`BEGIN; SET LOCAL search_path = pg_temp, public, pg_catalog; ${SETUP}`);
  const path = await admin.column("SHOW search_path");
  assert.deepEqual(path, ["pg_temp, public, pg_catalog"], "the caller's search_path is left alone");
  await admin.run("ROLLBACK");
};

scenarios["an installation of the former two-argument functions is upgraded"] = async (
  database,
) => {
  const { admin } = database;
  await admin.run(FORMER_VERSION);
  await admin.run(SETUP);
  await admin.run("SELECT pgvpd_protect('notes')");
  const [row] = await admin.run("SELECT * FROM pgvpd_status()");
  const [columns, values] = [Object.keys(row ?? {}), Object.values(row ?? {})];
  assert.deepEqual(columns.slice(0, 4), [
    "table_name",
    "rls_enabled",
    "rls_forced",
    "policy_count",
  ]);
  assert.deepEqual(columns.slice(4), ["schema_name", "missing"]);
  assert.deepEqual(values, ["notes", true, true, "2", "public", null]);
  const app = await database.connect("app_user").becomeTenant("acme");
  assert.deepEqual(await app.column("SELECT * FROM notes"), ["acme"]);
};

scenarios["an owner with CREATEROLE, not superuser, installs and protects"] = async (database) => {
  await database.admin.run(`CREATE ROLE manager LOGIN CREATEROLE;
    ALTER DATABASE ${database.name} OWNER TO manager`);
  const manager = database.connect("manager");
  await manager.run(SETUP);
  await manager.run(SETUP);
  await manager.run(`CREATE SCHEMA crm; CREATE TABLE crm.contacts (tenant_id uuid NOT NULL);
    SELECT pgvpd_protect('crm.contacts')`);
  const tenant = "018f0000-0000-7000-8000-00000000000a";
  const app = await database.connect("app_user").becomeTenant(tenant);
  await app.run(`INSERT INTO crm.contacts VALUES ('${tenant}')`);
  assert.deepEqual(await app.column("SELECT * FROM crm.contacts"), [tenant]);
  assert.deepEqual(await manager.column("SELECT * FROM crm.contacts"), [], "FORCE binds the owner");
  // What it may not repair it must not pass over.
  for (const attribute of ["SUPERUSER", "BYPASSRLS", "REPLICATION"]) {
    await database.admin.run(`ALTER ROLE app_user ${attribute}`);
    await manager.refused(
      SETUP,
      DENIED,
      new RegExp(`app_user must be NO${attribute}.*superuser`, "s"),
    );
    await database.admin.run(`ALTER ROLE app_user NO${attribute}`);
  }
};

scenarios["app_user is made safe, without a password, or refused"] = async (database) => {
  const { admin } = database;
  await admin.run(SETUP);
  const attributes = `SELECT concat_ws(',', rolcanlogin, rolsuper, rolbypassrls, rolcreatedb,
    rolcreaterole, rolinherit, rolreplication, rolpassword IS NULL) FROM pg_authid
    WHERE rolname = 'app_user'`;
  assert.deepEqual(await admin.column(attributes), ["t,f,f,f,f,f,f,t"]);
  assert.match(admin.notices.join("\n"), /NOTICE: pgvpd: role app_user has no password yet/);
  assert.match(admin.notices.at(-1) ?? "", /Next: SELECT pgvpd_protect/);
  await admin.run(`ALTER ROLE app_user NOLOGIN SUPERUSER BYPASSRLS CREATEDB CREATEROLE INHERIT
    REPLICATION PASSWORD 'kept'`);
  await admin.run(SETUP);
  assert.deepEqual(await admin.column(attributes), ["t,f,f,f,f,f,f,f"]);

  await admin.run("CREATE ROLE backdoor BYPASSRLS; GRANT backdoor TO app_user");
  await admin.refused(SETUP, "0P000", /may SET ROLE to backdoor.*REVOKE backdoor FROM app_user/s);
  await admin.run("REVOKE backdoor FROM app_user; GRANT CREATE ON SCHEMA public TO app_user");
  await admin.run(SETUP);
  assert.match(admin.notices.join("\n"), /WARNING: pgvpd: app_user may create objects in schema/);
  await admin.run("ALTER ROLE app_user SUPERUSER");
  await database.connect("app_user").refused(SETUP, "0P000", /setup\.sql runs as app_user/);
};

scenarios["a second role gets what it needs, and nobody without it gets in"] = async (database) => {
  await protectedNotes(database);
  const { admin } = database;
  await admin.run(`CREATE ROLE authenticated; CREATE ROLE stranger; GRANT authenticated, stranger
    TO app_user; GRANT SELECT ON notes TO stranger; CREATE SCHEMA crm; CREATE TABLE crm.leads
    (id serial, tenant_id text)`);
  const app = await database.connect("app_user").becomeTenant("acme");
  await app.run("SET ROLE authenticated");
  await app.refused("SELECT * FROM notes", DENIED, /permission denied for table/);
  await admin.run(`SELECT pgvpd_protect('notes', 'tenant_id', 'authenticated');
    SELECT pgvpd_protect('crm.leads', app_role => 'authenticated')`);
  assert.deepEqual(await app.column("SELECT body FROM notes"), ["a"]);
  await app.run("INSERT INTO crm.leads (tenant_id) VALUES ('acme')");
  await app.refused("INSERT INTO crm.leads (tenant_id) VALUES ('umbrella')", DENIED, POLICY);
  await app.run("RESET ROLE");
  assert.deepEqual(await app.column("SELECT body FROM notes"), ["a"], "app_user keeps its own");
  await app.refused("SELECT * FROM crm.leads", DENIED, /permission denied/);
  await app.run("SET ROLE stranger");
  await app.refused("SELECT * FROM notes", DENIED, /permission denied for function/);
};

scenarios["what cannot be isolated is refused, with a hint"] = async (database) => {
  const { admin } = database;
  await admin.run(SETUP);
  await admin.run(REFUSALS.setup);
  for (const [call, sqlState, words] of REFUSALS.calls) {
    await admin.refused(`SELECT pgvpd_protect(${call})`, sqlState, words);
  }
  assert.deepEqual(await admin.column("SELECT relname FROM pg_class WHERE relrowsecurity"), []);
};

scenarios["a nullable or unindexed tenant column is warned about"] = async (database) => {
  const { admin } = database;
  await protectedNotes(database);
  assert.equal(admin.notices.filter((notice) => /no index|may be NULL/.test(notice)).length, 0);
  assert.match(admin.notices.at(-1) ?? "", /^NOTICE: pgvpd: public\.notes is protected by column/);
  await admin.run(`DROP INDEX notes_tenant_id_idx; CREATE INDEX ON notes (id, tenant_id);
    CREATE INDEX ON notes (tenant_id) WHERE id > 5; SELECT pgvpd_protect('notes')`);
  assert.match(
    admin.notices.at(-2) ?? "",
    /^WARNING: pgvpd: no index of public\.notes begins with/,
  );
  await admin.run(`CREATE UNIQUE INDEX ON notes (tenant_id, id);
    ALTER TABLE notes ALTER tenant_id DROP NOT NULL; SELECT pgvpd_protect('notes')`);
  assert.match(admin.notices.at(-2) ?? "", /^WARNING: pgvpd: column tenant_id of .* may be NULL/);
};

scenarios["pgvpd_status() says what is missing"] = async (database) => {
  await protectedNotes(database);
  const { admin } = database;
  await admin.run("CREATE ROLE outsider; GRANT ALL ON notes TO outsider");
  for (const [damage, words] of FAULTS) {
    assert.equal(await missingIn(admin, "notes"), "nothing", `before ${damage}`);
    await admin.run(`BEGIN; ${damage}`);
    assert.match(await missingIn(admin, "notes"), words, damage);
    await admin.run("ROLLBACK");
  }
  await admin.run(`CREATE SCHEMA other; CREATE TABLE other.notes2 (id int) PARTITION BY LIST (id)`);
  assert.equal(await missingIn(admin, "notes2"), "row-level security is off");
  const schemas = "SELECT DISTINCT schema_name FROM pgvpd_status() ORDER BY 1";
  assert.deepEqual(await admin.column(schemas), ["other", "public"]);
};
