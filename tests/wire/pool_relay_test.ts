// Pipelines, large results and a hasty goodbye on a pooled connection.

import assert from "node:assert/strict";
import { backendPid, connectPooled, leave, onlyPool, poolFront } from "../support/pool_front.ts";
import { Bench } from "../support/wire_bench.ts";
import { cstring, message } from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await Bench.start()));
Deno.test.afterAll(() => bench.stop());

const QUERIES = 200;
const SIZE = 100_000;

Deno.test("a pipeline that is large in both directions does not get stuck", async () => {
  await using front = await poolFront(bench);
  const client = await connectPooled(front, "tenant_a");
  const filler = "x".repeat(SIZE);
  const asking = (async () => {
    for (let turn = 0; turn < QUERIES; turn++) {
      const sql = `SELECT ${turn}, repeat('y', ${SIZE}) /* ${filler} */`;
      await client.raw.send(message("Q", cstring(sql)));
    }
  })();
  for (let turn = 0; turn < QUERIES; turn++) {
    const row = (await client.raw.until("Z")).find(({ type }) => type === "D")!;
    const digits = String(turn);
    assert.equal(new TextDecoder().decode(row.body.subarray(6, 6 + digits.length)), digits);
    assert.equal(row.body.length, 2 + 4 + digits.length + 4 + SIZE);
  }
  await asking;
  await leave(front, client);
  assert.deepEqual(onlyPool(front).closed, {});
});

Deno.test("what is pipelined before Terminate is done, and the next client waits for it", async () => {
  await bench.admin.run("CREATE TABLE done (turn int); GRANT ALL ON done TO trusty");
  await using front = await poolFront(bench);
  const a = await connectPooled(front, "tenant_a");
  const pid = await backendPid(a.raw);
  const inserts = Array.from(
    { length: 5 },
    (_, turn) => message("Q", cstring(`SELECT pg_sleep(0.05); INSERT INTO done VALUES (${turn})`)),
  );
  await a.raw.send(...inserts, message("X"));
  a.raw.close();
  const b = await connectPooled(front, "tenant_b");
  assert.equal(await backendPid(b.raw), pid);
  assert.deepEqual(await b.raw.query("SELECT count(*) FROM done"), [["5"]]);
  await leave(front, b);
});
