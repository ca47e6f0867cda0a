// What a session has reset is restored before its client may go on, and nothing is lost by it.

import { strict as assert } from "node:assert";
import { contextReplies, readContextMessage, requestedValues } from "../support/context_message.ts";
import {
  commandComplete,
  cstring,
  errorFields,
  errorResponse,
  int32,
  join,
  message,
  messageTypes,
  parameterStatus,
  query,
  readyForQuery,
  text,
} from "../support/messages.ts";
import { confirm, lent, type RelayWorld, settle, takeSettings } from "../support/pooled_world.ts";
import type { ScriptedPeer } from "../support/scripted_peer.ts";

const RESET_DONE = commandComplete("RESET");
const NOTIFICATION = message("A", int32(7), cstring("news"), cstring("hello"));
const APPLICATION_NAME = [{ name: "application_name", value: "shop" }];
const reported = (value: string) => parameterStatus("application_name", value);

async function ends({ client, over }: RelayWorld): Promise<string> {
  client.transport.close();
  return await over;
}

/** The client asks for it, and the server answers. */
async function ask(world: RelayWorld, sql: string, ...replies: Uint8Array[]): Promise<void> {
  await world.client.send(query(sql));
  await world.server.expect("Q");
  await world.server.send(join(...replies));
}

const nothingFor = async (peer: ScriptedPeer) => {
  await settle();
  assert.equal(peer.unread, 0);
};

for (const tag of ["RESET", "DISCARD ALL"]) {
  Deno.test(`PooledRelay restores the context behind ${tag}, before the client goes on`, async () => {
    const world = await lent();
    const { client, server } = world;
    await ask(world, `${tag} x`, commandComplete(tag), readyForQuery());
    await client.expect("C");
    await nothingFor(client);
    await confirm(server, { before: "" });
    assert.deepEqual(await client.expect("Z"), readyForQuery());
    await ask(world, "SELECT 1", commandComplete("SELECT 1"), readyForQuery());
    await client.expectAll("CZ");
    assert.equal(await ends(world), "closed");
  });
}

Deno.test("PooledRelay leaves other statements alone", async () => {
  for (const tag of ["SET", "BEGIN", "GRANT", "CREATE TABLE", "reset", "RESETS", "DISCARD TEMP"]) {
    const world = await lent();
    await ask(world, "", commandComplete(tag), readyForQuery());
    await world.client.expectAll("CZ");
    await nothingFor(world.server);
    await ends(world);
  }
});

Deno.test("PooledRelay restores the context however the server's replies are cut", async () => {
  const replies = join(reported(""), RESET_DONE, readyForQuery());
  for (let cut = 1; cut < replies.length; cut++) {
    const world = await lent({ settings: APPLICATION_NAME });
    const { client, server } = world;
    await client.send(query("RESET ALL"));
    await server.expect("Q");
    await server.send(replies.subarray(0, cut));
    await nothingFor(server);
    await server.send(replies.subarray(cut));
    assert.deepEqual(await client.expectBytes(replies.length - 6), replies.subarray(0, -6));
    await nothingFor(client);
    await takeSettings(server, reported("shop"));
    await nothingFor(client);
    await confirm(server, { before: "" });
    assert.deepEqual(await client.expect("S"), reported("shop"));
    assert.deepEqual(await client.expect("Z"), readyForQuery());
    await nothingFor(client);
    assert.equal(await ends(world), "closed");
  }
});

Deno.test("PooledRelay restores the context over a connection that gives bytes singly", async () => {
  const world = await lent({ wire: { cut: () => 1 }, settings: APPLICATION_NAME });
  const { client, server } = world;
  for (let turn = 0; turn < 3; turn++) {
    await ask(world, "RESET ALL", reported(""), RESET_DONE, readyForQuery());
    await client.expectAll("SC");
    await takeSettings(server, reported("shop"));
    await confirm(server, { before: "" });
    await client.expectAll("SZ");
  }
  assert.equal(await ends(world), "closed");
});

Deno.test("PooledRelay restores inside a transaction, and says so", async () => {
  const world = await lent();
  await ask(world, "BEGIN; RESET ALL", RESET_DONE, readyForQuery("T"));
  await world.client.expect("C");
  await confirm(world.server, { before: "", status: "T" });
  assert.deepEqual(await world.client.expect("Z"), readyForQuery("T"));
  await ends(world);
});

Deno.test("PooledRelay restores behind a failed transaction: what it had committed lasts", async () => {
  const world = await lent();
  const { client, server } = world;
  const replies = [RESET_DONE, errorResponse("22012", "division by zero"), readyForQuery("E")];
  await ask(world, "BEGIN; RESET ALL; COMMIT; BEGIN; SELECT 1/0", ...replies);
  await client.expectAll("CEZ");
  await nothingFor(server);
  await ask(world, "SELECT 1", errorResponse("25P02", "aborted"), readyForQuery("E"));
  await client.expectAll("EZ");
  await nothingFor(server);
  await ask(world, "ROLLBACK", commandComplete("ROLLBACK"), readyForQuery());
  await client.expect("C");
  await nothingFor(client);
  await confirm(server, { before: "" });
  await client.expect("Z");
  await ends(world);
});

Deno.test("PooledRelay restores behind everything that was pipelined", async () => {
  const world = await lent();
  const { client, server } = world;
  await client.send(message("P"), message("B"), message("E"), message("S"), query("SELECT 1"));
  await server.expectAll("PBESQ");
  await server.send(message("1"), message("2"), RESET_DONE, readyForQuery());
  await client.expectAll("12CZ");
  await nothingFor(server);
  await client.send(query("SELECT 2")); // it may still come
  await server.expect("Q");
  const done = commandComplete("SELECT 1");
  await server.send(join(done, readyForQuery(), done, readyForQuery()));
  await client.expectAll("CZC");
  await nothingFor(client);
  await confirm(server, { before: "" });
  await client.expect("Z");
  await ends(world);
});

Deno.test("PooledRelay holds what the client sends while the context is restored", async () => {
  const world = await lent();
  const { client, server } = world;
  await ask(world, "RESET ALL", RESET_DONE, readyForQuery());
  await client.expect("C");
  const request = join(...await server.expectAll("PBECS"));
  await client.send(query("SELECT 1"));
  await nothingFor(server);
  await server.send(contextReplies(requestedValues(readContextMessage(request))));
  await client.expect("Z");
  await server.expect("Q");
  await ends(world);
});

Deno.test("PooledRelay loses no notification, wherever it comes", async () => {
  const replies = join(RESET_DONE, NOTIFICATION, readyForQuery(), NOTIFICATION);
  for (let cut = 1; cut <= replies.length; cut++) {
    const world = await lent();
    const { client, server } = world;
    await client.send(query("RESET x"));
    await server.expect("Q");
    await server.send(replies.subarray(0, cut));
    await settle();
    await server.send(replies.subarray(cut));
    await confirm(server, { before: "", between: NOTIFICATION });
    await settle();
    const got = messageTypes(
      await client.expectBytes(RESET_DONE.length + 3 * NOTIFICATION.length + 6),
    );
    // Cut right behind the ReadyForQuery, the second has come when the first is being said.
    assert.match(got, /^C(AAAZ|AAZA)$/, `cut at ${cut}`);
    await nothingFor(client);
    assert.equal(await ends(world), "closed");
  }
});

Deno.test("PooledRelay loses no notification right behind the confirmation, however it is cut", async () => {
  for (let cut = 0; cut <= NOTIFICATION.length; cut++) {
    const world = await lent();
    const { client, server, member } = world;
    await ask(world, "RESET x", RESET_DONE, readyForQuery());
    await client.expect("C");
    const request = readContextMessage(join(...await server.expectAll("PBECS")));
    await server.send(join(
      contextReplies(requestedValues(request)),
      NOTIFICATION.subarray(0, cut),
    ));
    await settle();
    await server.send(NOTIFICATION.subarray(cut));
    const got = join(await client.next() ?? text(""), await client.next() ?? text(""));
    assert.match(messageTypes(got), /^(AZ|ZA)$/, `cut at ${cut}`);
    await nothingFor(client);
    assert(!member.backend.ledger.uncertain);
    assert.equal(await ends(world), "closed");
  }
});

Deno.test("PooledRelay answers a client that has ended its side behind RESET", async () => {
  const world = await lent();
  const { client, server } = world;
  await client.send(query("RESET ALL"));
  await client.transport.closeWrite();
  await server.expect("Q");
  await server.send(join(RESET_DONE, readyForQuery()));
  await client.expect("C");
  await confirm(server, { before: "" });
  await client.expect("Z");
  assert.equal(await world.over, "closed");
});

Deno.test("PooledRelay puts nothing into half a message of the client", async () => {
  const world = await lent();
  const { client, server } = world;
  await client.send(query("RESET ALL"), message("d", new Uint8Array(100)).subarray(0, 50));
  await server.expect("Q");
  await server.expectBytes(50);
  await server.send(join(RESET_DONE, readyForQuery()));
  await client.expect("C");
  assert.equal(errorFields(await client.expect("E")).C, "08P01");
  await nothingFor(server);
  client.transport.close();
  assert.equal(await world.over, "pgvpd");
});

Deno.test("PooledRelay ends a session that it cannot follow, instead of leaving it empty", async () => {
  const world = await lent();
  const { client, server } = world;
  await client.send(message("P"), message("B"), message("E"), query("SELECT 1"));
  await server.expectAll("PBEQ");
  await server.send(join(message("1"), message("2"), RESET_DONE, readyForQuery()));
  await client.expectAll("12C");
  assert.equal(errorFields(await client.expect("E")).C, "08P01");
  client.transport.close();
  assert.equal(await world.over, "pgvpd");
});

Deno.test("PooledRelay ends the session when the context is not confirmed again", async () => {
  const world = await lent();
  const { client, server, relay } = world;
  await ask(world, "RESET ALL", RESET_DONE, readyForQuery());
  await client.expect("C");
  await server.expectAll("PBECS");
  await server.send(errorResponse("42501", "no", "ERROR"), readyForQuery());
  assert.equal(errorFields(await client.expect("E")).C, "42501");
  client.transport.close();
  assert.equal(await world.over, "pgvpd");
  assert.equal(relay.failure?.sqlState, "42501");
});

Deno.test("PooledRelay ends when the server dies while it restores", async () => {
  const world = await lent();
  const { client, server } = world;
  await ask(world, "RESET ALL", RESET_DONE, readyForQuery());
  await client.expect("C");
  await server.expectAll("PBECS");
  server.transport.close();
  assert.equal(errorFields(await client.expect("E")).C, "08006");
  client.transport.close();
  assert.equal(await world.over, "upstream");
});

Deno.test("PooledRelay drains, and closes, when the context is restored, not before", async () => {
  const farewell = errorResponse("57P01", "going away");
  for (const how of ["drain", "close"] as const) {
    const world = await lent();
    const { client, server, relay } = world;
    await ask(world, "RESET ALL", RESET_DONE, readyForQuery());
    await client.expect("C");
    await settle();
    assert(!relay.idle);
    relay[how](farewell);
    let isOver = false;
    void world.over.then(() => isOver = true);
    if (how === "close") {
      await client.expect("E");
      client.transport.close();
    }
    await settle();
    assert(!isOver, "pgvpd still talks to the server");
    await confirm(server, { before: "" });
    if (how === "drain") {
      await client.expectAll("ZE");
      client.transport.close();
    }
    assert.equal(await world.over, "pgvpd");
    await relay.pumped;
    assert(world.member.backend.idle);
  }
});

Deno.test("PooledRelay ends when its client does not read what comes before the context", async () => {
  const world = await lent({ wire: { capacity: 60 } });
  const { server, relay, clientSide } = world;
  await world.client.send(query("RESET ALL"));
  await server.expect("Q");
  void server.send(message("N", text("x".repeat(500))), join(RESET_DONE, readyForQuery()));
  await settle();
  relay.close(errorResponse("57P01", "going away"));
  assert.equal(await world.over, "pgvpd");
  clientSide.close();
  await relay.pumped;
});
