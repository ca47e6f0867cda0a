// Sockets, on the loopback interface: both directions, half-close, and every way to end.

import { strict as assert } from "node:assert";
import { dialTcp, endpoint, type Listener, listenTcp } from "../../src/net/tcp.ts";
import { type Transport, writeAll } from "../../src/net/transport.ts";

const PATIENT = new AbortController().signal;

async function connect(): Promise<[dialled: Transport, accepted: Transport, Listener]> {
  const listener = listenTcp("127.0.0.1", 0, { keepAlive: true });
  const [dialled, accepted] = await Promise.all([
    dialTcp("127.0.0.1", listener.port, PATIENT, { keepAlive: true }),
    listener.accept(),
  ]);
  return [dialled, accepted, listener];
}

Deno.test("tcp moves megabytes through partial writes, and honours a half-close", async () => {
  const [dialled, accepted, listener] = await connect();
  const sent = new Uint8Array(8 * 1024 * 1024).map((_, index) => index % 251);
  const received = new Uint8Array(sent.length);
  const sending = writeAll(dialled, sent).then(() => dialled.closeWrite());
  let at = 0;
  for (;;) {
    const count = await accepted.read(received.subarray(at, at + 70_000));
    if (count === null || at === received.length) break;
    at += count;
  }
  await sending;
  assert.equal(at, sent.length);
  assert(received.every((byte, index) => byte === sent[index]));
  await accepted.write(Uint8Array.of(42));
  const answer = new Uint8Array(4);
  assert.equal(await dialled.read(answer), 1);
  for (const end of [dialled, accepted, listener]) end.close();
});

Deno.test("tcp rejects a pending read when its own side closes, and closes twice", async () => {
  const [dialled, accepted, listener] = await connect();
  const reading = assert.rejects(dialled.read(new Uint8Array(1)));
  dialled.close();
  dialled.close();
  await dialled.closeWrite();
  await reading;
  assert.equal(await accepted.read(new Uint8Array(1)), null);
  accepted.close();
  listener.close();
});

Deno.test("tcp tells who the peer is", async () => {
  const [dialled, accepted, listener] = await connect();
  assert.equal(dialled.peer, listener.address);
  assert.equal(listener.address, `127.0.0.1:${listener.port}`);
  assert.match(accepted.peer, /^127\.0\.0\.1:\d+$/);
  for (const end of [dialled, accepted, listener]) end.close();
});

Deno.test("tcp rejects a pending accept when the listener closes", async () => {
  const listener = listenTcp("127.0.0.1", 0, { keepAlive: true });
  const accepting = assert.rejects(listener.accept());
  listener.close();
  await accepting;
});

Deno.test("tcp rejects with the signal's reason, and when nobody listens", async () => {
  const listener = listenTcp("127.0.0.1", 0, { keepAlive: true });
  listener.close();
  const reason = new Error("enough");
  await assert.rejects(
    dialTcp("127.0.0.1", listener.port, AbortSignal.abort(reason), { keepAlive: true }),
    /enough/,
  );
  await assert.rejects(
    dialTcp("127.0.0.1", listener.port, PATIENT, { keepAlive: true }),
    /refused/i,
  );
});

Deno.test("endpoint puts brackets around an IPv6 address", () => {
  assert.equal(endpoint("::1", 5432), "[::1]:5432");
  assert.equal(endpoint("db.test", 5432), "db.test:5432");
});
