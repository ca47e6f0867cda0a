// Promise: whatever fails, the client is told why, nothing is left behind,
// and the next connection works (W14, W27).

import assert from "node:assert/strict";
import { freePort } from "../../src/commands/embedded_postgres.ts";
import { Bench, DATABASE, eventually, failure, type Front } from "../support/wire_bench.ts";
import { PgClient, psqlCommand, psqlMissing } from "../support/wire_clients.ts";
import { cstring, message, RawClient } from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await Bench.start()));
Deno.test.afterAll(() => bench.stop());

const TRUSTY = { user: "trusty.tenant_a", database: DATABASE };
const COUNT = "SELECT count(*)::int FROM tenants";
const SLEEP = "SELECT pg_sleep(60)";
const AT_ONCE_MS = 20_000;

async function asleep(front: Front): Promise<[client: RawClient, processId: number]> {
  const client = await RawClient.connect(front.port);
  await client.login(TRUSTY);
  await client.send(message("Q", cstring(SLEEP)));
  return [client, await bench.running("pg_sleep")];
}

async function works(front: Front): Promise<void> {
  for (const tenant of ["tenant_a", "tenant_b"]) {
    await using client = await PgClient.connect(front.app(tenant));
    assert.equal(await client.value(COUNT), 2);
  }
}

/** The refusal of a login, and how long it took. */
async function refusal(
  front: Front,
): Promise<{ error: Awaited<ReturnType<RawClient["refused"]>> }> {
  using client = await RawClient.connect(front.port);
  return { error: await client.refused(TRUSTY) };
}

Deno.test("nothing listens upstream: 08001 with the address and a hint, quickly", async () => {
  const port = await freePort();
  await using front = await bench.front({ upstreamPort: port });
  const startedAt = performance.now();
  const { error } = await refusal(front);
  assert.ok(performance.now() - startedAt < AT_ONCE_MS);
  assert.equal(error.code, "08001");
  assert.ok(error.message.includes(`127.0.0.1:${port}`), error.message);
  assert.match(error.message, /refused/i);
  assert.match(error.fields["H"] ?? "", /upstream_host and upstream_port/);
  await front.empty(AT_ONCE_MS);
});

Deno.test("a host name that does not resolve: 08001 with the name", async () => {
  await using front = await bench.front({
    upstreamHost: "nonexistent.invalid",
    upstreamPort: 5432,
  });
  const { error } = await refusal(front);
  assert.equal(error.code, "08001");
  assert.match(error.message, /nonexistent\.invalid:5432/);
});

Deno.test("an upstream that says nothing: 08006 names the phase, and both sides are freed", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepting = listener.accept();
  await using front = await bench.front({
    upstreamPort: listener.addr.port,
    handshakeTimeout: 1_000,
  });
  const { error } = await refusal(front);
  using upstream = await accepting;
  assert.equal(error.code, "08006");
  assert.match(error.message, /timed out after 1 s while waiting for the upstream server/);
  const buffer = new Uint8Array(1024);
  assert.ok(await upstream.read(buffer) !== null, "the start-up packet had come");
  assert.equal(await upstream.read(buffer), null, "the upstream connection is still open");
});

Deno.test("an upstream that is not PostgreSQL, or hangs up: an error at once", async () => {
  const answers: [string, Uint8Array, string][] = [
    ["hangs up", new Uint8Array(0), "08006"],
    ["speaks HTTP", new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n\r\n"), "08P01"],
  ];
  for (const [what, answer, code] of answers) {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const serving = (async () => {
      using socket = await listener.accept();
      await socket.read(new Uint8Array(1024));
      if (answer.length > 0) await socket.write(answer);
    })();
    await using front = await bench.front({ upstreamPort: listener.addr.port });
    const { error } = await refusal(front);
    await serving;
    assert.equal(error.code, code, `${what}: ${error.message}`);
    await front.empty(AT_ONCE_MS);
  }
});

Deno.test("pg_terminate_backend in mid-query: the server's own 57P01, and both sides end", async () => {
  await using front = await bench.front();
  const [client, processId] = await asleep(front);
  using _ = client;
  await bench.admin.value("SELECT pg_terminate_backend($1)", [processId]);
  assert.equal((await failure(client.until("Z"))).code, "57P01");
  assert.ok(await client.ended(), "something was said behind the server's last word");
  await front.empty(AT_ONCE_MS);
  await works(front);
});

Deno.test("pg_terminate_backend of an idle client, as pg sees it", async () => {
  await using front = await bench.front();
  await using client = await PgClient.connect(front.app("tenant_a"));
  const processId = await client.value("SELECT pg_backend_pid()");
  await bench.admin.value("SELECT pg_terminate_backend($1)", [processId]);
  await eventually("the client knows", () => client.lost !== null);
  assert.equal((client.lost as { code?: string } | null)?.code, "57P01");
  await front.empty(AT_ONCE_MS);
  await works(front);
});

Deno.test("a client that only ends its own stream still gets the answer", async () => {
  await using front = await bench.front();
  using client = await RawClient.connect(front.port);
  await client.login(TRUSTY);
  await client.send(message("Q", cstring("SELECT pg_sleep(0.3), count(*) FROM tenants")));
  await client.connection.closeWrite();
  const row = (await client.until("Z")).find(({ type }) => type === "D");
  assert.match(new TextDecoder().decode(row?.body), /2$/);
  assert.ok(await client.ended());
  await front.empty(AT_ONCE_MS);
});

Deno.test("a client that closes its socket while a result flows frees both sides at once", async () => {
  await using front = await bench.front();
  using client = await RawClient.connect(front.port);
  await client.login(TRUSTY);
  const endless = "SELECT repeat('x', 9990), generate_series(1, 100000000)";
  await client.send(message("Q", cstring(endless)));
  await client.until("D");
  client.close();
  await front.empty(AT_ONCE_MS);
  await bench.noBackends(AT_ONCE_MS);
});

Deno.test({
  name: "a client process killed in mid-query frees its place at once",
  ignore: psqlMissing(),
  async fn() {
    await using front = await bench.front();
    const child = psqlCommand(front.app("tenant_a"), ["-c", SLEEP]).spawn();
    const processId = await bench.running("pg_sleep");
    assert.equal(front.proxy.connectionsActive, 1);
    child.kill("SIGKILL");
    await child.output();
    await backendEnds(front, processId);
    await works(front);
  },
});

Deno.test({
  name: "a client that closes its socket in mid-query frees its place at once",
  async fn() {
    await using front = await bench.front();
    const [client, processId] = await asleep(front);
    client.close();
    await backendEnds(front, processId);
  },
});

/**
 * PostgreSQL does not look at its socket while it sleeps in a query: pgvpd's side must be free at
 * once, and the backend as soon as it looks.
 */
async function backendEnds(front: Front, processId: number): Promise<void> {
  try {
    await front.empty(AT_ONCE_MS);
  } finally {
    await bench.admin.value("SELECT pg_cancel_backend($1)", [processId]);
    await bench.noBackends(AT_ONCE_MS);
  }
}

Deno.test("one backend killed -9: its client gets 08006, the others what the server says", async () => {
  await using front = await bench.front();
  const [victim, processId] = await asleep(front);
  using _ = victim;
  await using witness = await PgClient.connect(front.trusty("tenant_b"));
  assert.equal(await witness.value(COUNT), 2);
  Deno.kill(processId, "SIGKILL");
  assert.equal((await failure(victim.until("Z"))).code, "08006");
  assert.ok(await victim.ended());
  await eventually("the other one knows", () => witness.lost !== null);
  await front.empty(AT_ONCE_MS);
  await recovered();
  await works(front);
});

Deno.test("PostgreSQL killed -9 in mid-query, and started again", async () => {
  await using front = await bench.front();
  const [client] = await asleep(front);
  using _ = client;
  await bench.postgres.halt("SIGKILL");
  const error = await failure(client.until("Z"));
  assert.ok(error.code === "08006" || error.code?.startsWith("57P0"), error.message);
  assert.ok(await client.ended());
  await front.empty(AT_ONCE_MS);
  assert.equal((await refusal(front)).error.code, "08001");
  await restarted();
  await works(front);
});

Deno.test("PostgreSQL stopped fast in mid-query: 57P01 from the server", async () => {
  await using front = await bench.front();
  const [client] = await asleep(front);
  using _ = client;
  const halting = bench.postgres.halt("SIGINT");
  assert.equal((await failure(client.until("Z"))).code, "57P01");
  assert.ok(await client.ended());
  await halting;
  await front.empty(AT_ONCE_MS);
  await restarted();
  await works(front);
});

/** The backends of a killed postmaster hold its memory for a moment. */
async function restarted(): Promise<void> {
  await eventually(
    "PostgreSQL starts again",
    () => bench.postgres.boot().then(() => true, () => false),
  );
  await recovered();
}

async function recovered(): Promise<void> {
  await eventually(
    "PostgreSQL takes connections",
    () => bench.reconnectAdmin().then(() => true, () => false),
  );
}
