// Tenants through a real PostgreSQL, in every mode: lists, limits, and what an outsider cannot do.

import assert from "node:assert/strict";
import { type FileContents, type ProxyOptions, WITHOUT_TLS } from "../../src/server.ts";
import { Bench, eventually, failure, type Front } from "../support/wire_bench.ts";
import type { PgClient } from "../support/wire_clients.ts";
import { connectTenant, modeFront, MODES } from "../support/wire_modes.ts";
import { proxyOptions } from "../support/wire_options.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await Bench.start()));
Deno.test.afterAll(() => bench.stop());

const AT_ONCE = 1_000;

async function namesOf(client: PgClient): Promise<unknown[]> {
  return (await client.rows("SELECT name FROM tenants ORDER BY name")).map(({ name }) => name);
}

async function refusal(front: Front, tenant: string, password?: string) {
  const error = await failure(connectTenant(front, tenant, password ? { password } : {}));
  return { code: error.code, message: error.message };
}

function reload(front: Front, options: Partial<ProxyOptions>, files: FileContents): void {
  front.proxy.reload(proxyOptions(bench.postgres.port, options), files);
}

for (const mode of MODES) {
  Deno.test(`${mode}: a denied tenant is refused, another one works, a bypass user is nobody's`, async () => {
    await using front = await modeFront(bench, mode, { tenantDeny: ["tenant_a", "postgres"] });
    assert.deepEqual(await refusal(front, "tenant_a"), {
      code: "28000",
      message: 'tenant "tenant_a" may not connect',
    });
    await using client = await connectTenant(front, "tenant_b");
    assert.deepEqual(await namesOf(client), ["Bob Inc", "Bob Ltd"]);
    await using bypass = await connectTenant(front, "", front.bypass);
    assert.equal(await bypass.value("SELECT count(*)::int FROM tenants"), 4);
  });

  Deno.test(`${mode}: only who is listed may come, in the setting or in the file`, async () => {
    const files = { ...WITHOUT_TLS, tenants: { allow: ["*_b"], deny: null } };
    await using front = await modeFront(bench, mode, { tenantAllow: ["tenant_a"] }, files);
    await (await connectTenant(front, "tenant_a"))[Symbol.asyncDispose]();
    await (await connectTenant(front, "tenant_b"))[Symbol.asyncDispose]();
    assert.equal((await refusal(front, "tenant_c")).code, "28000");
  });

  Deno.test(`${mode}: a third connection is refused, other tenants are not`, async () => {
    await using front = await modeFront(bench, mode, { tenantMaxConnections: 2 });
    await using first = await connectTenant(front, "tenant_a");
    await using second = await connectTenant(front, "tenant_a");
    assert.deepEqual(await refusal(front, "tenant_a"), {
      code: "53300",
      message: 'too many connections for tenant "tenant_a": the limit is 2',
    });
    await using other = await connectTenant(front, "tenant_b");
    assert.deepEqual(await namesOf(other), ["Bob Inc", "Bob Ltd"]);
    await first[Symbol.asyncDispose]();
    await eventually("its place is free", async () => {
      const again = await connectTenant(front, "tenant_a").catch(() => null);
      await again?.[Symbol.asyncDispose]();
      return again !== null;
    });
    assert.deepEqual(await namesOf(second), ["Alice Corp", "Alice LLC"]);
  });

  Deno.test(`${mode}: wrong passwords take no place and no rate from a tenant`, async () => {
    await using front = await modeFront(bench, mode, {
      tenantMaxConnections: 1,
      tenantRateLimit: 1,
      authFailureLimit: 1_000,
    });
    const outsiders = await Promise.all(
      Array.from({ length: 50 }, () => refusal(front, "tenant_a", "wrong")),
    );
    assert.deepEqual([...new Set(outsiders.map(({ code }) => code))], ["28P01"]);
    const inside = refusal(front, "tenant_a", "wrong"); // while the tenant itself comes
    await using client = await connectTenant(front, "tenant_a");
    await inside;
    assert.deepEqual(await namesOf(client), ["Alice Corp", "Alice LLC"]);
  });

  Deno.test(`${mode}: an address that guesses is not listened to for a while`, async () => {
    await using front = await modeFront(bench, mode, { authFailureLimit: 3 });
    for (let count = 0; count < 3; count++) {
      assert.equal((await refusal(front, "tenant_a", "wrong")).code, "28P01");
    }
    const { code, message } = await refusal(front, "tenant_a");
    assert.deepEqual([code, message], ["28000", "too many failed logins from this address"]);
  });

  Deno.test(`${mode}: a burst may come at once, the rest at the rate`, async () => {
    await using front = await modeFront(bench, mode, { tenantRateLimit: 1, tenantRateBurst: 2 });
    const three = await Promise.allSettled(
      [1, 2, 3].map(() => connectTenant(front, "tenant_a")),
    );
    const served = three.filter(({ status }) => status === "fulfilled");
    assert.equal(served.length, 2);
    const refused = three.find(({ status }) => status === "rejected") as PromiseRejectedResult;
    assert.equal(refused.reason.code, "53300");
    assert.match(refused.reason.message, /for tenant "tenant_a": the limit is 1 in a second/);
    for (const one of served) {
      await (one as PromiseFulfilledResult<PgClient>).value[Symbol.asyncDispose]();
    }
  });

  Deno.test(`${mode}: a reload that denies a tenant ends its sessions and its queries`, async () => {
    await using front = await modeFront(bench, mode);
    await using idle = await connectTenant(front, "tenant_a");
    await using busy = await connectTenant(front, "tenant_a");
    await using other = await connectTenant(front, "tenant_b");
    const query = failure(busy.rows("SELECT pg_sleep(600) AS denied"));
    await bench.running("AS denied");
    const pools = { poolMode: mode, poolPassword: "x", upstreamPassword: "x" } as const;
    reload(front, pools, { ...WITHOUT_TLS, tenants: { allow: null, deny: ["tenant_?", "!"] } });
    await query;
    await eventually("both are let go", () => idle.lost !== null && busy.lost !== null);
    assert.equal((idle.lost as Error & { code?: string }).code, "28000");
    await eventually("nothing runs any more", async () =>
      await bench.admin.value(
        "SELECT count(*)::int FROM pg_stat_activity WHERE query LIKE '%AS denied' " +
          "AND state = 'active'",
      ) === 0);
    await eventually("so is the third", () => other.lost !== null);
  });
}

Deno.test("with tenant_type no other spelling of a denied tenant comes in", async () => {
  const tenant = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
  await bench.admin.run(`
    CREATE TABLE spelled (tenant_id uuid, name text);
    INSERT INTO spelled VALUES ('${tenant}', 'Ada');
    ALTER TABLE spelled ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own ON spelled
      USING (tenant_id = current_setting('app.current_tenant_id')::uuid);
    GRANT SELECT ON spelled TO PUBLIC`);
  const others = [tenant.toUpperCase(), tenant.replaceAll("-", ""), `{${tenant}}`];
  const namesFor = async (front: Front, spelling: string) => {
    await using client = await connectTenant(front, spelling);
    return await client.value("SELECT name FROM spelled");
  };
  await using open = await modeFront(bench, "none");
  for (const other of others) {
    assert.equal(await namesFor(open, other), "Ada", "it is the same one");
  }
  for (const mode of MODES) {
    const limits = { tenantType: "uuid", tenantMaxConnections: 1 } as const;
    await using front = await modeFront(bench, mode, limits);
    assert.equal(await namesFor(front, tenant), "Ada");
    for (const other of others) assert.equal((await refusal(front, other)).code, "28000");
    const denied = { ...limits, tenantDeny: [tenant.toUpperCase()] };
    reload(front, { poolMode: mode, ...denied }, WITHOUT_TLS);
    for (const each of [tenant, ...others]) {
      assert.equal((await refusal(front, each)).code, "28000");
    }
  }
});

for (const [mode, limit] of [["none", 20], ["session", 20], ["transaction", 100]] as const) {
  Deno.test(`${mode}: of ${AT_ONCE} logins at once exactly ${limit} are served`, async () => {
    await using front = await modeFront(bench, mode, {
      tenantMaxConnections: limit,
      poolSize: limit,
      handshakeTimeout: 60_000,
    });
    const trusty = mode === "none" ? { user: "trusty.tenant_a" } : {};
    const all = await Promise.allSettled(
      Array.from({ length: AT_ONCE }, () => connectTenant(front, "tenant_a", trusty)),
    );
    const served = all.filter((one) => one.status === "fulfilled").map(({ value }) => value);
    const codes = all.filter((one) => one.status === "rejected").map(({ reason }) => reason.code);
    assert.deepEqual(codes.filter((code) => code !== "53300"), []);
    assert.equal(served.length, limit);
    await Promise.all(served.map((client) => client[Symbol.asyncDispose]()));
    await front.empty();
    await using next = await connectTenant(front, "tenant_a");
    assert.deepEqual(await namesOf(next), ["Alice Corp", "Alice LLC"]);
  });
}
