// Pool: members kept ready, closed in time, a server that is away, new options, and the end.

import { strict as assert } from "node:assert";
import { PgError } from "../../src/codec/error.ts";
import { Pool } from "../../src/pool/pool.ts";
import {
  Checkout,
  FakeClock,
  FakeServer,
  poolWorld as world,
  QUIET,
  settle,
} from "../support/pool_world.ts";

Deno.test("Pool keeps idle members ready once it has reached the server", async () => {
  const { pool, server, checkout } = world({ size: 4, minIdle: 2 });
  await settle();
  assert.equal(server.attempts, 0);
  await checkout();
  assert.deepEqual([pool.stats.active, pool.stats.idle], [1, 2]);
  await checkout();
  await checkout();
  assert.deepEqual([pool.stats.active, pool.stats.idle], [3, 1], "never more than its size");
  for (const member of server.members) member.die();
  await settle();
  assert.deepEqual([pool.stats.active, pool.stats.idle], [0, 2]);
});

Deno.test("Pool opens idle members behind ever longer pauses while the server is away", async () => {
  const { pool, server, checkout, clock } = world({ minIdle: 1 });
  const taken = await checkout();
  await clock.advance(100);
  server.opening = new Error("refused");
  for (const member of server.members) member.die();
  await settle();
  taken.giveBack();
  assert.equal(server.attempts, 3, "the failure is followed by a pause");
  await clock.advance(10_000);
  assert(server.attempts > 10 && server.attempts < 20, `${server.attempts} attempts`);
  server.opening = "at once";
  await clock.advance(1_000);
  assert.deepEqual([pool.stats.idle, pool.stats.isFailing], [1, false]);
});

Deno.test("Pool makes a pause too when the server ends what it has just let in", async () => {
  const { server, checkout, clock } = world({ minIdle: 1 });
  await checkout();
  for (let times = 0; times < 1_000; times++) {
    server.members.at(-1)!.die();
    await settle();
  }
  assert(server.attempts < 5, `${server.attempts} attempts`);
  await clock.advance(1_000);
  assert(server.members.at(-1)!.isOpen);
});

Deno.test("Pool closes members idle for too long, oldest first, but for the least", async () => {
  const { pool, server, checkout, idle, clock } = world({ idleTimeoutMs: 1_000, minIdle: 1 });
  await idle("a", "b", "c");
  await clock.advance(500);
  (await checkout("b")).giveBack();
  await clock.advance(499);
  assert.equal(pool.stats.idle, 3);
  await clock.advance(1);
  assert.deepEqual(server.members.map(({ isOpen }) => isOpen), [false, true, false]);
  await clock.advance(10_000);
  assert.deepEqual([pool.stats.idle, pool.stats.closed], [1, { idle: 2 }]);
});

Deno.test("Pool closes old members when nobody uses them", async () => {
  const { pool, server, checkout, idle, clock } = world({ maxLifetimeMs: 1_000 });
  await idle("a", "b");
  const taken = await checkout("b");
  await clock.advance(1_000);
  assert.deepEqual(server.members.map(({ isOpen }) => isOpen), [false, true]);
  taken.giveBack();
  assert.deepEqual([pool.stats.idle, pool.stats.closed], [0, { lifetime: 2 }]);
  assert.equal(clock.pending, 0);
});

Deno.test("Pool spreads the ends of members over a tenth in both directions", async () => {
  const clock = new FakeClock();
  const server = new FakeServer();
  const fractions = [0, 0.9999];
  const options = { ...QUIET, maxLifetimeMs: 1_000 };
  const pool = new Pool("x", options, server, { clock, random: () => fractions.shift()! });
  const both = [1, 2].map(() => new Checkout((signal) => pool.checkout(null, signal)));
  await settle();
  both.forEach((one) => one.giveBack());
  await clock.advance(899);
  assert.equal(server.openMembers, 2);
  await clock.advance(1);
  assert.equal(server.openMembers, 1);
  await clock.advance(199);
  assert.equal(server.openMembers, 1);
  await clock.advance(1);
  assert.equal(server.openMembers, 0);
});

Deno.test("Pool: when no member can be opened, everybody is told why at once", async () => {
  const { pool, server, begin, checkout, clock } = world({ size: 2 });
  const cause = new PgError("28P01", "password authentication failed");
  server.opening = cause;
  const both = [begin(), begin(), begin()];
  await settle();
  for (const one of both) assert.equal(one.error, cause, "a PgError is passed as it is");
  assert.equal(server.attempts, 2);
  server.opening = new Error("connection refused");
  assert.equal((await checkout()).error, cause, "no attempt during the pause");
  assert.equal(server.attempts, 2);
  await clock.advance(151);
  (await checkout()).assertRefused("08001", /^could not connect .*: connection refused$/m);
  assert.equal(server.attempts, 3);
  assert.deepEqual([pool.stats.opening, pool.stats.openFailures], [0, 3]);
});

Deno.test("Pool heals by itself: the first checkout behind the pause tries again", async () => {
  const { pool, server, begin, checkout, clock } = world();
  server.opening = new Error("connection refused");
  await checkout();
  server.opening = "asked";
  await clock.advance(150);
  const all = [begin(), begin(), begin()];
  assert.equal(pool.stats.opening, 1, "one attempt is enough to know");
  server.accept();
  await settle();
  assert.deepEqual([pool.stats.opening, pool.stats.isFailing], [2, false]);
  server.accept();
  server.accept();
  await settle();
  assert(all.every((one) => one.lease !== null));
});

Deno.test("Pool: while members are in use, a failure to open one ends nobody's waiting", async () => {
  const { server, begin, checkout, clock } = world({ size: 2 });
  const taken = await checkout();
  server.opening = new Error("connection refused");
  const [first, second] = [begin(), begin()];
  await clock.advance(4_000);
  assert(first.isWaiting && second.isWaiting);
  assert(server.attempts > 4, "it is tried again behind each pause");
  taken.giveBack();
  await settle();
  assert(!first.isWaiting);
  await clock.advance(1_000);
  second.assertRefused("53300", /The last attempt to open one: could not connect .* refused/);
  server.members[0]!.die();
  await settle();
  (await checkout()).assertRefused("08001");
});

Deno.test("Pool: a connector that throws is a failure like any other", async () => {
  const { pool, server, checkout } = world();
  server.open = () => {
    throw new TypeError("planted");
  };
  (await checkout()).assertRefused("08001", /planted/);
  assert.equal(pool.stats.opening, 0);
});

Deno.test("Pool takes new options at once", async () => {
  const { pool, server, begin, checkout, idle, clock } = world({ size: 3 });
  await idle("a", "b", "c");
  const taken = [await checkout("a"), await checkout("b")];
  pool.options = { ...QUIET, size: 1 };
  assert.deepEqual([pool.stats.idle, pool.stats.active], [0, 2]);
  const waiting = begin();
  taken[0]!.giveBack();
  await settle();
  assert(waiting.isWaiting, "too many are in use still");
  taken[1]!.giveBack();
  await settle();
  assert.equal(waiting.taken.member, taken[1]!.taken.member);
  assert.deepEqual(pool.stats.closed, { surplus: 2 });
  const more = begin();
  pool.options = { ...QUIET, size: 2, idleTimeoutMs: 10 };
  await settle();
  more.giveBack();
  waiting.giveBack();
  await clock.advance(10);
  assert.equal(server.openMembers, 0);
});

Deno.test("Pool.close refuses who waits, and resolves behind the end of the last member", async () => {
  const { pool, server, begin, checkout, idle, clock } = world({ size: 3, idleTimeoutMs: 9_000 });
  await idle("a", "b");
  const taken = await checkout("a");
  server.opening = "asked";
  const [second, third, waiting] = [await checkout("b"), begin(), begin()];
  let isClosed = false;
  const closed = pool.close().then(() => isClosed = true);
  await settle();
  for (const one of [third, waiting, await checkout()]) one.assertRefused("57P01");
  assert(server.opens[0]!.signal.aborted);
  server.accept();
  taken.giveBack();
  await settle();
  assert(!isClosed);
  second.taken.discard("protocol");
  await closed;
  assert.equal(pool.close() instanceof Promise, true);
  assert.deepEqual([server.openMembers, clock.pending], [0, 0]);
  assert.deepEqual(pool.stats.closed, { shutdown: 2, protocol: 1 });
});

Deno.test("Pool.close of an empty pool, of a failing one, and of one that fails meanwhile", async () => {
  await world().pool.close();
  const failing = world();
  failing.server.opening = new Error("refused");
  await failing.checkout();
  await failing.pool.close();
  assert.equal(failing.clock.pending, 0);
  const opening = world();
  opening.server.opening = "asked";
  opening.begin();
  const closed = opening.pool.close();
  opening.server.opens[0]!.fail(new Error("aborted"));
  await closed;
  assert.deepEqual([opening.pool.stats.opening, opening.clock.pending], [0, 0]);
});
