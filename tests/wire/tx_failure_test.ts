// Promise: what goes wrong on a shared backend costs the client it happens to, and nobody else;
// what happens between transactions costs nobody anything.

import assert from "node:assert/strict";
import { Bench, eventually, failure, type Front } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";
import { connectTx, sameBackend, TxClient, txFront, txLogin } from "../support/wire_tx.ts";
import {
  cancelKey,
  cancelRequest,
  concat,
  cstring,
  message,
  RawClient,
} from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await Bench.start()));
Deno.test.afterAll(() => bench.stop());

const NAMES = "SELECT string_agg(name, ',' ORDER BY name) FROM tenants";
const OF_A = "Alice Corp,Alice LLC";
const OF_B = "Bob Inc,Bob Ltd";

async function kill(pid: number): Promise<void> {
  await bench.admin.value("SELECT pg_terminate_backend($1)", [pid]);
  await eventually(`process ${pid} is gone`, async () => {
    const left = "SELECT count(*)::int FROM pg_stat_activity WHERE pid = $1";
    return await bench.admin.value(left, [pid]) === 0;
  });
}

/** Sends a cancel request with the client's own key, and waits until pgvpd has dealt with it. */
async function cancel(front: Front, client: TxClient): Promise<void> {
  using canceller = await RawClient.connect(front.port);
  await canceller.send(cancelRequest(cancelKey(client.greeting)));
  await canceller.ended();
}

/** Nothing is lent, nobody waits. */
async function atRest(front: Front): Promise<void> {
  await eventually(
    "the pool is at rest",
    () =>
      [...front.proxy.poolStats.values()].every(({ active, waiting, opening }) =>
        active + waiting + opening === 0
      ),
  );
}

Deno.test("a backend that is killed in a transaction: its client is told, no other notices", async () => {
  await using front = await txFront(bench);
  await using a = await connectTx(front, "tenant_a");
  await using b = await connectTx(front, "tenant_b");
  const pid = await sameBackend(a, b);
  await a.run("BEGIN");
  const waiting = b.value(NAMES);
  await kill(pid);
  assert.equal(await waiting, OF_B);
  await eventually("a is disconnected", () => a.lost !== null);
  assert.match(a.lost!.message, /terminating connection due to administrator command/);
});

Deno.test("a backend that is killed between transactions: nobody notices", async () => {
  await using front = await txFront(bench);
  await using a = await connectTx(front, "tenant_a");
  await using b = await connectTx(front, "tenant_b");
  for (const client of [a, b]) {
    const pid = await sameBackend(a, b);
    await atRest(front);
    await kill(pid);
    assert.equal(await client.value("SELECT 1"), 1);
    assert.notEqual(await sameBackend(a, b), pid);
  }
  assert.deepEqual([a.lost, b.lost], [null, null]);
});

Deno.test("a query that runs when its backend is killed fails with the server's words", async () => {
  await using front = await txFront(bench);
  using a = await TxClient.connect(front, "tenant_a");
  await a.raw.send(message("Q", cstring("SELECT pg_sleep(30)")));
  await kill(await bench.running("pg_sleep(30)"));
  await assert.rejects(a.raw.until("Z"), /57P01/);
  assert(await a.raw.ended(), "and nothing is said behind it");
});

Deno.test("PostgreSQL is restarted: clients that were idle stay", async () => {
  await using front = await txFront(bench);
  await using a = await connectTx(front, "tenant_a");
  await using b = await connectTx(front, "tenant_b");
  await a.run("SET application_name TO 'before the restart'");
  await sameBackend(a, b);
  await bench.postgres.halt();
  await bench.postgres.boot();
  await bench.reconnectAdmin();
  assert.equal(await a.value(NAMES), OF_A);
  assert.equal(await b.value(NAMES), OF_B);
  assert.equal(await a.value("SELECT current_setting('application_name')"), "before the restart");
});

Deno.test("the database is down: fast failure with the cause", async () => {
  await using front = await txFront(bench, { upstreamPort: 1, poolCheckoutTimeout: 60_000 });
  const begun = performance.now();
  const error = await failure(connectTx(front, "tenant_a"));
  assert(performance.now() - begun < 30_000, "at once");
  assert.match(`${error.message} ${JSON.stringify(error)}`, /refused/i);
});

Deno.test("cancel: a running query", async () => {
  await using front = await txFront(bench);
  using a = await TxClient.connect(front, "tenant_a");
  await using b = await connectTx(front, "tenant_b");
  await a.raw.send(message("Q", cstring("SELECT pg_sleep(31)")));
  await bench.running("pg_sleep(31)");
  const waiting = b.value(NAMES);
  await cancel(front, a);
  await assert.rejects(a.raw.until("Z"), /57014/);
  await a.raw.until("Z");
  assert.equal(await waiting, OF_B);
  assert.equal(await a.value(NAMES), OF_A);
});

Deno.test("cancel between transactions never hits the next owner (CancelForReleasedBackend)", async () => {
  await using front = await txFront(bench);
  using a = await TxClient.connect(front, "tenant_a");
  await using b = await connectTx(front, "tenant_b");
  await a.value(NAMES);
  const pid = await sameBackend(b);
  assert.equal(Number(await a.value("SELECT pg_backend_pid()")), pid);
  const running = b.value("SELECT 'of b' FROM pg_sleep(0.4)");
  await bench.running("pg_sleep(0.4)");
  for (let again = 0; again < 3; again++) await cancel(front, a);
  assert.equal(await running, "of b");
  assert.equal(await b.value("SELECT pg_backend_pid()"), pid);
});

Deno.test("cancel in the queue is ignored, and the query is run", async () => {
  await using front = await txFront(bench);
  using a = await TxClient.connect(front, "tenant_a");
  await using b = await connectTx(front, "tenant_b");
  await b.run("BEGIN");
  const asked = a.value("SELECT 'of a'");
  await eventually("a waits", () => [...front.proxy.poolStats.values()][0]!.waiting === 1);
  await cancel(front, a);
  await b.run("COMMIT");
  assert.equal(await asked, "of a");
});

Deno.test("cancel at the end of a query: never another's, hundreds of times", async () => {
  await using front = await txFront(bench);
  using a = await TxClient.connect(front, "tenant_a");
  using same = await TxClient.connect(front, "tenant_a");
  await using b = await connectTx(front, "tenant_b");
  let cancelled = 0;
  for (let turn = 0; turn < 100; turn++) {
    await a.raw.send(message("Q", cstring("SELECT pg_sleep(0.003)")));
    const cancelling = cancel(front, a);
    const others = [b.value("SELECT 'b' FROM pg_sleep(0.002)"), same.value("SELECT 'same'")];
    await a.raw.until("Z").catch(async () => {
      cancelled++;
      await a.raw.until("Z");
    });
    assert.deepEqual(await Promise.all(others), ["b", "same"]);
    await cancelling;
  }
  console.log(`${cancelled} of 100 were cancelled`);
});

Deno.test("a role that is revoked, or dropped: the switch fails and the query is not run", async () => {
  await using front = await txFront(bench, { setRole: "authenticated" });
  await using a = await connectTx(front, "tenant_a");
  await using b = await connectTx(front, "tenant_b");
  const pid = await sameBackend(a, b, a);
  await bench.admin.run("CREATE TABLE IF NOT EXISTS proof (a text); GRANT ALL ON proof TO PUBLIC");
  await bench.admin.run("REVOKE authenticated FROM trusty");
  try {
    const error = await failure(b.run("INSERT INTO proof VALUES ('it ran')"));
    assert.equal(error.code, "42501");
    assert.match(error.message, /context/);
    assert.equal(await bench.admin.value("SELECT count(*)::int FROM proof"), 0);
    await eventually("the backend is closed", async () => {
      const left = "SELECT count(*)::int FROM pg_stat_activity WHERE pid = $1";
      return await bench.admin.value(left, [pid]) === 0;
    });
  } finally {
    await bench.admin.run("GRANT authenticated TO trusty; DROP TABLE proof");
  }
  assert.equal(await a.value(NAMES), OF_A);
  await using late = await connectTx(front, "tenant_b");
  assert.equal(await late.value(NAMES), OF_B);
});

Deno.test("what nobody answers keeps no backend: Flush, data behind a failed COPY, half a query", async () => {
  await using front = await txFront(bench);
  await using b = await connectTx(front, "tenant_b");
  const stray = [
    message("H"),
    concat([message("d", cstring("data")), message("c")]),
    message("Q", cstring("SELECT 1")).subarray(0, 9),
  ];
  for (const bytes of stray) {
    using a = await TxClient.connect(front, "tenant_a");
    await a.raw.send(bytes);
    assert.equal(await b.value(NAMES), OF_B, "while a has not gone");
    await atRest(front);
  }
});

Deno.test("COPY that fails while the client still sends: the next owner's COPY is its own", async () => {
  await using front = await txFront(bench);
  await bench.admin.run("CREATE TABLE copied (n int); GRANT ALL ON copied TO PUBLIC");
  using a = await TxClient.connect(front, "tenant_a");
  using b = await TxClient.connect(front, "tenant_b");
  const line = (text: string) => message("d", new TextEncoder().encode(`${text}\n`));
  for (let turn = 0; turn < 5; turn++) {
    await a.raw.send(message("Q", cstring("COPY copied FROM STDIN")));
    await a.raw.until("G");
    await a.raw.send(line("not a number"));
    const more = a.raw.send(...Array<Uint8Array>(20_000).fill(line("13")));
    await b.raw.send(message("Q", cstring("COPY copied FROM STDIN")));
    await b.raw.until("G");
    await b.raw.send(line("1"), message("c"));
    await b.raw.until("Z");
    await more;
    await a.raw.send(message("c"));
    await assert.rejects(a.raw.until("Z"), /22P02/);
    await a.raw.until("Z");
  }
  const found = await bench.admin.rows("SELECT n, count(*)::int FROM copied GROUP BY n");
  assert.deepEqual(found, [{ n: 1, count: 5 }]);
});

Deno.test("a client that waits for a backend for too long is told, and others go on", async () => {
  await using front = await txFront(bench, { poolCheckoutTimeout: 1_500 });
  await using a = await connectTx(front, "tenant_a");
  await using b = await connectTx(front, "tenant_b");
  await a.run("BEGIN");
  const error = await failure(b.value("SELECT 1"));
  assert.equal(error.code, "53300");
  await a.run("COMMIT");
  await using late = await PgClient.connect(txLogin(front, "tenant_b"));
  assert.equal(await late.value(NAMES), OF_B);
});
