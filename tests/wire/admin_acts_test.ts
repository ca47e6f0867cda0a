// What operators do to tenants is done to live clients, in every pool mode, and to nobody else.

import assert from "node:assert/strict";
import { controlOf, TESTER } from "../support/wire_control.ts";
import { Bench, eventually, failure } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";
import { connectTenant, modeFront, MODES } from "../support/wire_modes.ts";

/** The socket of a client. */
interface Destroyable {
  destroy(): void;
}

let bench: Bench;
Deno.test.beforeAll(async () => {
  bench = await Bench.start();
});
Deno.test.afterAll(async () => await bench.stop());

for (const mode of MODES) {
  Deno.test(`${mode}: disconnect ends a tenant's sessions and cancels what runs for them`, async () => {
    await using front = await modeFront(bench, mode);
    const control = controlOf(front);
    await using busy = await connectTenant(front, "tenant_a");
    await using idle = await connectTenant(front, "tenant_a");
    await using other = await connectTenant(front, "tenant_b");
    const sleeping = failure(busy.run(`SELECT pg_sleep(600) AS act_${mode}`));
    await bench.running(`act_${mode}`);
    assert.equal(control.disconnectTenant("tenant_a", TESTER), 2);
    await sleeping;
    await eventually("the idle one is let go", () => idle.lost !== null);
    assert.equal((idle.lost as Error & { code?: string }).code, "57P01");
    await eventually("nothing runs any more", async () =>
      Number(
        await bench.admin.value(
          `SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE $1`,
          [`%pg_sleep(600) AS act_${mode}%`],
        ),
      ) === 0);
    assert.equal(await other.value("SELECT 1"), 1);
    await using again = await connectTenant(front, "tenant_a");
    assert.equal(await again.value("SELECT count(*)::int FROM tenants"), 2);
  });

  Deno.test(`${mode}: pause holds the new transactions of one tenant, and resume lets them go`, async () => {
    await using front = await modeFront(bench, mode);
    const control = controlOf(front);
    await using inside = await connectTenant(front, "tenant_a");
    await using outside = await connectTenant(front, "tenant_a");
    await using other = await connectTenant(front, "tenant_b");
    await inside.run("BEGIN");
    assert.equal(control.pause("tenant_a", TESTER), 2);
    assert.equal(await inside.value("SELECT count(*)::int FROM tenants"), 2, "it goes on");
    await inside.run("COMMIT");
    const states = () =>
      control.clients().filter(({ tenant }) => tenant === "tenant_a")
        .map(({ state }) => state);
    let answers = 0;
    const asked = [inside, outside].map((client) =>
      client.value("SELECT 7").then((seven) => {
        answers++;
        return seven;
      })
    );
    await eventually("both are held", () => states().every((state) => state === "paused"));
    await using late = await connectTenant(front, "tenant_a");
    const latest = late.value("SELECT 8");
    await eventually(
      "who comes later is held",
      () => states().length === 3 && states().every((state) => state === "paused"),
    );
    assert.equal(await other.value("SELECT count(*)::int FROM tenants"), 2, "nobody else waits");
    assert.equal(answers, 0);
    assert.deepEqual(control.tenant("tenant_a")?.waiting, 3);
    assert.equal(control.resume("tenant_a", TESTER), 3);
    assert.deepEqual(await Promise.all(asked), [7, 7]);
    assert.equal(await latest, 8);
  });

  Deno.test(`${mode}: who is held can be disconnected, and may leave`, async () => {
    await using front = await modeFront(bench, mode);
    const control = controlOf(front);
    await using held = await connectTenant(front, "tenant_a");
    const leaving = await connectTenant(front, "tenant_a");
    control.pause("tenant_a", TESTER);
    const asked = failure(held.value("SELECT 1"));
    await eventually("it is held", () => control.clients().some(({ state }) => state === "paused"));
    await leaving[Symbol.asyncDispose]();
    await eventually("one has left", () => control.clients().length === 1);
    control.disconnectClient(control.clients()[0]!.id, TESTER);
    assert.equal((await asked as Error & { code?: string }).code, "57P01");
    control.resume("tenant_a", TESTER);
  });

  Deno.test(`${mode}: deny ends a tenant's sessions and keeps it out until allow`, async () => {
    await using front = await modeFront(bench, mode, { tenantDeny: ["evil"] });
    const control = controlOf(front);
    await using client = await connectTenant(front, "tenant_a");
    assert.equal(control.deny("tenant_a", TESTER), 1);
    await eventually("it is let go", () => client.lost !== null);
    assert.equal((client.lost as Error & { code?: string }).code, "28000");
    assert.equal((await failure(connectTenant(front, "tenant_a"))).code, "28000");
    assert.throws(() => control.allow("evil", TESTER), /configuration denies/);
    control.allow("tenant_a", TESTER);
    await using again = await connectTenant(front, "tenant_a");
    assert.equal(await again.value("SELECT 1"), 1);
  });

  Deno.test(`${mode}: everything is paused and resumed together, but for bypass users`, async () => {
    await using front = await modeFront(bench, mode);
    const control = controlOf(front);
    await using one = await connectTenant(front, "tenant_a");
    await using other = await connectTenant(front, "tenant_b");
    control.pause(null, TESTER);
    const asked = [one, other].map((client) => client.value("SELECT 1"));
    await eventually(
      "both are held",
      () => control.clients().filter(({ state }) => state === "paused").length === 2,
    );
    await using bypass = await PgClient.connect(front.bypass);
    assert.equal(await bypass.value("SELECT count(*)::int FROM tenants"), 4);
    control.resume(null, TESTER);
    assert.deepEqual(await Promise.all(asked), [1, 1]);
  });

  Deno.test(`${mode}: what is shown of a client is what it does`, async () => {
    await using front = await modeFront(bench, mode);
    const control = controlOf(front);
    await using client = await connectTenant(front, "tenant_a", { options: "-c geqo=off" });
    await client.run("BEGIN");
    await client.value("SELECT count(*) FROM tenants");
    const [shown] = control.clients();
    assert.equal(shown!.state, "in transaction");
    assert.deepEqual([shown!.role, shown!.tenant, shown!.isEncrypted], [
      ...["app_user", "tenant_a", false],
    ]);
    const [backend] = control.backends();
    assert.deepEqual([backend!.client, backend!.tenant, backend!.state], [
      ...[shown!.id, "tenant_a", "active"],
    ]);
    if (mode !== "none") {
      const pid = await client.value("SELECT pg_backend_pid()");
      assert.deepEqual([shown!.backend, backend!.processId], [pid, pid]);
      const [pool] = control.pools();
      assert.deepEqual([pool!.id, pool!.active, pool!.role], [backend!.pool, 1, "app_user"]);
    }
    await client.run("COMMIT");
    const { traffic, tenantTraffic, pool } = control.totals();
    assert.deepEqual(traffic, tenantTraffic);
    assert(traffic.transactions === 1 && traffic.queries >= 3);
    assert.equal(pool.checkouts > 0, mode !== "none");
  });
}

Deno.test("who is held is told so, and whoever dies meanwhile takes no place for long", async () => {
  const held = MODES.map(async (mode) => {
    await using front = await modeFront(bench, mode);
    const control = controlOf(front);
    await using patient = await connectTenant(front, "tenant_a");
    const dying = await connectTenant(front, "tenant_a");
    control.pause("tenant_a", TESTER);
    const asked = patient.value("SELECT 6");
    void dying.value("SELECT 6").catch(() => {});
    await eventually(
      "both are held",
      () => control.clients().filter(({ state }) => state === "paused").length === 2,
    );
    const { connection } = dying.bare as unknown as { connection: { stream: Destroyable } };
    connection.stream.destroy();
    await eventually("one is gone", () => control.clients().length === 1, 30_000);
    assert.match(patient.notices[0]!, /the tenant is paused/);
    control.resume("tenant_a", TESTER);
    assert.equal(await asked, 6);
  });
  await Promise.all(held);
});

for (const mode of ["session", "transaction"] as const) {
  Deno.test(`${mode}: a pool is drained: idle connections now, one in use when it comes back`, async () => {
    await using front = await modeFront(bench, mode);
    const control = controlOf(front);
    await using busy = await connectTenant(front, "tenant_a");
    {
      await using idle = await connectTenant(front, "tenant_a");
      await busy.run("BEGIN");
      await idle.value("SELECT 1");
    }
    await eventually("one is idle", () => control.pools()[0]!.idle === 1);
    const before = control.backends().map(({ processId }) => processId);
    assert.equal(before.length, 2);
    assert.equal(control.drainPool(control.pools()[0]!.id, TESTER), 2);
    await eventually("the idle one is gone", () => control.backends().length === 1);
    assert.equal(await busy.value("SELECT count(*)::int FROM tenants"), 2, "it goes on");
    await busy.run("COMMIT");
    await busy[Symbol.asyncDispose]();
    await eventually("the other one too", () => control.backends().length === 0);
    await using again = await connectTenant(front, "tenant_a");
    const pid = await again.value("SELECT pg_backend_pid()");
    assert(!before.includes(pid as number));
    assert.throws(() => control.drainPool("0123456789ab", TESTER), /no pool of this name/);
  });
}

Deno.test("transaction: a client that keeps its backend is held too, and shown with the reason", async () => {
  await using front = await modeFront(bench, "transaction");
  const control = controlOf(front);
  await using client = await connectTenant(front, "tenant_a");
  await client.run("LISTEN something");
  assert.match(String(control.clients()[0]!.pinned), /LISTEN/i);
  control.pause("tenant_a", TESTER);
  const asked = client.value("SELECT 5");
  await eventually("it is held", () => control.clients()[0]!.state === "paused");
  control.resume("tenant_a", TESTER);
  assert.equal(await asked, 5);
});
