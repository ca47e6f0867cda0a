// The pipe: equal bytes however they are cut, back-pressure and half-close both ways.

import { strict as assert } from "node:assert";
import { FLOWING_BUFFER_SIZE, Inbox, WAITING_BUFFER_SIZE } from "../../src/net/buffers.ts";
import { Relay } from "../../src/session/relay.ts";
import { memoryPair, type MemoryPairOptions } from "../support/memory_transport.ts";
import { dataRow, join, message, query, readyForQuery } from "../support/messages.ts";
import { Random } from "../support/random.ts";
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

async function expectRest(peer: ScriptedPeer, expected: Uint8Array, note: string): Promise<void> {
  const got = await peer.rest();
  assert.equal(got.length, expected.length, note);
  assert(got.every((byte, index) => byte === expected[index]), `${note}: bytes differ`);
}

/** Whole messages of random content, so that the framers stay in step. */
function conversation(random: Random, size: number, type: string): Uint8Array {
  const messages: Uint8Array[] = [];
  for (let written = 0; written < size;) {
    const one = message(type, random.bytes(random.integer(0, 3_000)));
    messages.push(one);
    written += one.length;
  }
  return join(...messages);
}

Deno.test("Relay moves the same bytes both ways however the streams are cut", async () => {
  for (let seed = 1; seed <= 25; seed++) {
    const random = new Random(seed);
    const up = conversation(random, 60_000, "d");
    const down = conversation(random, 150_000, "D");
    const { client, server, relay, over, clientSide, upstreamSide } = startRelay({
      cut: () => random.chance(0.2) ? random.integer(1, 6) : random.integer(1, 200_000),
      capacity: random.integer(1, 70_000),
    });
    await Promise.all([
      client.send(up).then(() => client.transport.closeWrite()),
      Promise.all([server.send(down), expectRest(server, up, `seed ${seed}, to the server`)])
        .then(() => server.transport.closeWrite()),
      expectRest(client, down, `seed ${seed}, to the client`),
    ]);
    await over;
    assert.equal(relay.bytesFromClient, up.length);
    assert.equal(relay.bytesFromUpstream, down.length);
    assert(clientSide.closed && upstreamSide.closed);
    assert(!clientSide.writesOverlapped && !upstreamSide.writesOverlapped);
  }
});

Deno.test("Relay moves what is no PostgreSQL message at all", async () => {
  const garbage = new Random(7).bytes(5_000);
  const { client, server, over } = startRelay({ cut: () => 7 });
  await Promise.all([client.send(garbage), server.send(garbage)]);
  await client.transport.closeWrite();
  await server.transport.closeWrite();
  await Promise.all([expectRest(server, garbage, "up"), expectRest(client, garbage, "down")]);
  await over;
});

Deno.test("Relay begins with what the handshake left in both inboxes", async () => {
  const [clientEnd, clientSide] = memoryPair();
  const [upstreamSide, serverEnd] = memoryPair();
  const client = new ScriptedPeer(clientEnd);
  const server = new ScriptedPeer(serverEnd);
  const inboxes = [new Inbox(clientSide, 65_536), new Inbox(upstreamSide, 65_536)] as const;
  await client.send(query("SELECT 1"));
  await server.send(message("N"));
  await Promise.all(inboxes.map((inbox) => inbox.fill()));
  inboxes[0].take(3);
  void inboxes[0].fill(); // a read that the handshake had begun
  const over = new Relay(...inboxes).run();
  await client.send(query("SELECT 2"));
  await client.transport.closeWrite();
  await expectRest(server, join(query("SELECT 1").subarray(3), query("SELECT 2")), "up");
  await server.send(readyForQuery());
  await server.transport.closeWrite();
  await expectRest(client, join(message("N"), readyForQuery()), "down");
  assert.equal(await over, "client");
});

Deno.test("Relay honours the client's half-close: the answer still comes", async () => {
  const { client, server, over } = startRelay();
  await client.send(query("SELECT 1"));
  await client.transport.closeWrite();
  await expectRest(server, query("SELECT 1"), "up");
  await server.send(dataRow([]), readyForQuery());
  await server.transport.closeWrite();
  await expectRest(client, join(dataRow([]), readyForQuery()), "down");
  assert.equal(await over, "client");
});

Deno.test("Relay reads what the client still says away when the server has closed", async () => {
  const { client, server, over, clientSide } = startRelay({ capacity: 1_000 });
  await server.transport.closeWrite();
  await client.send(query("x".repeat(5_000)));
  await client.expect("E");
  await client.transport.closeWrite();
  assert.equal(await over, "upstream");
  assert(clientSide.bytesRead > 0);
});

Deno.test("Relay holds a bounded number of bytes for a peer that does not read", async () => {
  const total = 4 * 1024 * 1024;
  const capacity = 32 * 1024;
  for (const slow of ["client", "server"] as const) {
    const { client, server, over, clientSide, upstreamSide } = startRelay({ capacity });
    const [reader, writer] = slow === "client" ? [client, server] : [server, client];
    const [into, outOf] = slow === "client"
      ? [upstreamSide, clientSide]
      : [clientSide, upstreamSide];
    const sending = writer.send(message("d", new Uint8Array(total)));
    for (let turn = 0; turn < 200; turn++) await Promise.resolve();
    assert(into.bytesRead > 0, "it began");
    const inFlight = into.bytesRead - outOf.bytesWritten;
    assert(inFlight <= FLOWING_BUFFER_SIZE, `${slow}: ${inFlight} bytes taken and not passed on`);
    assert(into.bytesRead < total / 10, "it waits");
    const readsWhileStuck = into.reads;
    for (let turn = 0; turn < 200; turn++) await Promise.resolve();
    assert.equal(into.reads, readsWhileStuck, "it does not ask again while it waits");
    await reader.expect("d");
    await sending;
    client.transport.reset();
    await over;
  }
});

Deno.test("Relay goes on in one direction while the other one is stuck", async () => {
  const { client, server, over } = startRelay({ capacity: 1_000 });
  const stuck = client.send(message("d", new Uint8Array(200_000)));
  stuck.catch(() => {});
  await server.send(readyForQuery());
  await client.expect("Z");
  server.transport.reset();
  await client.expect("E");
  client.transport.reset();
  await over;
  await assert.rejects(stuck);
});

Deno.test("Relay's buffers grow while bytes flow and shrink when they do not", async () => {
  const { client, server, over, upstreamSide } = startRelay();
  await server.send(message("d"));
  await client.expect("d");
  assert.equal(upstreamSide.readBufferSize, WAITING_BUFFER_SIZE);
  const sending = server.send(message("d", new Uint8Array(200_000)));
  let largest = 0;
  while (client.transport.bytesRead < 200_010) {
    await client.transport.read(new Uint8Array(9_000));
    largest = Math.max(largest, upstreamSide.readBufferSize);
  }
  await sending;
  assert.equal(largest, FLOWING_BUFFER_SIZE);
  await server.send(message("d"));
  await client.expect("d");
  assert.equal(upstreamSide.readBufferSize, WAITING_BUFFER_SIZE);
  client.transport.reset();
  await over;
});

Deno.test("Relay reads once for each piece, and once more: it never spins", async () => {
  const { client, server, over, clientSide, upstreamSide } = startRelay();
  for (let round = 0; round < 50; round++) {
    await client.send(query("SELECT 1"));
    await server.expect("Q");
    await server.send(readyForQuery());
    await client.expect("Z");
  }
  assert(clientSide.reads <= 51, `${clientSide.reads} reads`);
  assert(upstreamSide.reads <= 51, `${upstreamSide.reads} reads`);
  client.transport.reset();
  await over;
});
