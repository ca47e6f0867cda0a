// Promise: a resolved role is the session's, whoever logs in; resolvers run as whom the operator
// says, with nothing of any client around them.

import assert from "node:assert/strict";
import {
  as,
  type Mode,
  MODES,
  resolverFront,
  seenBy,
  startResolverBench,
  valuesOf,
} from "../support/resolver_bench.ts";
import { APP_PASSWORD, type Bench, failure } from "../support/wire_bench.ts";
import { planOf } from "../support/resolver_plan.ts";
import { PgClient } from "../support/wire_clients.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await startResolverBench()));
Deno.test.afterAll(() => bench.stop());

const ROLE = `
[[resolver]]
name = "identity"
query = "SELECT session_role, org_id FROM org_members WHERE user_id = $1"
params = ["app.current_tenant_id"]
inject = { role = "session_role", "app.org_id" = "org_id" }
`;
const WHO = "SELECT current_user AS role, session_user AS login";
/** Without resolver_user: on a connection of the client's. */
const OWN = { resolverUser: null, resolverPassword: null };
const OPEN = `
[[resolver]]
name = "own"
query = "SELECT org_id, current_user AS me FROM open_members WHERE user_id = $1"
params = ["app.current_tenant_id"]
inject = { "app.org_id" = "org_id", "app.me" = "me" }
`;

for (const mode of MODES) {
  Deno.test(`${mode}: the session's role is the one that was resolved`, async () => {
    await using front = await resolverFront(bench, mode, ROLE);
    for (const [user, role] of [["alice", "lead"], ["bob", "member"]] as const) {
      await using client = await PgClient.connect(as(front, user));
      assert.deepEqual(await client.rows(WHO), [{ role, login: "trusty" }]);
      assert.equal(
        (await valuesOf(client, "app.org_id"))["app.org_id"],
        user === "alice" ? "1" : "2",
      );
    }
  });

  Deno.test(`${mode}: no role, no session: NULL, no row, "none", one that is unknown`, async () => {
    await using front = await resolverFront(bench, mode, ROLE);
    for (const user of ["norole", "nobody"]) {
      const error = await failure(PgClient.connect(as(front, user)));
      assert.equal(error.code, "28000");
      assert.match(error.message, /there is no role for it/);
    }
    for (const role of ["none", "NONE", "", "x".repeat(64)]) {
      const toml = `[[resolver]]
name = "fixed"
query = "SELECT '${role}' AS role"
inject = { role = "role" }`;
      await using fixed = await resolverFront(bench, mode, toml);
      const error = await failure(PgClient.connect(as(fixed, "alice")));
      assert.equal(error.code, "28000", role);
    }
    const forbidden = ROLE.replace("SELECT session_role", "SELECT 'forbidden' AS session_role");
    await using strange = await resolverFront(bench, mode, forbidden);
    assert.equal((await failure(PgClient.connect(as(strange, "alice")))).code, "42501");
  });

  Deno.test(`${mode}: RESET leads back to the role, or to less than it`, async () => {
    await using front = await resolverFront(bench, mode, ROLE);
    await using client = await PgClient.connect(as(front, "alice"));
    for (const reset of ["RESET ROLE", "RESET ALL", "DISCARD ALL"]) {
      await client.run(reset);
      const [who] = await client.rows(WHO);
      const { "app.org_id": org, "app.current_tenant_id": tenant } = await valuesOf(
        client,
        "app.org_id",
        "app.current_tenant_id",
      );
      assert.equal(tenant, "alice");
      if (mode === "none") {
        // What was resolved was not known when the connection was started.
        assert.equal(who!["role"], "trusty");
        assert.equal(org, reset === "RESET ROLE" ? "1" : "");
      } else {
        assert.deepEqual([who!["role"], org], ["lead", "1"], reset);
      }
    }
  });

  Deno.test(`${mode}: a client cannot bring what is resolved`, async () => {
    await using front = await resolverFront(bench, mode, ROLE);
    for (const options of ["-c app.org_id=2", "-c APP.ORG_ID=2", "--role=member", "-crole=lead"]) {
      const error = await failure(PgClient.connect({ ...as(front, "alice"), options }));
      assert.equal(error.code, "42501", options);
    }
    await using client = await PgClient.connect({ ...as(front, "alice"), options: "-c app.x=2" });
    assert.equal((await valuesOf(client, "app.x"))["app.x"], "2");
  });

  Deno.test(`${mode}: run_as is the role that asks, and no other can see that table`, async () => {
    const toml = (more: string) =>
      `[[resolver]]
name = "audit"
query = "SELECT word, current_user AS me, session_user AS login FROM secrets"
inject = { "app.word" = "word", "app.me" = "me", "app.login" = "login" }
${more}`;
    await using front = await resolverFront(bench, mode, toml('run_as = "auditor"'));
    assert.deepEqual(await seenBy(as(front, "alice"), "app.word", "app.me", "app.login"), {
      "app.word": "seen by auditors",
      "app.me": "auditor",
      "app.login": "resolver",
    });
    for (const more of ["", 'run_as = "forbidden"', 'run_as = "no such role"']) {
      await using refused = await resolverFront(bench, mode, toml(more));
      assert.equal((await failure(PgClient.connect(as(refused, "alice")))).code, "28000");
    }
    await using own = await resolverFront(bench, mode, toml('run_as = "auditor"'), OWN);
    const seen = await seenBy(as(own, "alice"), "app.me", "app.login");
    assert.deepEqual(seen, { "app.me": "auditor", "app.login": "trusty" });
  });

  Deno.test(`${mode}: without resolver_user they run as the login role, before set_role`, async () => {
    await using front = await resolverFront(bench, mode, OPEN, { ...OWN, setRole: "member" });
    await using client = await PgClient.connect(as(front, "bob"));
    assert.deepEqual(await valuesOf(client, "app.org_id", "app.me"), {
      "app.org_id": "2",
      "app.me": "trusty",
    });
    assert.deepEqual(await client.rows(WHO), [{ role: "member", login: "trusty" }]);
    await using closed = await resolverFront(bench, mode, ROLE, OWN);
    const error = await failure(PgClient.connect(as(closed, "bob")));
    assert.equal(error.code, "28000");
    assert.match(String(closed.entries("resolver failed")[0]!["error"]), /permission denied/);
  });

  Deno.test(`${mode}: nothing in a start-up packet changes what a resolver means`, async () => {
    const toml = `[[resolver]]
name = "settings"
query = '''SELECT current_setting('search_path') AS path, '\\\\' AS backslash, NULL = NULL AS nulls,
  '2026-02-01'::date::text AS date, '2026-01-01 00:00Z'::timestamptz::text AS time,
  current_setting('client_encoding') AS encoding, org_id, $1 = 'ü' AS umlaut FROM open_members
  WHERE user_id = 'alice' '''
params = ["app.current_tenant_id"]
inject = { "r.path" = "path", "r.backslash" = "backslash", "r.nulls" = "nulls", "r.date" = "date", \
"r.time" = "time", "r.encoding" = "encoding", "r.org" = "org_id", "r.umlaut" = "umlaut" }`
      .replace("\\\n", "");
    const names = ["path", "backslash", "nulls", "date", "time", "encoding", "org", "umlaut"];
    const variables = names.map((name) => `r.${name}`);
    const hostile = [
      "-c search_path=evil,pg_catalog -c standard_conforming_strings=off",
      "-c DateStyle=German -c TimeZone=Asia/Tokyo -c transform_null_equals=on",
      "-c client_encoding=LATIN1 -c row_security=off -c gin_fuzzy_search_limit=1",
    ].join(" ");
    for (const overrides of [{}, OWN]) {
      await using front = await resolverFront(bench, mode, toml, overrides);
      await bench.admin.run("GRANT SELECT ON open_members TO resolver");
      await using client = await PgClient.connect({ ...as(front, "ü"), options: hostile });
      assert.deepEqual(await valuesOf(client, ...variables), {
        "r.path": "pg_catalog, public, pg_temp",
        "r.backslash": "\\\\",
        "r.nulls": "",
        "r.date": "2026-02-01",
        "r.time": "2026-01-01 00:00:00+00",
        "r.encoding": "UTF8",
        "r.org": "1",
        "r.umlaut": "t",
      });
      assert.equal(await client.value("SHOW timezone"), "Asia/Tokyo", "the client has its own");
      assert.equal(await client.value("SHOW search_path"), "evil,pg_catalog");
    }
  });
}

Deno.test("resolver-only: the user name is an identity alone, and everything else is resolved", async () => {
  // With pools: pgvpd logs in as upstream_user. Without: the identity is a role that can log in.
  await bench.admin.run(`INSERT INTO org_members VALUES ('md5_user', 7, 'x', 'member');
    GRANT member TO md5_user; GRANT lead TO clear_user;
    INSERT INTO org_members VALUES ('clear_user', 8, 'x', 'lead')`);
  for (const mode of ["session", "transaction"] as const) {
    await using front = await resolverFront(bench, mode, ROLE, { upstreamUser: "trusty" });
    const login = { port: front.port, user: "alice", password: APP_PASSWORD };
    await using client = await PgClient.connect(login);
    assert.deepEqual(await client.rows(WHO), [{ role: "lead", login: "trusty" }]);
    assert.equal((await failure(PgClient.connect({ ...login, user: "nobody" }))).code, "28000");
    assert.equal(
      (await failure(PgClient.connect({ ...login, user: "alice", password: "wrong" }))).code,
      "28P01",
    );
  }
  await using front = await resolverFront(bench, "none", ROLE);
  const login = { port: front.port, user: "clear_user", password: APP_PASSWORD };
  await using client = await PgClient.connect(login);
  assert.deepEqual(await client.rows(WHO), [{ role: "lead", login: "clear_user" }]);
  assert.equal((await failure(PgClient.connect({ ...login, password: "wrong" }))).code, "28P01");
  // Where no resolver says which role, a name without a separator stays a mistake.
  await using plain = await resolverFront(bench, "none", OPEN);
  const error = await failure(PgClient.connect({ ...login, port: plain.port }));
  assert.match(error.message, /separator/);
});

Deno.test("a resolved role is held to pool_roles and to row-level security", async () => {
  const superuser = ROLE.replace("SELECT session_role", "SELECT 'postgres' AS session_role");
  for (const mode of ["session", "transaction"] as const) {
    await using front = await resolverFront(bench, mode, ROLE, { poolRoles: ["trusty", "member"] });
    await using client = await PgClient.connect(as(front, "bob"));
    assert.deepEqual(await client.rows(WHO), [{ role: "member", login: "trusty" }]);
    const error = await failure(PgClient.connect(as(front, "alice")));
    assert.deepEqual([error.code, /pool/.test(error.message)], ["28000", true]);
    await using bad = await resolverFront(bench, mode, superuser);
    assert.match((await failure(PgClient.connect(as(bad, "alice")))).message, /row-level security/);
  }
});

const pid = "SELECT pg_backend_pid()";

for (const mode of ["session", "transaction"] as const satisfies readonly Mode[]) {
  Deno.test(`${mode}: on a pooled backend a resolver sees nothing of the client before`, async () => {
    const toml = `[[resolver]]
name = "nosy"
query = '''SELECT org_id, current_setting('app.current_tenant_id', true) AS tenant,
  current_setting('app.remains', true) AS left_behind, current_user AS me,
  (SELECT count(*) FROM pg_class WHERE relname = 'left_table') AS tables
  FROM open_members WHERE user_id = $1'''
params = ["app.current_tenant_id"]
inject = { "r.org" = "org_id", "r.tenant" = "tenant", "r.remains" = "left_behind", "r.me" = "me", \
"r.tables" = "tables" }`.replace("\\\n", "");
    await using front = await resolverFront(bench, mode, toml, { ...OWN, poolSize: 1 });
    let first: unknown;
    {
      await using client = await PgClient.connect(as(front, "alice"));
      first = await client.value(pid);
      await client.run(`CREATE TEMP TABLE open_members AS SELECT 'bob' AS user_id, 99 AS org_id`);
      await client.run("CREATE TEMP TABLE left_table (a int)");
      await client.run("SET app.remains = 'yes'");
      await client.run("SET search_path = pg_temp, public");
    }
    await front.empty();
    await using client = await PgClient.connect(as(front, "bob"));
    assert.equal(await client.value(pid), first, "both had the same backend");
    const seen = await valuesOf(client, "r.org", "r.tenant", "r.remains", "r.me", "r.tables");
    const nothing = { "r.tenant": "", "r.remains": "" };
    assert.deepEqual(seen, { "r.org": "2", ...nothing, "r.me": "trusty", "r.tables": "0" });
  });
}

Deno.test("a pool that is full says so, also when it is a resolver that waits", async () => {
  for (const mode of ["session", "transaction"] as const) {
    const full = { ...OWN, poolSize: 1, poolCheckoutTimeout: 1_500 };
    await using front = await resolverFront(bench, mode, OPEN, full);
    await using client = await PgClient.connect(as(front, "alice"));
    await client.run("BEGIN");
    assert.equal((await failure(PgClient.connect(as(front, "bob")))).code, "53300");
    await client.run("COMMIT");
    assert.equal((await valuesOf(client, "app.org_id"))["app.org_id"], "1");
  }
});

Deno.test("a plan with a role knows it, and its variables", () => {
  const { resolvesRole, variables } = planOf(ROLE);
  assert.deepEqual([resolvesRole, variables], [true, ["app.org_id"]]);
});
