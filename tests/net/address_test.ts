// Addresses: TCP hosts and directories with a unix socket, on both sides.

import { strict as assert } from "node:assert";
import { addressText, dial, listen } from "../../src/net/address.ts";
import type { Listener } from "../../src/net/tcp.ts";

const PATIENT = new AbortController().signal;
const KEEP_ALIVE = { keepAlive: true };
const OPTIONS = { ...KEEP_ALIVE, unixSocketMode: 0o770 };

async function roundTrip(listener: Listener, host: string, port: number): Promise<string> {
  const [client, server] = await Promise.all([
    dial(host, port, PATIENT, KEEP_ALIVE),
    listener.accept(),
  ]);
  await client.write(new TextEncoder().encode("hello"));
  const into = new Uint8Array(16);
  const count = await server.read(into);
  client.close();
  server.close();
  return new TextDecoder().decode(into.subarray(0, count ?? 0));
}

Deno.test("addressText() writes addresses as people do", () => {
  assert.equal(addressText("db.internal", 5432), "db.internal:5432");
  assert.equal(addressText("::1", 5432), "[::1]:5432");
  assert.equal(addressText("/run/postgresql", 5432), "/run/postgresql/.s.PGSQL.5432");
  assert.equal(addressText("/run/postgresql/", 5432), "/run/postgresql/.s.PGSQL.5432");
});

Deno.test("listen() and dial() meet over TCP", async () => {
  const listener = await listen("127.0.0.1", 0, OPTIONS);
  assert.equal(await roundTrip(listener, "127.0.0.1", listener.port), "hello");
  listener.close();
});

Deno.test("listen() and dial() meet in a directory, with the permissions asked for", async () => {
  const directory = await Deno.makeTempDir();
  const path = `${directory}/.s.PGSQL.6432`;
  const listener = await listen(directory, 6432, OPTIONS);
  assert.equal(listener.address, path);
  assert.equal((await Deno.stat(path)).mode! & 0o777, 0o770);
  assert.equal(await roundTrip(listener, directory, 6432), "hello");
  await assert.rejects(listen(directory, 6432, OPTIONS), Deno.errors.AddrInUse);
  (await listener.accept()).close(); // it has tried whether anybody listens
  assert.equal(await roundTrip(listener, directory, 6432), "hello", "the socket is still there");
  listener.close();
  await Deno.remove(directory, { recursive: true });
});

Deno.test("listen() takes the place of a socket that nobody listens on", async () => {
  const directory = await Deno.makeTempDir();
  const path = `${directory}/.s.PGSQL.6432`;
  const killed = Deno.listen({ transport: "unix", path: `${path}.old` });
  await Deno.rename(`${path}.old`, path); // so that closing does not remove it, as a kill would not
  killed.close();
  await Deno.stat(path);
  const listener = await listen(directory, 6432, OPTIONS);
  assert.equal(await roundTrip(listener, directory, 6432), "hello");
  listener.close();
  await Deno.remove(directory, { recursive: true });
});

Deno.test("listen() does not touch a file that is no socket", async () => {
  const directory = await Deno.makeTempDir();
  const path = `${directory}/.s.PGSQL.6432`;
  await Deno.writeTextFile(path, "mine");
  await assert.rejects(listen(directory, 6432, OPTIONS));
  assert.equal(await Deno.readTextFile(path), "mine");
  await Deno.remove(directory, { recursive: true });
});

Deno.test("dial() gives up when it is told to, and says why nobody answers", async () => {
  const directory = await Deno.makeTempDir();
  const reason = new Error("enough");
  const abort = AbortSignal.abort(reason);
  await assert.rejects(dial(directory, 5432, abort, KEEP_ALIVE), /enough/);
  await assert.rejects(dial(directory, 5432, PATIENT, KEEP_ALIVE), Deno.errors.NotFound);
  await Deno.remove(directory, { recursive: true });
});
