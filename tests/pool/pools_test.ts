// Pools: made on demand, removed when empty, under one ceiling; and the random life of all of it.

import { strict as assert } from "node:assert";
import { YIELD_AFTER_MS, YIELD_PAUSE_MS } from "../../src/pool/group.ts";
import { Pools, type PoolsOptions } from "../../src/pool/pools.ts";
import { PoolModel } from "../support/pool_model.ts";
import { Checkout, FakeClock, FakeServer, QUIET, settle } from "../support/pool_world.ts";

/** Pools that share one server. */
function world(options: Partial<PoolsOptions> = {}) {
  const clock = new FakeClock();
  const server = new FakeServer();
  const asked: string[] = [];
  const connectorFor = (key: string) => {
    asked.push(key);
    return server;
  };
  const all = { ...QUIET, poolsMax: 3, maxTotal: 100, ...options };
  const pools = new Pools(all, connectorFor, { clock, random: () => 0.5 });
  const begin = (key: string) => new Checkout((signal) => pools.checkout(key, null, signal));
  const checkout = async (key: string) => {
    const begun = begin(key);
    await settle();
    return begun;
  };
  const numbers = (key: string) => {
    const { idle, active, waiting } = pools.stats.get(key)!;
    return { idle, active, waiting };
  };
  return { clock, server, asked, all, pools, begin, checkout, numbers };
}

Deno.test("Pools makes a pool for each key, once, and removes it when nothing is left", async () => {
  const { pools, asked, checkout } = world();
  const [a, b] = [await checkout("a"), await checkout("b")];
  await checkout("a");
  assert.deepEqual(asked, ["a", "b"]);
  assert.deepEqual([pools.total, pools.stats.get("a")!.active], [3, 2]);
  b.taken.discard("protocol");
  await settle();
  assert.deepEqual([...pools.stats.keys()], ["a"]);
  a.giveBack();
  assert.equal(pools.total, 2);
});

Deno.test("Pools refuses one pool too many, and allows it when another is gone", async () => {
  const { pools, checkout } = world({ poolsMax: 1 });
  const taken = await checkout("a");
  (await checkout("b")).assertRefused("53300", /There are 1/, /pool_databases/);
  taken.taken.discard("protocol");
  await settle();
  assert.equal((await checkout("b")).isWaiting, false);
  await assert.rejects(pools.checkout("c", null, AbortSignal.abort(new Error("gone"))), /gone/);
  assert.deepEqual([...pools.stats.keys()], ["b"]);
});

Deno.test("Pools: one that only remembers a failure takes no other's place", async () => {
  const { server, pools, checkout } = world({ poolsMax: 2 });
  server.opening = new Error("no such database");
  for (const bogus of ["x", "y"]) {
    (await checkout(bogus)).assertRefused("08001", /no such database/);
  }
  assert.deepEqual([...pools.stats.keys()], ["x", "y"]);
  server.opening = "at once";
  const a = await checkout("a");
  assert.deepEqual([...pools.stats.keys()], ["y", "a"]);
  server.opening = "asked";
  assert.equal((await checkout("b")).isWaiting, true);
  assert.deepEqual([...pools.stats.keys()], ["a", "b"]);
  (await checkout("c")).assertRefused("53300", /There are 2/, /pool_databases/);
  server.opens.shift()!.fail(new Error("down"));
  await settle();
  server.opening = new Error("down");
  const again = await checkout("b");
  assert.equal(again.isWaiting, false, "it is remembered where nobody needs the place");
  assert.equal(server.opens.length, 0);
  a.giveBack();
  await pools.close();
});

Deno.test("Pools keeps no pool whose only client was refused", async () => {
  const { pools, checkout } = world({ maxTotal: 1, maxWaiting: 0 });
  await checkout("a");
  (await checkout("b")).assertRefused("53300", /pool_max_waiting is 0/);
  assert.deepEqual([...pools.stats.keys()], ["a"]);
});

Deno.test("Pools remembers a server that failed for as long as its pauses may last", async () => {
  const { pools, server, checkout, clock } = world();
  server.opening = new Error("refused");
  (await checkout("a")).assertRefused("08001");
  (await checkout("a")).assertRefused("08001");
  assert.equal(server.attempts, 1);
  await clock.advance(150 + 999);
  assert.equal(pools.stats.get("a")!.isFailing, true);
  await clock.advance(1);
  assert.deepEqual([pools.stats.size, clock.pending], [0, 0]);
});

Deno.test("Pools makes room with the longest idle member of another pool", async () => {
  const { pools, server, checkout, clock } = world({ maxTotal: 3 });
  const [a, b, c] = [await checkout("a"), await checkout("b"), await checkout("c")];
  b.giveBack();
  await clock.advance(1);
  a.giveBack();
  assert.equal((await checkout("c")).isWaiting, false);
  assert.deepEqual(server.members.map(({ isOpen }) => isOpen), [true, false, true, true]);
  assert.deepEqual([pools.total, [...pools.stats.keys()]], [3, ["a", "c"]]);
  c.giveBack();
  assert.deepEqual(pools.stats.get("a")!.closed, {});
});

Deno.test("Pools at the ceiling: whatever is closed is for the oldest waiter of all", async () => {
  const { begin, checkout, numbers, pools } = world({ maxTotal: 2 });
  const [first, second] = [await checkout("a"), await checkout("a")];
  const waiting = [begin("b"), begin("c"), begin("b")];
  await settle();
  assert.deepEqual(waiting.map((one) => one.isWaiting), [true, true, true]);
  first.taken.discard("protocol");
  await settle();
  assert.deepEqual(waiting.map((one) => one.isWaiting), [false, true, true]);
  second.giveBack();
  await settle();
  assert.deepEqual(waiting.map((one) => one.isWaiting), [false, false, true]);
  assert(!pools.stats.has("a"), "an idle member made room as soon as it was idle");
  waiting[1]!.taken.discard("protocol");
  await settle();
  assert.deepEqual(numbers("b"), { idle: 0, active: 2, waiting: 0 });
});

Deno.test("Pools at the ceiling: a pool that is never at rest yields to who has waited elsewhere", async () => {
  const { begin, checkout, clock, pools, server } = world({ maxTotal: 2 });
  const storm = [await checkout("a"), await checkout("a")];
  for (let count = 0; count < 100; count++) storm.push(begin("a"));
  const [b, c] = [begin("b"), begin("c")];
  const turns = async (count: number) => {
    for (let turn = 0; turn < count; turn++) {
      await clock.advance(10);
      const at = storm.findIndex((one) => one.lease !== null);
      storm.splice(at, 1)[0]!.giveBack();
      await settle();
    }
  };
  await turns(Math.floor(YIELD_AFTER_MS / 10) - 1);
  assert.deepEqual([b.isWaiting, c.isWaiting, server.attempts], [true, true, 2]);
  await turns(1);
  assert.deepEqual([b.isWaiting, c.isWaiting, server.attempts], [false, true, 3]);
  assert.deepEqual(pools.stats.get("a")!.closed, { yielded: 1 });
  await turns(Math.floor(YIELD_PAUSE_MS / 10) - 1);
  assert.equal(c.isWaiting, true, "not all at once: each costs a new connection");
  await turns(1);
  assert.deepEqual([c.isWaiting, pools.total], [false, 2]);
  b.giveBack();
  await settle();
  assert.equal(pools.stats.get("a")!.active, 1, "and has it back when it is not needed");
});

Deno.test("Pools at the ceiling: a member that was opened for somebody serves somebody first", async () => {
  const { begin, checkout, clock, server } = world({ maxTotal: 1 });
  const taken = await checkout("a");
  const [more, b] = [begin("a"), begin("b")];
  server.opening = "asked";
  await clock.advance(YIELD_AFTER_MS);
  taken.giveBack();
  await clock.advance(2 * YIELD_AFTER_MS); // so long it takes to open one
  server.accept();
  await settle();
  assert.deepEqual([b.isWaiting, more.isWaiting], [false, true]);
});

Deno.test("Pools at the ceiling: who waits too long is told which one it is", async () => {
  const { checkout, begin, clock, pools } = world({ maxTotal: 1 });
  const taken = await checkout("a");
  const waiting = begin("b");
  await clock.advance(5_000);
  waiting.assertRefused("53300", /Pool "b" has 0 of 3/, /raise pool_max_total/);
  assert.deepEqual([...pools.stats.keys()], ["a"]);
  taken.giveBack();
  assert.equal(pools.stats.get("a")!.idle, 1, "nobody wants its place any more");
});

Deno.test("Pools at the ceiling opens no idle members, and makes up for it later", async () => {
  const { checkout, numbers } = world({ maxTotal: 3, minIdle: 1 });
  const first = await checkout("a");
  await checkout("b");
  assert.deepEqual(numbers("a"), { idle: 1, active: 1, waiting: 0 });
  assert.deepEqual(numbers("b"), { idle: 0, active: 1, waiting: 0 });
  first.taken.discard("protocol");
  await settle();
  assert.deepEqual(numbers("b"), { idle: 1, active: 1, waiting: 0 });
});

Deno.test("Pools takes new options, a lower and a higher ceiling too", async () => {
  const { pools, checkout, begin, all, server } = world();
  const taken = [await checkout("a"), await checkout("b"), await checkout("b")];
  taken[0]!.giveBack();
  pools.options = { ...all, maxTotal: 1 };
  assert.equal(pools.total, 2);
  const waiting = begin("a");
  taken[1]!.giveBack();
  await settle();
  assert(waiting.isWaiting);
  pools.options = { ...all, maxTotal: 2, size: 1 };
  await settle();
  assert.deepEqual([waiting.isWaiting, pools.total, server.openMembers], [false, 2, 2]);
  assert.equal(pools.options.size, 1);
});

Deno.test("Pools.close refuses whoever comes, and resolves when the last member has ended", async () => {
  const { pools, checkout, server } = world();
  const taken = [await checkout("a"), await checkout("b")];
  const closed = pools.close();
  (await checkout("a")).assertRefused("57P01");
  (await checkout("c")).assertRefused("57P01");
  for (const one of taken) one.giveBack();
  await closed;
  assert.deepEqual([pools.total, server.openMembers, pools.stats.size], [0, 0, 0]);
});

Deno.test("Pools through random lives: no place is lost, nobody waits in vain", async () => {
  const [first, count] = [Number(Deno.env.get("FUZZ_SEED") ?? 1), 60];
  for (let seed = first; seed < first + count; seed++) {
    try {
      await new PoolModel(seed).run(1_000);
    } catch (error) {
      throw new Error(`repeat it with FUZZ_SEED=${seed}`, { cause: error });
    }
  }
});
