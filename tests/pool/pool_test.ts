// Pool: who is lent which member, who waits, who is refused, and that no place is ever lost.

import { strict as assert } from "node:assert";
import { poolWorld as world, settle } from "../support/pool_world.ts";

Deno.test("Pool opens a member for who asks, and lends it again", async () => {
  const { pool, server, checkout } = world();
  const first = await checkout();
  assert.equal(pool.stats.active, 1);
  first.giveBack();
  assert.deepEqual([pool.stats.active, pool.stats.idle], [0, 1]);
  const second = await checkout();
  assert.equal(second.taken.member, first.taken.member);
  assert.equal(server.attempts, 1);
  const { opened, checkouts, reuses } = pool.stats;
  assert.deepEqual({ opened, checkouts, reuses }, { opened: 1, checkouts: 2, reuses: 1 });
});

Deno.test("Pool lends the member that served the context last, else the one used last", async () => {
  const { pool, checkout, idle } = world();
  await idle("a", "b", "c");
  const [b, c, a] = [await checkout("b"), await checkout("x"), await checkout("a")];
  assert.equal(b.taken.member.contextKey, "b");
  assert.equal(c.taken.member.contextKey, "c");
  assert.equal(a.taken.member.contextKey, "a");
  assert.equal(pool.stats.sameContext, 2);
});

Deno.test("Pool opens no more than its size; who waits is served in the order of arrival", async () => {
  const { pool, server, begin, checkout, clock } = world({ size: 2 });
  const taken = [await checkout(), await checkout()];
  const waiting = [begin("x"), begin("y"), begin("z")];
  await clock.advance(40);
  assert.deepEqual([server.attempts, pool.stats.waiting], [2, 3]);
  taken[1]!.giveBack();
  assert.equal(pool.stats.idle, 0, "it is handed over, without becoming idle");
  await settle();
  assert.deepEqual(waiting.map((one) => one.isWaiting), [false, true, true]);
  taken[0]!.taken.discard("protocol");
  await settle();
  assert.deepEqual(waiting.map((one) => one.isWaiting), [false, false, true]);
  assert.equal(server.attempts, 3, "in the place of the one that was discarded");
  waiting[0]!.giveBack();
  await settle();
  assert(!waiting[2]!.isWaiting);
  assert.deepEqual(pool.stats.closed, { protocol: 1 });
  assert.equal(pool.stats.waitMs, 120);
});

Deno.test("Pool refuses who has waited for too long, and says what to do", async () => {
  const { pool, begin, checkout, clock } = world({ size: 1 });
  const taken = await checkout();
  const waiting = begin();
  await clock.advance(4_999);
  assert(waiting.isWaiting);
  await clock.advance(1);
  waiting.assertRefused(
    "53300",
    /^no server connection became free within 5 s$/m,
    /Pool "shop\/app" has 1 of 1 server connections, 1 in use/,
    /raise pool_size or pool_checkout_timeout/,
  );
  assert.equal(pool.stats.timeouts, 1);
  assert.equal(clock.pending, 0);
  taken.giveBack();
  assert.equal(pool.stats.idle, 1);
});

Deno.test("Pool refuses at once when too many wait, and admits again behind a departure", async () => {
  const { pool, begin, checkout } = world({ size: 1, maxWaiting: 2 });
  await checkout();
  const [first] = [begin(), begin()];
  const refused = await checkout();
  refused.assertRefused("53300", /too many clients wait/, /pool_max_waiting is 2/);
  first!.abort();
  const admitted = await checkout();
  assert(admitted.isWaiting);
  assert.deepEqual([pool.stats.waiting, pool.stats.refusals], [2, 1]);
});

Deno.test("Pool counts as waiting only those for whom no member is being made ready", async () => {
  const { server, begin } = world({ size: 3, maxWaiting: 1 });
  server.opening = "asked";
  const all = [begin(), begin(), begin(), begin(), begin()];
  await settle();
  assert.deepEqual(all.map((one) => one.isWaiting), [true, true, true, true, false]);
});

Deno.test("Pool: who aborts leaves the queue; an aborted signal takes nothing", async () => {
  const { pool, begin, checkout, clock } = world({ size: 1 });
  const taken = await checkout();
  const [gone, next] = [begin(), begin()];
  gone.abort();
  await settle();
  assert.match(String(gone.error), /the client went away/);
  taken.giveBack();
  await settle();
  assert(!next.isWaiting);
  next.giveBack();
  await assert.rejects(pool.checkout(null, AbortSignal.abort(new Error("too late"))), /too late/);
  assert.deepEqual([pool.stats.idle, pool.stats.waiting, clock.pending], [1, 0, 0]);
});

Deno.test("Pool: a member whose asker has gone is for the next, or idle", async () => {
  const { pool, server, begin, clock } = world({ size: 1, checkoutTimeoutMs: 50 });
  server.opening = "asked";
  const [gone, late] = [begin(), begin()];
  gone.abort();
  server.accept();
  await settle();
  assert.equal(late.taken.member.id, 0);
  late.taken.discard("protocol");
  const slow = begin();
  await clock.advance(50);
  slow.assertRefused("53300");
  assert.equal(pool.stats.opening, 1, "its place is not given away before it is settled");
  server.accept();
  await settle();
  assert.deepEqual([pool.stats.opening, pool.stats.idle], [0, 1]);
});

Deno.test("Pool: a lease ends once, and by itself as abandoned", async () => {
  const { pool, server, checkout } = world();
  {
    using _lease = (await checkout()).taken;
  }
  assert.deepEqual(pool.stats.closed, { abandoned: 1 });
  const first = (await checkout()).taken;
  {
    using lease = first;
    lease.giveBack();
  }
  const second = (await checkout()).taken;
  assert.equal(second.member, first.member);
  first.giveBack();
  first.discard("protocol");
  first[Symbol.dispose]();
  assert.deepEqual([pool.stats.active, pool.stats.idle], [1, 0]);
  assert.equal(server.openMembers, 1);
});

Deno.test("Pool: a member that dies idle is not lent; its place is free", async () => {
  const { pool, server, checkout, idle } = world({ size: 1 });
  await idle("a");
  server.members[0]!.die();
  await settle();
  assert.deepEqual([pool.stats.idle, pool.stats.closed], [0, { ended: 1 }]);
  assert.equal((await checkout("a")).taken.member.id, 1);
});

Deno.test("Pool: a member that dies while it is lent makes room for who waits", async () => {
  const { pool, server, begin, checkout } = world({ size: 1 });
  const taken = await checkout();
  const next = begin();
  server.members[0]!.die();
  await settle();
  assert.equal(next.taken.member.id, 1);
  taken.giveBack();
  taken.taken.discard("protocol");
  assert.deepEqual([pool.stats.active, pool.stats.closed], [1, { ended: 1 }]);
});

Deno.test("Pool checks a member that was idle for long; the waiter notices no dead one", async () => {
  const { pool, server, checkout, idle, clock } = world({ checkAfterIdleMs: 1_000 });
  await idle("a", "b");
  await clock.advance(1_000);
  server.checking = false;
  const fresh = await checkout("a");
  assert.equal(fresh.taken.member.id, 0, "not idle for longer yet");
  await clock.advance(1);
  fresh.giveBack();
  await clock.advance(1_001);
  const opened = await checkout("a");
  assert.equal(opened.taken.member.id, 2);
  assert.deepEqual([pool.stats.closed, server.openMembers], [{ dead: 2 }, 1]);
  opened.giveBack();
  await clock.advance(2_000);
  server.checking = true;
  assert.equal((await checkout("x")).taken.member.id, 2);
});

Deno.test("Pool prefers a member that needs no check to the one of the same context", async () => {
  const { server, begin, checkout, idle, clock } = world({ checkAfterIdleMs: 1_000 });
  server.checking = "asked";
  await idle("a");
  const other = begin("a");
  await settle();
  const used = await checkout("b");
  other.giveBack();
  await clock.advance(1_001);
  used.giveBack("b");
  assert.equal((await checkout("a")).taken.member.contextKey, "b");
  assert.equal(server.checks.length, 0);
});

Deno.test("Pool lets nobody overtake who waits for a check", async () => {
  const { pool, server, begin, checkout, idle, clock } = world({ checkAfterIdleMs: 0 });
  server.checking = "asked";
  await idle("a", "b");
  await clock.advance(1);
  const first = begin("a");
  pool.options = { ...pool.options, checkAfterIdleMs: Infinity };
  const second = await checkout("b");
  assert(first.isWaiting && second.isWaiting);
  for (const check of server.checks) check.answer(true);
  await settle();
  assert(first.lease !== null && second.lease !== null);
});

Deno.test("Pool: a check that gets no answer ends early enough for another member", async () => {
  const options = { size: 1, checkAfterIdleMs: 0, checkoutTimeoutMs: 600 };
  const { pool, server, begin, idle, clock } = world(options);
  server.checking = "asked";
  await idle(null);
  await clock.advance(1);
  const waiting = begin();
  await clock.advance(299);
  assert(waiting.isWaiting && !server.checks[0]!.signal.aborted);
  await clock.advance(1);
  assert(server.checks[0]!.signal.aborted);
  assert.equal(waiting.taken.member.id, 1);
  server.checks[0]!.answer(true);
  await settle();
  assert.deepEqual([pool.stats.active, pool.stats.idle], [1, 0]);
});

Deno.test("Pool: a checked member whose asker has gone is idle again", async () => {
  const { pool, server, begin, idle, clock } = world({ checkAfterIdleMs: 0 });
  server.checking = "asked";
  await idle(null);
  await clock.advance(1);
  begin().abort();
  await settle();
  assert.equal(pool.stats.checking, 1);
  server.checks[0]!.answer(true);
  await settle();
  assert.deepEqual([pool.stats.checking, pool.stats.idle], [0, 1]);
});
