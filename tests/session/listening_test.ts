// Listening: everybody whose answers are believed is listened to, and nobody for ever.

import assert from "node:assert/strict";
import { ResolverConnections } from "../../src/pool/resolver_connections.ts";
import { Listening } from "../../src/session/listening.ts";
import { FakeClock } from "../support/pool_world.ts";
import { ResolverServer } from "../support/resolver_server.ts";
import { eventually } from "../support/wire_bench.ts";

function world() {
  const server = new ResolverServer(() => null);
  const clock = new FakeClock();
  const places = new Set<string>();
  const heard: string[] = [];
  const connections = new ResolverConnections({
    connect: server.connect,
    credentials: { user: "resolver", password: null },
    size: 1,
  });
  const open = (place: string, signal: AbortSignal) => connections.open(place, signal);
  const listening = new Listening({ open, places: () => places, clock }, {
    listening: (place) => heard.push(`${place} listening`),
    notified: (place, payload) => heard.push(`${place} ${payload}`),
    deaf: (place) => heard.push(`${place} deaf`),
    failed: (place) => heard.push(`${place} failed`),
  });
  const listenTo = async (...names: string[]) => {
    for (const name of names) listening.listenTo(name);
    await eventually("they listen", () => names.every((name) => listening.isListeningTo(name)));
  };
  return { server, clock, places, heard, listening, listenTo };
}

const MINUTE = 60_000;

Deno.test("each place is listened to once, and what is heard is told with its place", async () => {
  const { server, heard, listening, listenTo } = world();
  await listenTo("a", "b", "a");
  await server.notify("org");
  await eventually("both have told", () => heard.length === 4);
  assert.deepEqual(heard.toSorted(), ["a listening", "a org", "b listening", "b org"]);
  assert.equal(listening.isListeningTo("c"), false);
  await listening.close();
  assert.deepEqual(heard.slice(4).toSorted(), ["a deaf", "b deaf"]);
  listening.listenTo("c");
  assert.equal(server.peers.length, 2, "closed is closed");
});

Deno.test("where nothing hangs on it any more, it ends after five minutes", async () => {
  const { clock, places, heard, listening, listenTo } = world();
  places.add("a");
  await listenTo("a", "b", "c");
  await clock.advance(4 * MINUTE);
  listening.listenTo("c"); // somebody asks
  await clock.advance(MINUTE);
  await eventually("b has ended", () => heard.includes("b deaf"));
  assert.deepEqual(["a", "b", "c"].map((place) => listening.isListeningTo(place)), [
    true,
    false,
    true,
  ]);
  await clock.advance(4 * MINUTE);
  await eventually("c has ended", () => heard.includes("c deaf"));
  await clock.advance(100 * MINUTE);
  assert.equal(listening.isListeningTo("a"), true);
  places.clear();
  await clock.advance(5 * MINUTE);
  await eventually("a has ended", () => heard.includes("a deaf"));
  assert.equal(clock.pending, 0, "nobody looks where there is nothing");
  await listenTo("b");
  assert.equal(clock.pending, 1);
  await listening.close();
  assert.equal(clock.pending, 0);
});

Deno.test("beyond a hundred: one that nothing hangs on makes room, else there is none", async () => {
  const { places, heard, listening, listenTo } = world();
  const names = Array.from({ length: 100 }, (_, index) => `place ${index}`);
  for (const name of names) places.add(name);
  await listenTo(...names);
  listening.listenTo("one more");
  assert.equal(listening.isListeningTo("one more"), false);
  places.delete("place 7");
  await listenTo("one more");
  await eventually("it has ended", () => heard.includes("place 7 deaf"));
  assert.equal(heard.filter((each) => each.endsWith("deaf")).length, 1);
  await listening.close();
});
