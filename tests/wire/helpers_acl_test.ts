// sql/helpers.sql: lists of the context in every form, and tables with several paths to a row.
//
// PGVPD_TEST_PG_MAJORS=13,18 runs it on those majors, `deno task test:matrix` on all.

import assert from "node:assert/strict";
import { startServer, TestDatabase, testedMajors } from "../support/sql_database.ts";
import {
  ACL_REFUSALS,
  BAD_CONDITIONS,
  LISTS,
  LOOSE_CONDITIONS,
  UUID_LISTS,
} from "../support/sql_helpers_cases.ts";

const file = (name: string) => Deno.readTextFile(new URL(`../../sql/${name}`, import.meta.url));
const SETUP = await file("setup.sql");
const HELPERS = await file("helpers.sql");
const DENIED = "42501";
const INVALID = "22023";
const POLICY = /violates row-level security policy/;
const ITEMS_MAX = 10_000;

const ALICE = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
const BOB = "b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a22";
const ORG = "0eeebc99-9c0b-4ef8-bb6d-6bb9bd380a33";
const CASES = ["1", "2", "3"].map((n) => `ca5e0000-0000-4000-8000-00000000000${n}`);

const scenarios: Record<string, (database: TestDatabase) => Promise<void>> = {};

for (const major of testedMajors()) {
  Deno.test(`sql/helpers.sql on PostgreSQL ${major}`, async (test) => {
    await using server = await startServer(major);
    let number = 0;
    for (const [name, scenario] of Object.entries(scenarios)) {
      await test.step(name, async () => {
        await using database = await TestDatabase.create(server, `scenario_${++number}`);
        await database.admin.run(SETUP);
        await database.admin.run(HELPERS);
        await scenario(database);
      });
    }
  });
}

const literal = (text: string) => `'${text.replaceAll("'", "''")}'`;

/** Three cases: one of Alice's, one of Bob's, one that is Bob's and of the organisation. */
const ACL_TABLE = `
  CREATE TABLE acl_cases (id uuid PRIMARY KEY, creator_id uuid, org_id uuid, title text);
  INSERT INTO acl_cases VALUES ('${CASES[0]}', '${ALICE}', NULL, 'one'),
    ('${CASES[1]}', '${BOB}', NULL, 'two'), ('${CASES[2]}', '${BOB}', '${ORG}', 'three')`;
const PATHS = `[
  {"column": "creator_id", "var": "app.user_id", "type": "uuid"},
  {"column": "id", "var": "app.granted_case_ids", "type": "uuid_array"},
  {"column": "org_id", "var": "app.org_id", "type": "uuid",
   "when": "pgvpd_context(''app.org_role'') = ''admin''"}
]`;

scenarios["suite 6: the context as text, list, uuids"] = async (database) => {
  const app = database.connect("app_user");
  assert.deepEqual(await app.column("SELECT pgvpd_context('app.x') IS NULL"), ["true"], "6.2");
  await app.run("SET app.x = 'hello'; SET app.list = 'a,b,c'");
  assert.deepEqual(await app.column("SELECT pgvpd_context('app.x')"), ["hello"], "6.1");
  assert.deepEqual(await app.column("SELECT pgvpd_context_array('app.list')::text"), ["{a,b,c}"]);
  await app.run(`SET app.ids = '${ALICE},${BOB}'`);
  const contains = (id: string) =>
    app.column(`SELECT pgvpd_context_contains('app.ids', '${id}'::uuid)`);
  assert.deepEqual([await contains(ALICE), await contains(ORG)], [["true"], ["false"]], "6.4, 6.5");
  const text = (item: string) =>
    app.column(`SELECT pgvpd_context_text_contains('app.list', ${item})`);
  assert.deepEqual([await text("'b'"), await text("'d'")], [["true"], ["false"]], "6.6");
  const ids = await app.column("SELECT unnest(pgvpd_context_uuid_array('app.ids'))");
  assert.deepEqual(ids, [ALICE, BOB], "6.7");
};

scenarios["suite 6: protect_acl, three paths to a row"] = async (database) => {
  const { admin } = database;
  await admin.run(ACL_TABLE);
  await admin.run(`SELECT pgvpd_protect_acl('acl_cases', '${PATHS}')`);
  const policies = await admin.column(
    "SELECT policyname || ' ' || permissive || ' ' || cmd FROM pg_policies ORDER BY 1",
  );
  assert.deepEqual(policies, [
    "pgvpd_acl_acl_cases PERMISSIVE ALL",
    "pgvpd_boundary_acl_acl_cases RESTRICTIVE ALL",
  ]);
  const app = database.connect("app_user");
  const seen = () => app.column("SELECT title FROM acl_cases ORDER BY title");
  assert.deepEqual(await seen(), [], "no context");
  await app.run(`SET app.user_id = '${ALICE}'`);
  assert.deepEqual(await seen(), ["one"], "the owner");
  await app.run(`SET app.org_id = '${ORG}'; SET app.org_role = 'member'`);
  assert.deepEqual(await seen(), ["one"], "a member");
  await app.run("SET app.org_role = 'admin'");
  assert.deepEqual(await seen(), ["one", "three"], "an admin");
  await app.run(`SET app.org_role = ''; SET app.granted_case_ids = '{${CASES[1]},${CASES[2]}}'`);
  assert.deepEqual(await seen(), ["one", "three", "two"], "a grant");
  await app.run("SET app.granted_case_ids = 'nonsense'; SET app.user_id = 'nonsense'");
  assert.deepEqual(await seen(), [], "no uuids are no rows, and no error");
  await app.refused(
    `INSERT INTO acl_cases VALUES (gen_random_uuid(), '${ALICE}')`,
    DENIED,
    POLICY,
  );
  const missing = "SELECT missing FROM pgvpd_status() WHERE table_name = 'acl_cases'";
  assert.deepEqual(await admin.column(missing), ["null"]);
};

scenarios["lists: commas, literals, quotes, spaces, and what is none"] = async (database) => {
  const app = database.connect("app_user");
  for (const [text, items] of LISTS) {
    await app.run(`SET app.list = ${literal(text)}`);
    const [row] = await app.run("SELECT to_json(pgvpd_context_array('app.list'))::text AS items");
    assert.deepEqual(JSON.parse(row?.["items"] ?? "null"), items, text);
    for (const item of items ?? ["a"]) {
      if (item === null) continue;
      const within = await app.column(
        `SELECT pgvpd_context_text_contains('app.list', ${literal(item)})`,
      );
      assert.deepEqual(within, [String(items !== null)], `${item} in ${text}`);
    }
  }
  for (const [text, items] of UUID_LISTS) {
    await app.run(`SET app.list = ${literal(text)}`);
    const [row] = await app.run(
      "SELECT to_json(pgvpd_context_uuid_array('app.list'))::text AS items",
    );
    assert.deepEqual(JSON.parse(row?.["items"] ?? "null"), items, text);
  }
};

scenarios["NULL arguments and odd names of variables"] = async (database) => {
  const app = database.connect("app_user");
  await app.run("SET app.list = 'a'");
  const calls = [
    ["pgvpd_context(NULL)", "null"],
    ["pgvpd_context('')", "null"],
    ["pgvpd_context('app')", "null"],
    ["pgvpd_context('app.nobody set it')", "null"],
    ["pgvpd_context('app.x''; --')", "null"],
    ["pgvpd_context_array(NULL)", "null"],
    ["pgvpd_context_uuid_array(NULL)", "null"],
    ["pgvpd_context_contains('app.list', NULL)", "false"],
    ["pgvpd_context_contains(NULL, NULL)", "false"],
    ["pgvpd_context_text_contains('app.list', NULL)", "false"],
    ["pgvpd_context_text_contains('app.unset', 'a')", "false"],
    ["pgvpd_context_text_contains(NULL, 'a')", "false"],
  ] as const;
  for (const [call, answer] of calls) {
    assert.deepEqual(await app.column(`SELECT ${call}`), [answer], call);
  }
  await app.refused("SELECT pgvpd_context_contains('app.list', 'a')", "22P02", /uuid/);
  await app.refused("SELECT pgvpd_context(7)", "42883", /does not exist/);
};

scenarios["ten thousand items"] = async (database) => {
  const { admin } = database;
  await admin.run(ACL_TABLE);
  await admin.run(`SELECT pgvpd_protect_acl('acl_cases', '${PATHS}')`);
  const app = database.connect("app_user");
  const ids = Array.from(
    { length: ITEMS_MAX },
    (_, n) => `ca5e0000-0000-4000-8000-${n.toString().padStart(12, "0")}`,
  );
  for (const list of [ids.join(", "), `{${ids.join(",")}}`, `{"${ids.join('","')}"}`]) {
    await app.run(`SET app.granted_case_ids = '${list}'`);
    const counted = await app.column(
      `SELECT cardinality(pgvpd_context_array('app.granted_case_ids'))
      + cardinality(pgvpd_context_uuid_array('app.granted_case_ids'))`,
    );
    assert.deepEqual(counted, [String(2 * ITEMS_MAX)]);
    assert.deepEqual(await app.column("SELECT count(*) FROM acl_cases"), ["3"]);
    const last = `SELECT pgvpd_context_contains('app.granted_case_ids', '${ids.at(-1)}')`;
    assert.deepEqual(await app.column(last), ["true"]);
  }
  await app.run(`SET app.granted_case_ids = '{${ids.join(",")}'`);
  assert.deepEqual(await app.column("SELECT count(*) FROM acl_cases"), ["0"]);
};

scenarios["every column type has its paths"] = async (database) => {
  const { admin } = database;
  await admin.run("CREATE DOMAIN code AS varchar(8); CREATE TYPE mood AS ENUM ('sad', 'glad')");
  const types: [type: string, one: string, other: string][] = [
    ["text", "acme", "x"],
    ["varchar(4)", "acme", "x"],
    ["char(6)", "acme", "x"],
    ["code", "acme", "x"],
    ["smallint", "7", "8"],
    ["integer", "7", "2147483647"],
    ["bigint", "7", "9223372036854775807"],
    ["uuid", ALICE, BOB],
    ["mood", "glad", "sad"],
    ["numeric", "7", "8"],
  ];
  const app = database.connect("app_user");
  for (const [type, one, other] of types) {
    for (const form of ["text", "text_array"]) {
      await admin.run(`CREATE TABLE typed (held ${type}, body text);
        INSERT INTO typed VALUES ('${one}', 'mine'), ('${other}', 'theirs'), (NULL, 'orphan');
        SELECT pgvpd_protect_acl('typed',
          '[{"column": "held", "var": "app.v", "type": "${form}"}]')`);
      await app.run("SET app.v = ''");
      assert.deepEqual(await app.column("SELECT body FROM typed"), [], `${type} ${form}: nobody`);
      await app.run(`SET app.v = '${one}'`);
      assert.deepEqual(await app.column("SELECT body FROM typed"), ["mine"], `${type} ${form}`);
      await app.refused(`INSERT INTO typed VALUES ('${other}')`, DENIED, POLICY);
      if (form === "text_array") {
        await app.run(`SET app.v = '{${one},${other}}'`);
        assert.deepEqual(await app.column("SELECT count(*) FROM typed"), ["2"], type);
      }
      await admin.run("DROP TABLE typed");
    }
  }
};

const TABLE = `CREATE TABLE cases (id int, owner text, number int);
  INSERT INTO cases VALUES (1, 'alice', 1), (2, 'bob', 2)`;

scenarios["bad JSON is refused with the path of the mistake"] = async ({ admin }) => {
  await admin.run(TABLE);
  for (const [paths, words] of ACL_REFUSALS) {
    await admin.refused(
      `SELECT pgvpd_protect_acl('cases', ${literal(paths)})`,
      INVALID,
      words,
    );
  }
  await admin.refused("SELECT pgvpd_protect_acl('cases', NULL)", INVALID, /paths: an array/);
  await admin.refused("SELECT pgvpd_protect_acl('cases', '[')", "22P02", /json/);
  await admin.refused("SELECT pgvpd_protect_acl('nope', '[]')", "42P01", /no table nope/);
  await admin.refused("SELECT pgvpd_protect_acl('cases', '[]', 'nobody')", "42704", /no role/);
  assert.deepEqual(await admin.column("SELECT relname FROM pg_class WHERE relrowsecurity"), []);
};

scenarios["a when is one condition, in parentheses"] = async (database) => {
  const { admin } = database;
  await admin.run(TABLE);
  const path = (condition: string) =>
    literal(JSON.stringify([
      { column: "owner", var: "app.me", type: "text", when: condition },
      { column: "owner", var: "app.nobody", type: "text" },
    ]));
  for (const [condition, words] of BAD_CONDITIONS) {
    await admin.refused(`SELECT pgvpd_protect_acl('cases', ${path(condition)})`, INVALID, words);
  }
  const app = database.connect("app_user");
  await app.run("SET app.me = 'alice'; SET app.is_admin = 'no'");
  for (const condition of LOOSE_CONDITIONS) {
    await admin.run(`SELECT pgvpd_protect_acl('cases', ${path(condition)})`);
    assert.deepEqual(await app.column("SELECT * FROM cases"), [], condition);
    await admin.run(`SELECT pgvpd_protect_acl('cases', ${path(`NOT (${condition}\n)`)})`);
    assert.deepEqual(await app.column("SELECT owner FROM cases"), ["alice"], condition);
  }
  // A name in it means what it means to the caller; what it is bound to stays so for good.
  await admin.run(`CREATE SCHEMA rules; CREATE FUNCTION rules.open() RETURNS boolean
    LANGUAGE sql AS 'SELECT true'; GRANT USAGE ON SCHEMA rules TO app_user;
    SET search_path = rules`);
  await admin.run(`SELECT public.pgvpd_protect_acl('public.cases', ${path("open()")})`);
  assert.deepEqual(await admin.column("SHOW search_path"), ["rules"]);
  assert.deepEqual(await app.column("SELECT owner FROM cases"), ["alice"]);
};

scenarios["paths for some commands only"] = async (database) => {
  const { admin } = database;
  await admin.run(TABLE);
  await admin.run(`SELECT pgvpd_protect_acl('cases', '[
    {"column": "owner", "var": "app.me", "type": "text", "commands": ["select", "update"]},
    {"column": "number", "var": "app.seen", "type": "text_array", "commands": ["select"]}]')`);
  const app = database.connect("app_user");
  await app.run("SET app.me = 'alice'; SET app.seen = '2'");
  assert.deepEqual(await app.column("SELECT id FROM cases ORDER BY 1"), ["1", "2"]);
  assert.deepEqual(await app.column("UPDATE cases SET id = id + 10 RETURNING id"), ["11"]);
  assert.equal((await app.run("DELETE FROM cases")).count, 0);
  await app.refused("INSERT INTO cases VALUES (3, 'alice', 3)", DENIED, POLICY);
  // A permissive policy that comes later opens nothing.
  await admin.run("CREATE POLICY wide ON cases USING (true) WITH CHECK (true)");
  await app.run("SET app.seen = ''");
  assert.deepEqual(await app.column("SELECT id FROM cases"), ["11"]);
  assert.equal((await app.run("DELETE FROM cases")).count, 0);
  await app.refused("INSERT INTO cases VALUES (3, 'alice', 3)", DENIED, POLICY);
  await app.refused("UPDATE cases SET owner = 'bob'", DENIED, POLICY);
  const missing = "SELECT missing FROM pgvpd_status() WHERE table_name = 'cases'";
  assert.deepEqual(await admin.column(missing), ["null"]);
  // Back to all commands: nothing of the four is left.
  await admin.run(`SELECT pgvpd_protect_acl('cases', '[
    {"column": "owner", "var": "app.me", "type": "text"}]')`);
  await admin.run("DROP POLICY wide ON cases");
  assert.deepEqual(await admin.column("SELECT cmd FROM pg_policies"), ["ALL", "ALL"]);
  assert.equal((await app.run("DELETE FROM cases")).count, 1);
};

scenarios["a tenant's table with paths inside: both must allow"] = async (database) => {
  const { admin } = database;
  await admin.run(`CREATE TABLE notes (tenant_id text, owner text) PARTITION BY LIST (tenant_id);
    CREATE TABLE notes_a PARTITION OF notes FOR VALUES IN ('acme');
    CREATE TABLE notes_rest PARTITION OF notes DEFAULT;
    INSERT INTO notes VALUES ('acme', 'alice'), ('acme', 'bob'), ('umbrella', 'alice');
    SELECT pgvpd_protect('notes');
    SELECT pgvpd_protect_acl('notes', '[{"column": "owner", "var": "app.me", "type": "text"}]');
    SELECT pgvpd_protect('notes')`);
  const app = await database.connect("app_user").becomeTenant("acme");
  assert.deepEqual(await app.column("SELECT owner FROM notes"), []);
  await app.run("SET app.me = 'alice'; SET app.is_admin = 'no'");
  assert.deepEqual(await app.column("SELECT tenant_id || owner FROM notes"), ["acmealice"]);
  await app.becomeTenant(null);
  assert.deepEqual(await app.column("SELECT owner FROM notes"), []);
  const missing = "SELECT DISTINCT missing FROM pgvpd_status()";
  assert.deepEqual(await admin.column(missing), ["null"]);
};

scenarios["lists are evaluated once per query, and indexes serve the paths"] = async (database) => {
  const { admin } = database;
  await admin.run(ACL_TABLE);
  await admin.run(`CREATE INDEX ON acl_cases (creator_id); CREATE INDEX ON acl_cases (org_id);
    SELECT pgvpd_protect_acl('acl_cases', '${PATHS}')`);
  const app = database.connect("app_user");
  await app.run(`SET app.user_id = '${ALICE}'; SET enable_seqscan = off`);
  const plan = (await app.column("EXPLAIN (COSTS off) SELECT * FROM acl_cases")).join("\n");
  assert.equal(plan.match(/^ +InitPlan/gm)?.length, 4, plan);
  assert.equal(plan.match(/Bitmap Index Scan/g)?.length, 3, plan);
  assert.doesNotMatch(plan, /Filter: .*current_setting/);
  const attributes = `SELECT DISTINCT provolatile::text || proparallel::text FROM pg_proc
    WHERE proname LIKE 'pgvpd\\_context%' OR proname LIKE 'pgvpd\\_%items' ORDER BY 1`;
  assert.deepEqual(await admin.column(attributes), ["is", "ss"]);
};

scenarios["it needs its setup.sql, and follows pgvpd_context() in parallel safety"] = async (
  { admin },
) => {
  await admin.run("CREATE SCHEMA elsewhere; SET search_path = elsewhere");
  await admin.refused(HELPERS, "55000", /setup\.sql has not been run in schema elsewhere/);
  await admin.run(`CREATE FUNCTION elsewhere.pgvpd_version() RETURNS text LANGUAGE sql
    AS $$ SELECT '0.0.1'::text $$`);
  await admin.refused(
    HELPERS,
    "55000",
    /setup\.sql of version 0\.0\.1\nRun setup\.sql of the same/,
  );
  await admin.run(
    "SET search_path = public; ALTER FUNCTION pgvpd_context(text) PARALLEL RESTRICTED",
  );
  await admin.run(HELPERS);
  const parallel =
    `SELECT DISTINCT proparallel FROM pg_proc WHERE proname LIKE 'pgvpd\\_context\\_%'`;
  assert.deepEqual(await admin.column(parallel), ["r"]);
};

scenarios["nothing of it is for everybody"] = async (database) => {
  const { admin } = database;
  await admin.run(`${HELPERS}; CREATE ROLE stranger LOGIN`);
  const open = await admin.column(`SELECT DISTINCT p.proname
    FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
   WHERE p.pronamespace = 'public'::regnamespace AND a.grantee = 0 ORDER BY 1`);
  assert.deepEqual(open, ["pgvpd_invalidate", "pgvpd_invalidate_on_change"]);
  const stranger = database.connect("stranger");
  await stranger.refused("SELECT pgvpd_context('app.x')", DENIED, /permission denied/);
  await stranger.refused("SELECT pgvpd_context_array('app.x')", DENIED, /permission denied/);
  const app = database.connect("app_user");
  await app.refused("SELECT pgvpd_protect_acl('x', '[]')", DENIED, /permission denied/);
};

scenarios["owners of tables who did not install the kit"] = async (database) => {
  const { admin } = database;
  await admin.run(`DROP OWNED BY app_user; CREATE ROLE owner_role LOGIN; CREATE SCHEMA kit;
    CREATE SCHEMA theirs AUTHORIZATION owner_role; SET search_path = kit; ${SETUP}; ${HELPERS};
    GRANT USAGE ON SCHEMA kit TO owner_role`);
  const owner = database.connect("owner_role");
  await owner.run(`SET search_path = theirs, kit; ${TABLE}; ALTER TABLE cases ADD tenant_id text`);
  await owner.refused("SELECT pgvpd_protect('cases')", DENIED, /permission denied for function/);
  await admin.run("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA kit TO owner_role");
  await owner.run(`SELECT pgvpd_protect('cases'); SELECT pgvpd_unprotect('cases');
    SELECT pgvpd_protect_acl('cases', '[{"column": "owner", "var": "app.me", "type": "text"}]')`);
  const app = database.connect("app_user");
  await app.run("SET app.me = 'alice'");
  assert.deepEqual(await app.column("SELECT owner FROM theirs.cases"), ["alice"]);
  const missing = "SELECT missing FROM kit.pgvpd_status() WHERE table_name = 'cases'";
  assert.deepEqual(await admin.column(missing), ["null"]);
};
