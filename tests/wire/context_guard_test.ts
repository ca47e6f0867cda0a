// context_guard on the wire: what is told, what is refused, and that the client goes on after it.

import { strict as assert } from "node:assert";
import { SUSPICIOUS } from "../../src/session/guard.ts";
import { bind, describe, execute, parse, query, SYNC } from "../support/extended.ts";
import { Bench, DATABASE, failure, type Front } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";
import { connectTenant, modeFront, MODES } from "../support/wire_modes.ts";
import { errorFields, RawClient, type RawMessage } from "../support/wire_raw_client.ts";
import { connectPooled } from "../support/wire_pool.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await Bench.start()));
Deno.test.afterAll(() => bench.stop());

const TENANT = "current_setting('app.current_tenant_id', true)";

function told(front: Front): unknown[] {
  return front.entries(SUSPICIOUS).map(({ sql }) => sql);
}

for (const mode of MODES) {
  Deno.test(`guard, ${mode}: what changes the context is logged, and done`, async () => {
    await using front = await modeFront(bench, mode);
    await using client = await connectTenant(front, "tenant_a");
    await client.run("SET app.current_tenant_id = 'tenant_b'");
    await client.value("SELECT set_config('app.current_tenant_id', $1, false)", ["tenant_c"]);
    await client.run("RESET search_path; SELECT 1");
    assert.deepEqual(told(front), [
      "SET app.current_tenant_id",
      "set_config app.current_tenant_id",
    ]);
    const [entry] = front.entries(SUSPICIOUS);
    assert.equal(entry!["tenant"], "tenant_a");
    assert(!JSON.stringify(front.entries(SUSPICIOUS)).includes("tenant_b"), "no value is logged");
  });

  Deno.test(`guard, ${mode}: off, nothing is said`, async () => {
    await using front = await modeFront(bench, mode, { contextGuard: "off" });
    await using client = await connectTenant(front, "tenant_a");
    await client.run("SET ROLE authenticated");
    assert.deepEqual(told(front), []);
  });

  Deno.test(`guard, ${mode}: a bypass user is nobody's tenant`, async () => {
    await using front = await modeFront(bench, mode, { contextGuard: "block" });
    await using client = await PgClient.connect(front.bypass);
    await client.run("SET ROLE app_user");
    assert.equal(await client.value("SELECT current_user"), "app_user");
    assert.deepEqual(told(front), []);
  });

  Deno.test(`guard, ${mode}: what is refused is not done, and the client goes on`, async () => {
    await using front = await modeFront(bench, mode, { contextGuard: "block" });
    await using client = await connectTenant(front, "tenant_a");
    const refused: readonly (readonly [string, unknown[]?, string?])[] = [
      ["SET app.current_tenant_id = 'tenant_b'"],
      ["SET SESSION AUTHORIZATION trusty; SELECT 1"],
      ["SELECT set_config('app.current_tenant_id', $1, false)", ["tenant_b"]],
      ["SELECT set_config('role', $1, $2)", ["authenticated", false], "named"],
      ["/* here */ set local role authenticated"],
    ];
    for (const [sql, values, name] of refused) {
      const error = await failure(client.rows(sql, values ?? [], name));
      assert.equal(error.code, "42501", `${sql}: ${error.message}`);
      assert.match(String((error as { hint?: string }).hint), /context_guard/);
      assert.equal(await client.value(`SELECT ${TENANT}`), "tenant_a", sql);
      assert.equal(await client.value("SELECT current_user"), "app_user", sql);
    }
    await client.run("BEGIN");
    assert.equal((await failure(client.run("SET ROLE authenticated"))).code, "42501");
    assert.equal((await failure(client.run("SELECT 1"))).code, "25P02", "the transaction failed");
    await client.run("ROLLBACK");
    assert.equal(await client.value("SELECT count(*)::int FROM tenants"), 2);
    assert.equal(told(front).length, refused.length + 1);
  });

  Deno.test(`guard, ${mode}: a refusal stands among the replies where it must`, async () => {
    await using front = await modeFront(bench, mode, {
      ...{ contextGuard: "block", poolAuth: "cleartext" },
    });
    using client = await rawTenant(front, mode === "none");
    await client.send(
      ...[query("SELECT 1"), parse("s", "SELECT 2"), bind("", "s"), execute()],
      ...[parse("t", "SET ROLE authenticated"), bind("", "t"), describe("P", ""), execute(), SYNC],
      ...[query("SELECT 3"), query("RESET ROLE"), bind("", "s"), execute(), SYNC],
    );
    const replies: RawMessage[] = [];
    for (let ready = 0; ready < 5; ready++) replies.push(...await nextReady(client));
    assert.equal(
      replies.map(({ type }) => type).join(""),
      ["TDCZ", "12DCEZ", "TDCZ", "EZ", "2DCZ"].join(""),
    );
    for (const { type, body } of replies) {
      if (type === "E") assert.equal(errorFields(body)["C"], "42501");
      if (type === "Z") assert.equal(String.fromCharCode(body[0]!), "I");
    }
  });
}

async function rawTenant(front: Front, isTrusted: boolean): Promise<RawClient> {
  if (!isTrusted) {
    const sealed = { user: "trusty.tenant_a", database: DATABASE };
    return (await connectPooled(front.port, "tenant_a", sealed)).client;
  }
  const client = await RawClient.connect(front.port);
  await client.login({ user: "trusty.tenant_a", database: DATABASE });
  return client;
}

/** Up to and including ReadyForQuery; errors are replies like others. */
async function nextReady(client: RawClient): Promise<RawMessage[]> {
  const replies: RawMessage[] = [];
  for (;;) {
    const reply = await client.next();
    assert(reply !== null, "the client is still served");
    replies.push(reply);
    if (reply.type === "Z") return replies;
  }
}
