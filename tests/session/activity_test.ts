// What a dedicated session is doing, as its relay can tell from the headers alone.

import { strict as assert } from "node:assert";
import { Inbox } from "../../src/net/buffers.ts";
import { activityOf, answersOf, trafficOf, transactionsOf } from "../../src/session/activity.ts";
import { Relay } from "../../src/session/relay.ts";
import { memoryPair } from "../support/memory_transport.ts";
import { readyForQuery } from "../support/messages.ts";
import { settle } from "../support/pool_world.ts";

/** A message of which only the type matters. */
function message(type: string): Uint8Array {
  return Uint8Array.of(type.charCodeAt(0), 0, 0, 0, 4);
}

Deno.test("a dedicated session is idle, busy, in a transaction, and idle again", async () => {
  const [client, clientSide] = memoryPair();
  const [serverSide, server] = memoryPair();
  const relay = new Relay(new Inbox(clientSide, 1_000), new Inbox(serverSide, 1_000));
  const over = relay.run();
  const after = async (peer: typeof client, ...parts: Uint8Array[]) => {
    for (const part of parts) await peer.write(part);
    for (let turn = 0; turn < 5; turn++) await settle();
    return activityOf(relay);
  };
  assert.equal(activityOf(relay), "idle");
  assert.equal(await after(client, message("Q")), "busy");
  assert.equal(await after(server, readyForQuery("T")), "in transaction");
  assert.equal(await after(client, message("P"), message("B"), message("E"), message("H")), "busy");
  assert.equal(await after(client, message("S")), "busy");
  assert.equal(await after(server, message("C")), "busy");
  assert.equal(await after(server, readyForQuery("I")), "idle");
  const { bytesFromClient, bytesFromUpstream } = relay;
  assert.equal(answersOf(relay), 2 + bytesFromClient);
  assert.equal(trafficOf(relay), bytesFromClient + bytesFromUpstream);
  assert.equal(transactionsOf(relay), 0);
  client.close();
  server.close();
  await over;
});

Deno.test("a session that is not served yet is busy", () => {
  assert.equal(activityOf(null), "busy");
  assert.deepEqual([answersOf(null), trafficOf(null), transactionsOf(null)], [0, 0, 0]);
});
