// Attacks on the sealed context, C and D: the verifier and its key, and the data's other ways out.

import { type Attack, type Attacker, type Seen } from "./sealed_attacker.ts";
import { connectPostgresJs, PgClient } from "./wire_clients.ts";

const CLAIM = "SELECT pg_catalog.set_config('app.current_tenant_id', 'globex', false), " +
  "pg_catalog.set_config('pgvpd.seal', :forged, false)";
const PARALLEL = [
  "SELECT set_config('debug_parallel_query', 'on', false)",
  "SET parallel_setup_cost = 0",
  "SET parallel_tuple_cost = 0",
  "SET min_parallel_table_scan_size = 0",
  "SET max_parallel_workers_per_gather = 4",
];
const HOSTILE = [
  ...["bytea_output = escape", "standard_conforming_strings = off", "quote_all_identifiers = on"],
  ...["datestyle = 'SQL, DMY'", "timezone = 'Pacific/Kiritimati'", "extra_float_digits = -15"],
  ...["transform_null_equals = on", "plan_cache_mode = force_generic_plan", "jit = off"],
  ...["enable_indexscan = off", "enable_seqscan = off", "enable_bitmapscan = off"],
  ...["array_nulls = off", "xmloption = document", "check_function_bodies = off"],
  ...["client_encoding = SQL_ASCII", "intervalstyle = sql_standard", "lc_numeric = C"],
  ...["default_transaction_isolation = serializable", "backslash_quote = on"],
].map((setting) => `SET ${setting}`);

/** Plans that the client has printed: a key among their constants would be shown as bytes. */
async function plans(attacker: Attacker): Promise<Seen> {
  const { options: _none, ...login } = attacker.login("acme");
  const details: string[] = [];
  await using sql = connectPostgresJs(
    {
      ...login,
      onnotice: (notice: { detail?: string }) => details.push(notice.detail ?? ""),
    } as typeof login,
  );
  await sql.unsafe("SET client_min_messages = log; SET debug_print_plan = on");
  for (let time = 0; time < 3; time++) await sql.unsafe("SELECT * FROM notes");
  const shown = details.join("");
  if (!shown.includes("constvalue")) throw new Error("no plan was shown");
  const key = attacker.world.key.hex.match(/../g)!.map((hex) => Number.parseInt(hex, 16));
  const found = [0, 0x36, 0x5c].filter((pad) =>
    shown.includes(key.map((byte) => ((byte ^ pad) << 24) >> 24).slice(0, 8).join(" "))
  );
  return { foreign: found.length, own: null };
}

/** What a function that is cheap enough to be tried first has seen. */
const LEAKY = [
  "CREATE TABLE evil.loot (t text)",
  `CREATE FUNCTION evil.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001
    AS $$ BEGIN INSERT INTO evil.loot VALUES ($1); RETURN true; END $$`,
  "SELECT count(*) FROM notes WHERE evil.leak(tenant_id)",
];

/** Leaves something for the next tenant on the same server connection, and looks at what it does. */
async function shadowed(attacker: Attacker): Promise<Seen> {
  await attacker.try("CREATE TEMP TABLE notes (tenant_id text, id int, body text)");
  await attacker.try("GRANT ALL ON pg_temp.notes TO PUBLIC");
  const processId = await attacker.count("SELECT pg_backend_pid()");
  await attacker.client[Symbol.asyncDispose]();
  {
    await using victim = await PgClient.connect(attacker.login("globex"));
    const served = Number(await victim.value("SELECT pg_backend_pid()"));
    if (attacker.mode !== "none" && served !== processId) throw new Error("not on one connection");
    await victim.run("BEGIN; INSERT INTO notes VALUES ('globex', 77, 'victim'); ROLLBACK");
    const found = await victim.value("SELECT count(*)::int FROM notes WHERE tenant_id <> 'globex'");
    if (Number(found) > 0) return { foreign: Number(found), own: null };
  }
  await using again = await PgClient.connect(attacker.login("acme"));
  const sql = "SELECT count(*)::int FROM notes WHERE tenant_id <> 'acme'";
  return { foreign: Number(await again.value(sql)), own: null };
}

/** A cursor that is held from before the context was claimed. */
const HELD = [
  "BEGIN",
  "DECLARE held CURSOR WITH HOLD FOR SELECT * FROM notes",
  "COMMIT",
  CLAIM,
  "FETCH ALL FROM held",
];

export const INTRUSIONS: readonly Attack[] = [
  {
    id: "C01",
    what: "to read the table of keys, and its statistics",
    run: (attacker) =>
      attacker.foreign(
        `SELECT (has_table_privilege('pgvpd.seal_key', 'SELECT')
           OR EXISTS (SELECT FROM pg_stats WHERE tablename = 'seal_key'))::int`,
      ),
    sealedOnly: true,
  },
  {
    id: "C02",
    what: "to call what puts keys in",
    sql: ["SELECT pgvpd.seal_key_put('k1', sha256('x'))", "SELECT pgvpd.seal_key_keep('k9')"],
    own: 2,
    sealedOnly: true,
  },
  {
    id: "C03",
    what: "the key in a catalog: sources and settings of functions, of roles",
    run: (attacker) =>
      attacker.foreign(
        `SELECT count(*)::int FROM (SELECT prosrc || coalesce(proconfig::text, '') FROM pg_proc
           UNION ALL SELECT setconfig::text FROM pg_db_role_setting) s(t)
          WHERE t LIKE '%${attacker.world.key.hex.slice(0, 16)}%'`,
      ),
    sealedOnly: true,
  },
  { id: "C04", what: "the key in a plan that is printed", run: plans, sealedOnly: true },
  {
    id: "C05",
    what: "temporary tables, types and functions named like what the verifier uses",
    sql: [
      "CREATE TEMP TABLE seal_key (kid text, ipad bytea, opad bytea)",
      "INSERT INTO pg_temp.seal_key VALUES ('k1', decode(repeat('00', 64), 'hex'), " +
      "decode(repeat('00', 64), 'hex'))",
      ...["pg_proc", "pg_type", "pg_operator"].map((name) => `CREATE TEMP TABLE ${name} (x int)`),
      ...["text", "bytea", "json", "float8"].map((name) =>
        `CREATE DOMAIN pg_temp.${name} AS pg_catalog.int4`
      ),
      `CREATE FUNCTION pg_temp.sha256(pg_catalog.bytea) RETURNS pg_catalog.bytea LANGUAGE sql
        IMMUTABLE AS $$ SELECT '\\x00'::pg_catalog.bytea $$`,
      "SET search_path = pg_temp, pg_catalog",
      CLAIM,
    ],
    run: (attacker) =>
      attacker.foreign(
        `SELECT pg_catalog.count(*) FROM public.notes
          WHERE tenant_id OPERATOR(pg_catalog.<>) 'acme'`,
      ),
  },
  {
    id: "C06",
    what: "a search_path that leads to functions and operators of its own",
    sql: [
      `CREATE FUNCTION evil.sha256(bytea) RETURNS bytea LANGUAGE sql IMMUTABLE
        AS $$ SELECT '\\x00'::bytea $$`,
      `CREATE FUNCTION evil.current_setting(text, boolean) RETURNS text LANGUAGE sql IMMUTABLE
        AS $$ SELECT 'globex'::text $$`,
      `CREATE FUNCTION evil.ctx(text) RETURNS text LANGUAGE sql IMMUTABLE
        AS $$ SELECT 'globex'::text $$`,
      `CREATE FUNCTION evil.current_tenant_id() RETURNS text LANGUAGE sql IMMUTABLE
        AS $$ SELECT 'globex'::text $$`,
      `CREATE FUNCTION evil.yes(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE
        AS $$ SELECT true $$`,
      "CREATE OPERATOR evil.= (leftarg = text, rightarg = text, function = evil.yes)",
      "SET search_path = evil, pg_catalog",
    ],
  },
  { id: "C07", what: "hostile settings, with its own token", sql: HOSTILE, own: 2 },
  { id: "C08", what: "hostile settings, with a forged one", sql: [...HOSTILE, CLAIM], own: 0 },
  { id: "C09", what: "row_security = off", sql: ["SET row_security = off"] },
  { id: "C10", what: "forced workers, with a forged token", sql: [...PARALLEL, CLAIM], own: 0 },
  { id: "C11", what: "forced workers, with its own: no row is lost", sql: PARALLEL, own: 2 },
  {
    id: "C12",
    what: "to replace the verifier, drop policies, disable row-level security, own the table",
    sql: [
      "CREATE OR REPLACE FUNCTION pgvpd.ctx(name text) RETURNS text LANGUAGE sql " +
      "AS $$ SELECT 'globex'::text $$",
      "CREATE OR REPLACE FUNCTION current_tenant_id() RETURNS text LANGUAGE sql " +
      "AS $$ SELECT 'globex'::text $$",
      "ALTER FUNCTION pgvpd.ctx(text) SET search_path = evil",
      "DROP FUNCTION pgvpd.ctx(text) CASCADE",
      "DROP POLICY pgvpd_tenant_boundary_notes ON notes",
      "CREATE POLICY mine ON notes USING (true)",
      "ALTER TABLE notes DISABLE ROW LEVEL SECURITY",
      "ALTER TABLE notes NO FORCE ROW LEVEL SECURITY",
      "ALTER TABLE notes OWNER TO CURRENT_USER",
      "CREATE TRIGGER t BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION evil.f()",
      "CREATE TABLE evil.child () INHERITS (public.notes)",
    ],
    own: 2,
  },
  {
    id: "C13",
    what: "a cheap function that tells what it is shown",
    sql: LEAKY,
    run: (attacker) => attacker.foreign("SELECT count(*)::int FROM evil.loot WHERE t <> 'acme'"),
  },
  {
    id: "C14",
    what: "a plan that was made before the context was claimed",
    sql: [
      "SET plan_cache_mode = force_generic_plan",
      "PREPARE g AS SELECT count(*)::int FROM notes WHERE tenant_id <> 'acme'",
      ...["EXECUTE g", "EXECUTE g", CLAIM],
    ],
    run: (attacker) => attacker.foreign("EXECUTE g"),
  },
  {
    id: "C15",
    what: "statistics of the protected table",
    sql: ["ANALYZE notes"],
    run: (attacker) =>
      attacker.foreign(
        `SELECT count(*)::int FROM pg_stats WHERE tablename = 'notes'
          AND concat(most_common_vals, histogram_bounds) ~ 'globex|GLOBEX'`,
      ),
  },
  {
    id: "C16",
    what: "a snapshot from before the context was claimed",
    sql: ["BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT count(*) FROM notes", CLAIM],
    own: 0,
  },
  { id: "X05", what: "a cursor that is held from before", sql: HELD, own: 0 },
  {
    id: "D01",
    what: "a partition by its own name",
    run: (attacker) => attacker.foreign("SELECT count(*)::int FROM events_globex"),
  },
  {
    id: "D02",
    what: "TRUNCATE",
    sql: ["BEGIN", "TRUNCATE notes"],
    run: async (attacker) => {
      const [row] = await attacker.try("SELECT 1 AS truncated"); // fails when TRUNCATE has
      return { foreign: row === undefined ? 0 : 1, own: null };
    },
  },
  {
    id: "D03",
    what: "INSERT of another tenant's row",
    run: (attacker) =>
      attacker.foreign(
        `WITH i AS (INSERT INTO notes VALUES ('globex', 99, 'planted') RETURNING 1)
         SELECT count(*)::int FROM i`,
      ),
  },
  {
    id: "D04",
    what: "UPDATE of its rows into another tenant's",
    run: (attacker) =>
      attacker.foreign(
        `WITH u AS (UPDATE notes SET tenant_id = 'globex', id = id + 100 RETURNING 1)
         SELECT count(*)::int FROM u`,
      ),
  },
  {
    id: "D05",
    what: "ON CONFLICT DO UPDATE of a row that it cannot see",
    run: (attacker) =>
      attacker.foreign(
        `WITH i AS (INSERT INTO notes VALUES ('globex', 1, 'pwn') ON CONFLICT (tenant_id, id)
           DO UPDATE SET body = 'pwn' RETURNING 1) SELECT count(*)::int FROM i`,
      ),
  },
  { id: "D06", what: "COPY FROM of other tenants' rows", sql: ["COPY notes FROM STDIN"] },
  {
    id: "D07",
    what: "DELETE of others' rows",
    sql: ["BEGIN"],
    run: (attacker) =>
      attacker.foreign(
        `WITH d AS (DELETE FROM notes WHERE tenant_id <> 'acme' RETURNING 1)
         SELECT count(*)::int FROM d`,
      ),
  },
  {
    id: "D08",
    what: "a permissive policy that somebody has added",
    run: (attacker) =>
      attacker.foreign("SELECT count(*)::int FROM notes WHERE body LIKE '%INITECH%'"),
  },
  {
    id: "D09",
    what: "a view of the table",
    run: (attacker) =>
      attacker.foreign("SELECT count(*)::int FROM notes_view WHERE tenant_id <> 'acme'"),
  },
  {
    id: "D11",
    what: "subqueries and samples under the forged context",
    sql: [CLAIM],
    run: (attacker) =>
      attacker.foreign(
        `SELECT ((SELECT count(*) FROM notes TABLESAMPLE SYSTEM (100) WHERE tenant_id = 'globex')
           + (SELECT count(*) FROM (SELECT DISTINCT tenant_id FROM events) e
               WHERE tenant_id = 'globex'))::int`,
      ),
  },
  {
    id: "X06",
    what: "a temporary table in the way of whoever comes next",
    run: shadowed,
    alone: true,
  },
];
