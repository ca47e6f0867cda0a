// The timeouts of tenants through a real PostgreSQL, in every mode: what is ended, what goes on.

import assert from "node:assert/strict";
import { Bench, eventually, failure } from "../support/wire_bench.ts";
import type { PgClient } from "../support/wire_clients.ts";
import { connectTenant, modeFront, MODES } from "../support/wire_modes.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await Bench.start()));
Deno.test.afterAll(() => bench.stop());

const LIMIT_MS = 1_000;

async function lostWith(client: PgClient, sqlState: string): Promise<void> {
  await eventually("the client is let go", () => client.lost !== null);
  assert.equal((client.lost as Error & { code?: string }).code, sqlState, client.lost!.message);
}

async function nothingRuns(fragment: string): Promise<void> {
  await eventually("nothing runs any more", async () =>
    await bench.admin.value(
      "SELECT count(*)::int FROM pg_stat_activity WHERE state = 'active' AND query LIKE $1 " +
        "AND pid <> pg_backend_pid()",
      [`%${fragment}%`],
    ) === 0);
}

for (const mode of MODES) {
  Deno.test(`${mode}: tenant_query_timeout ends a connection that is silent, its query with it`, async () => {
    await using front = await modeFront(bench, mode, { tenantQueryTimeout: LIMIT_MS });
    await using client = await connectTenant(front, "tenant_a");
    await using bypass = await connectTenant(front, "", front.bypass);
    const query = failure(client.rows("SELECT pg_sleep(10) AS silent"));
    await query;
    await nothingRuns("AS silent");
    await using idle = await connectTenant(front, "tenant_b");
    await lostWith(idle, "57P05");
    assert.equal(await bypass.value("SELECT 1 FROM pg_sleep(2)"), 1);
  });

  Deno.test(`${mode}: tenant_statement_timeout cancels a statement, and the session lives`, async () => {
    await using front = await modeFront(bench, mode, { tenantStatementTimeout: LIMIT_MS });
    await using client = await connectTenant(front, "tenant_a");
    await using bypass = await connectTenant(front, "", front.bypass);
    const undisturbed = bypass.value("SELECT 1 FROM pg_sleep(2)");
    for (let count = 0; count < 2; count++) {
      assert.equal((await failure(client.rows("SELECT pg_sleep(60)"))).code, "57014");
      await nothingRuns("sleep(60)");
    }
    assert.equal((await failure(client.rows("SELECT pg_sleep($1)", [60]))).code, "57014");
    await client.run("BEGIN");
    assert.equal((await failure(client.rows("SELECT pg_sleep(60)"))).code, "57014");
    await client.run("ROLLBACK");
    const end = performance.now() + 1.5 * LIMIT_MS;
    while (performance.now() < end) await client.rows("SELECT name FROM tenants");
    assert.equal(client.lost, null);
    assert.equal(await undisturbed, 1);
  });

  Deno.test(`${mode}: tenant_idle_timeout ends who is silent, and no query`, async () => {
    await using front = await modeFront(bench, mode, { tenantIdleTimeout: LIMIT_MS });
    await using busy = await connectTenant(front, "tenant_a");
    await using bypass = await connectTenant(front, "", front.bypass);
    assert.equal(await busy.value("SELECT 1 FROM pg_sleep(2)"), 1);
    await lostWith(busy, "57P05");
    await using inside = await connectTenant(front, "tenant_b");
    await inside.run("BEGIN");
    await inside.run("INSERT INTO tenants (tenant_id, name) VALUES ('tenant_b', 'Ghost')");
    await lostWith(inside, "25P03");
    assert.deepEqual(await bench.admin.rows("SELECT 1 FROM tenants WHERE name = 'Ghost'"), []);
    assert.equal(bypass.lost, null);
  });

  Deno.test(`${mode}: tenant_session_timeout ends a session, but not inside its transaction`, async () => {
    await using front = await modeFront(bench, mode, { tenantSessionTimeout: LIMIT_MS });
    await using idle = await connectTenant(front, "tenant_a");
    await using inside = await connectTenant(front, "tenant_b");
    await inside.run("BEGIN");
    await lostWith(idle, "57P01");
    assert.equal(await inside.value("SELECT 1 FROM pg_sleep(2)"), 1);
    assert.equal(inside.lost, null);
    await inside.run("COMMIT");
    await lostWith(inside, "57P01");
  });
}
