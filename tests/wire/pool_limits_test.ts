// The time limits of pools, in a real PostgreSQL: who is ended, with what, and what is cancelled.

import assert from "node:assert/strict";
import type { ProxyOptions } from "../../src/server.ts";
import { Bench, eventually, failure, type Front } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await Bench.start()));
Deno.test.afterAll(() => bench.stop());

const LIMIT_MS = 1_000;
const MODES = ["session", "transaction"] as const;

function pool(poolMode: typeof MODES[number], more: Partial<ProxyOptions>): Promise<Front> {
  return bench.front({
    poolMode,
    poolSize: 1,
    poolPassword: "secret",
    upstreamPassword: "none",
    ...more,
  });
}

function connect(front: Front, tenant: string): Promise<PgClient> {
  return PgClient.connect({ ...front.trusty(tenant), password: "secret" });
}

/** The client has lost its connection, and was told why. */
async function lostWith(client: PgClient, sqlState: string): Promise<void> {
  await eventually("the client is let go", () => client.lost !== null);
  assert.equal((client.lost as Error & { code?: string }).code, sqlState, client.lost!.message);
}

/** The only backend of the pool serves the next tenant, with nothing of the one before. */
async function nextIsServed(front: Front, pid: unknown): Promise<void> {
  await using next = await connect(front, "tenant_b");
  const names = await next.rows("SELECT name FROM tenants ORDER BY name");
  assert.deepEqual(names.map(({ name }) => name), ["Bob Inc", "Bob Ltd"]);
  assert.equal(await next.value("SELECT pg_backend_pid()"), pid);
}

for (const mode of MODES) {
  Deno.test(`${mode}: client_idle_timeout ends a silent client, and its backend is used on`, async () => {
    await using front = await pool(mode, { clientIdleTimeout: LIMIT_MS });
    await using client = await connect(front, "tenant_a");
    const pid = await client.value("SELECT pg_backend_pid()");
    await lostWith(client, "57P05");
    await nextIsServed(front, pid);
  });

  Deno.test(`${mode}: idle_transaction_timeout ends and rolls back`, async () => {
    await using front = await pool(mode, { idleTransactionTimeout: LIMIT_MS });
    await using client = await connect(front, "tenant_a");
    const pid = await client.value("SELECT pg_backend_pid()");
    await client.run("BEGIN");
    await client.run("INSERT INTO tenants (tenant_id, name) VALUES ('tenant_a', 'Ghost')");
    await lostWith(client, "25P03");
    await nextIsServed(front, pid);
    assert.deepEqual(await bench.admin.rows("SELECT 1 FROM tenants WHERE name = 'Ghost'"), []);
  });

  Deno.test(`${mode}: transaction_timeout cancels what runs`, async () => {
    await using front = await pool(mode, { transactionTimeout: LIMIT_MS });
    await using client = await connect(front, "tenant_a");
    const pid = await client.value("SELECT pg_backend_pid()");
    const refused = await failure(client.rows("SELECT pg_sleep(60)"));
    assert.match(refused.message, /transaction timeout|terminated/i);
    await eventually("nothing runs any more", async () =>
      await bench.admin.value(
        "SELECT count(*)::int FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%sleep(60)%' " +
          "AND pid <> pg_backend_pid()",
      ) === 0);
    await nextIsServed(front, pid);
  });

  Deno.test(`${mode}: limits leave alone who keeps to them`, async () => {
    await using front = await pool(mode, {
      clientIdleTimeout: 10_000,
      idleTransactionTimeout: 10_000,
      transactionTimeout: 3_000,
    });
    await using client = await connect(front, "tenant_a");
    const end = performance.now() + 3_500; // longer than one transaction may be
    while (performance.now() < end) await client.rows("SELECT name FROM tenants");
    assert.equal(client.lost, null);
  });
}

Deno.test("transaction: query_wait_timeout refuses who waits too long for a backend", async () => {
  await using front = await pool("transaction", { queryWaitTimeout: LIMIT_MS });
  await using holder = await connect(front, "tenant_a");
  await using waiter = await connect(front, "tenant_b");
  await holder.run("BEGIN");
  const refused = await failure(waiter.rows("SELECT 1"));
  assert.equal(refused.code, "53300");
  await holder.run("COMMIT");
  await nextIsServed(front, await holder.value("SELECT pg_backend_pid()"));
});
