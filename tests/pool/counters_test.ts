// What pools have done is added up, and nothing of it is lost when a pool goes.

import { strict as assert } from "node:assert";
import { addCounters, countersOf, NOTHING_DONE } from "../../src/pool/counters.ts";
import { Pools } from "../../src/pool/pools.ts";

const STATS = {
  ...{ idle: 1, checking: 0, active: 2, opening: 0, waiting: 3, isFailing: false },
  ...{ opened: 4, openFailures: 1, checkouts: 9, reuses: 5, sameContext: 2 },
  ...{ timeouts: 1, refusals: 2, waitMs: 7, closed: { idle: 1, dead: 2 } },
};

Deno.test("counters are added one by one, and reasons by their names", () => {
  const one = countersOf(STATS);
  const two = addCounters(one, { ...one, closed: { dead: 1, lifetime: 4 } });
  assert.equal(two.checkouts, 18);
  assert.deepEqual(two.closed, { idle: 1, dead: 3, lifetime: 4 });
  assert.deepEqual(addCounters(NOTHING_DONE, one), one);
});

Deno.test("a pool that goes leaves its counters behind", async () => {
  const options = {
    ...{ size: 1, minIdle: 0, maxWaiting: 1, checkoutTimeoutMs: 1_000, idleTimeoutMs: Infinity },
    ...{ maxLifetimeMs: Infinity, checkAfterIdleMs: Infinity, retryMsMin: 1, retryMsMax: 1 },
    ...{ poolsMax: 10, maxTotal: 10 },
  };
  const pools = new Pools(options, () => ({
    open: () => {
      const { promise: ended, resolve: close } = Promise.withResolvers<void>();
      return Promise.resolve({ contextKey: null, ended, close });
    },
    isAlive: () => Promise.resolve(true),
  }));
  const lease = await pools.checkout("a", null, new AbortController().signal);
  assert.equal(pools.totals.active, 1);
  lease.discard("done");
  while (pools.stats.size > 0) await Promise.resolve();
  const { opened, checkouts, closed, active } = pools.totals;
  assert.deepEqual([opened, checkouts, closed, active], [1, 1, { done: 1 }, 0]);
  await pools.close();
});
