// How a relayed session ends: a last message only where one may stand, and both sides closed.

import { strict as assert } from "node:assert";
import { PgError } from "../../src/codec/error.ts";
import { Inbox } from "../../src/net/buffers.ts";
import { Relay } from "../../src/session/relay.ts";
import { memoryPair, type MemoryPairOptions } from "../support/memory_transport.ts";
import {
  dataRow,
  errorFields,
  errorResponse,
  join,
  message,
  messageTypes,
  query,
  readyForQuery,
  splitMessages,
  TERMINATE,
  text,
} from "../support/messages.ts";
import { ScriptedPeer } from "../support/scripted_peer.ts";

function startRelay(wire: MemoryPairOptions = {}) {
  const [clientEnd, clientSide] = memoryPair(wire);
  const [upstreamSide, serverEnd] = memoryPair(wire);
  const relay = new Relay(new Inbox(clientSide, 65_536), new Inbox(upstreamSide, 65_536));
  return {
    relay,
    client: new ScriptedPeer(clientEnd),
    server: new ScriptedPeer(serverEnd),
    clientSide,
    upstreamSide,
    over: relay.run(),
  };
}

const SHUTDOWN = new PgError("57P01", "shutting down").encode();

/** Lets everything happen that can happen without anybody doing anything. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 200; turn++) await Promise.resolve();
}

const ROW = dataRow([text("x")]);

for (const how of ["close", "reset"] as const) {
  Deno.test(`Relay appends FATAL 08006 when the server dies (${how}) at a boundary`, async () => {
    const { client, server, over, clientSide, upstreamSide } = startRelay({ cut: () => 3 });
    await client.send(query("SELECT pg_sleep(9)"));
    await server.expect("Q");
    await server.send(ROW);
    await client.expect("D");
    server.transport[how]();
    const fields = errorFields(await client.expect("E"));
    assert.deepEqual([fields.S, fields.C], ["FATAL", "08006"]);
    assert.match(fields.H!, /may or may not/);
    await client.expectEnd();
    client.transport.close();
    assert.equal(await over, "upstream");
    assert(clientSide.closed && upstreamSide.closed);
  });

  Deno.test(`Relay appends nothing when the server dies (${how}) inside a message`, async () => {
    for (let cut = 1; cut < ROW.length; cut++) {
      const { client, server, over } = startRelay();
      await client.send(query("SELECT 1"));
      await server.expect("Q");
      await server.send(ROW.subarray(0, cut));
      assert.deepEqual(await client.expectBytes(cut), ROW.subarray(0, cut));
      server.transport[how]();
      await client.expectEnd();
      client.transport.close();
      assert.equal(await over, "upstream");
    }
  });
}

Deno.test("Relay appends nothing behind the server's own last error", async () => {
  const { client, server, over } = startRelay();
  await server.send(errorResponse("57P01", "terminating connection due to administrator command"));
  server.transport.close();
  const said = splitMessages(await client.rest());
  assert.equal(said.length, 1);
  assert.equal(errorFields(said[0]!).C, "57P01");
  client.transport.close();
  await over;
});

Deno.test("Relay appends 08006 behind an error that a ReadyForQuery has followed", async () => {
  const { client, server, over } = startRelay();
  await server.send(errorResponse("22012", "division by zero", "ERROR"), readyForQuery());
  server.transport.close();
  const said = await client.rest();
  assert.equal(messageTypes(said), "EZE");
  client.transport.close();
  await over;
});

Deno.test("Relay appends nothing behind Terminate, and says that the client ended it", async () => {
  const { client, server, over } = startRelay({ cut: () => 2 });
  await client.send(TERMINATE);
  await server.expect("X");
  server.transport.close();
  await client.expectEnd();
  client.transport.close();
  assert.equal(await over, "client");
});

Deno.test("Relay ends the server's side at once when the client resets", async () => {
  const { client, server, over, upstreamSide, clientSide } = startRelay();
  await client.send(query("SELECT pg_sleep(9)"));
  await server.expect("Q");
  client.transport.reset();
  assert.equal(await server.next(), null);
  assert.equal(await over, "client");
  assert(upstreamSide.closed && clientSide.closed);
});

Deno.test("Relay ends when the client goes while the server is sending", async () => {
  const { client, server, over } = startRelay({ capacity: 1_000 });
  const sending = server.send(message("d", new Uint8Array(500_000)));
  sending.catch(() => {});
  await client.expectBytes(100);
  client.transport.close();
  assert.equal(await over, "client");
  await assert.rejects(sending);
});

Deno.test("Relay drains at once when nothing has been asked", async () => {
  const { relay, client, over, upstreamSide } = startRelay();
  assert(relay.idle);
  relay.drain(SHUTDOWN);
  assert.equal(errorFields(await client.expect("E")).C, "57P01");
  await client.expectEnd();
  client.transport.close();
  assert.equal(await over, "pgvpd");
  assert(upstreamSide.closed);
});

Deno.test("Relay drains when the running query has been answered, not before", async () => {
  const { relay, client, server, over } = startRelay({ cut: () => 2 });
  await client.send(query("SELECT pg_sleep(1)"));
  await server.expect("Q");
  relay.drain(SHUTDOWN);
  await server.send(ROW);
  await client.expect("D");
  await settle();
  assert.equal(client.unread, 0);
  await server.send(readyForQuery());
  assert.equal(messageTypes(await client.rest()), "ZE");
  client.transport.close();
  assert.equal(await over, "pgvpd");
});

Deno.test("Relay drains when the transaction is over, failed or not", async () => {
  for (const status of ["T", "E"]) {
    const { relay, client, server, over } = startRelay();
    await client.send(query("BEGIN"));
    await server.expect("Q");
    await server.send(readyForQuery(status));
    await client.expect("Z");
    relay.drain(SHUTDOWN);
    assert(!relay.idle);
    await settle();
    assert.equal(client.unread, 0, "a transaction is not cut");
    await client.send(query("COMMIT"));
    await server.expect("Q");
    await server.send(readyForQuery("I"));
    assert.equal(messageTypes(await client.rest()), "ZE");
    client.transport.close();
    client.transport.close();
    assert.equal(await over, "pgvpd");
  }
});

Deno.test("Relay drains when every pipelined request has been answered", async () => {
  const { relay, client, server, over } = startRelay();
  await client.send(query("SELECT 1"), query("SELECT 2"), message("S"));
  await server.expectAll("QQS");
  relay.drain(SHUTDOWN);
  await server.send(readyForQuery(), readyForQuery());
  await client.expectAll("ZZ");
  await settle();
  assert.equal(client.unread, 0);
  await server.send(readyForQuery());
  assert.equal(messageTypes(await client.rest()), "ZE");
  client.transport.close();
  await over;
});

Deno.test("Relay does not take half a request for none", async () => {
  const { relay, client, server, over } = startRelay();
  await client.send(query("SELECT 1").subarray(0, 3));
  await server.expectBytes(3);
  assert(!relay.idle);
  relay.drain(SHUTDOWN);
  await settle();
  assert.equal(client.unread, 0);
  client.transport.reset();
  await over;
});

Deno.test("Relay closes now, in mid-query, with a message where one may stand", async () => {
  const { relay, client, server, over } = startRelay();
  await client.send(query("SELECT 1"));
  await server.expect("Q");
  await server.send(ROW);
  await client.expect("D");
  const closed = relay.close(SHUTDOWN);
  assert.equal(messageTypes(await client.rest()), "E");
  client.transport.close();
  await closed;
  assert.equal(await over, "pgvpd");
});

Deno.test("Relay closes now, inside a message, without a word", async () => {
  const { relay, client, server, over } = startRelay();
  await server.send(join(ROW, ROW.subarray(0, 4)));
  await client.expectBytes(ROW.length + 4);
  const closed = relay.close(SHUTDOWN);
  await client.expectEnd();
  client.transport.close();
  await closed;
  assert.equal(await over, "pgvpd");
});

Deno.test("Relay never writes its farewell into a write that is under way", async () => {
  const { relay, client, server, over, clientSide } = startRelay({ capacity: 10 });
  const sending = server.send(ROW, ROW, ROW);
  sending.catch(() => {});
  await settle(); // the pump is stuck in its write: the client does not read
  const closing = relay.close(SHUTDOWN);
  await settle();
  assert(!clientSide.writesOverlapped, "the farewell stands inside another message");
  const said = await client.rest();
  assert.match(messageTypes(said), /^D+E$/);
  client.transport.close();
  await Promise.all([closing, over, sending.catch(() => {})]);
});

Deno.test("Relay closes now though the client does not read", async () => {
  const { relay, server, over, clientSide } = startRelay({ capacity: 10 });
  server.send(ROW, ROW, ROW).catch(() => {});
  await settle();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const overdue = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve("still waiting"), 20_000);
  });
  const done = relay.close(SHUTDOWN).then(() => "closed");
  assert.equal(await Promise.race([done, overdue]), "closed");
  clearTimeout(timer);
  assert(clientSide.closed);
  await over;
});

// KNOWN FAILURE: REQUESTS_ANSWERED counts both Syncs, so such a session is never idle again, and a
// drain waits for its whole grace. Remove `ignore` with the fix.
const COPY_TEST = "Relay is idle behind a COPY in which the server ignored a Sync";
Deno.test({ name: COPY_TEST, ignore: true }, async () => {
  // libpq: Parse, Bind, Execute, Sync; the server is in copy-in mode when the Sync comes, and
  // ignores it; CopyData, CopyDone and another Sync follow, and one ReadyForQuery.
  const { relay, client, server, over } = startRelay();
  await client.send(message("P"), message("B"), message("E"), message("S"));
  await server.expectAll("PBES");
  await server.send(message("1"), message("2"), message("G", new Uint8Array(3)));
  await client.expectAll("12G");
  await client.send(message("d", text("row\n")), message("c"), message("S"));
  await server.expectAll("dcS");
  await server.send(message("C", text("COPY 1\0")), readyForQuery());
  await client.expectAll("CZ");
  assert(relay.idle, "everything has been answered");
  client.transport.reset();
  await over;
});
