// Backend: what is read is counted once, handed on in order, and stopped at where it matters.

import { strict as assert } from "node:assert";
import { FrontendMessage } from "../../src/codec/codes.ts";
import { type Backend, type BackendConsumer, Stop } from "../../src/pool/backend.ts";
import {
  commandComplete,
  errorResponse,
  join,
  message,
  parameterStatus,
  readyForQuery,
} from "../support/messages.ts";
import { serverWorld, settled } from "../support/server_world.ts";

/** Walks everything, and remembers where the walk has stopped. */
class Walker implements BackendConsumer {
  readonly stops: number[] = [];
  bytes = 0;
  isLost = false;
  constructor(readonly backend: Backend) {}

  consume(bytes: Uint8Array): null {
    for (let at = 0; at < bytes.length;) {
      at = this.backend.walk(bytes, at, bytes.length);
      if (this.backend.stop !== Stop.AtEnd) this.stops.push(this.backend.stop);
    }
    this.bytes += bytes.length;
    return null;
  }
  lost(): void {
    this.isLost = true;
  }
}

const RESULT = join(
  parameterStatus("TimeZone", "UTC"),
  message("T", new Uint8Array(20)),
  message("D", new Uint8Array(300)),
  commandComplete("SELECT 1"),
  readyForQuery("T"),
  parameterStatus("TimeZone", "Europe/Berlin"),
  commandComplete("DISCARD ALL"),
  readyForQuery("I"),
);

Deno.test("backend: however it is cut, every ReadyForQuery and lost context is stopped at", async () => {
  for (const size of [1, 2, 3, 5, 7, 64, 1_000]) {
    const { backend, server } = serverWorld(() => size);
    const walker = new Walker(backend);
    backend.consumer = walker;
    backend.ledger.request(FrontendMessage.Query);
    backend.ledger.request(FrontendMessage.Query);
    await server.send(RESULT);
    server.transport.close();
    await backend.ended;
    assert.deepEqual(walker.stops, [Stop.Ready, Stop.ContextLost, Stop.Ready], `cut ${size}`);
    assert.equal(walker.bytes, RESULT.length);
    assert.equal(backend.bytesReceived, RESULT.length);
    assert.equal(backend.parameters.get("TimeZone"), "Europe/Berlin");
    assert.deepEqual([backend.ledger.owed, backend.ledger.settled], [0, true]);
    assert.ok(walker.isLost && backend.isOver);
    assert.ok(!backend.idle, "a connection that is over is not idle");
  }
});

Deno.test("backend: idle is what is settled, outside a transaction, between two messages", () => {
  const { backend } = serverWorld();
  const take = (...parts: Uint8Array[]) => {
    const bytes = join(...parts);
    for (let at = 0; at < bytes.length;) at = backend.walk(bytes, at, bytes.length);
  };
  assert.ok(!backend.idle, "before the server has said that it is ready");
  backend.ledger.request(FrontendMessage.Query);
  take(readyForQuery("I"));
  assert.ok(backend.idle);
  const notice = errorResponse("00000", "n", "NOTICE", "N");
  for (let cut = 1; cut < notice.length; cut++) {
    take(notice.subarray(0, cut));
    assert.ok(!backend.atBoundary && !backend.idle, `${cut} bytes of a notice`);
    take(notice.subarray(cut));
    assert.ok(backend.idle);
  }
  backend.ledger.request(FrontendMessage.Query);
  assert.ok(!backend.idle, "a reply is due");
  take(readyForQuery("T"));
  assert.ok(!backend.idle, "in a transaction");
  backend.ledger.request(FrontendMessage.Query);
  take(readyForQuery("I"));
  take(readyForQuery("I"));
  assert.ok(backend.ledger.uncertain && !backend.idle, "nobody has asked for it");
});

Deno.test("backend: an open ReadyForQuery is known to the byte, and no other message", () => {
  const ready = readyForQuery("I");
  for (let cut = 1; cut < ready.length; cut++) {
    const { backend } = serverWorld();
    backend.walk(ready, 0, cut);
    assert.equal(backend.openReadySize, cut);
  }
  const { backend } = serverWorld();
  const row = message("D", new Uint8Array(9));
  backend.walk(row, 0, 7);
  assert.equal(backend.openReadySize, 0);
  assert.equal(String.fromCharCode(backend.lastType), "D");
});

Deno.test("backend: only RESET and DISCARD ALL undo a context", () => {
  const stopsOf = (tag: string) => {
    const { backend } = serverWorld();
    const walker = new Walker(backend);
    walker.consume(commandComplete(tag));
    return walker.stops.length;
  };
  for (const tag of ["RESET", "DISCARD ALL"]) assert.equal(stopsOf(tag), 1, tag);
  for (const tag of ["RESETS", "SET", "BEGIN", "DISCARD TEMP", "DISCARD ALX", "reset", ""]) {
    assert.equal(stopsOf(tag), 0, tag);
  }
});

Deno.test("backend: what is no message makes the count uncertain for good", () => {
  for (const length of [0, 3, -1]) {
    const { backend } = serverWorld();
    backend.ledger.request(FrontendMessage.Query);
    backend.walk(readyForQuery(), 0, 6);
    const bytes = message("D");
    new DataView(bytes.buffer).setInt32(1, length);
    const all = join(bytes, readyForQuery());
    const walker = new Walker(backend);
    walker.consume(all);
    assert.ok(backend.ledger.uncertain && !backend.idle, `length ${length}`);
    assert.deepEqual(walker.stops, []);
  }
});

Deno.test("backend: one read at a time, and none while the consumer still works", async () => {
  const { backend, transport, server } = serverWorld(() => 10);
  const working = Promise.withResolvers<void>();
  let taken = 0;
  backend.consumer = {
    consume: (bytes) => {
      taken += bytes.length;
      backend.walk(bytes, 0, bytes.length);
      return working.promise;
    },
    lost: () => {},
  };
  await server.send(RESULT);
  await settled();
  assert.deepEqual([taken, transport.reads], [10, 1]);
  const next = new Walker(backend);
  backend.consumer = next;
  working.resolve();
  server.transport.close();
  await backend.ended;
  assert.equal(next.bytes, RESULT.length - 10, "the next consumer has the rest");
});

Deno.test("backend: however it ends, it is told once, and everything is given back", async () => {
  const endings: [string, (world: ReturnType<typeof serverWorld>) => void][] = [
    ["the server closes", ({ server }) => server.transport.close()],
    ["the connection breaks", ({ server }) => server.transport.reset()],
    ["pgvpd closes, twice", ({ backend }) => (backend.close(), backend.close())],
  ];
  for (const [what, end] of endings) {
    const world = serverWorld();
    const walker = new Walker(world.backend);
    world.backend.consumer = walker;
    await settled();
    end(world);
    await world.backend.ended;
    assert.ok(walker.isLost && world.backend.isOver && world.transport.closed, what);
    await assert.rejects(world.backend.send(readyForQuery()));
  }
});
