// sql/sealed.sql and sql/unsealed.sql against a real PostgreSQL: what a token proves, what does not
// pass for one, and that both files may be run again, by who is no superuser too.
//
// PGVPD_TEST_PG_MAJORS=13,14,15,16,17,18 runs it on those majors; the default is 18.

import assert from "node:assert/strict";
import postgres from "postgres";
import { SealKey } from "../../src/auth/seal.ts";
import { SEALED_SQL, SETUP_SQL, UNSEALED_SQL } from "../support/sealed_world.ts";
import { SqlClient, startServer, TestDatabase, testedMajors } from "../support/sql_database.ts";

const TENANT = "app.current_tenant_id";
const FAR = 9_999_999_999;

/** As the SQL kit has them; another of its functions reads a list. */
const CONTEXT_SQL = `
DO $$ BEGIN
  IF to_regprocedure('pgvpd_context(text)') IS NULL THEN
    CREATE FUNCTION pgvpd_context(var_name text) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
      AS $f$ SELECT current_setting(var_name, true) $f$;
  END IF;
  IF to_regprocedure('pgvpd_context_array(text)') IS NULL THEN
    CREATE FUNCTION pgvpd_context_array(var_name text) RETURNS text[]
      LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
      AS $f$ BEGIN RETURN string_to_array(public.pgvpd_context(var_name), ','); END $f$;
  END IF;
END $$`;

const scenarios: Record<string, (world: World) => Promise<void>> = {};

for (const major of testedMajors()) {
  Deno.test(`sql/sealed.sql on PostgreSQL ${major}`, async (test) => {
    await using server = await startServer(major);
    let number = 0;
    for (const [name, scenario] of Object.entries(scenarios)) {
      await test.step(name, async () => {
        await using database = await TestDatabase.create(server, `sealed_${++number}`);
        await scenario(await World.create(database));
      });
    }
  });
}

/** A sealed database with one protected table, and a client of its application. */
class World {
  readonly app: SqlClient;
  private constructor(readonly database: TestDatabase, readonly key: SealKey) {
    this.app = database.connect("app_user");
  }

  get admin(): SqlClient {
    return this.database.admin;
  }

  static async create(database: TestDatabase): Promise<World> {
    const { admin } = database;
    await admin.run(SETUP_SQL);
    await admin.run(CONTEXT_SQL);
    await admin.run(`CREATE TABLE notes (tenant_id text NOT NULL, body text);
      CREATE INDEX ON notes (tenant_id);
      INSERT INTO notes VALUES ('acme', 'a'), ('umbrella', 'u');
      SELECT pgvpd_protect('notes')`);
    await admin.run(SEALED_SQL);
    const world = new World(database, SealKey.random("k1"));
    await world.put(world.key);
    await admin.run("GRANT EXECUTE ON FUNCTION pgvpd_context(text) TO app_user");
    return world;
  }

  async put({ name, hex }: SealKey): Promise<void> {
    await this.admin.run(`SELECT pgvpd.seal_key_put('${name}', decode('${hex}', 'hex'))`);
  }

  /** A token for the application's connection. */
  async token(
    context: Record<string, string>,
    { key = this.key, endsAt = FAR, pid = 0, port = 0 } = {},
  ): Promise<string> {
    const [row] = await this.app.run(
      "SELECT pg_backend_pid() AS pid, coalesce(inet_client_port(), 0) AS port",
    );
    const binding = { processId: row!["pid"] + pid, port: row!["port"] + port };
    return key.token(binding, endsAt, JSON.stringify(context));
  }

  async seal(token: string): Promise<void> {
    await this.app.run(`SELECT set_config('pgvpd.seal', '${token.replaceAll("'", "''")}', false)`);
  }

  async bodies(): Promise<string[]> {
    return await this.app.column("SELECT body FROM notes ORDER BY body");
  }

  async value(sql: string): Promise<string> {
    return (await this.app.column(sql))[0]!;
  }
}

const ACME = { [TENANT]: "acme" };

scenarios["a token shows the rows of its tenant, and none is worth nothing"] = async (world) => {
  assert.deepEqual(await world.bodies(), []);
  await world.app.becomeTenant("acme");
  assert.deepEqual(await world.bodies(), [], "the variable alone proves nothing");
  await world.seal(await world.token(ACME));
  assert.deepEqual(await world.bodies(), ["a"]);
  await world.app.becomeTenant("umbrella");
  assert.deepEqual(await world.bodies(), ["a"], "and changes nothing");
  await world.app.refused("INSERT INTO notes VALUES ('umbrella')", "42501", /row-level security/);
  await world.app.run("DISCARD ALL");
  assert.deepEqual(await world.bodies(), []);
};

scenarios["a token that is not quite right is worth nothing"] = async (world) => {
  const { app } = world;
  const right = await world.token(ACME);
  const wrong = [
    await world.token(ACME, { pid: 1 }),
    await world.token(ACME, { port: 1 }),
    await world.token(ACME, { key: SealKey.random("k1") }),
    await world.token(ACME, { key: SealKey.random("zz") }),
    await world.token(ACME, { endsAt: Math.floor(Date.now() / 1_000) - 1 }),
    await world.token({ "app.other": "acme" }),
    right.toUpperCase(),
    ` ${right}`,
    `${right} `,
    `${right}${JSON.stringify({ [TENANT]: "umbrella" })}`,
    right.replace("acme", "umbrella"),
    right.replace(String(FAR), "9999999998"),
    right.slice(64),
    "0".repeat(64) + right.slice(64),
    ...[
      "",
      "x",
      "é".repeat(100),
      `${"0".repeat(64)}Infinity  k1{}`,
      `${"0".repeat(64)}NaN       k1{`,
    ],
  ];
  for (const token of wrong) {
    await world.seal(token);
    assert.deepEqual(await world.bodies(), [], token);
  }
  for (let at = 0; at < right.length; at += 3) {
    const other = right[at] === "a" ? "b" : "a";
    await world.seal(right.slice(0, at) + other + right.slice(at + 1));
    assert.deepEqual(await world.bodies(), [], `changed at ${at}`);
    await world.seal(right.slice(0, at));
    assert.deepEqual(await world.bodies(), [], `cut at ${at}`);
  }
  await world.seal(right);
  assert.deepEqual(await world.bodies(), ["a"]);
  await app.run("RESET pgvpd.seal");
  assert.deepEqual(await world.bodies(), []);
};

scenarios["it ends between transactions, not in one"] = async (world) => {
  const { app } = world;
  await app.run("BEGIN");
  const seconds = 1 + Number(await world.value("SELECT floor(extract(epoch FROM now()))::bigint"));
  await world.seal(await world.token(ACME, { endsAt: seconds }));
  assert.deepEqual(await world.bodies(), ["a"]);
  await app.run(`SELECT pg_sleep(greatest(0, ${seconds} - extract(epoch FROM clock_timestamp())))`);
  assert.deepEqual(await world.bodies(), ["a"]);
  await app.run("COMMIT");
  assert.deepEqual(await world.bodies(), []);
};

scenarios["two keys are good at a time, and one that is taken out is not"] = async (world) => {
  const second = SealKey.random("k2");
  await world.put(second);
  for (const key of [world.key, second]) {
    await world.seal(await world.token(ACME, { key }));
    assert.deepEqual(await world.bodies(), ["a"], key.name);
  }
  await world.admin.run("SELECT pgvpd.seal_key_keep('k2', 'k3')");
  assert.deepEqual(await world.bodies(), ["a"]);
  await world.seal(await world.token(ACME));
  assert.deepEqual(await world.bodies(), [], "the first is gone");
  for (const hex of ["'\\x00'", "NULL", "decode(repeat('00', 33), 'hex')"]) {
    await world.admin.refused(`SELECT pgvpd.seal_key_put('k1', ${hex})`, "22023", /32 bytes/);
  }
};

scenarios["every function of the kit reads what is sealed"] = async (world) => {
  const { app } = world;
  await app.run("SET app.roles = 'a,b'");
  assert.equal(await world.value("SELECT pgvpd_context('app.roles')"), "null");
  await world.seal(await world.token({ ...ACME, "app.roles": "x,y", "app.name": "müller'\"\\" }));
  assert.equal(await world.value("SELECT pgvpd_context('App.Roles')"), "x,y");
  assert.equal(await world.value("SELECT pgvpd_context('app.nothing')"), "null");
  assert.equal(await world.value("SELECT pgvpd_context(NULL)"), "null");
  assert.equal(await world.value("SELECT current_tenant_id()"), "acme");
  const parallel = await world.admin.column(`SELECT proparallel FROM pg_proc
    WHERE proname ~ '^(current_tenant_id|pgvpd_context|ctx)'`);
  assert(parallel.length >= 4);
  assert.deepEqual(new Set(parallel), new Set(["r"]), "none of them runs in a worker");
};

scenarios["policies keep their shape: once per query, and the index is used"] = async (world) => {
  await world.admin.run(
    `INSERT INTO notes SELECT 't' || i % 100, i FROM generate_series(1, 20000) i;
    ANALYZE notes`,
  );
  await world.seal(await world.token({ [TENANT]: "t7" }));
  const plan = (await world.app.column("EXPLAIN ANALYZE SELECT * FROM notes")).join("\n");
  assert.match(plan, /InitPlan/);
  assert.equal(plan.match(/^ *InitPlan/gm)!.length, 1, plan);
  assert.match(plan, /Index Cond: \(tenant_id = /);
  assert.doesNotMatch(plan, /never executed/);
  await world.app.run(`SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0;
    SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET enable_indexscan = off;
    SET enable_bitmapscan = off`);
  assert.equal(await world.value("SELECT count(*) FROM notes"), "200", "a worker loses no row");
};

scenarios["the key is nobody's to read"] = async (world) => {
  const { admin, app, key } = world;
  for (const sql of ["TABLE pgvpd.seal_key", "TABLE pgvpd.unsealed_function"]) {
    await app.refused(sql, "42501", /permission denied/);
  }
  await app.refused(
    "SELECT pgvpd.seal_key_put('k1', sha256('x'))",
    "42501",
    /permission denied for function/,
  );
  await app.refused("SELECT pgvpd.seal_key_keep('k1')", "42501", /permission denied for function/);
  await app.refused("SET ROLE pgvpd_vault", "42501", /permission denied/);
  if (Number((await admin.column("SHOW server_version_num"))[0]) >= 140_000) {
    await admin.run(
      "CREATE ROLE reader; GRANT pg_read_all_data TO reader; GRANT reader TO app_user",
    );
    await app.run("SET ROLE reader");
    assert.deepEqual(await app.column("SELECT kid FROM pgvpd.seal_key"), []);
    await app.run("RESET ROLE");
  }
  const shown = await plansShown(world);
  assert(shown.includes(bytesShown("k1{}")), "constants of plans are shown, as bytes");
  for (const pad of [0, 0x36, 0x5c]) {
    const bytes = key.hex.match(/../g)!.map((hex) => Number.parseInt(hex, 16) ^ pad);
    assert(!shown.includes(bytesShown(String.fromCharCode(...bytes.slice(0, 8)))), "but no key");
  }
};

/** Every plan that a client can have printed while it looks at a protected table. */
async function plansShown({ database: { server, name } }: World): Promise<string> {
  const details: string[] = [];
  const sql = postgres({
    ...{ host: "127.0.0.1", port: server.port, database: name, user: "app_user", max: 1 },
    onnotice: ({ detail }) => details.push(detail ?? ""),
  });
  await sql.unsafe(`SET client_min_messages = log; SET debug_print_plan = on;
    SET debug_print_parse = on; SET debug_print_rewritten = on`);
  await sql.unsafe("SELECT set_config('pgvpd.seal', repeat('0', 74) || 'k1{}', false)");
  for (let time = 0; time < 7; time++) await sql.unsafe("SELECT * FROM notes");
  await sql.end();
  return details.join("");
}

/** As a plan prints a constant: signed bytes. */
function bytesShown(latin1: string): string {
  return [...latin1].map((character) => (character.charCodeAt(0) << 24) >> 24).join(" ");
}

scenarios["it can be run again, and behind setup.sql"] = async (world) => {
  const { admin } = world;
  const keys = await admin.column("SELECT kid || encode(ipad, 'hex') FROM pgvpd.seal_key");
  for (const sql of [SEALED_SQL, SEALED_SQL, SETUP_SQL + CONTEXT_SQL, SEALED_SQL]) {
    await admin.run(sql);
  }
  assert.deepEqual(
    await admin.column("SELECT kid || encode(ipad, 'hex') FROM pgvpd.seal_key"),
    keys,
  );
  await world.app.becomeTenant("umbrella");
  assert.deepEqual(await world.bodies(), []);
  await world.seal(await world.token(ACME));
  assert.deepEqual(await world.bodies(), ["a"]);
};

scenarios["it can be taken out again"] = async (world) => {
  const { admin, app } = world;
  await admin.run(UNSEALED_SQL);
  await app.becomeTenant("umbrella");
  assert.deepEqual(await world.bodies(), ["u"]);
  assert.equal(await world.value(`SELECT pgvpd_context('${TENANT}')`), "umbrella");
  const left = `SELECT nspname FROM pg_namespace WHERE nspname = 'pgvpd'
    UNION ALL SELECT rolname FROM pg_roles WHERE rolname = 'pgvpd_vault'`;
  assert.deepEqual(await admin.column(left), []);
  assert.deepEqual(
    await admin.column("SELECT proparallel FROM pg_proc WHERE proname = 'current_tenant_id'"),
    ["s"],
  );
  await admin.run(UNSEALED_SQL); // nothing is left to do
  await admin.run(SEALED_SQL);
  assert.deepEqual(await world.bodies(), []);
};

scenarios["what hangs on the verifier keeps it"] = async (world) => {
  await world.admin.run("CREATE VIEW mine AS SELECT pgvpd.ctx('app.current_tenant_id')");
  await world.admin.refused(UNSEALED_SQL, "2BP01", /depend/);
  await world.app.becomeTenant("umbrella");
  assert.deepEqual(await world.bodies(), [], "nothing was changed");
};

scenarios["an owner who is no superuser installs it, and takes it out"] = async (world) => {
  const { admin, server } = world.database;
  await admin.run(UNSEALED_SQL);
  await admin.run("DROP OWNED BY app_user; CREATE ROLE owner LOGIN CREATEROLE NOSUPERUSER");
  await admin.run("ALTER ROLE app_user LOGIN NOINHERIT");
  await admin.run("CREATE DATABASE owned OWNER owner");
  {
    await using owner = new SqlClient(server.port, "owned", "owner");
    if (Number((await owner.column("SHOW server_version_num"))[0]) >= 150_000) {
      await owner.run("GRANT CREATE ON SCHEMA public TO owner").catch(() => {});
    }
    await owner.run(`${SETUP_SQL}${CONTEXT_SQL}`);
    for (let time = 0; time < 2; time++) await owner.run(SEALED_SQL);
    const members = `SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid
      WHERE r.rolname = 'pgvpd_vault' AND pg_has_role(m.member, m.roleid, 'USAGE')
        AND NOT (SELECT rolsuper FROM pg_roles WHERE oid = m.member)`;
    assert.deepEqual(await owner.column(members), ["0"], "it is a member no more");
    await owner.refused("TABLE pgvpd.seal_key", "42501", /permission denied/);
    await using app = new SqlClient(server.port, "owned", "app_user");
    await app.becomeTenant("acme");
    assert.deepEqual(await app.column("SELECT current_tenant_id() IS NULL"), ["true"]);
    await owner.run(UNSEALED_SQL);
    assert.deepEqual(await app.column("SELECT current_tenant_id()"), ["acme"]);
  }
  await admin.run("DROP DATABASE owned WITH (FORCE)");
};

scenarios["without setup.sql it says what to do"] = async ({ admin }) => {
  await admin.run("CREATE SCHEMA empty");
  await admin.refused(`SET search_path = empty; ${SEALED_SQL}`, "42883", /Run setup.sql first/);
};
