// Promise: the process takes resolvers from their file, and a changed file while it runs; mistakes
// are told with line and column, and `pgvpd resolve` shows what a login would get.

import assert from "node:assert/strict";
import { pgvpd, PgvpdProcess, TestDirectory } from "../support/process_pgvpd.ts";
import { MEMBERSHIP, startResolverBench } from "../support/resolver_bench.ts";
import { APP_PASSWORD, type Bench, eventually } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await startResolverBench()));
Deno.test.afterAll(() => bench.stop());

/** The configuration and the resolvers, as files. */
async function files(toml: string, more = "") {
  const directory = await TestDirectory.make();
  const resolvers = await directory.write("resolvers.toml", toml);
  const config = await directory.write(
    "pgvpd.conf",
    `port = 0\nupstream_port = ${bench.postgres.port}\nresolvers = ${resolvers}
resolver_user = resolver\nresolver_password = ${APP_PASSWORD}\n${more}`,
  );
  return { directory, resolvers, config };
}

async function org(port: number): Promise<unknown> {
  await using client = await PgClient.connect({ port, user: "trusty.alice" });
  return await client.value("SELECT current_setting('app.org_id', true)");
}

Deno.test("the file is read at the start, when it changes, and at SIGHUP", async () => {
  const { directory, resolvers, config } = await files(MEMBERSHIP);
  await using _directory = directory;
  await using server = await PgvpdProcess.serve(["-c", config]);
  assert.equal(await org(server.port), "1");
  assert.equal(server.entries("resolvers in use")[0]!["resolvers"], "org_membership");

  await Deno.writeTextFile(resolvers, MEMBERSHIP.replace("SELECT org_id", "SELECT 41 AS org_id"));
  await server.logged("resolvers in use", 2);
  assert.equal(await org(server.port), "41");

  await Deno.writeTextFile(resolvers, MEMBERSHIP.replace("params", "parms"));
  server.kill("SIGHUP");
  await server.logged("resolvers cannot be used: the old ones stay");
  assert.ok(server.log.some(({ message }) => /:5:1: unknown field "parms"; did/.test(message)));
  assert.equal(await org(server.port), "41");

  await Deno.writeTextFile(resolvers, MEMBERSHIP.replace("SELECT org_id", "SELECT 43 AS org_id"));
  server.kill("SIGHUP");
  await eventually("the new one is used", async () => await org(server.port) === "43");
});

Deno.test("a cache_ttl that means nothing is told at the start", async () => {
  const { directory, config } = await files(`${MEMBERSHIP}cache_ttl = 60`);
  await using _directory = directory;
  const warning = "cache_ttl means nothing without pools and resolver_user: every login asks";
  {
    await using server = await PgvpdProcess.serve(["-c", config]);
    await server.logged("resolvers in use");
    assert.equal(server.entries(warning).length, 0);
  }
  const text = await Deno.readTextFile(config);
  await Deno.writeTextFile(config, text.replace(/resolver_(user|password).*\n/g, ""));
  await using server = await PgvpdProcess.serve(["-c", config]);
  await server.logged(warning);
});

Deno.test("a file with mistakes stops the start, and config check tells all of them", async () => {
  const toml = `[[resolver]]
name = "a"
query = "SELECT $2 AS x"
params = ["app.current_tenant_id", "app.nowhere"]
inject = { "app.x" = "x", "app.current_tenant_id" = "y" }
depends_on = ["b"]
`;
  const { directory, resolvers, config } = await files(toml);
  await using _directory = directory;
  const checked = await pgvpd(["config", "check", "-c", config]);
  assert.equal(checked.code, 1);
  const lines = checked.err.trim().split("\n").map((line) => line.replace("pgvpd: ", ""));
  assert.deepEqual(lines.map((line) => line.replace(`${resolvers}:`, "")), [
    "4:11: the query has no $1",
    '4:36: nothing gives "app.nowhere" a value; known are app.current_tenant_id, app.x',
    '5:27: "app.current_tenant_id" comes from the user name (context_variables) and cannot be resolved',
    '6:15: there is no resolver "b"',
    "4 problems.",
  ]);
  const started = await pgvpd(["-c", config]);
  assert.equal(started.code, 1);
  assert.match(started.err, /:6:15: there is no resolver "b"/);

  await Deno.writeTextFile(resolvers, MEMBERSHIP);
  const good = await pgvpd(["config", "check", "-c", config]);
  assert.deepEqual([good.code, good.out.trim()], [0, "The configuration is good."]);
  await Deno.writeTextFile(resolvers, MEMBERSHIP.replace('"app.org_id" =', "role ="));
  const roles = await pgvpd(["config", "check", "-c", config, "--set-role", "member"]);
  assert.match(roles.err, /a resolver injects "role", and "set_role" is set; keep one/);
  assert.equal((await pgvpd(["config", "check", "-c", config])).code, 0);
  await Deno.remove(resolvers);
  assert.match(
    (await pgvpd(["config", "check", "-c", config])).err,
    /"resolvers" is ".*", which cannot be read[^]*: 1 problem/,
  );
});

const CHAIN = `${MEMBERSHIP}required = true
[[resolver]]
name = "region"
query = "SELECT region FROM orgs WHERE org_id = $1::int"
params = ["app.org_id"]
inject = { "app.region" = "region" }
[[resolver]]
name = "shard"
query = "SELECT shard FROM regions WHERE region = $1"
params = ["app.region"]
inject = { "app.shard" = "shard" }
`;

Deno.test("pgvpd resolve shows each step, and what would be injected", async () => {
  const { directory, config } = await files(CHAIN);
  await using _directory = directory;
  const run = (user: string) => pgvpd(["resolve", user, "--database", "pgvpd_test", "-c", config]);
  const { code, out, err } = await run("app_user.alice");
  assert.deepEqual([code, err], [0, ""]);
  assert.equal(
    out.replaceAll(/[\d.]+ ms/g, "N ms").trim(),
    `
In database "pgvpd_test" as "resolver":
  app.current_tenant_id = "alice"

org_membership: N ms, 1 row
  $1 app.current_tenant_id = "alice"
  org_id: "1", role: "admin"
  → app.org_id = "1"
  → app.org_role = "admin"

region: N ms, 1 row
  $1 app.org_id = "1"
  region: "eu"
  → app.region = "eu"

shard: N ms, 1 row
  $1 app.region = "eu"
  shard: "shard \\"1\\", it's"
  → app.shard = "shard \\"1\\", it's"

The session would begin with:
  SELECT set_config('app.current_tenant_id', 'alice', false);
  SELECT set_config('app.org_id', '1', false);
  SELECT set_config('app.org_role', 'admin', false);
  SELECT set_config('app.region', 'eu', false);
  SELECT set_config('app.shard', 'shard "1", it''s', false);
  SET ROLE "app_user";`.trim(),
  );
  const bob = await run("app_user.bob");
  assert.match(bob.out, /shard: not asked, an input is NULL/);
  assert.equal(bob.code, 0);
  const nobody = await run("app_user.nobody");
  assert.match(nobody.out, /would be refused: .*"org_membership" found nothing \(28000\)/);
  assert.equal(nobody.code, 1);
  assert.match((await run("app_user")).err, /separator/);
});

Deno.test("pgvpd resolve asks where the tenant's database is", async () => {
  const { directory, config } = await files(MEMBERSHIP);
  await using _directory = directory;
  const tenants = await directory.write(
    "tenants.toml",
    `[tenants.alice]
upstream = "other"
[upstreams.other]
host = "localhost"
database = "nowhere"
`,
  );
  await Deno.writeTextFile(config, `tenants = ${tenants}\n`, { append: true });
  const asked = (name: string) =>
    pgvpd(["resolve", `trusty.${name}`, "--database", "pgvpd_test", "-c", config]);
  const [moved, stays] = [await asked("alice"), await asked("bob")];
  assert.match(moved.out, /^In database "nowhere" as "resolver":/);
  assert.match(moved.out + moved.err, /database "nowhere" does not exist/);
  assert.match(stays.out, /^In database "pgvpd_test" as "resolver":/);
  assert.equal(stays.code, 0, stays.err);
});

Deno.test("pgvpd resolve shows what the server says, which no client hears", async () => {
  const { directory, config, resolvers } = await files(
    MEMBERSHIP.replace("FROM org_members", "FROM nowhere"),
  );
  await using _directory = directory;
  const args = ["resolve", "app_user.alice", "-d", "pgvpd_test", "-c", config];
  const failed = await pgvpd(args);
  assert.equal(failed.code, 1);
  assert.match(failed.out, /failed after .* ms\n.*\n {2}relation "nowhere" does not exist/);
  await Deno.writeTextFile(
    resolvers,
    MEMBERSHIP.replace("FROM", ", pg_sleep(9) FROM") + 'timeout = "100ms"',
  );
  assert.match((await pgvpd(args)).out, /statement timeout \(timeout: 100 ms\)/);
  const without = await pgvpd(["resolve", "a.b", "--no-config"]);
  assert.match(without.err, /There are no resolvers/);
});
