// Resolvers and the sealed context: what they find is sealed too, and sealed anew when it changes.

import { strict as assert } from "node:assert";
import { planOf } from "../support/resolver_plan.ts";
import { SealedWorld, tenant } from "../support/sealed_world.ts";
import { APP_PASSWORD, eventually, failure } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";
import { MODES } from "../support/wire_modes.ts";

let world: SealedWorld;
Deno.test.beforeAll(async () => {
  world = await SealedWorld.start();
  await world.bench.admin.run(`
    CREATE TABLE members (tenant text, teams text);
    INSERT INTO members VALUES ('acme', '{red,"blue, dark"}'), ('globex', '{grün}');
    CREATE ROLE resolver LOGIN NOINHERIT PASSWORD '${APP_PASSWORD}';
    GRANT SELECT ON members TO app_user, resolver;
    CREATE FUNCTION notify_members() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM pg_notify('pgvpd_invalidate', 'teams'); RETURN NULL; END $$;
    CREATE TRIGGER members_change AFTER UPDATE ON members EXECUTE FUNCTION notify_members()`);
});
Deno.test.afterAll(() => world[Symbol.asyncDispose]());

const TEAMS = planOf(`
[[resolver]]
name = "teams"
query = "SELECT teams FROM members WHERE tenant = $1"
params = ["app.current_tenant_id"]
inject = { "app.teams" = "teams" }
required = true
cache_ttl = 300
`);
const SEALED_TEAMS = "SELECT pgvpd.ctx('app.teams')";

for (const mode of MODES) {
  for (const resolverUser of [null, "resolver"]) {
    const as = resolverUser === null ? "on the client's own connection" : "as a role of their own";
    Deno.test(`sealed, ${mode}: what resolvers find ${as} is sealed`, async () => {
      const options = { resolverUser, resolverPassword: APP_PASSWORD };
      await using front = await world.front(mode, options, [world.key], TEAMS);
      for (const [id, teams] of [["acme", '{red,"blue, dark"}'], ["globex", "{grün}"]]) {
        await using client = await PgClient.connect(tenant(front, id!));
        assert.equal(await client.value(SEALED_TEAMS), teams);
        await client.run("SELECT set_config('app.teams', '{all}', false)");
        assert.equal(await client.value(SEALED_TEAMS), teams);
        assert.equal(await client.value("SELECT current_tenant_id()"), id);
      }
      const error = await failure(PgClient.connect(tenant(front, "nobody")));
      assert.equal(error.code, "28000");
    });
  }
}

Deno.test("sealed, transaction: a context that has changed is sealed anew", async () => {
  const options = { resolverUser: "resolver", resolverPassword: APP_PASSWORD };
  await using front = await world.front("transaction", options, [world.key], TEAMS);
  await using client = await PgClient.connect(tenant(front, "acme"));
  const before = await client.value(SEALED_TEAMS);
  await world.bench.admin.run("UPDATE members SET teams = '{green}' WHERE tenant = 'acme'");
  await eventually("another team", async () => await client.value(SEALED_TEAMS) === "{green}");
  assert.notEqual(before, "{green}");
});
