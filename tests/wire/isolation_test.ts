// Promise: a tenant sees its own rows and no others. Suites 1 and 8 of the reference, and more.

import assert from "node:assert/strict";
import { Bench, failure, type Front } from "../support/wire_bench.ts";
import { connectPostgresJs, type Login, PgClient } from "../support/wire_clients.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await Bench.start()));
Deno.test.afterAll(() => bench.stop());

const NAMES = "SELECT name FROM tenants ORDER BY name";
const ROWS: Record<string, readonly string[]> = {
  tenant_a: ["Alice Corp", "Alice LLC"],
  tenant_b: ["Bob Inc", "Bob Ltd"],
};

async function names(login: Login): Promise<unknown[]> {
  await using client = await PgClient.connect(login);
  return (await client.rows(NAMES)).map(({ name }) => name);
}

/** The positive control of every test that says what a tenant does not see. */
async function bothTenantsWork(front: Front): Promise<void> {
  for (const [tenant, rows] of Object.entries(ROWS)) {
    assert.deepEqual(await names(front.app(tenant)), rows);
  }
}

Deno.test("1.1, 1.2: each tenant sees its own rows only, with pg", async () => {
  await using front = await bench.front();
  await bothTenantsWork(front);
});

Deno.test("1.1, 1.2: each tenant sees its own rows only, with postgres.js", async () => {
  await using front = await bench.front();
  for (const [tenant, rows] of Object.entries(ROWS)) {
    await using sql = connectPostgresJs(front.app(tenant));
    const seen = await sql`SELECT name FROM tenants ORDER BY name`;
    assert.deepEqual(seen.map(({ name }) => name), rows);
  }
});

Deno.test("both tenants at the same time, in turns, on connections that stay", async () => {
  await using front = await bench.front();
  await using a = await PgClient.connect(front.app("tenant_a"));
  await using b = await PgClient.connect(front.app("tenant_b"));
  for (let turn = 0; turn < 20; turn++) {
    const [fromA, fromB] = await Promise.all([a.rows(NAMES), b.rows(NAMES)]);
    assert.deepEqual(fromA.map(({ name }) => name), ROWS["tenant_a"]);
    assert.deepEqual(fromB.map(({ name }) => name), ROWS["tenant_b"]);
  }
});

Deno.test("1.3: the bypass user sees all four rows and has no context", async () => {
  await using front = await bench.front();
  await bothTenantsWork(front);
  await using client = await PgClient.connect(front.bypass);
  assert.equal(await client.value("SELECT count(*)::int FROM tenants"), 4);
  assert.equal(await client.value("SELECT current_setting('app.current_tenant_id', true)"), null);
  assert.equal(await client.value("SELECT current_user"), "postgres");
});

Deno.test("1.4: a user name without a separator is refused, and says how to write it", async () => {
  await using front = await bench.front();
  await bothTenantsWork(front);
  const error = await failure(PgClient.connect({ ...front.app("tenant_a"), user: "app_user" }));
  assert.equal(error.code, "28000");
  assert.match(error.message, /separator/);
  assert.match(String((error as { hint?: string }).hint), /<role>\.<app\.current_tenant_id>/);
});

Deno.test("1.4: an empty role and an empty tenant are refused", async () => {
  await using front = await bench.front();
  for (const user of [".tenant_a", "app_user.", "."]) {
    const error = await failure(PgClient.connect({ ...front.app("tenant_a"), user }));
    assert.equal(error.code, "28000", user);
  }
  await bothTenantsWork(front);
});

Deno.test("1.5: the variable is the tenant, the role is the login's", async () => {
  await using front = await bench.front();
  for (const tenant of Object.keys(ROWS)) {
    await using client = await PgClient.connect(front.app(tenant));
    const seen = await client.rows(
      `SELECT current_setting('app.current_tenant_id') AS tenant, current_user AS role,
              session_user AS login`,
    );
    assert.deepEqual(seen, [{ tenant, role: "app_user", login: "app_user" }]);
  }
});

Deno.test("set_role is the role of every tenant, and rows stay apart", async () => {
  await using front = await bench.front({ setRole: "authenticated" });
  await bothTenantsWork(front);
  await using client = await PgClient.connect(front.app("tenant_a"));
  assert.deepEqual(await client.rows("SELECT current_user AS role, session_user AS login"), [
    { role: "authenticated", login: "app_user" },
  ]);
});

Deno.test("a tenant that nobody knows sees nothing", async () => {
  await using front = await bench.front();
  await bothTenantsWork(front);
  assert.deepEqual(await names(front.app("tenant_c")), []);
});

Deno.test("asking for the other tenant's rows gives none", async () => {
  await using front = await bench.front();
  await bothTenantsWork(front);
  await using client = await PgClient.connect(front.app("tenant_a"));
  const count = "SELECT count(*)::int FROM tenants WHERE tenant_id = $1";
  assert.equal(await client.value(count, ["tenant_a"]), 2);
  assert.equal(await client.value(count, ["tenant_b"]), 0);
  assert.equal(await client.value("SELECT count(*)::int FROM tenants WHERE id IS NOT NULL"), 2);
});

Deno.test("a row is written for one's own tenant only", async () => {
  await using front = await bench.front();
  await using a = await PgClient.connect(front.app("tenant_a"));
  await using b = await PgClient.connect(front.app("tenant_b"));
  const insert = "INSERT INTO tenants (tenant_id, name) VALUES ($1, 'new')";
  const count = "SELECT count(*)::int FROM tenants WHERE name = 'new'";
  await a.rows(insert, ["tenant_a"]);
  assert.equal(await a.value(count), 1);
  assert.equal(await b.value(count), 0);
  const error = await failure(a.rows(insert, ["tenant_b"]));
  assert.equal(error.code, "42501");
  assert.match(error.message, /row-level security/);
  await b.run("DELETE FROM tenants WHERE name = 'new'");
  assert.equal(await a.value(count), 1, "the other tenant deleted the row");
  await a.run("DELETE FROM tenants WHERE name = 'new'");
  assert.equal(await bench.admin.value(count), 0);
});

const TWO = { contextVariables: ["app.current_tenant_id", "app.user_id"] };
const BOTH = `SELECT current_setting('app.current_tenant_id', true) AS tenant,
                     current_setting('app.user_id', true) AS "user"`;

Deno.test("8.1: two context values are both set", async () => {
  await using front = await bench.front(TWO);
  await bothValues(front, "tenant_a:alice", { tenant: "tenant_a", user: "alice" });
  await bothValues(front, "tenant_b:bob", { tenant: "tenant_b", user: "bob" });
  assert.deepEqual(await names(front.app("tenant_a:alice")), ROWS["tenant_a"]);
  assert.deepEqual(await names(front.app("tenant_b:bob")), ROWS["tenant_b"]);
});

Deno.test("8.2, 8.3: the first and the second segment may be empty", async () => {
  await using front = await bench.front(TWO);
  await bothValues(front, "tenant_a:alice", { tenant: "tenant_a", user: "alice" });
  await bothValues(front, "tenant_a:", { tenant: "tenant_a", user: "" });
  await bothValues(front, ":alice", { tenant: "", user: "alice" });
  assert.deepEqual(await names(front.app("tenant_a:")), ROWS["tenant_a"]);
  assert.deepEqual(await names(front.app(":alice")), []);
});

Deno.test("8.4: a wrong number of segments is refused", async () => {
  await using front = await bench.front(TWO);
  await bothValues(front, "tenant_a:alice", { tenant: "tenant_a", user: "alice" });
  for (const payload of ["tenant_a", "tenant_a:alice:more", "::"]) {
    const error = await failure(PgClient.connect(front.app(payload)));
    assert.equal(error.code, "28000", payload);
    assert.match(error.message, /expected 2/);
  }
});

Deno.test("another separator, another value separator", async () => {
  await using front = await bench.front({ ...TWO, tenantSeparator: "@@", valueSeparator: "/" });
  await using client = await PgClient.connect({
    ...front.app(""),
    user: "app_user@@tenant_a/x@@y.z:1",
  });
  assert.deepEqual(await client.rows(BOTH), [{ tenant: "tenant_a", user: "x@@y.z:1" }]);
  assert.deepEqual((await client.rows(NAMES)).map(({ name }) => name), ROWS["tenant_a"]);
});

async function bothValues(front: Front, payload: string, expected: unknown): Promise<void> {
  await using client = await PgClient.connect(front.app(payload));
  assert.deepEqual(await client.rows(BOTH), [expected]);
}
