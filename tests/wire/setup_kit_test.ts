// sql/setup.sql as a kit: upgraded in place, configured, for whole schemas, and taken back.
//
// PGVPD_TEST_PG_MAJORS=13,18 runs it on those majors, `deno task test:matrix` on all.

import assert from "node:assert/strict";
import denoJson from "../../deno.json" with { type: "json" };
import {
  snapshot,
  type SqlClient,
  startServer,
  TestDatabase,
  testedMajors,
} from "../support/sql_database.ts";

const file = (path: string) => Deno.readTextFile(new URL(`../../${path}`, import.meta.url));
const SETUP = await file("sql/setup.sql");
const HELPERS = await file("sql/helpers.sql");
/** That of the commit before this kit. */
const FORMER_SETUP = await file("tests/fixtures/setup_former.sql");
const DENIED = "42501";
const POLICY = /violates row-level security policy/;

const scenarios: Record<string, (database: TestDatabase) => Promise<void>> = {};

for (const major of testedMajors()) {
  Deno.test(`the kit of sql/setup.sql on PostgreSQL ${major}`, async (test) => {
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

const NOTES = `CREATE TABLE notes (tenant_id text NOT NULL, body text);
  INSERT INTO notes VALUES ('acme', 'a'), ('umbrella', 'u')`;

function functions(admin: SqlClient): Promise<string[]> {
  return admin.column(`SELECT oid::regprocedure::text FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace ORDER BY 1`);
}

async function missing(admin: SqlClient): Promise<string[]> {
  return (await admin.run("SELECT table_name, missing FROM pgvpd_status()"))
    .map((row) => `${row["table_name"]}: ${row["missing"] ?? "nothing"}`);
}

scenarios["upgraded from the version before: same functions, same rows, same rights"] = async (
  database,
) => {
  const { admin } = database;
  await admin.run(`${SETUP}; ${HELPERS}`);
  const fresh = await functions(admin);
  await admin.run("DROP OWNED BY app_user; DROP ROLE app_user; DROP SCHEMA public CASCADE");
  await admin.run(`CREATE SCHEMA public; ${FORMER_SETUP}`);
  await admin.run(`CREATE ROLE dba LOGIN; GRANT EXECUTE ON FUNCTION
    pgvpd_protect(text, text, text), pgvpd_status() TO dba; ${NOTES};
    SELECT pgvpd_protect('notes')`);
  const app = await database.connect("app_user").becomeTenant("acme");
  assert.deepEqual(await app.column("SELECT body FROM notes"), ["a"]);
  await admin.run(`${SETUP}; ${HELPERS}`);
  assert.deepEqual(await functions(admin), fresh, "nothing is left of the former version");
  assert.deepEqual(
    await app.column("SELECT body FROM notes"),
    ["a"],
    "the old policies still hold",
  );
  const may = `SELECT has_function_privilege('dba', oid, 'EXECUTE') FROM pg_proc
    WHERE proname IN ('pgvpd_protect', 'pgvpd_status')`;
  assert.deepEqual(await admin.column(may), ["true", "true"]);
  assert.deepEqual(await missing(admin), ["notes: nothing"]);
  await admin.run("SELECT pgvpd_protect('notes')");
  assert.deepEqual(await app.column("SELECT body FROM notes"), ["a"]);
};

scenarios["running everything again changes nothing"] = async ({ admin }) => {
  await admin.run(
    `${SETUP}; ${HELPERS}; ${NOTES}; SELECT pgvpd_protect('notes', column_default => true);
    SELECT pgvpd_protect_acl('notes', '[{"column": "body", "var": "app.x", "type": "text"}]')`,
  );
  const before = await snapshot(admin);
  await admin.run(
    `${SETUP}; ${HELPERS}; ${SETUP}; SELECT pgvpd_protect('notes', column_default => true);
    SELECT pgvpd_protect_acl('notes', '[{"column": "body", "var": "app.x", "type": "text"}]')`,
  );
  assert.deepEqual(await snapshot(admin), before);
  assert.deepEqual(await admin.column("SELECT pgvpd_version()"), [denoJson.version]);
};

scenarios["an owner with CREATEROLE, not superuser, does all of it"] = async (database) => {
  await database.admin.run(`CREATE ROLE manager LOGIN CREATEROLE;
    ALTER DATABASE ${database.name} OWNER TO manager`);
  const manager = database.connect("manager");
  // On 13 and 14 a new database's public schema belongs to the superuser, but is open to all.
  for (let n = 0; n < 2; n++) {
    await manager.run(`${SETUP}; ${HELPERS}`);
    await manager.run(`CREATE SCHEMA IF NOT EXISTS crm; CREATE TABLE IF NOT EXISTS crm.leads
      (id serial, tenant_id uuid NOT NULL, owner text);
      SELECT pgvpd_protect('crm.leads', column_default => true), * FROM pgvpd_protect_all('crm');
      SELECT pgvpd_protect_acl('crm.leads',
        '[{"column": "owner", "var": "app.me", "type": "text"}]')`);
  }
  const tenant = "018f0000-0000-7000-8000-00000000000a";
  const app = await database.connect("app_user").becomeTenant(tenant);
  await app.run("SET app.me = 'alice'; INSERT INTO crm.leads (owner) VALUES ('alice')");
  assert.deepEqual(await app.column("SELECT tenant_id FROM crm.leads"), [tenant]);
  await manager.run("SELECT pgvpd_unprotect('crm.leads')");
  await app.refused("SELECT * FROM crm.leads", DENIED, /permission denied/);
  // Whoever does not own a table cannot protect it or take its protection away.
  await database.admin.run("CREATE TABLE crm.foreign_one (tenant_id text)");
  await manager.refused("SELECT pgvpd_protect('crm.foreign_one')", DENIED, /permission|owner/);
  await database.admin.run("SELECT pgvpd_protect('crm.foreign_one')");
  await manager.refused("SELECT pgvpd_unprotect('crm.foreign_one')", DENIED, /permission|owner/);
};

scenarios["another role and another variable, remembered"] = async (database) => {
  const { admin } = database;
  await admin.run(
    `SET pgvpd.app_role = 'Tenant''s "user"'; SET pgvpd.tenant_variable = 'app.org_id';
    ${SETUP}; RESET pgvpd.app_role; RESET pgvpd.tenant_variable;
    ${SETUP}; ${HELPERS}; ${SETUP}; ${NOTES};
    SELECT pgvpd_protect('notes')`,
  );
  assert.deepEqual(await admin.column("SELECT rolname FROM pg_roles WHERE oid >= 16384"), [
    `Tenant's "user"`,
  ]);
  const app = database.connect(`Tenant's "user"`);
  await app.run("SET app.current_tenant_id = 'umbrella'; SET app.org_id = 'acme'");
  assert.deepEqual(await app.column("SELECT body FROM notes"), ["a"]);
  assert.deepEqual(await app.column("SELECT pgvpd_context_array('app.org_id')::text"), ["{acme}"]);
  await admin.refused(
    `SET pgvpd.tenant_variable = 'search_path'; ${SETUP}`,
    "22023",
    /'search_path' is not the name of a context variable\n.*app\.org_id/,
  );
};

scenarios["one table by another variable"] = async (database) => {
  const { admin } = database;
  await admin.run(`${SETUP}; ${NOTES}; CREATE ROLE authenticated;
    SELECT pgvpd_protect('notes', 'tenant_id', 'authenticated', 'app.list_id')`);
  await admin.run("GRANT authenticated TO app_user");
  const app = await database.connect("app_user").becomeTenant("umbrella");
  await app.refused("SELECT * FROM notes", DENIED, /permission denied/);
  await app.run("SET ROLE authenticated");
  assert.deepEqual(await app.column("SELECT body FROM notes"), []);
  await app.run("SET app.list_id = 'acme'");
  assert.deepEqual(await app.column("SELECT body FROM notes"), ["a"]);
  await app.refused("INSERT INTO notes VALUES ('umbrella')", DENIED, POLICY);
  for (const name of ["role", "", "app.", "app.x y", "app.x') OR true --", ".x"]) {
    await admin.refused(
      `SELECT pgvpd_protect('notes', context_variable => '${name.replaceAll("'", "''")}')`,
      "22023",
      /is not the name of a context variable/,
    );
  }
  assert.deepEqual(await missing(admin), ["notes: nothing"]);
};

scenarios["a default for the tenant's column, on request"] = async (database) => {
  const { admin } = database;
  await admin.run(`${SETUP}; ${NOTES}; CREATE TABLE counted (tenant_id smallint, body text);
    CREATE TABLE own (tenant_id text DEFAULT 'acme');
    SELECT pgvpd_protect('notes', column_default => true);
    SELECT pgvpd_protect('counted', column_default => true)`);
  const app = await database.connect("app_user").becomeTenant("7");
  await app.run(
    "INSERT INTO notes (body) VALUES ('new'); INSERT INTO counted (body) VALUES ('new')",
  );
  assert.deepEqual(await app.column("SELECT tenant_id FROM notes"), ["7"]);
  assert.deepEqual(await app.column("SELECT tenant_id FROM counted"), ["7"]);
  await app.becomeTenant(null);
  await app.refused("INSERT INTO notes (body) VALUES ('x')", DENIED, POLICY);
  await admin.refused(
    "SELECT pgvpd_protect('own', column_default => true)",
    "22023",
    /column tenant_id of public\.own already has the default 'acme'::text\nLeave column_default out/,
  );
  await admin.run("SELECT pgvpd_unprotect('notes')");
  const left = "SELECT adrelid::regclass::text FROM pg_attrdef ORDER BY 1";
  assert.deepEqual(await admin.column(left), ["counted", "own"]);
};

scenarios["every table of a schema"] = async (database) => {
  const { admin } = database;
  await admin.run(`${SETUP}; CREATE SCHEMA "My shop"; SET search_path = "My shop", public;
    CREATE TABLE a_global (id int);
    CREATE TABLE "B orders" (id serial, "Org" uuid NOT NULL);
    CREATE TABLE c_events ("Org" text, year int) PARTITION BY LIST (year);
    CREATE TABLE d_events_1 PARTITION OF c_events FOR VALUES IN (1);
    CREATE VIEW e_view AS SELECT * FROM c_events;
    CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
    CREATE FOREIGN TABLE f_far ("Org" text) SERVER nowhere; SET search_path = public`);
  const rows = await admin.run("SELECT * FROM pgvpd_protect_all('My shop', 'Org')");
  assert.deepEqual(rows.map((row) => Object.values(row)), [
    [`"My shop"."B orders"`, "protected"],
    [`"My shop".a_global`, `left as it is: no column "Org"`],
    [`"My shop".c_events`, "protected"],
    [`"My shop".d_events_1`, `goes with "My shop".c_events`],
    [`"My shop".f_far`, "not protected: a foreign table cannot have row-level security"],
  ]);
  assert.match(admin.notices.join("\n"), /WARNING: pgvpd: "My shop"\.f_far is a foreign table/);
  assert.deepEqual(await missing(admin), [
    "B orders: nothing",
    "a_global: row-level security is off",
    "c_events: nothing",
    "d_events_1: nothing",
  ]);
  await admin.refused("SELECT pgvpd_protect_all('My Shop')", "3F000", /no schema "My Shop"\n/);
  await admin.refused("SELECT pgvpd_protect_all(NULL)", "3F000", /no schema NULL/);
  assert.deepEqual(await admin.column("SELECT pgvpd_protect_all('public')"), []);
};

scenarios["protection is taken back, and with it the tenants' rights"] = async (database) => {
  const { admin } = database;
  await admin.run(`${SETUP}; ${HELPERS}; CREATE ROLE authenticated;
    CREATE TABLE event (tenant_id text, year int) PARTITION BY LIST (year);
    CREATE TABLE event_1 PARTITION OF event FOR VALUES IN (1);
    INSERT INTO event VALUES ('acme', 1), ('umbrella', 1);
    SELECT pgvpd_protect('event'), pgvpd_protect('event', app_role => 'authenticated')`);
  const before = await admin.column("SELECT relname FROM pg_class WHERE relrowsecurity");
  assert.deepEqual(before.sort(), ["event", "event_1"]);
  await admin.refused(
    "SELECT pgvpd_unprotect('event_1')",
    "55006",
    /event_1 is a part of public\.event, which is protected\n.*detach/,
  );
  await admin.refused("SELECT pgvpd_unprotect('nope')", "42P01", /no table nope/);
  await admin.refused("SELECT pgvpd_unprotect(NULL)", "42P01", /no table NULL/);
  await admin.run("SELECT pgvpd_unprotect('event')");
  const left =
    `SELECT relname || relrowsecurity::text || relforcerowsecurity || coalesce(grantee::regrole::text, '')
    FROM pg_class LEFT JOIN LATERAL aclexplode(relacl) a ON a.grantee <> relowner
   WHERE relname LIKE 'event%' ORDER BY 1`;
  assert.deepEqual(await admin.column(left), ["event_1falsefalse", "eventfalsefalse"]);
  assert.deepEqual(await admin.column("SELECT polname FROM pg_policy"), []);
  const app = await database.connect("app_user").becomeTenant("acme");
  await app.refused("SELECT * FROM event", DENIED, /permission denied/);
  await admin.run("SELECT pgvpd_unprotect('event')");
  assert.match(admin.notices.at(-1) ?? "", /public\.event was not protected, nothing has changed/);

  // With another policy on the table row-level security stays; with keep_privileges the rights do.
  await admin.run(
    `SELECT pgvpd_protect('event'); CREATE POLICY mine ON event USING (tenant_id = 'acme');
    SELECT pgvpd_unprotect('event', keep_privileges => true)`,
  );
  assert.match(admin.notices.at(-1) ?? "", /WARNING: .*tenants see all of its rows/);
  assert.deepEqual(await app.column("SELECT tenant_id FROM event"), ["acme"]);
};

scenarios["sequences of columns and tables that come later"] = async (database) => {
  const { admin } = database;
  await admin.run(`${SETUP}; ${NOTES}; SELECT pgvpd_protect('notes');
    ALTER TABLE notes ADD COLUMN id serial,
      ADD COLUMN number int GENERATED BY DEFAULT AS IDENTITY`);
  const app = await database.connect("app_user").becomeTenant("acme");
  await app.run("INSERT INTO notes (tenant_id, body) VALUES ('acme', 'new')");
  assert.deepEqual(await app.column("SELECT number FROM notes WHERE body = 'new'"), ["3"]);
  // Only sequences: a table that comes later is nobody's until it is protected.
  await admin.run("CREATE TABLE later (id serial, tenant_id text)");
  await app.refused("SELECT * FROM later", DENIED, /permission denied/);
};

scenarios["views that show everything are warned of"] = async ({ admin }) => {
  await admin.run(`${SETUP}; ${NOTES}; CREATE VIEW first AS SELECT * FROM notes;
    CREATE VIEW second AS SELECT * FROM first; GRANT SELECT ON second TO app_user;
    SELECT pgvpd_protect('notes')`);
  const warned = admin.notices.filter((notice) => /the rows of every tenant/.test(notice));
  assert.deepEqual(warned.map((one) => one.replace(/: it reads.*/, "")), [
    "WARNING: pgvpd: public.second shows app_user the rows of every tenant",
  ]);
  assert.deepEqual(await missing(admin), [
    "notes: public.second shows app_user the rows of every tenant",
  ]);
};

scenarios["a sealed context stays sealed"] = async (database) => {
  const { admin } = database;
  // As sql/sealed.sql does: the two bodies, and no others.
  await admin.run(
    `${SETUP}; ${HELPERS}; ${NOTES}; SELECT pgvpd_protect('notes'); CREATE SCHEMA pgvpd;
    CREATE FUNCTION pgvpd.ctx(name text) RETURNS text LANGUAGE sql STABLE PARALLEL RESTRICTED
      AS $$ SELECT CASE name WHEN 'app.current_tenant_id' THEN 'acme'
                             WHEN 'app.list' THEN '{a,b}' END $$;
    GRANT USAGE ON SCHEMA pgvpd TO PUBLIC;
    CREATE OR REPLACE FUNCTION current_tenant_id() RETURNS text LANGUAGE sql
      STABLE PARALLEL RESTRICTED AS $$ SELECT pgvpd.ctx('app.current_tenant_id') $$`,
  );
  await admin.refused(SETUP, "P0001", /one of .* is sealed, one is not\nRun unsealed\.sql/);
  await admin.run(`CREATE OR REPLACE FUNCTION pgvpd_context(var_name text) RETURNS text LANGUAGE sql
    STABLE PARALLEL RESTRICTED AS $$ SELECT pgvpd.ctx($1) $$; ${SETUP}; ${HELPERS}; ${SETUP}`);
  const app = await database.connect("app_user").becomeTenant("umbrella");
  await app.run("SET app.list = 'forged'");
  assert.deepEqual(await app.column("SELECT body FROM notes"), ["a"]);
  assert.deepEqual(await app.column("SELECT pgvpd_context_array('app.list')::text"), ["{a,b}"]);
  assert.deepEqual(
    await app.column("SELECT pgvpd_context_text_contains('app.list', 'forged')"),
    ["false"],
  );
  const parallel = `SELECT DISTINCT proparallel FROM pg_proc
    WHERE proname LIKE 'pgvpd\\_context%' OR proname = 'current_tenant_id'`;
  assert.deepEqual(await admin.column(parallel), ["r"]);
};

scenarios["a function that somebody else made under one of the names is refused"] = async (
  database,
) => {
  const { admin } = database;
  await admin.run("CREATE ROLE mallory LOGIN; GRANT CREATE, USAGE ON SCHEMA public TO mallory");
  const mallory = database.connect("mallory");
  for (const name of ["pgvpd_context(var_name text)", "pgvpd_apply()", "current_tenant_id()"]) {
    await mallory.run(`CREATE FUNCTION ${name} RETURNS text LANGUAGE sql AS $$ SELECT 'all' $$`);
    await admin.refused(
      SETUP,
      "42P17",
      /mallory owns public\.\w+\(.*\), and is neither a superuser nor the owner/,
    );
    await mallory.run(`DROP FUNCTION ${name}`);
  }
  await admin.run(SETUP);
};

scenarios["nothing opens it: a search_path with other functions and operators"] = async (
  database,
) => {
  const { admin } = database;
  await admin.run(`${SETUP}; ${HELPERS}; ${NOTES};
    SELECT pgvpd_protect_acl('notes', '[{"column": "tenant_id", "var": "app.list", "type": "text_array",
      "when": "pgvpd_context_text_contains(''app.list'', ''acme'')"}]');
    CREATE SCHEMA trap; GRANT USAGE ON SCHEMA trap TO app_user;
    CREATE FUNCTION trap.yes(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
    CREATE OPERATOR trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.yes);
    CREATE FUNCTION trap.pgvpd_context(text) RETURNS text LANGUAGE sql AS $$ SELECT 'umbrella' $$;
    CREATE FUNCTION trap.pgvpd_items(text) RETURNS text[] LANGUAGE sql
      AS $$ SELECT '{umbrella}'::text[] $$;
    CREATE FUNCTION trap.unnest(text[]) RETURNS SETOF text LANGUAGE sql
      AS $$ SELECT 'umbrella' $$`);
  const app = database.connect("app_user");
  await app.run("SET search_path = trap, pg_catalog, public; SET app.list = 'acme'");
  assert.deepEqual(await app.column("SELECT body FROM notes"), ["a"]);
  await app.run("SET app.list = 'other'");
  assert.deepEqual(await app.column("SELECT body FROM notes"), []);
};

scenarios["types that take different tenants for one are warned of"] = async (database) => {
  const { admin } = database;
  await admin.run(`${SETUP}; CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext;
    CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    CREATE DOMAIN code AS char(4)`);
  const warned = () => admin.notices.splice(0).some((one) => /different tenants for one/.test(one));
  for (
    const [type, isLoose] of [
      ["ext.citext", true],
      ["code", true],
      ["text COLLATE loose", true],
      ["text", false],
      ["varchar(9)", false],
      ["uuid", false],
    ] as const
  ) {
    await admin.run(`CREATE TABLE typed (tenant_id ${type}); SELECT pgvpd_protect('typed')`);
    assert.equal(warned(), isLoose, type);
    if (type === "ext.citext") {
      await admin.run("INSERT INTO typed VALUES ('acme'), ('umbrella')");
      const app = await database.connect("app_user").becomeTenant("acme");
      assert.deepEqual(await app.column("SELECT * FROM typed"), ["acme"]);
    }
    await admin.run("DROP TABLE typed");
  }
};

scenarios["workers read a protected table in parallel, and see the same rows"] = async (
  database,
) => {
  const { admin } = database;
  await admin.run(`${SETUP}; ${HELPERS}; CREATE TABLE big (tenant_id int, owner text, number int);
    INSERT INTO big SELECT n % 10, 'user ' || n % 7, n FROM generate_series(1, 20000) n;
    ANALYZE big;
    SELECT pgvpd_protect('big'); SELECT pgvpd_protect_acl('big', '[
      {"column": "owner", "var": "app.owners", "type": "text_array",
       "when": "number % 2 = 0 AND pgvpd_context_text_contains(''app.owners'', owner)"}]')`);
  const app = await database.connect("app_user").becomeTenant("2");
  await app.run(`SET app.owners = '{"user 1","user 2"}'; SET parallel_setup_cost = 0;
    SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
    SET max_parallel_workers_per_gather = 2`);
  const query = "SELECT count(*) FROM big WHERE number > 0";
  const plan = (await app.column(`EXPLAIN (COSTS off) ${query}`)).join("\n");
  assert.match(plan, /Parallel Seq Scan on big/, plan);
  const expected = await admin.column(`SELECT count(*) FROM big
    WHERE tenant_id = 2 AND owner IN ('user 1', 'user 2') AND number % 2 = 0`);
  assert.notDeepEqual(expected, ["0"]);
  assert.deepEqual(await app.column(query), expected);
};
