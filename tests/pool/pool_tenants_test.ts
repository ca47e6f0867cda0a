// Pool and tenants: what is one tenant's alone when it is full, and what new shares change at once.

import { strict as assert } from "node:assert";
import { EVERYBODY, type TenantShare } from "../../src/pool/fairness.ts";
import { Checkout, poolWorld, settle } from "../support/pool_world.ts";

const share = (tenant: string, more: Partial<TenantShare> = {}) => ({
  ...EVERYBODY,
  tenant,
  ...more,
});

function world(options: Parameters<typeof poolWorld>[0]) {
  const { pool, ...rest } = poolWorld(options);
  const begin = (whose: TenantShare) =>
    new Checkout((signal) => pool.checkout(whose.tenant, signal, whose));
  return { ...rest, pool, begin };
}

const states = (all: readonly Checkout[]) =>
  all.map((one) => one.isWaiting ? "waits" : one.lease === null ? "refused" : "served").join(" ");

Deno.test("Pool: who has filled the queue gives way to those who have not", async () => {
  const { pool, begin } = world({ size: 1, maxWaiting: 4 });
  const [noisy, b, c] = [share("noisy"), share("b"), share("c")];
  const storm = [1, 2, 3, 4, 5, 6].map(() => begin(noisy));
  await settle();
  assert.equal(states(storm), "served waits waits waits waits refused");
  const others = [begin(b), begin(b)];
  await settle();
  assert.equal(states(others), "waits waits");
  assert.equal(states(storm), "served waits waits refused refused refused");
  storm[4]!.assertRefused("53300", /too many clients wait/, /pool_max_waiting is 4/);
  const more = [begin(b), begin(noisy), begin(c), begin(c)];
  await settle();
  assert.equal(states(more), "refused refused waits refused");
  assert.deepEqual([pool.stats.waiting, pool.stats.refusals], [4, 7]);
});

Deno.test("Pool: without fair shares the last one is refused, whoever it is", async () => {
  const { begin } = world({ size: 1, maxWaiting: 1 });
  const all = [begin(EVERYBODY), begin(EVERYBODY), begin(EVERYBODY)];
  await settle();
  assert.equal(states(all), "served waits refused");
});

Deno.test("Pool: a wider maximum is for those who wait already, and at once", async () => {
  const { pool, begin } = world({ size: 3 });
  const narrow = share("a", { poolMax: 1 });
  const all = [begin(narrow), begin(narrow), begin(narrow), begin(narrow)];
  await settle();
  assert.equal(states(all), "served waits waits waits");
  pool.reshare(({ tenant }) => share(tenant, { poolMax: 3 }));
  await settle();
  assert.equal(states(all), "served served served waits");
});

Deno.test("Pool: who comes with a wider maximum does not pass its own tenant's queue", async () => {
  const { pool, begin } = world({ size: 2 });
  const [narrow, wide] = [share("a", { poolMax: 1 }), share("a", { poolMax: 2 })];
  const before = [begin(share("b")), begin(share("b"))];
  await settle();
  for (const one of before) one.giveBack("b");
  const all = [begin(narrow), begin(narrow)];
  await settle();
  assert.equal(states(all), "served waits");
  const late = begin(wide);
  await settle();
  assert.equal(states([...all, late]), "served served waits");
  assert.equal(pool.stats.idle, 0);
});
