// Promise: a client is lent a backend with its own context, confirmed, and with the values that it
// has been told; a change costs what it must, and no change costs nothing.

import assert from "node:assert/strict";
import type { Setting } from "../../src/context/context.ts";
import { logger } from "../../src/log.ts";
import { Linker } from "../../src/session/linking.ts";
import { contextOf, FakeServer, OneMemberPool, refused } from "../support/fake_server.ts";
import { errorResponse } from "../support/messages.ts";
import { failure } from "../support/wire_bench.ts";

const NEVER = new AbortController().signal;
const KEY = { database: "shop", user: "app", startupSettings: [] };
const CLEANED = ["scrub", "residue check"];
const contextIs = (tenant: string) => `context: app.current_tenant_id=${tenant} role=app`;

async function world() {
  const server = new FakeServer();
  const pool = new OneMemberPool(await server.open());
  const linker = (tenant: string, settings: readonly Setting[] = []) =>
    new Linker({ key: KEY, context: contextOf(tenant), settings }, pool, logger("test"));
  /** Links, does something, and gives back; returns what the server was told for it. */
  const turn = async (linker: Linker, work: () => Promise<void> = async () => {}) => {
    const before = server.heard.length;
    const lease = await linker.link(NEVER);
    const heard = server.heard.slice(before);
    await work();
    linker.unlinked(lease.member);
    lease.giveBack();
    return heard;
  };
  /** A client that has been greeted, as a backend greets it. */
  const greeted = async (tenant: string, settings: readonly Setting[] = []) => {
    const linked = linker(tenant, settings);
    await turn(linked);
    linked.greeted(new Map(pool.member.backend.parameters));
    return linked;
  };
  const reported = async (name: string, value: string) => {
    await server.report(name, value);
    while (pool.member.backend.parameters.get(name) !== value) await Promise.resolve();
  };
  return { server, pool, linker, turn, greeted, reported };
}

Deno.test("the first of a context, and each change: cleaned and confirmed", async () => {
  const { turn, linker, pool } = await world();
  const [a, b] = [linker("a"), linker("b")];
  assert.deepEqual(await turn(a), [...CLEANED, contextIs("a")]);
  assert.deepEqual(await turn(b), [...CLEANED, contextIs("b")]);
  assert.deepEqual(await turn(a), [...CLEANED, contextIs("a")]);
  pool.member.close();
});

Deno.test("the same context again costs nothing, whoever of the tenant it is", async () => {
  const { turn, greeted, pool } = await world();
  const [a, alike] = [await greeted("a"), await greeted("a")];
  for (let again = 0; again < 3; again++) {
    assert.deepEqual(await turn(a), []);
    assert.deepEqual(await turn(alike), []);
  }
  pool.member.close();
});

Deno.test("a client that was not greeted yet takes nothing over from another of its tenant", async () => {
  const { turn, greeted, linker, pool } = await world();
  await greeted("a", [{ name: "application_name", value: "one" }]);
  const two = linker("a", [{ name: "application_name", value: "two" }]);
  const settings = "settings: application_name=two";
  assert.deepEqual(await turn(two), [...CLEANED, settings, contextIs("a")]);
  const none = linker("a");
  await turn(none);
  assert.equal(
    pool.member.backend.parameters.get("application_name"),
    "two",
    "the fake resets nothing",
  );
  pool.member.close();
});

Deno.test("two clients of one tenant with values of their own: set back and forth", async () => {
  const { turn, greeted, pool } = await world();
  const one = await greeted("a", [{ name: "application_name", value: "one" }]);
  const two = await greeted("a", [{ name: "application_name", value: "two" }]);
  assert.deepEqual(await turn(one), ["settings: application_name=one"]);
  assert.deepEqual(await turn(two), ["settings: application_name=two"]);
  assert.deepEqual(await turn(two), []);
  pool.member.close();
});

Deno.test("what was reported in a transaction follows; what another makes of it does not", async () => {
  const { turn, greeted, reported, pool } = await world();
  const a = await greeted("a");
  const other = await greeted("a");
  await turn(a, () => reported("TimeZone", "Asia/Tokyo"));
  assert.deepEqual(await turn(a), [], "nobody came between");
  assert.deepEqual(await turn(other), ["settings: TimeZone=UTC"]);
  assert.deepEqual(await turn(a), ["settings: TimeZone=Asia/Tokyo"]);
  const b = await greeted("b");
  await turn(b);
  assert.deepEqual(await turn(a), [...CLEANED, "settings: TimeZone=Asia/Tokyo", contextIs("a")]);
  pool.member.close();
});

Deno.test("settings that are not reported belong to the context key", async () => {
  const { linker, turn, pool } = await world();
  const plain = linker("a");
  const slow = linker("a", [{ name: "statement_timeout", value: "1h" }]);
  assert.notEqual(plain.contextKey, slow.contextKey);
  assert.equal(
    slow.contextKey,
    linker("a", [{ name: "statement_timeout", value: "1h" }]).contextKey,
  );
  assert.equal(plain.contextKey, linker("a", [{ name: "TIMEZONE", value: "UTC" }]).contextKey);
  await turn(plain);
  assert.deepEqual(await turn(slow), [
    ...CLEANED,
    "settings: statement_timeout=1h",
    contextIs("a"),
  ]);
  pool.member.close();
});

Deno.test("a RESET goes back to what the client began with, where the backend does not", async () => {
  const { greeted, pool } = await world();
  const settings = [
    { name: "application_name", value: "mine" },
    { name: "statement_timeout", value: "1h" },
  ];
  const a = await greeted("a", settings);
  assert.deepEqual(
    a.settingsAfterReset(pool.member).toSorted((x, y) => x.name < y.name ? -1 : 1),
    settings,
  );
  pool.member.close();
});

Deno.test("a refused context or setting closes the backend and fails the client", async () => {
  for (const what of ["context", "settings"] as const) {
    const { server, pool, linker, turn } = await world();
    await turn(linker("a"));
    server.refusals[what] = refused("22023", "no");
    const b = linker("b", [{ name: "TimeZone", value: "UTC" }]);
    assert.match((await failure(Promise.resolve(b.link(NEVER)))).message, /no/);
    assert.deepEqual(pool.fates, ["given back", "switch failed"]);
    assert.equal(pool.member.confirmedContext, null);
  }
});

Deno.test("a backend with residue is closed, and the client is given another", async () => {
  const { server, pool, linker, turn } = await world();
  await turn(linker("a"));
  server.residue = true;
  const replacement = await new FakeServer().open();
  const checkout = pool.checkout;
  let count = 0;
  const b = new Linker(
    { key: KEY, context: contextOf("b"), settings: [] },
    {
      checkout: async () => {
        if (++count === 2) pool.member = replacement;
        return await checkout();
      },
    },
    logger("test"),
  );
  const lease = await b.link(NEVER);
  assert.equal(lease.member, replacement);
  assert.deepEqual(pool.fates, ["given back", "switch failed"]);
  assert.notEqual(lease.member.confirmedContext, null);
  lease.discard("over");
});

Deno.test("a backend that says farewell in the middle of a switch: the client is given another", async () => {
  const { server, pool, turn, linker } = await world();
  await turn(linker("a"));
  server.refusals.context = errorResponse("57P01", "terminating connection");
  const replacement = await new FakeServer().open();
  const checkout = () => {
    if (pool.fates.includes("switch failed")) pool.member = replacement;
    return pool.checkout();
  };
  const client = { key: KEY, context: contextOf("b"), settings: [] };
  const lease = await new Linker(client, { checkout }, logger("test")).link(NEVER);
  assert.equal(lease.member, replacement);
  lease.discard("over");
});

Deno.test("three backends that are of no use are enough", async () => {
  const { pool, linker } = await world();
  pool.member.close();
  await pool.member.ended;
  assert.equal(
    (await failure(Promise.resolve(linker("a").link(NEVER))) as { sqlState?: string }).sqlState,
    "08006",
  );
  assert.deepEqual(pool.fates, ["switch failed", "switch failed", "switch failed"]);
});

Deno.test("nobody is linked while a cancel request is on its way", async () => {
  const { greeted, pool, turn } = await world();
  const a = await greeted("a");
  const cancelling = Promise.withResolvers<void>();
  pool.member.cancelling = cancelling.promise;
  let isLinked = false;
  const linked = turn(a).then(() => isLinked = true);
  for (let count = 0; count < 100; count++) await Promise.resolve();
  assert.equal(isLinked, false);
  cancelling.resolve();
  await linked;
  pool.member.close();
});

Deno.test("half a message from a backend that nobody uses: it is closed, not used", async () => {
  const { server, pool, greeted } = await world();
  const a = await greeted("a");
  await server.peer.send(Uint8Array.of("N".charCodeAt(0), 0, 0, 0, 20, 1));
  while (pool.member.backend.idle) await Promise.resolve();
  assert.equal(
    (await failure(Promise.resolve(a.link(NEVER))) as { sqlState?: string }).sqlState,
    "08006",
  );
  assert.equal(pool.member.backend.isOver, true);
});

/** Links a client whose context is another one each time that it is derived anew. */
async function renewing(isStale: () => boolean, pool: OneMemberPool) {
  let renewals = 0;
  const client = {
    ...{ key: KEY, context: contextOf("first"), settings: [] },
    renewContext: () => isStale() ? Promise.resolve(contextOf(`renewed ${++renewals}`)) : null,
  };
  const lease = await new Linker(client, pool, logger("test")).link(NEVER);
  return { lease, renewals };
}

Deno.test("an event while it is derived anew, or waits for a backend, counts for that transaction", async () => {
  const { server, pool } = await world();
  const stale = [true, true, false, false]; // asked before, and behind each checkout
  const { lease, renewals } = await renewing(() => stale.shift()!, pool);
  assert.equal(renewals, 2);
  assert.deepEqual(pool.fates, ["given back"], "the first lease was not touched");
  assert.deepEqual(server.heard, [...CLEANED, contextIs("renewed 2")]);
  assert.deepEqual(stale, [false]);
  lease.discard("over");
});

Deno.test("events without an end hold nobody up for ever", async () => {
  const { server, pool } = await world();
  const { lease, renewals } = await renewing(() => true, pool);
  assert.deepEqual(pool.fates, ["given back", "given back", "given back"]);
  assert.deepEqual(server.heard, [...CLEANED, contextIs(`renewed ${renewals}`)]);
  lease.discard("over");
});

Deno.test("a client that is refused while it has a backend gives that back", async () => {
  const { server, pool } = await world();
  const looks = [() => null, () => Promise.reject(new Error("no longer"))];
  const client = {
    ...{ key: KEY, context: contextOf("a"), settings: [] },
    renewContext: () => looks.shift()!(),
  };
  const linker = new Linker(client, pool, logger("test"));
  assert.equal((await failure(Promise.resolve(linker.link(NEVER)))).message, "no longer");
  assert.deepEqual([pool.fates, server.heard], [["given back"], []]);
  pool.member.close();
});
