// The listener: it says when it hears and when it does not, and comes back by itself.

import assert from "node:assert/strict";
import { PgError } from "../../src/codec/error.ts";
import { failureText, InvalidationListener } from "../../src/pool/invalidation_listener.ts";
import type { PooledBackend } from "../../src/pool/pooled_backend.ts";
import { ResolverConnections } from "../../src/pool/resolver_connections.ts";
import { StatementFailed } from "../../src/pool/statements.ts";
import { FakeClock } from "../support/pool_world.ts";
import { ResolverServer } from "../support/resolver_server.ts";

async function until(condition: () => boolean): Promise<void> {
  for (let turn = 0; turn < 1_000 && !condition(); turn++) {
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  assert(condition());
}

function world(refusals = 0) {
  const server = new ResolverServer(() => null);
  const heard: string[] = [];
  const clock = new FakeClock();
  let refused = refusals;
  const connections = new ResolverConnections({
    connect: () => {
      if (refused-- > 0) return Promise.reject(new Error("refused"));
      return server.connect();
    },
    credentials: { user: "resolver", password: null },
    size: 1,
  });
  const listener = new InvalidationListener((signal) => connections.open("shop", signal), {
    listening: () => heard.push("listening"),
    notified: (payload) => heard.push(`told ${payload}`),
    deaf: () => heard.push("deaf"),
    failed: () => heard.push("failed"),
  }, clock);
  return { server, heard, clock, listener, refuse: (count: number) => refused = count };
}

Deno.test("it listens, and tells what comes on its channel", async () => {
  const { server, heard, listener } = world();
  await until(() => listener.isListening);
  await server.notify("org");
  await server.notify("not mine", "another_channel");
  await server.notify("");
  await until(() => heard.length === 3);
  assert.deepEqual(heard, ["listening", "told org", "told "]);
  const closed = listener.close();
  assert.deepEqual(heard.slice(3), ["deaf"], "at once");
  assert.equal(listener.isListening, false);
  await closed;
  assert.deepEqual(heard.slice(3), ["deaf"]);
});

Deno.test("a lost connection is told, and opened again with growing pauses", async () => {
  const { server, heard, clock, listener, refuse } = world();
  await until(() => listener.isListening);
  refuse(3);
  server.peers[0]!.transport.close();
  await until(() => heard.includes("deaf"));
  assert.equal(listener.isListening, false);
  assert.deepEqual(heard, ["listening", "failed", "deaf"]);
  for (const ms of [100, 200, 400, 800]) {
    await until(() => clock.pending === 1);
    await clock.advance(ms);
  }
  await until(() => listener.isListening);
  assert.equal(heard.filter((one) => one === "failed").length, 4);
  assert.equal(heard.at(-1), "listening");
  await listener.close();
});

Deno.test("silence is asked about, and a server that does not answer is left", async () => {
  const { server, heard, clock, listener } = world();
  await until(() => listener.isListening);
  for (let turn = 2; turn < 5; turn++) {
    await clock.advance(30_000);
    await until(() => server.listens === turn);
    await until(() => clock.pending === 1);
  }
  assert.deepEqual(heard, ["listening"], "an answer is no news");
  server.isMute = true;
  const { listens } = server;
  await clock.advance(30_000);
  await until(() => server.listens === listens + 1);
  assert.deepEqual(heard, ["listening"]);
  await clock.advance(10_000);
  await until(() => heard.includes("deaf"));
  await listener.close();
});

Deno.test("closing ends it in every state", async () => {
  const first = world();
  await first.listener.close(); // while it connects
  assert(!first.heard.includes("listening"));
  const second = world(1);
  await until(() => second.heard.includes("failed"));
  await second.listener.close(); // while it waits
  assert.equal(second.clock.pending, 0);
});

Deno.test("closed in the very moment in which it is connected: it ends too", async () => {
  const server = new ResolverServer(() => null);
  server.isMute = true;
  const connections = new ResolverConnections({
    connect: server.connect,
    credentials: { user: "resolver", password: null },
    size: 1,
  });
  const opening = Promise.withResolvers<PooledBackend>();
  const listener = new InvalidationListener(() => opening.promise, {
    ...{ listening: () => {}, notified: () => {}, deaf: () => {}, failed: () => {} },
  }, new FakeClock());
  const member = await connections.open("shop", new AbortController().signal);
  opening.resolve(member); // it does not hear of the signal any more
  const closed = listener.close();
  await until(() => member.backend.isOver);
  await closed;
  await connections.close();
});

Deno.test("a failure as the log has it", () => {
  assert.equal(failureText(new PgError("08006", "lost")), "lost (08006)");
  assert.equal(failureText(new StatementFailed("42P01", "no table")), "no table (42P01)");
  assert.equal(failureText(new Error("x")), "x");
  assert.equal(failureText("y"), "y");
});
