// Promise: a client holds a backend for as long as a transaction lasts, no byte of it leaves before
// its context is confirmed, and everything that comes back is its own.

import assert from "node:assert/strict";
import { logger } from "../../src/log.ts";
import { Inbox } from "../../src/net/buffers.ts";
import { Linker } from "../../src/session/linking.ts";
import { RequestRewriter } from "../../src/session/rewriting.ts";
import { TransactionRelay } from "../../src/session/transaction_relay.ts";
import {
  contextOf,
  FakeServer,
  OneMemberPool,
  queryText,
  refused,
} from "../support/fake_server.ts";
import { memoryPair, type MemoryPairOptions } from "../support/memory_transport.ts";
import {
  commandComplete,
  dataRow,
  errorFields,
  errorResponse,
  join,
  message,
  query,
  readyForQuery,
  TERMINATE,
  text,
} from "../support/messages.ts";
import { ScriptedPeer } from "../support/scripted_peer.ts";
import { eventually, failure } from "../support/wire_bench.ts";
import { poolingDefaults } from "../support/pooling_defaults.ts";

const KEY = { database: "shop", user: "app", startupSettings: [] };
const FAREWELL = errorResponse("57P01", "pgvpd is shutting down");
const SYNC = message("S");

async function startRelay(wire: MemoryPairOptions = {}, upstreamCapacity?: number) {
  const server = new FakeServer(upstreamCapacity);
  const pool = new OneMemberPool(await server.open());
  const client = { key: KEY, context: contextOf("a"), settings: [] };
  const linker = new Linker(client, pool, logger("test"));
  linker.greeted(pool.member.backend.parameters);
  const [clientEnd, clientSide] = memoryPair(wire);
  const kept: string[] = [];
  const requests = new RequestRewriter(poolingDefaults());
  const relay = new TransactionRelay(
    new Inbox(clientSide, 65_536),
    linker,
    requests,
    (reason) => kept.push(reason),
  );
  const over = relay.run();
  over.catch(() => {});
  return { server, pool, relay, kept, client: new ScriptedPeer(clientEnd), over };
}

type World = Awaited<ReturnType<typeof startRelay>>;

/** What the clients' statements were, without what pgvpd has said. */
function asked({ server }: World): string[] {
  return server.heard.filter((each) =>
    !/^(scrub|residue check|context:|settings:|restored:)/.test(each)
  );
}

/** Answers simple queries as a server with transactions does. */
function serveTransactions({ server }: World): void {
  let status = "I";
  server.answer = async (_server, batch) => {
    for (const one of batch) {
      const sql = one[0] === 0x51 ? queryText(one) : "";
      if (sql === "BEGIN") status = "T";
      if (sql === "COMMIT") status = "I";
      await server.peer.send(dataRow([text(sql)]), commandComplete(sql), readyForQuery(status));
    }
  };
}

async function released(world: World, times: number): Promise<void> {
  await eventually(`given back ${times} times`, () => world.pool.fates.length === times);
  assert.deepEqual(world.pool.fates, Array(times).fill("given back"));
  assert.equal(world.relay.member, null);
}

Deno.test("nothing is held before the first message, and between transactions", async () => {
  const world = await startRelay();
  serveTransactions(world);
  assert.equal(world.relay.member, null);
  assert.deepEqual(world.server.heard, []);
  for (const [sql, gives] of [["SELECT", 1], ["BEGIN", 1], ["SELECT", 1], ["COMMIT", 2]] as const) {
    await world.client.send(query(sql));
    await world.client.expectAll("DCZ");
    if (sql === "BEGIN" || gives === 1 && world.relay.member !== null) continue;
    await released(world, gives);
  }
  await world.client.send(TERMINATE);
  assert.equal(await world.over, "terminated");
  assert.equal(world.relay.timer.transactions, 2);
});

Deno.test("the context is confirmed before the first byte, and a failed switch lets none leave", async () => {
  const world = await startRelay();
  await world.client.send(query("SELECT 1"));
  await world.client.expectAll("CZ");
  assert.deepEqual(world.server.heard, [
    "scrub",
    "residue check",
    "context: app.current_tenant_id=a role=app",
    "SELECT 1",
  ]);
  await world.client.send(TERMINATE);
  await world.over;

  const failing = await startRelay();
  failing.server.refusals.context = refused("42501", "permission denied");
  await failing.client.send(query("DELETE FROM everything"));
  assert.match(errorFields(await failing.client.expect("E"))["M"]!, /permission denied/);
  assert.equal(await failing.over, "pgvpd");
  assert.deepEqual(asked(failing), []);
  assert.deepEqual(failing.pool.fates, ["switch failed"]);
});

Deno.test("of several requests in one write, the last ReadyForQuery releases", async () => {
  const world = await startRelay();
  const answers = [1, 2, 3].map(() => Promise.withResolvers<void>());
  let count = 0;
  world.server.answer = async (server) => {
    await answers[count++]!.promise;
    await server.peer.send(commandComplete("SELECT 0"), readyForQuery());
  };
  await world.client.send(join(query("1"), query("2"), message("H"), query("3")));
  for (const answer of answers) {
    assert.deepEqual(world.pool.fates, [], "it is kept");
    answer.resolve();
    await world.client.expectAll("CZ");
  }
  await released(world, 1);
  await world.client.send(TERMINATE);
  await world.over;
});

Deno.test("an extended query keeps the backend until its Sync is answered", async () => {
  const world = await startRelay();
  world.server.answer = async ({ peer }) => {
    await peer.send(message("1"), message("2"), commandComplete("SELECT 0"), readyForQuery());
  };
  const parse = message("P", Uint8Array.of(0), text("SELECT 1"), Uint8Array.of(0, 0, 0));
  const bind = message("B", new Uint8Array(8));
  const execute = message("E", new Uint8Array(5));
  for (const part of [parse, bind, execute]) {
    await world.client.send(part);
    await eventually("it has a backend", () => world.relay.member !== null);
  }
  assert.deepEqual(world.pool.fates, []);
  await world.client.send(SYNC);
  await world.client.expectAll("12CZ");
  await released(world, 1);
  await world.client.send(TERMINATE);
  await world.over;
});

Deno.test("a client that does not read keeps its backend: nobody else must wait for it", async () => {
  const world = await startRelay({ capacity: 100 });
  const row = dataRow([text("x".repeat(1_000))]);
  world.server.answer = async ({ peer }) => {
    await peer.send(join(row, commandComplete("SELECT 1"), readyForQuery()));
  };
  await world.client.send(query("SELECT"));
  await eventually("it is answered", () => world.pool.member.backend.idle);
  assert.deepEqual(world.pool.fates, [], "the client has not read");
  await world.client.expectAll("DCZ");
  await released(world, 1);
  await world.client.send(TERMINATE);
  await world.over;
});

Deno.test("a backend that has not taken everything is not given to others", async () => {
  const world = await startRelay({}, 100);
  const goesOn = Promise.withResolvers<void>();
  world.server.answer = async ({ peer }) => {
    await peer.send(commandComplete("SELECT 0"), readyForQuery());
    await goesOn.promise; // what the client has sent behind it is not read yet
  };
  const flushes = Array<Uint8Array>(200).fill(message("H"));
  await world.client.send(join(query("SELECT 1"), ...flushes));
  await world.client.expectAll("CZ");
  for (let turn = 0; turn < 100; turn++) await Promise.resolve();
  assert.deepEqual(world.pool.fates, [], "the rest would be among the next one's bytes");
  goesOn.resolve();
  await released(world, 1);
  await world.client.send(TERMINATE);
  await world.over;
});

Deno.test("every byte by itself, both ways", async () => {
  const world = await startRelay({ cut: () => 1 });
  serveTransactions(world);
  for (const sql of ["BEGIN", "SELECT 'a'", "COMMIT", "SELECT 'b'"]) {
    await world.client.send(query(sql));
    const [row] = await world.client.expectAll("DCZ");
    assert.deepEqual(row, dataRow([text(sql)]));
  }
  assert.deepEqual(asked(world), ["BEGIN", "SELECT 'a'", "COMMIT", "SELECT 'b'"]);
  await world.client.send(TERMINATE);
  assert.equal(await world.over, "terminated");
});

Deno.test("behind RESET ALL nothing passes until the context is back", async () => {
  const world = await startRelay();
  world.server.answer = async ({ peer }, [one]) => {
    const sql = queryText(one!);
    if (sql !== "RESET ALL") return await peer.send(commandComplete("SELECT 0"), readyForQuery());
    await peer.send(commandComplete("RESET"), readyForQuery());
  };
  await world.client.send(query("RESET ALL"));
  await world.client.expect("C");
  await world.client.send(query("SELECT 1")); // it does not wait for ReadyForQuery
  await world.client.expectAll("ZCZ");
  const context = "context: app.current_tenant_id=a role=app";
  const behind = world.server.heard.slice(world.server.heard.indexOf("RESET ALL"));
  assert.deepEqual(behind, ["RESET ALL", context, "SELECT 1"]);
  await released(world, 2);
  await world.client.send(TERMINATE);
  await world.over;
});

Deno.test("what was sent before RESET was answered is answered first", async () => {
  const world = await startRelay();
  world.server.answer = async ({ peer }, [one]) => {
    const tag = queryText(one!) === "RESET ALL" ? "RESET" : "SELECT 0";
    await peer.send(commandComplete(tag), readyForQuery());
  };
  await world.client.send(join(query("RESET ALL"), query("SELECT 1")));
  await world.client.expectAll("CZCZ");
  await released(world, 1);
  assert.equal(world.server.heard.at(-1), "context: app.current_tenant_id=a role=app");
  await world.client.send(TERMINATE);
  await world.over;
});

Deno.test("in a failed transaction the context is restored when that is over", async () => {
  const world = await startRelay();
  const replies: Record<string, Uint8Array> = {
    "BEGIN; RESET ALL; SELECT 1/0": join(
      ...[commandComplete("BEGIN"), commandComplete("RESET")],
      ...[errorResponse("22012", "division by zero", "ERROR"), readyForQuery("E")],
    ),
    "ROLLBACK TO s": join(commandComplete("ROLLBACK"), readyForQuery("T")),
    "COMMIT": join(commandComplete("COMMIT"), readyForQuery("I")),
  };
  world.server.answer = async ({ peer }, [one]) => await peer.send(replies[queryText(one!)]!);
  const contexts = () => world.server.heard.filter((each) => each.startsWith("context")).length;
  await world.client.send(query("BEGIN; RESET ALL; SELECT 1/0"));
  await world.client.expectAll("CCEZ");
  assert.equal(contexts(), 1);
  await world.client.send(query("ROLLBACK TO s"));
  await world.client.expectAll("CZ");
  assert.equal(contexts(), 2);
  await world.client.send(query("COMMIT"));
  await world.client.expectAll("CZ");
  assert.equal(contexts(), 3, "ROLLBACK TO may have undone it");
  await released(world, 1);
  await world.client.send(TERMINATE);
  await world.over;
});

Deno.test("a client that must keep its backend does, and it is said once", async () => {
  const world = await startRelay();
  for (const sql of ["LISTEN a", "SELECT 1", "PREPARE p AS SELECT 1"]) {
    await world.client.send(query(sql));
    await world.client.expectAll("CZ");
  }
  await eventually("it is said", () => world.kept.length === 1);
  assert.deepEqual([world.kept, world.pool.fates], [["listen"], []]);
  await world.client.send(TERMINATE);
  assert.equal(await world.over, "terminated");
  assert.notEqual(world.relay.takeLease(), null);
});

Deno.test("Terminate and the end of the stream need no backend", async () => {
  const saying = await startRelay();
  await saying.client.send(TERMINATE);
  assert.equal(await saying.over, "terminated");
  const ending = await startRelay();
  await ending.client.transport.closeWrite();
  assert.equal(await ending.over, "closed");
  for (const { server, pool } of [saying, ending]) {
    assert.deepEqual([server.heard, pool.fates], [[], []]);
  }
});

Deno.test("the backend is lost in a transaction: the client is told", async () => {
  const world = await startRelay();
  serveTransactions(world);
  await world.client.send(query("BEGIN"));
  await world.client.expectAll("DCZ");
  world.server.peer.transport.close();
  assert.equal(errorFields(await world.client.expect("E"))["C"], "08006");
  await world.client.expectEnd();
  await world.client.transport.closeWrite();
  assert.equal(await world.over, "upstream");
});

Deno.test("a cancel request means what the backend does for this client, now", async () => {
  const world = await startRelay();
  serveTransactions(world);
  const sent: Uint8Array[] = [];
  const send = (request: Uint8Array) => Promise.resolve(void sent.push(request));
  await world.relay.cancel(send);
  assert.equal(sent.length, 0, "it has no backend");
  await world.client.send(query("BEGIN"));
  await world.client.expectAll("DCZ");
  await world.relay.cancel(send);
  assert.equal(sent.length, 0, "it waits for nothing");
  const answer = Promise.withResolvers<void>();
  world.server.answer = async ({ peer }) => {
    await answer.promise;
    await peer.send(commandComplete("COMMIT"), readyForQuery());
  };
  await world.client.send(query("COMMIT"));
  await eventually("it is asked", () => asked(world).includes("COMMIT"));
  await world.relay.cancel(send);
  assert.equal(sent.length, 1);
  answer.resolve();
  await world.client.expectAll("CZ");
  await world.client.send(TERMINATE);
  await world.over;
});

Deno.test("drain: between transactions at once, in one at its end", async () => {
  const idle = await startRelay();
  idle.relay.drain(FAREWELL);
  assert.deepEqual(await idle.client.expect("E"), FAREWELL);
  await idle.client.transport.closeWrite();
  assert.equal(await idle.over, "pgvpd");

  const busy = await startRelay();
  serveTransactions(busy);
  await busy.client.send(query("BEGIN"));
  await busy.client.expectAll("DCZ");
  busy.relay.drain(FAREWELL);
  await busy.client.send(query("COMMIT"));
  await busy.client.expectAll("DCZE");
  await busy.client.transport.closeWrite();
  assert.equal(await busy.over, "pgvpd");
});

Deno.test("a bug ends this session and its backend, and nothing else", async () => {
  const world = await startRelay();
  serveTransactions(world);
  await world.client.send(query("BEGIN"));
  await world.client.expectAll("DCZ");
  world.pool.member.confirmedContext = null; // as no path through the program leaves it
  await world.client.send(query("SELECT 1"));
  assert.match((await failure(world.over)).message, /no byte before the context is confirmed/);
  assert.deepEqual(asked(world), ["BEGIN"]);
  assert.deepEqual(world.pool.fates, ["failed"]);
});
