// TLS as a Transport, both ends over memory: any size, cut anywhere, ended in every way.

import { strict as assert } from "node:assert";
import { establishTls, TlsTransport } from "../../src/net/tls.ts";
import { TlsEngine, TlsError } from "../../src/net/tls_engine.ts";
import { type Transport, writeAll } from "../../src/net/transport.ts";
import { memoryPair, type MemoryPairOptions } from "../support/memory_transport.ts";
import { Random } from "../support/random.ts";
import { clientEngine, keyPair, recordsIn, SERVER, tlsPair } from "../support/tls_memory.ts";

const HANDSHAKE = 22;
const APPLICATION_DATA = 23;
/** What TLS 1.3 adds to a record: its real type and the tag. */
const RECORD_OVERHEAD = 17;

/** Bytes whose loss, repetition or change of place shows. */
function pattern(size: number): Uint8Array {
  return new Uint8Array(size).map((_, index) => (index * 7 + (index >> 8)) & 0xff);
}

/** Reads until `size` bytes have come, or to the end of the stream. */
async function readAll(from: Transport, size = Infinity, bufferSize = 4096): Promise<Uint8Array> {
  const buffer = new Uint8Array(bufferSize);
  const parts: number[][] = [];
  for (let received = 0; received < size;) {
    const count = await from.read(buffer);
    if (count === null) break;
    parts.push([...buffer.subarray(0, count)]);
    received += count;
  }
  return Uint8Array.from(parts.flat());
}

/** Everything that was ever written to the other end, as it was on the wire. */
function recorded(below: Transport): { transport: Transport; sent: () => Uint8Array } {
  const parts: number[] = [];
  const transport: Transport = {
    peer: below.peer,
    read: (into) => below.read(into),
    write: async (bytes) => {
      const count = await below.write(bytes);
      for (const byte of bytes.subarray(0, count)) parts.push(byte);
      return count;
    },
    closeWrite: () => below.closeWrite(),
    close: () => below.close(),
  };
  return { transport, sent: () => Uint8Array.from(parts) };
}

const CUTS: Record<string, () => MemoryPairOptions> = {
  whole: () => ({}),
  "byte by byte": () => ({ cut: () => 1 }),
  "at random": () => {
    const random = new Random(20261124);
    return { cut: () => random.integer(1, 700) };
  },
};

for (const [name, wire] of Object.entries(CUTS)) {
  Deno.test(`tls: handshake, bytes both ways and the end, cut ${name}`, async () => {
    const { server, client, serverSide, clientSide } = await tlsPair(wire());
    const up = pattern(20_000);
    const down = pattern(30_000).reverse();
    const [atServer, atClient] = await Promise.all([
      readAll(server),
      readAll(client),
      writeAll(client, up).then(() => client.closeWrite()),
      writeAll(server, down).then(() => server.closeWrite()),
    ]);
    assert.deepEqual(atServer, up);
    assert.deepEqual(atClient, down);
    assert.equal(server.peer, serverSide.peer);
    for (const end of [server, client]) end.close();
    assert(serverSide.closed && clientSide.closed);
    assert(!serverSide.writesOverlapped && !clientSide.writesOverlapped);
  });
}

Deno.test("tls: a peer that leaves anywhere in its handshake is refused", async () => {
  const { clientSide } = await tlsPair();
  for (let limit = 0; limit < clientSide.bytesWritten; limit += 13) {
    const [near, far] = memoryPair();
    let passed = 0;
    const limited: Transport = {
      peer: far.peer,
      read: async (into) => {
        if (passed >= limit) return null;
        const count = await far.read(into.subarray(0, limit - passed));
        passed += count ?? 0;
        return count;
      },
      write: (bytes) => far.write(bytes),
      closeWrite: () => far.closeWrite(),
      close: () => far.close(),
    };
    const server = serverEngineOf(limited).finally(() => limited.close());
    const client = establishTls(near, clientEngine(), null);
    const [atServer] = await Promise.allSettled([server, client]);
    assert.equal(atServer.status, "rejected", `after ${limit} bytes`);
  }
});

function serverEngineOf(below: Transport, received: Uint8Array | null = null) {
  const options = { identity: keyPair(SERVER), clientAuthorities: null };
  return establishTls(below, TlsEngine.server(options), received);
}

Deno.test("tls: the beginning of the handshake may have been read already", async () => {
  for (const size of [1, 5, 100, 10_000]) {
    const [near, far] = memoryPair();
    const client = establishTls(near, clientEngine(), null);
    const buffer = new Uint8Array(size);
    const count = await far.read(buffer);
    const server = await serverEngineOf(far, buffer.subarray(0, count!));
    await writeAll(await client, pattern(10));
    assert.deepEqual(await readAll(server, 10), pattern(10));
    server.close();
    (await client).close();
  }
});

Deno.test("tls: records hold 8 KiB at most, and a large write is not many small ones", async () => {
  const [near, far] = memoryPair({ capacity: 1 << 20 });
  const wire = recorded(far);
  const [server, client] = await Promise.all([
    serverEngineOf(wire.transport),
    establishTls(near, clientEngine(), null),
  ]);
  const handshake = wire.sent().length;
  const sent = pattern(200_000);
  await writeAll(server, sent);
  assert.deepEqual(await readAll(client, sent.length), sent);
  const all = recordsIn(wire.sent());
  assert.equal(all[0]!.type, HANDSHAKE);
  const records = recordsIn(wire.sent().subarray(handshake));
  assert(records.every(({ type }) => type === APPLICATION_DATA));
  assert(records.every(({ size }) => size <= 8 * 1024 + RECORD_OVERHEAD), "a record is too large");
  assert(records.length <= Math.ceil(sent.length / 8192) + 7, `${records.length} records`);
  await writeAll(server, pattern(20));
  assert.equal(recordsIn(wire.sent()).at(-1)!.size, 20 + RECORD_OVERHEAD);
  for (const end of [server, client]) end.close();
});

Deno.test("tls: both directions at once through tiny buffers, read in tiny pieces", async () => {
  const random = new Random(4711);
  const wire = { capacity: 1_000, cut: () => random.integer(1, 50) };
  const { server, client, serverSide, clientSide } = await tlsPair(wire);
  const sent = pattern(70_000);
  const back = pattern(90_000).reverse();
  const [atServer, atClient] = await Promise.all([
    readAll(server, sent.length, 7),
    readAll(client, back.length, 300),
    writeAll(client, sent),
    writeAll(server, back),
  ]);
  assert.deepEqual(atServer, sent);
  assert.deepEqual(atClient, back);
  assert(!serverSide.writesOverlapped && !clientSide.writesOverlapped);
  for (const end of [server, client]) end.close();
});

Deno.test("tls: a writer waits for a reader, both ways, and nothing is lost", async () => {
  const { server, client, serverSide, clientSide } = await tlsPair({ capacity: 10_000 });
  for (const [from, to, below] of [[server, client, serverSide], [client, server, clientSide]]) {
    const writer = from as TlsTransport;
    let written = false;
    const sent = pattern(120_000);
    const writing = writeAll(writer, sent).then(() => written = true);
    const full = () => (below as typeof serverSide).outgoing.buffered === 10_000;
    while (!full()) await Promise.resolve();
    for (let turn = 0; turn < 100; turn++) await Promise.resolve();
    assert.equal(written, false);
    assert.deepEqual(await readAll(to as TlsTransport, sent.length), sent);
    await writing;
  }
  for (const end of [server, client]) end.close();
});

Deno.test("tls: a read that waits does not keep writes from going out", async () => {
  const { server, client } = await tlsPair();
  const reading = server.read(new Uint8Array(10));
  await writeAll(server, pattern(1_000));
  assert.deepEqual(await readAll(client, 1_000), pattern(1_000));
  await client.write(Uint8Array.of(42));
  assert.equal(await reading, 1);
  for (const end of [server, client]) end.close();
});

Deno.test("tls: what has come before the end is read before the end is told", async () => {
  for (const way of ["closeWrite", "close"] as const) {
    const { server, client } = await tlsPair();
    await writeAll(client, pattern(5_000));
    await client[way]();
    assert.deepEqual(await readAll(server), pattern(5_000), way);
    assert.equal(await server.read(new Uint8Array(1)), null);
    for (const end of [server, client]) end.close();
  }
});

Deno.test("tls: whoever closes says so first, so that the end is no truncation", async () => {
  const [near, far] = memoryPair();
  const wire = recorded(far);
  const [server, client] = await Promise.all([
    serverEngineOf(wire.transport),
    establishTls(near, clientEngine(), null),
  ]);
  await writeAll(server, pattern(5));
  const before = wire.sent().length;
  server.close();
  assert.deepEqual(await readAll(client), pattern(5));
  const [last, ...more] = recordsIn(wire.sent().subarray(before));
  assert.deepEqual(last, { type: APPLICATION_DATA, size: 2 + RECORD_OVERHEAD }); // an alert
  assert.equal(more.length, 0);
  client.close();

  const twice = await tlsPair();
  await twice.server.closeWrite();
  const { bytesWritten } = twice.serverSide;
  twice.server.close();
  assert.equal(twice.serverSide.bytesWritten, bytesWritten);
  twice.client.close();
});

Deno.test("tls: half-closed, the other half goes on", async () => {
  const { server, client } = await tlsPair();
  await client.closeWrite();
  assert.equal(await server.read(new Uint8Array(1)), null);
  await writeAll(server, pattern(100_000));
  await server.closeWrite();
  assert.deepEqual(await readAll(client), pattern(100_000));
  for (const end of [server, client]) end.close();
});

Deno.test("tls: bytes that are no record end the connection, behind what came before them", async () => {
  const { server, client, clientSide } = await tlsPair();
  await writeAll(client, pattern(100));
  const garbage = pattern(500).fill(0x17, 0, 1);
  await clientSide.write(garbage);
  await clientSide.write(garbage);
  assert.deepEqual(await readAll(server, 100), pattern(100));
  await assert.rejects(server.read(new Uint8Array(10)), TlsError);
  await assert.rejects(server.read(new Uint8Array(10)), TlsError);
  await assert.rejects(server.write(pattern(10)), TlsError);
  await server.closeWrite();
  await assert.rejects(client.read(new Uint8Array(10)), TlsError, "the peer is told");
  for (const end of [server, client]) end.close();
});

Deno.test("tls: a reset rejects what is under way and what comes", async () => {
  const { server, client, clientSide } = await tlsPair({ capacity: 1_000 });
  const reading = assert.rejects(server.read(new Uint8Array(10)), /reset/);
  const writing = assert.rejects(writeAll(server, pattern(50_000)), /reset/);
  clientSide.reset();
  await Promise.all([reading, writing]);
  await assert.rejects(server.write(pattern(10)), /reset/);
  await server.closeWrite();
  for (const end of [server, client]) end.close();
});

Deno.test("tls: closing rejects a read and a write under way, and may be said again", async () => {
  const { server, client, serverSide } = await tlsPair({ capacity: 1_000 });
  const reading = assert.rejects(server.read(new Uint8Array(10)));
  const writing = assert.rejects(writeAll(server, pattern(50_000)));
  server.close();
  server.close();
  await Promise.all([reading, writing]);
  assert(serverSide.closed);
  await assert.rejects(server.read(new Uint8Array(10)));
  await assert.rejects(server.write(pattern(1)), /closed/);
  await server.closeWrite();
  client.close();
});

Deno.test("tls: closing in the handshake rejects it", async () => {
  const [, far] = memoryPair();
  const establishing = assert.rejects(serverEngineOf(far));
  far.close();
  await establishing;
});

Deno.test("tls: a peer that ends before its handshake, or speaks none, is refused", async () => {
  const [near, far] = memoryPair();
  await near.closeWrite();
  await assert.rejects(serverEngineOf(far), /closed the connection in the handshake/);

  const [talker, listener] = memoryPair();
  await talker.write(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
  await assert.rejects(serverEngineOf(listener), TlsError);
  const [alert] = recordsIn(await readAll(talker, 7));
  assert.equal(alert!.type, 21, "the peer is told in an alert");
});

Deno.test("tls: the buffer that a waiting read pins is small, and large while much comes", async () => {
  const { server, client, serverSide } = await tlsPair({ capacity: 1 << 20 });
  const first = server.read(new Uint8Array(1));
  assert(serverSide.readBufferSize <= 4096, `${serverSide.readBufferSize} bytes`);
  await Promise.all([writeAll(client, pattern(500_000)), first]);
  const rest = await readAll(server, 400_000, 65_536);
  assert(serverSide.readBufferSize >= 65_536);
  await readAll(server, 499_999 - rest.length, 65_536);
  const last = server.read(new Uint8Array(1));
  assert(serverSide.readBufferSize <= 4096);
  await Promise.all([writeAll(client, pattern(1)), last]);
  for (const end of [server, client]) end.close();
});

Deno.test("tls: what the engine has allocated is given back at once", async () => {
  const [near, far] = memoryPair();
  const written: Uint8Array[] = [];
  const kept: Transport = {
    peer: far.peer,
    read: (into) => far.read(into),
    write: (bytes) => {
      written.push(bytes);
      return far.write(bytes);
    },
    closeWrite: () => far.closeWrite(),
    close: () => far.close(),
  };
  const [server, client] = await Promise.all([
    serverEngineOf(kept),
    establishTls(near, clientEngine(), null),
  ]);
  written.length = 0;
  await writeAll(server, pattern(20_000));
  assert(written.length > 0 && written.every(({ buffer }) => buffer.byteLength === 0));
  await client.read(new Uint8Array(1));
  const chunks = [...client.engine.plaintext];
  await readAll(client, 19_999);
  assert(chunks.length > 0 && chunks.every(({ buffer }) => buffer.byteLength === 0));
  for (const end of [server, client]) end.close();
});
