// Promise: the context is pgvpd's: neither what a client sends at start-up, nor what it resets, nor
// what is stored in the database changes it (sealed-context.md T7, R3, R6; W6, W27, W29).

import assert from "node:assert/strict";
import { Bench, DATABASE, eventually, failure, type Front } from "../support/wire_bench.ts";
import { type Login, PgClient, psql, psqlMissing } from "../support/wire_clients.ts";
import { RawClient, type StartupParameters } from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await Bench.start()));
Deno.test.afterAll(() => bench.stop());

const STATE = `SELECT current_setting('app.current_tenant_id', true) AS tenant,
                      current_user AS role, (SELECT string_agg(name, ', ' ORDER BY name)
                                               FROM tenants) AS rows`;
const ROWS = { tenant_a: "Alice Corp, Alice LLC", tenant_b: "Bob Inc, Bob Ltd" };

async function sees(login: Login, tenant: keyof typeof ROWS, role: string): Promise<void> {
  await using client = await PgClient.connect(login);
  assert.deepEqual(await client.rows(STATE), [{ tenant, role, rows: ROWS[tenant] }]);
}

/** The positive control: both tenants get their own rows here. */
async function bothTenantsWork(front: Front, role = "trusty"): Promise<void> {
  await sees(front.trusty("tenant_a"), "tenant_a", role);
  await sees(front.trusty("tenant_b"), "tenant_b", role);
}

const RESETS = [
  "RESET ALL",
  "DISCARD ALL",
  "RESET ROLE",
  "RESET SESSION AUTHORIZATION",
  "SET SESSION AUTHORIZATION DEFAULT",
  "RESET app.current_tenant_id",
  "SET app.current_tenant_id TO DEFAULT",
  "SET ROLE TO DEFAULT",
  "DISCARD ALL; RESET ROLE; RESET ALL; RESET SESSION AUTHORIZATION",
  "BEGIN; RESET ALL; RESET ROLE; COMMIT",
  "BEGIN; RESET ALL; RESET ROLE; ROLLBACK",
  "BEGIN; SET LOCAL app.current_tenant_id = ''; COMMIT",
];

for (const setRole of [null, "authenticated"]) {
  for (const reset of RESETS) {
    Deno.test(`"${reset}" keeps tenant, role and rows, set_role = ${setRole}`, async () => {
      await using front = await bench.front({ setRole });
      const role = setRole ?? "trusty";
      await bothTenantsWork(front, role);
      await using client = await PgClient.connect(front.trusty("tenant_a"));
      for (const statement of statements(reset)) await client.run(statement);
      assert.deepEqual(await client.rows(STATE), [
        { tenant: "tenant_a", role, rows: ROWS.tenant_a },
      ]);
    });
  }
}

/** DISCARD ALL cannot stand in one string with others. */
function statements(text: string): string[] {
  return text.startsWith("DISCARD") ? text.split("; ") : [text];
}

/** Start-up parameters with which a client would choose its own context or role. */
const OVERRIDES: readonly StartupParameters[] = [
  { "app.current_tenant_id": "tenant_b" },
  { "APP.Current_Tenant_ID": "tenant_b" },
  { role: "forbidden" },
  { ROLE: "postgres" },
  { session_authorization: "postgres" },
  { Session_Authorization: "postgres" },
  ...[
    "-c app.current_tenant_id=tenant_b",
    "-capp.current_tenant_id=tenant_b",
    "--app.current_tenant_id=tenant_b",
    "--app.current-tenant-id=tenant_b",
    "-c app.current-tenant-id=tenant_b",
    "-c APP.CURRENT_TENANT_ID=tenant_b",
    "-c work_mem=1MB -c app.current_tenant_id=tenant_b",
    "-c app.current_tenant_id=tenant_a -c app.current_tenant_id=tenant_b",
    "-c\tapp.current_tenant_id=tenant_b",
    "-c\n\v\fapp.current_tenant_id=tenant_b",
    "\\-c app.current_tenant_id=tenant_b",
    "-c app.current_tenant\\_id=tenant_b",
    "-c a\\pp.current_tenant_id=x\\ y",
    "-ec app.current_tenant_id=tenant_b",
    "-eFcapp.current_tenant_id=tenant_b",
    "-d 1 -c app.current_tenant_id=tenant_b",
    "-d1 --app.current_tenant_id=tenant_b",
    "-- app.current_tenant_id=tenant_b",
    "-W 0 -c app.current_tenant_id=tenant_b",
    "-c role=postgres",
    "--role=postgres",
    "-c session_authorization=postgres",
    "--session-authorization=postgres",
    "-c Role=postgres",
  ].map((options) => ({ options })),
];

for (const override of OVERRIDES) {
  Deno.test(`refused at start-up: ${JSON.stringify(override)}`, async () => {
    await using front = await bench.front();
    await bothTenantsWork(front);
    using client = await RawClient.connect(front.port);
    const parameters = { user: "trusty.tenant_a", database: DATABASE, ...override };
    const error = await client.refused(parameters);
    assert.ok(["42501", "08P01"].includes(error.code), error.message);
    assert.equal(error.fields["S"], "FATAL");
    if (error.code === "08P01") await refusedByServerToo(override);
  });
}

/** What pgvpd calls unreadable must be what PostgreSQL itself does not accept. */
async function refusedByServerToo(override: StartupParameters): Promise<void> {
  using client = await RawClient.connect(bench.postgres.port);
  await client.refused({ user: "trusty", database: DATABASE, ...override });
}

Deno.test("the context's variables are reserved, all of them, and others are not", async () => {
  await using front = await bench.front({
    contextVariables: ["app.current_tenant_id", "app.user_id"],
  });
  const login = { user: "trusty.tenant_a:u", database: DATABASE };
  using refused = await RawClient.connect(front.port);
  assert.equal((await refused.refused({ ...login, options: "-c app.user_id=x" })).code, "42501");
  using welcome = await RawClient.connect(front.port);
  await welcome.login({
    ...login,
    options: "-c app.other=yes -c work_mem=1MB --statement-timeout=7s -c application_name=a\\ b",
    "app.third": "3",
  });
  const rows = await welcome.query(
    `SELECT current_setting('app.other'), current_setting('work_mem'),
            current_setting('statement_timeout'), current_setting('application_name'),
            current_setting('app.third'), current_setting('app.user_id')`,
  );
  assert.deepEqual(rows, [["yes", "1MB", "7s", "a b", "3", "u"]]);
});

Deno.test({
  name: "PGOPTIONS of psql cannot choose the context",
  ignore: psqlMissing(),
  async fn() {
    await using front = await bench.front();
    const login = front.trusty("tenant_a");
    const control = await psql(login, ["-c", "SELECT count(*) FROM tenants"]);
    assert.deepEqual([control.code, control.out], [0, "2"]);
    const plain = await psql(login, ["-c", "SHOW work_mem"], { PGOPTIONS: "-c work_mem=3MB" });
    assert.equal(plain.out, "3MB", plain.err);
    for (const setting of ["app.current_tenant_id=tenant_b", "role=postgres"]) {
      const result = await psql(login, ["-c", "SELECT name FROM tenants"], {
        PGOPTIONS: `-c ${setting}`,
      });
      assert.equal(result.code, 2);
      assert.equal(result.out, "");
      assert.match(result.err, /cannot be set by the client/);
    }
  },
});

for (const setRole of [null, "authenticated"]) {
  Deno.test(`what ALTER ROLE stored does not win, set_role = ${setRole}`, async () => {
    await using front = await bench.front({ setRole });
    await bothTenantsWork(front, setRole ?? "trusty");
    await using direct = await PgClient.connect({ ...bench.direct, user: "stored_user" });
    const stored = "SELECT current_setting('app.current_tenant_id', true)";
    assert.equal(await direct.value(stored), "tenant_b", "the stored value is in force");
    await using client = await PgClient.connect({ port: front.port, user: "stored_user.tenant_a" });
    const role = setRole ?? "stored_user";
    const expected = [{ tenant: "tenant_a", role, rows: ROWS.tenant_a }];
    assert.deepEqual(await client.rows(STATE), expected);
    for (const reset of ["RESET ALL", "RESET app.current_tenant_id", "DISCARD ALL"]) {
      await client.run(reset);
      assert.deepEqual(await client.rows(STATE), expected, reset);
    }
  });
}

Deno.test("what a tenant stores for its role does not change the next tenant's context", async () => {
  await using front = await bench.front();
  await bothTenantsWork(front);
  await using a = await PgClient.connect(front.trusty("tenant_a"));
  await a.run("ALTER ROLE trusty SET role = 'authenticated'");
  const denied = await failure(a.run("ALTER ROLE trusty SET app.current_tenant_id = 'tenant_b'"));
  assert.equal(denied.code, "42501");
  try {
    await using direct = await PgClient.connect({ ...bench.direct, user: "trusty" });
    assert.equal(await direct.value("SELECT current_user"), "authenticated", "it is in force");
    await bothTenantsWork(front);
    await using again = await PgClient.connect(front.trusty("tenant_a"));
    await again.run("RESET ROLE");
    assert.deepEqual(await again.rows(STATE), [
      { tenant: "tenant_a", role: "trusty", rows: ROWS.tenant_a },
    ]);
  } finally {
    await bench.admin.run("ALTER ROLE trusty RESET role");
  }
});

Deno.test("a set_role that does not exist or is not granted ends the login", async () => {
  for (const [setRole, code] of [["nobody_knows", "22023"], ["forbidden", "42501"]] as const) {
    await using front = await bench.front({ setRole });
    using client = await RawClient.connect(front.port);
    const error = await client.refused({ user: "trusty.tenant_a", database: DATABASE });
    assert.equal(error.fields["S"], "FATAL", setRole);
    assert.equal(error.code, code, error.message);
    await front.empty();
    await bench.noBackends();
  }
});

Deno.test("no database means the one named like the rewritten user", async () => {
  await using front = await bench.front();
  using client = await RawClient.connect(front.port);
  await client.login({ user: "trusty.tenant_a" });
  assert.deepEqual(await client.query("SELECT current_database(), current_user"), [
    ["trusty", "trusty"],
  ]);
  using missing = await RawClient.connect(front.port);
  const error = await missing.refused({ user: "MixedCase.tenant_a" });
  assert.equal(error.code, "3D000");
  assert.match(error.message, /"MixedCase"/);
});

Deno.test("replication is refused to tenants and works for the bypass user", async () => {
  await using front = await bench.front();
  await bothTenantsWork(front);
  for (const replication of ["database", "true", "on", "1", "yes", "TRUE", "t", ""]) {
    using client = await RawClient.connect(front.port);
    const parameters = { user: "trusty.tenant_a", database: DATABASE, replication };
    const error = await client.refused(parameters);
    assert.equal(error.code, "0A000", replication);
    assert.match(error.fields["H"] ?? "", /superuser_bypass/);
  }
  using client = await RawClient.connect(front.port);
  await client.login({ user: "trusty.tenant_a", database: DATABASE, replication: "false" });
  assert.deepEqual(await client.query("SELECT count(*) FROM tenants"), [["2"]]);
});

Deno.test({
  name: "replication works for the bypass user, with psql",
  ignore: psqlMissing(),
  async fn() {
    await using front = await bench.front();
    const { bypass } = front;
    const conninfo = `host=127.0.0.1 port=${bypass.port} user=postgres password=postgres ` +
      `dbname=${DATABASE} replication=database`;
    const result = await psql(bypass, ["-c", "IDENTIFY_SYSTEM", "-d", conninfo]);
    assert.equal(result.code, 0, result.err);
    assert.match(result.out, /^\d+\|1\|[0-9A-F]+\/[0-9A-F]+\|pgvpd_test$/);
  },
});

Deno.test("replication works for a bypass user of the raw protocol", async () => {
  await using front = await bench.front({ superuserBypass: ["replicator"] });
  await bench.admin.run("CREATE ROLE replicator LOGIN REPLICATION PASSWORD 'r'");
  using client = await RawClient.connect(front.port);
  await client.login({ user: "replicator", database: DATABASE, replication: "database" });
  const [row] = await client.query("IDENTIFY_SYSTEM");
  assert.equal(row?.[3], DATABASE);
  client.close();
  await bench.noBackends();
});

Deno.test("a bypass user may set what a tenant may not", async () => {
  await using front = await bench.front();
  await using client = await PgClient.connect({
    ...front.bypass,
    options: "-c app.current_tenant_id=tenant_b -c role=trusty",
  });
  assert.deepEqual(await client.rows(STATE), [
    { tenant: "tenant_b", role: "trusty", rows: ROWS.tenant_b },
  ]);
  const error = await failure(client.run("SELECT 1/0"));
  assert.equal(error.code, "22012");
  await eventually("the proxy has logged it", () => front.entries("client connected").length === 1);
  assert.equal(front.entries("client connected")[0]?.["tenant"], null);
});
