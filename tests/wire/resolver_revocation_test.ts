// Promise: a right that is taken away is gone at once, also with an hour's cache_ttl, for who logs in
// and in open sessions.

import assert from "node:assert/strict";
import { as, MODES, resolverFront, seenBy, valuesOf } from "../support/resolver_bench.ts";
import {
  assertQuick,
  CACHED,
  executions,
  join,
  KEEP,
  leave,
  listening,
  startMembersBench,
  told,
} from "../support/resolver_members.ts";
import { type Bench, eventually, failure } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";

let bench: Bench;
Deno.test.beforeAll(async () => {
  bench = await startMembersBench();
});
Deno.test.afterAll(() => bench.stop());

/** To the second organisation. */
async function move(user: string): Promise<void> {
  await bench.admin.rows("UPDATE org_members SET org_id = 2 WHERE user_id = $1", [user]);
}

for (const mode of MODES) {
  Deno.test(`${mode}: a right that is taken away is gone at the next login, within 100 ms`, async () => {
    await using front = await resolverFront(bench, mode, CACHED, KEEP);
    await listening(front);
    const times: number[] = [];
    for (let turn = 0; turn < 5; turn++) {
      const user = `member${turn} of ${mode}`;
      await told(front, join(bench, user));
      assert.equal((await seenBy(as(front, user), "app.org_id"))["app.org_id"], "1");
      const before = executions(front);
      assert.equal((await seenBy(as(front, user), "app.org_id"))["app.org_id"], "1");
      assert.equal(executions(front), before, "the answer was kept");
      await leave(bench, user);
      const revokedAt = performance.now();
      const refused = () =>
        PgClient.connect(as(front, user)).then(async (client) => {
          await client[Symbol.asyncDispose]();
          return false;
        }, (error) => error.code === "28000");
      await eventually("it is refused", refused);
      times.push(performance.now() - revokedAt);
      await join(bench, user, 2); // and one that is given is there
      await eventually("it is let in", async () => !await refused());
      await told(front, leave(bench, user));
    }
    assertQuick(times, 100);
  });
}

Deno.test("transaction: on_invalidate = refresh: the next transaction sees it, within 100 ms", async () => {
  await using front = await resolverFront(bench, "transaction", CACHED, { poolSize: 1 });
  await listening(front);
  await told(front, join(bench, "worker", 1));
  await using client = await PgClient.connect(as(front, "worker"));
  await using other = await PgClient.connect(as(front, "bob"));
  const org = async () => (await valuesOf(client, "app.org_id"))["app.org_id"];
  assert.equal(await org(), "1");
  const pid = await client.value("SELECT pg_backend_pid()");
  assert.equal(await other.value("SELECT pg_backend_pid()"), pid, "both have the same backend");

  const times: number[] = [];
  for (let before = 1; before < 6; before++) {
    await client.run("BEGIN");
    await bench.admin.run("UPDATE org_members SET org_id = org_id + 1 WHERE user_id = 'worker'");
    const changedAt = performance.now();
    const kept = await org();
    assert.equal(kept, String(before), "a transaction keeps the context that it has begun with");
    await client.run("COMMIT");
    await eventually("it sees it", async () => await org() === String(before + 1));
    times.push(performance.now() - changedAt);
    assert.equal((await valuesOf(other, "app.org_id"))["app.org_id"], "2");
  }
  assertQuick(times, 100);

  await leave(bench, "worker");
  const error = await failure(eventually("it is refused", async () => await org() === ""));
  assert.equal(error.code, "28000");
  assert.match(error.message, /"org_membership" found nothing/);
  assert.equal((await valuesOf(other, "app.org_id"))["app.org_id"], "2", "the other one goes on");
});

Deno.test("transaction: an event while a client waits for a backend counts for that transaction", async () => {
  await using front = await resolverFront(bench, "transaction", CACHED, { poolSize: 1 });
  await listening(front);
  await told(front, join(bench, "waiter", 1));
  await using client = await PgClient.connect(as(front, "waiter"));
  await using other = await PgClient.connect(as(front, "bob"));
  await other.run("BEGIN");
  const seen = valuesOf(client, "app.org_id");
  const waiting = () => [...front.proxy.poolStats.values()].some((pool) => pool.waiting === 1);
  await eventually("it waits", waiting);
  await told(front, move("waiter"));
  await other.run("COMMIT");
  assert.deepEqual(await seen, { "app.org_id": "2" });
  await leave(bench, "waiter");
});

Deno.test("transaction: refresh ends a client that keeps its backend, when it is idle", async () => {
  await using front = await resolverFront(bench, "transaction", CACHED);
  await listening(front);
  await told(front, join(bench, "pinned", 1));
  await using client = await PgClient.connect(as(front, "pinned"));
  await client.run("LISTEN something");
  await move("pinned");
  await eventually("it has ended", () => client.lost !== null);
  assert.equal((client.lost as { code?: string }).code, "57P01");
  await leave(bench, "pinned");
});

Deno.test("transaction: refresh ends a client that keeps its backend for the second time", async () => {
  await using front = await resolverFront(bench, "transaction", CACHED);
  await listening(front);
  await told(front, join(bench, "pinned", 1));
  await using client = await PgClient.connect(as(front, "pinned"));
  const kept = () => front.entries("client keeps its server connection").length;
  await client.run("LISTEN something");
  await eventually("it keeps it", () => kept() === 1);
  await client.run("DISCARD ALL");
  await client.run("BEGIN");
  await told(front, move("pinned"));
  await client.run("LISTEN something");
  await client.run("COMMIT");
  await eventually("it has ended", () => client.lost !== null);
  assert.equal((client.lost as { code?: string }).code, "57P01");
  assert.equal(kept(), 2);
  await leave(bench, "pinned");
});

for (const mode of ["none", "session"] as const) {
  Deno.test(`${mode}: refresh ends an idle session whose context has changed, and no other`, async () => {
    await using front = await resolverFront(bench, mode, CACHED);
    await listening(front);
    await told(front, join(bench, "mover", 1));
    await using mover = await PgClient.connect(as(front, "mover"));
    await using stayer = await PgClient.connect(as(front, "alice"));
    const before = executions(front);
    await bench.admin.run("SELECT pgvpd_invalidate('*')");
    await eventually("both were looked at", () => executions(front) >= before + 2);
    assert.equal(await mover.value("SELECT 1"), 1);
    await move("mover");
    await eventually("it has ended", () => mover.lost !== null);
    assert.equal((mover.lost as { code?: string }).code, "57P01");
    assert.equal((await seenBy(as(front, "mover"), "app.org_id"))["app.org_id"], "2");
    assert.equal(await stayer.value("SELECT 1"), 1);
    await leave(bench, "mover");
  });
}
