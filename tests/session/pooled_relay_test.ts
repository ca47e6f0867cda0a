// PooledRelay: every byte passes but Terminate, both ways at once, and it ends as it should.

import { strict as assert } from "node:assert";
import {
  commandComplete,
  dataRow,
  errorFields,
  errorResponse,
  join,
  message,
  messageTypes,
  query,
  readyForQuery,
  TERMINATE,
  text,
} from "../support/messages.ts";
import { lent, settle } from "../support/pooled_world.ts";
import { Random, randomPieces, singleBytes } from "../support/random.ts";

const ROW = dataRow([text("x")]);
const DONE = join(ROW, commandComplete("SELECT 1"), readyForQuery());
const SHUTDOWN = errorResponse("57P01", "shutting down");

Deno.test("PooledRelay keeps Terminate to itself, wherever it is cut", async () => {
  const asked = join(query("SELECT 1"), TERMINATE);
  for (let cut = 1; cut < asked.length; cut++) {
    const { client, server, over, relay, upstreamSide, member } = await lent();
    await client.send(asked.subarray(0, cut));
    await settle();
    await client.send(asked.subarray(cut));
    assert.equal(await over, "terminated");
    await relay.pumped;
    await server.expect("Q");
    assert.equal(server.unread, 0, `cut at ${cut}`);
    assert(relay.sentWhole && !upstreamSide.closed);
    assert.equal(member.backend.ledger.owed, 1, "what was asked for is still to be done");
  }
});

Deno.test("PooledRelay passes on what stands before Terminate, and nothing behind it", async () => {
  const { client, server, over, member } = await lent();
  await client.send(join(query("SELECT 1"), message("S"), TERMINATE, query("SELECT 2")));
  assert.equal(await over, "terminated");
  await server.expectAll("QS");
  await settle();
  assert.equal(server.unread, 0);
  assert.equal(member.backend.ledger.owed, 2);
});

Deno.test("PooledRelay does not take an X inside a message for Terminate", async () => {
  const { client, server } = await lent({ wire: { cut: () => 2 } });
  const request = query(`SELECT '${new TextDecoder().decode(TERMINATE)}'`);
  await client.send(request);
  assert.deepEqual(await server.expect("Q"), request);
  client.transport.reset();
});

Deno.test("PooledRelay passes on every byte, however both streams are cut", async () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = new Random(seed);
    const cut = () => random.integer(1, 30);
    const { client, server, over, relay, clientSide, upstreamSide } = await lent({
      wire: { cut, capacity: random.integer(20, 300) },
    });
    const requests = Array.from({ length: 30 }, () => query("x".repeat(random.integer(0, 90))));
    const replies = requests.map(() =>
      join(dataRow([random.bytes(random.integer(0, 200))]), commandComplete("C"), readyForQuery())
    );
    const [asked, answered] = [join(...requests), join(...replies)];
    const [gotAsked, gotAnswered] = await Promise.all([
      server.expectBytes(asked.length),
      client.expectBytes(answered.length),
      client.send(...randomPieces(asked, random)),
      server.send(...randomPieces(answered, random)),
    ]);
    assert.deepEqual([gotAsked, gotAnswered], [asked, answered], `seed ${seed}`);
    await settle();
    await client.send(...singleBytes(TERMINATE));
    assert.equal(await over, "terminated", `seed ${seed}`);
    assert(!clientSide.writesOverlapped && !upstreamSide.writesOverlapped);
    assert.deepEqual([relay.bytesFromClient, relay.bytesFromUpstream], [
      asked.length + TERMINATE.length,
      answered.length,
    ]);
  }
});

Deno.test("PooledRelay moves requests while replies are stuck, and replies while they are", async () => {
  const { client, server } = await lent({ wire: { capacity: 100 } });
  // The client does not read: the replies pile up, and its requests still arrive.
  const large = join(...Array.from({ length: 50 }, () => DONE));
  await client.send(query("SELECT 1"));
  await server.expect("Q");
  const answering = server.send(large);
  await settle();
  for (let turn = 0; turn < 20; turn++) {
    await client.send(query("SELECT 2"));
    await server.expect("Q");
  }
  assert.equal((await client.expectBytes(large.length)).length, large.length);
  await answering;
  // The server does not read: requests pile up, and its replies still arrive.
  const asking = client.send(...Array.from({ length: 50 }, () => query("SELECT 3")));
  await settle();
  for (let turn = 0; turn < 20; turn++) {
    await server.send(ROW);
    await client.expect("D");
  }
  await server.expectBytes(50 * query("SELECT 3").length);
  await asking;
  client.transport.reset();
});

Deno.test("PooledRelay streams a message of any size through small buffers", async () => {
  const { client, server, clientSide, upstreamSide } = await lent({ wire: { capacity: 8_192 } });
  const large = query("x".repeat(3_000_000));
  const [got] = await Promise.all([server.expectBytes(large.length), client.send(large)]);
  assert.deepEqual(got, large);
  assert(clientSide.incoming.bufferedMax <= 8_192 && upstreamSide.outgoing.bufferedMax <= 8_192);
  client.transport.reset();
});

Deno.test("PooledRelay answers a client that has ended its side, and then ends", async () => {
  const { client, server, over } = await lent();
  await client.send(query("SELECT 1"));
  await client.transport.closeWrite();
  await server.expect("Q");
  await server.send(DONE);
  await client.expectAll("DCZ");
  assert.equal(await over, "closed");
});

Deno.test("PooledRelay ends at once when a client without a question goes", async () => {
  const { client, over, relay } = await lent();
  client.transport.close();
  assert.equal(await over, "closed");
  assert(relay.sentWhole);
});

Deno.test("PooledRelay calls a client gone that ends inside a message, a batch, or a COPY", async () => {
  const begun: Record<string, Uint8Array> = {
    "half a header": query("SELECT 1").subarray(0, 3),
    "half a query": query("SELECT 1").subarray(0, 9),
    "a batch": join(message("P"), message("B")),
  };
  for (const [what, bytes] of Object.entries(begun)) {
    const { client, over, relay } = await lent();
    await client.send(bytes);
    await settle();
    await client.transport.closeWrite();
    if (what === "half a query") client.transport.reset();
    assert.equal(await over, "vanished", what);
    assert.equal(relay.sentWhole, what === "a batch", what);
  }
  const { client, server, over } = await lent();
  await client.send(query("COPY t FROM STDIN"));
  await server.expect("Q");
  await server.send(message("G", new Uint8Array(3)));
  await client.expect("G");
  client.transport.close();
  assert.equal(await over, "vanished");
});

Deno.test("PooledRelay ends when the client breaks off while it is being answered", async () => {
  const { client, server, over, upstreamSide } = await lent({ wire: { capacity: 1_000 } });
  await client.send(query("SELECT 1"));
  await server.expect("Q");
  server.send(message("D", new Uint8Array(100_000))).catch(() => {});
  await client.expectBytes(10);
  client.transport.close();
  assert.equal(await over, "vanished");
  assert(!upstreamSide.closed, "the connection is for the check-in to judge");
});

Deno.test("PooledRelay refuses a length that no message has", async () => {
  for (const length of [3, 0, -1, -2147483648]) {
    const bad = query("SELECT 1");
    new DataView(bad.buffer).setInt32(1, length);
    const { client, server, over } = await lent();
    await client.send(join(query("SELECT 1"), bad));
    const said = errorFields(await client.expect("E"));
    assert.deepEqual([said.S, said.C], ["FATAL", "08P01"]);
    client.transport.close();
    assert.equal(await over, "confused");
    await server.expect("Q");
    await settle();
    assert.equal(server.unread, 0);
  }
});

Deno.test("PooledRelay leaves unknown messages to the server, and does not trust what follows", async () => {
  for (const type of ["p", "z", "\x01", "R"]) {
    const { client, server, member } = await lent();
    await client.send(message(type, text("x")));
    await server.expectBytes(6);
    assert(member.backend.ledger.uncertain, type);
    client.transport.reset();
  }
});

Deno.test("PooledRelay says that the server is gone, where a message may stand", async () => {
  for (let cut = 0; cut <= ROW.length; cut++) {
    const { client, server, over } = await lent();
    await client.send(query("SELECT 1"));
    await server.expect("Q");
    await server.send(ROW.subarray(0, cut));
    server.transport.close();
    const said = await client.rest();
    const isInside = cut > 0 && cut < ROW.length;
    if (isInside) assert.deepEqual(said, ROW.subarray(0, cut));
    else assert.equal(messageTypes(said), cut === 0 ? "E" : "DE");
    client.transport.close();
    assert.equal(await over, "upstream");
  }
});

Deno.test("PooledRelay adds nothing to the server's own last words", async () => {
  const { client, server, over } = await lent();
  await server.send(errorResponse("57P01", "terminating connection"));
  server.transport.close();
  assert.equal(messageTypes(await client.rest()), "E");
  client.transport.close();
  assert.equal(await over, "upstream");
});

Deno.test("PooledRelay drains at once when nothing is under way, else behind the answer", async () => {
  const idle = await lent();
  assert(idle.relay.idle);
  idle.relay.drain(SHUTDOWN);
  assert.equal(messageTypes(await idle.client.rest()), "E");
  idle.client.transport.close();
  assert.equal(await idle.over, "pgvpd");

  const { client, server, relay, over } = await lent();
  await client.send(query("BEGIN"), query("SELECT 1"));
  await server.expectAll("QQ");
  relay.drain(SHUTDOWN);
  await server.send(readyForQuery("T"), ROW, readyForQuery("T"));
  await client.expectAll("ZDZ");
  await settle();
  assert(!relay.idle && client.unread === 0, "a transaction is not cut");
  await client.send(query("COMMIT"));
  await server.expect("Q");
  await server.send(readyForQuery());
  assert.equal(messageTypes(await client.rest()), "ZE");
  client.transport.close();
  assert.equal(await over, "pgvpd");
});

Deno.test("PooledRelay closes now: with a word between messages, without one inside", async () => {
  for (const begun of [0, 3]) {
    const { client, server, relay, over } = await lent();
    await client.send(query("SELECT 1"));
    await server.expect("Q");
    await server.send(join(ROW, ROW.subarray(0, begun)));
    await client.expect("D");
    await settle();
    relay.close(SHUTDOWN);
    const said = await client.rest();
    if (begun === 0) assert.equal(messageTypes(said), "E");
    else assert.deepEqual(said, ROW.subarray(0, begun));
    client.transport.close();
    assert.equal(await over, "pgvpd");
  }
});

Deno.test("PooledRelay never writes its farewell into a write that is under way", async () => {
  const { client, server, relay, over, clientSide } = await lent({ wire: { capacity: 10 } });
  server.send(ROW, ROW, ROW).catch(() => {});
  await settle(); // the client does not read
  relay.close(SHUTDOWN);
  assert.equal(await over, "pgvpd"); // it is not waited for, either
  assert(!clientSide.writesOverlapped);
  client.transport.close();
});

Deno.test("PooledRelay asks a silent client whether it lives, between two messages", async () => {
  const { client, server, over, clientSide } = await lent({ wire: { capacity: 10 } });
  await client.send(query("SELECT 1"));
  await server.expect("Q");
  await client.transport.closeWrite();
  while (clientSide.outgoing.buffered === 0) await new Promise((go) => setTimeout(go, 10));
  const answering = server.send(DONE); // the question is stuck: the client does not read
  await settle();
  assert(!clientSide.writesOverlapped, "the answer stands inside the question");
  await client.expectAll("NDCZ");
  await answering;
  assert.equal(await over, "closed");
});
