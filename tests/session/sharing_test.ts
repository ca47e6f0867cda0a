// Promise: a client of a transaction pool is greeted as by a server and holds no backend; only the
// first of its kind needs one for that.

import assert from "node:assert/strict";
import { AddressLimit } from "../../src/session/address_limit.ts";
import { CancelKeys } from "../../src/session/cancel_keys.ts";
import type { Pooling } from "../../src/session/lending.ts";
import { FakeServer, OneMemberPool, refused } from "../support/fake_server.ts";
import {
  commandComplete,
  errorFields,
  password,
  query,
  readyForQuery,
  startup,
  TERMINATE,
  text,
} from "../support/messages.ts";
import { poolingDefaults } from "../support/pooling_defaults.ts";
import { startSession, type World } from "../support/session_world.ts";

interface Pooled {
  readonly server: FakeServer;
  readonly pool: OneMemberPool;
  readonly pooling: Pooling;
}

async function pooled(overrides: Partial<Pooling> = {}): Promise<Pooled> {
  const server = new FakeServer();
  const pool = new OneMemberPool(await server.open());
  const secret = { stored: { kind: "cleartext", password: text("sesame") } as const, name: "" };
  const pooling: Pooling = {
    ...poolingDefaults(),
    mode: "transaction",
    checkout: pool.checkout,
    credentials: { find: () => Promise.resolve(secret) },
    method: "cleartext",
    cleartextAnywhere: true,
    roles: null,
    databases: null,
    upstreamUser: null,
    failures: new AddressLimit(100),
    badCancels: new AddressLimit(100),
    cancelKeys: new CancelKeys(),
    ...overrides,
  };
  return { server, pool, pooling };
}

async function logIn(
  { pooling }: Pooled,
  parameters: Record<string, string> = {},
  word = "sesame",
): Promise<World> {
  const world = startSession({ pooling });
  await world.client.send(startup({ user: "app.acme", database: "shop", ...parameters }));
  await world.client.expect("R");
  await world.client.send(password(word));
  return world;
}

async function leave(world: World): Promise<void> {
  await world.client.send(TERMINATE);
  await world.over;
}

Deno.test("the first of its kind is greeted by a backend, the next ones by what is known", async () => {
  const shop = await pooled();
  const first = await logIn(shop);
  const greeting = await first.client.expectAll("RSSSKZ");
  assert.deepEqual(shop.pool.fates, ["given back"]);
  const second = await logIn(shop);
  const again = await second.client.expectAll("RSSSKZ");
  assert.deepEqual(again.slice(0, 4), greeting.slice(0, 4));
  assert.notDeepEqual(again[4], greeting[4], "a cancel key of its own");
  assert.deepEqual(shop.pool.fates, ["given back"], "no backend was needed");
  await leave(first);
  await leave(second);
});

Deno.test("clients with other settings are not alike", async () => {
  const shop = await pooled();
  for (const [name, count] of [["one", 1], ["two", 2], ["one", 2]] as const) {
    const world = await logIn(shop, { application_name: name });
    const messages = await world.client.expectAll("RSSSKZ");
    const said = messages.map((bytes) => new TextDecoder().decode(bytes)).join();
    assert.match(said, new RegExp(`application_name\0${name}\0`));
    assert.equal(shop.pool.fates.length, count);
    await leave(world);
  }
});

Deno.test("a client that is greeted without a backend is linked when it speaks", async () => {
  const shop = await pooled();
  await leave(await greeted(shop));
  const world = await greeted(shop);
  shop.server.answer = async ({ peer }) => {
    await peer.send(commandComplete("SELECT 0"), readyForQuery());
  };
  await world.client.send(query("SELECT 1"));
  await world.client.expectAll("CZ");
  assert.equal(shop.server.heard.at(-1), "SELECT 1");
  await leave(world);
});

async function greeted(shop: Pooled): Promise<World> {
  const world = await logIn(shop);
  await world.client.expectAll("RSSSKZ");
  return world;
}

Deno.test("who does not know the password costs no backend", async () => {
  const shop = await pooled();
  const world = await logIn(shop, {}, "guess");
  assert.equal(errorFields(await world.client.expect("E"))["C"], "28P01");
  await world.client.transport.closeWrite();
  await world.over;
  assert.deepEqual(shop.pool.fates, []);
});

Deno.test("roles and databases that are not listed are refused behind the password", async () => {
  for (const lists of [{ roles: ["other"] }, { databases: ["other"] }]) {
    const shop = await pooled(lists);
    const world = await logIn(shop);
    assert.equal(errorFields(await world.client.expect("E"))["C"], "28000");
    await world.client.transport.closeWrite();
    await world.over;
    assert.deepEqual(shop.pool.fates, []);
  }
});

Deno.test("a setting that the server refuses: the client is told, the backend closed, nothing learned", async () => {
  const shop = await pooled();
  shop.server.refusals.settings = refused("22023", "invalid value for parameter");
  const world = await logIn(shop, { TimeZone: "Nowhere" });
  const { C: code, M: words } = errorFields(await world.client.expect("E"));
  assert.deepEqual([code, words], ["22023", "invalid value for parameter"]);
  await world.client.transport.closeWrite();
  await world.over;
  assert.deepEqual(shop.pool.fates, ["switch failed"]);
});
