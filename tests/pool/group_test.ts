// Group: places are divided by the order of arrival, and nothing is promised twice.

import { strict as assert } from "node:assert";
import {
  Alone,
  Group,
  type GroupedPool,
  YIELD_AFTER_MS,
  YIELD_PAUSE_MS,
} from "../../src/pool/group.ts";

/** A pool that takes as many places as it wants. */
class Wanting implements GroupedPool {
  isUnused = false;
  wanted: number[] = [];
  idleSince: number | null = null;
  taken = 0;
  evicted = 0;

  constructor(readonly name: string, readonly group: Group) {}

  get wanting(): { ticket: number; since: number } | null {
    const ticket = this.wanted[0];
    return ticket === undefined ? null : { ticket, since: ticket };
  }

  want(): void {
    this.wanted.push(this.group.nextTicket());
    this.advance();
  }

  advance(): void {
    while (this.wanted.length > 0 && this.group.take(this, true)) {
      this.wanted.shift();
      this.taken++;
    }
  }

  evict(): void {
    this.idleSince = null;
    this.evicted++;
    this.free();
  }

  free(): void {
    this.taken--;
    this.group.freed(this);
  }
}

function world(maxTotal: number) {
  const pools = new Map<string, GroupedPool>();
  const group = new Group(pools, maxTotal);
  const [a, b, c] = ["a", "b", "c"].map((name) => {
    const pool = new Wanting(name, group);
    pools.set(name, pool);
    return pool;
  }) as [Wanting, Wanting, Wanting];
  return { pools, group, a, b, c };
}

Deno.test("Group gives a free place to the oldest waiter, not to who frees it", () => {
  const { group, a, b, c } = world(2);
  for (const pool of [a, a, c, b, a]) pool.want();
  assert.deepEqual([a.taken, b.taken, c.taken], [2, 0, 0]);
  a.free();
  assert.deepEqual([a.taken, b.taken, c.taken], [1, 0, 1]);
  c.free();
  assert.deepEqual([a.taken, b.taken, c.taken], [1, 1, 0]);
  b.free();
  assert.deepEqual([a.taken, group.total], [2, 2]);
});

Deno.test("Group forgets a starved pool that wants nothing any more", () => {
  const { group, a, b, c } = world(1);
  for (const pool of [a, b, c]) pool.want();
  b.wanted = [];
  a.free();
  assert.deepEqual([b.taken, c.taken, group.total], [0, 1, 1]);
});

Deno.test("Group evicts for the urgent only, the longest idle first, never the asker's", () => {
  const { group, a, b, c } = world(3);
  for (const pool of [a, b, c]) pool.want();
  [a.idleSince, b.idleSince, c.idleSince] = [1, 3, 2];
  assert.equal(group.take(a, false), false);
  a.want();
  assert.deepEqual([a.evicted, b.evicted, c.evicted], [0, 0, 1]);
  assert.deepEqual([a.taken, c.taken, group.total], [2, 0, 3]);
  b.idleSince = null;
  a.want();
  assert.equal(a.taken, 2);
  b.idleSince = 4;
  group.idled();
  assert.deepEqual([a.taken, b.evicted, group.total], [3, 1, 3]);
});

Deno.test("Group has a pool yield to who has waited for too long, now and then", () => {
  const { group, a, b, c } = world(2);
  for (const pool of [a, a, a, c, b]) pool.want(); // those that wait, wait since 2, 3 and 4
  assert.equal(group.mustYield(a, 3 + YIELD_AFTER_MS - 1), false, "its own do not count");
  assert.equal(group.mustYield(a, 3 + YIELD_AFTER_MS), true);
  a.free();
  assert.deepEqual([a.taken, b.taken, c.taken], [1, 0, 1]);
  const next = 3 + YIELD_AFTER_MS + YIELD_PAUSE_MS;
  assert.equal(group.mustYield(a, next - 1), false);
  b.wanted = [];
  assert.equal(group.mustYield(a, next), false, "it wants nothing any more");
  b.want();
  c.free();
  assert.deepEqual([a.taken, b.taken, c.taken], [2, 0, 0], "otherwise the oldest comes first");
});

Deno.test("Group's ceiling can be moved", () => {
  const { group, a, b } = world(2);
  for (const pool of [a, b, a]) pool.want();
  b.idleSince = null;
  group.maxTotal = 3;
  assert.equal(a.taken, 2);
  b.idleSince = 1;
  group.maxTotal = 1;
  assert.deepEqual([b.evicted, group.total, group.isOverfull], [1, 2, true]);
});

Deno.test("Group removes a pool that is unused, and only that one", () => {
  const { pools, group, a, b } = world(1);
  a.isUnused = true;
  group.settled(a);
  group.settled(b);
  const successor = new Wanting("a", group);
  pools.set("a", successor);
  group.settled(a);
  assert.deepEqual([...pools.keys()], ["b", "c", "a"]);
});

Deno.test("Alone gives whatever is asked for", () => {
  const alone = new Alone();
  assert.deepEqual([alone.nextTicket(), alone.nextTicket(), alone.take(), alone.mustYield()], [
    0,
    1,
    true,
    false,
  ]);
});
