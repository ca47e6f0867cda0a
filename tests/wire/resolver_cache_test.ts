// Promise: answers are shared as long as they may be, by nobody who should not have them, and an
// event reaches every answer that it is about.

import assert from "node:assert/strict";
import {
  as,
  MEMBERSHIP,
  MODES,
  resolverFront,
  seenBy,
  valuesOf,
} from "../support/resolver_bench.ts";
import {
  CACHED,
  executions,
  join,
  KEEP,
  leave,
  listening,
  startMembersBench,
  told,
} from "../support/resolver_members.ts";
import { APP_PASSWORD, type Bench, eventually, failure } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";
import { beginLogin } from "../support/wire_pool.ts";
import { RawClient } from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => {
  bench = await startMembersBench();
});
Deno.test.afterAll(() => bench.stop());

const OWN = { resolverUser: null, resolverPassword: null };

for (const mode of MODES) {
  Deno.test(`${mode}: 3.3: an answer is asked for once, and by 100 at the same time once`, async () => {
    await using front = await resolverFront(bench, mode, CACHED, KEEP);
    await listening(front);
    const before = executions(front);
    const logins = Array.from({ length: 100 }, () => seenBy(as(front, "alice"), "app.org_id"));
    for (const seen of await Promise.all(logins)) assert.deepEqual(seen, { "app.org_id": "1" });
    assert.equal(executions(front) - before, 1);
    await seenBy(as(front, "alice"), "app.org_id");
    await seenBy(as(front, "bob"), "app.org_id");
    assert.equal(executions(front) - before, 2, "another user is another question");
    const { cacheHits, cacheMisses, cacheSize } = front.proxy.resolverStats;
    assert.ok(cacheHits > 0 && cacheMisses > 0);
    assert.ok(cacheSize >= 2);
  });

  Deno.test(`${mode}: cache_ttl = 0: every login asks`, async () => {
    await using front = await resolverFront(bench, mode, MEMBERSHIP, KEEP);
    for (let login = 1; login <= 3; login++) {
      await seenBy(as(front, "alice"), "app.org_id");
      assert.equal(executions(front), login);
    }
    assert.equal(front.proxy.resolverStats.cacheSize, 0);
  });

  Deno.test(`${mode}: nothing found is kept too, errors are not`, async () => {
    await using front = await resolverFront(bench, mode, CACHED, KEEP);
    await listening(front);
    const before = executions(front);
    for (let login = 0; login < 3; login++) {
      assert.equal((await failure(PgClient.connect(as(front, "nobody")))).code, "28000");
    }
    assert.equal(executions(front) - before, 1);

    const failing = CACHED.replace("SELECT org_id", "SELECT 1 / (org_id - 1) AS org_id");
    await using errors = await resolverFront(bench, mode, failing, KEEP);
    await listening(errors, "bob");
    const beforeErrors = executions(errors);
    for (let login = 0; login < 3; login++) {
      assert.equal((await failure(PgClient.connect(as(errors, "alice")))).code, "28000");
    }
    assert.equal(executions(errors) - beforeErrors, 3);
  });

  Deno.test(`${mode}: open sessions, on_invalidate = keep`, async () => {
    await using front = await resolverFront(bench, mode, CACHED, { onInvalidate: "keep" });
    await listening(front);
    await join(bench, "keeper");
    await using client = await PgClient.connect(as(front, "keeper"));
    await leave(bench, "keeper");
    await eventually("the event is there", () => front.entries("invalidated").length >= 2);
    assert.equal((await valuesOf(client, "app.org_id"))["app.org_id"], "1");
    assert.equal(client.lost, null);
  });

  Deno.test(`${mode}: open sessions, on_invalidate = close: idle ones at once, busy ones then`, async () => {
    await using front = await resolverFront(bench, mode, CACHED, { onInvalidate: "close" });
    await listening(front);
    await using idle = await PgClient.connect(as(front, "alice"));
    await using busy = await PgClient.connect(as(front, "alice"));
    await using other = await PgClient.connect(as(front, "bob"));
    assert.equal((await valuesOf(idle, "app.org_id"))["app.org_id"], "1");
    await busy.run("BEGIN");
    await bench.admin.run("SELECT pgvpd_invalidate('org_membership', 'alice')");
    await eventually("the idle one has ended", () => idle.lost !== null);
    assert.equal((idle.lost as { code?: string }).code, "57P01");
    assert.match(idle.lost!.message, /session context has changed/);
    assert.equal(await busy.value("SELECT 1"), 1);
    await busy.run("COMMIT");
    await eventually("the busy one has ended", () => busy.lost !== null);
    assert.equal(await other.value("SELECT 1"), 1, "whom it does not concern stays");
  });
}

Deno.test("an identity is recognised however it is written, and truncation means everybody", async () => {
  await using front = await resolverFront(bench, "none", CACHED, KEEP);
  await listening(front);
  await told(front, join(bench, "A0EEBC99-9C0B", 5));
  const user = as(front, "A0EEBC99-9C0B");
  assert.equal((await seenBy(user, "app.org_id"))["app.org_id"], "5");
  const asked = async () => {
    const before = executions(front);
    await seenBy(user, "app.org_id");
    return executions(front) - before;
  };
  assert.equal(await asked(), 0);
  for (
    const event of [
      "SELECT pgvpd_invalidate('org_membership', 'a0eebc999c0b')",
      "SELECT pgvpd_invalidate('org_membership')",
      "SELECT pgvpd_invalidate('*')",
      `NOTIFY pgvpd_invalidate, '["broken'`,
      "NOTIFY pgvpd_invalidate",
      `SELECT pgvpd_invalidate('org_membership', repeat('x', 9000))`,
      "BEGIN; CREATE TEMP TABLE kept AS TABLE org_members; TRUNCATE org_members; " +
      "INSERT INTO org_members TABLE kept; DROP TABLE kept; COMMIT",
    ]
  ) {
    await bench.admin.run(event);
    await eventually(event, async () => await asked() === 1);
    await eventually(`${event}: it is kept`, async () => await asked() === 0);
  }
  const event = "SELECT pgvpd_invalidate('org_membership', 'somebody else')";
  await told(front, bench.admin.run(event));
  assert.equal(await asked(), 0);
  await leave(bench, "A0EEBC99-9C0B");
});

Deno.test("however a number or a boolean is written, the trigger's event is about it", async () => {
  await bench.admin.run(`
    CREATE TABLE flags (id int, is_on bool, word text);
    INSERT INTO flags VALUES (42, true, 'first');
    GRANT SELECT ON flags TO resolver;
    CREATE TRIGGER pgvpd_invalidate AFTER UPDATE ON flags
      FOR EACH ROW EXECUTE FUNCTION pgvpd_invalidate_on_change('flag', 'id', 'is_on')`);
  const toml = `[[resolver]]
name = "flag"
query = "SELECT word FROM flags WHERE id = $1::numeric AND is_on = $2::bool"
params = ["app.id", "app.on"]
inject = { "app.word" = "word" }
cache_ttl = 3600`;
  const contextVariables = ["app.id", "app.on"];
  await using front = await resolverFront(bench, "none", toml, { ...KEEP, contextVariables });
  const word = async (id: string) => (await seenBy(as(front, id), "app.word"))["app.word"];
  await word("1:f");
  await eventually("it listens", () => front.entries("listening for invalidations").length > 0);
  await front.empty();
  const asked = [" 42:t", "+42:TRUE", "042:yes", "42.0:on", "4.2e1:1", "42:tru"];
  for (const change of ["second", "third"]) {
    await bench.admin.rows("UPDATE flags SET word = $1", [change]);
    for (const id of asked) {
      await eventually(`${id} sees it`, async () => await word(id) === change);
    }
  }
  const executions = front.proxy.resolverStats.executions.get("flag");
  for (const id of asked) await word(id);
  assert.equal(front.proxy.resolverStats.executions.get("flag"), executions, "all are kept");
});

Deno.test("a listener that is lost comes back, and until then nothing is believed", async () => {
  await using front = await resolverFront(bench, "none", CACHED, KEEP);
  await listening(front);
  await seenBy(as(front, "alice"), "app.org_id");
  assert.ok(front.proxy.resolverStats.cacheSize >= 1);
  const before = executions(front);
  await bench.admin.run(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'pgvpd resolvers' AND query LIKE 'LISTEN%'`);
  await eventually("everything is forgotten", () => front.proxy.resolverStats.cacheSize === 0);
  await eventually("it listens", () => front.entries("listening for invalidations").length === 2);
  await seenBy(as(front, "alice"), "app.org_id");
  await seenBy(as(front, "alice"), "app.org_id");
  assert.equal(executions(front) - before, 1);
});

Deno.test("a cache has a size, and databases and roles have their own answers", async () => {
  await using small = await resolverFront(bench, "none", CACHED, { resolverCacheSize: 1 });
  await listening(small);
  for (const user of ["alice", "bob", "alice"]) await seenBy(as(small, user), "app.org_id");
  assert.equal(small.proxy.resolverStats.cacheSize, 1);

  const toml = `[[resolver]]
name = "me"
query = "SELECT current_user AS me, current_database() AS db"
inject = { "app.me" = "me", "app.db" = "db" }
cache_ttl = 3600`;
  await using front = await resolverFront(bench, "session", toml, OWN);
  for (let turn = 0; turn < 2; turn++) {
    for (const [role, database] of [["trusty", "trusty"], ["trusty", "pgvpd_test"]] as const) {
      const login = { ...as(front, "x"), user: `${role}.x`, database };
      assert.deepEqual(await seenBy(login, "app.me", "app.db"), {
        "app.me": role,
        "app.db": database,
      });
    }
    const login = { port: front.port, user: "app_user.x", password: APP_PASSWORD };
    assert.equal((await seenBy(login, "app.me"))["app.me"], "app_user");
  }
  assert.equal(front.proxy.resolverStats.executions.get("me"), 3);
});

Deno.test("resolver_database is where they run, whatever database the client asks for", async () => {
  const options = { resolverDatabase: "pgvpd_test" };
  await using front = await resolverFront(bench, "none", CACHED, options);
  const login = { ...as(front, "alice"), database: "trusty" };
  assert.equal((await seenBy(login, "app.org_id"))["app.org_id"], "1");
  await using without = await resolverFront(bench, "none", CACHED);
  const error = await failure(PgClient.connect({ ...login, port: without.port }));
  assert.equal(error.code, "28000", "there is no such table in that database");
});

Deno.test("a leader that leaves takes its query along, and another one asks", async () => {
  const toml = `[[resolver]]
name = "slow"
query = "SELECT pg_sleep(0.4)::text AS a, count(*)::text AS n FROM open_members"
inject = { "app.n" = "n" }
cache_ttl = 60`;
  const options = { ...OWN, poolAuth: "cleartext" } as const;
  await using front = await resolverFront(bench, "transaction", toml, options);
  using leader = await RawClient.connect(front.port);
  await beginLogin(leader, { user: "trusty.x", database: "pgvpd_test" });
  await bench.running("pg_sleep(0.4)");
  const follower = seenBy(as(front, "x"), "app.n");
  await eventually("both are there", () => front.proxy.connectionsActive === 2);
  leader.close();
  assert.ok(Number((await follower)["app.n"]) > 0);
  assert.equal(front.proxy.resolverStats.executions.get("slow"), 2);
});
