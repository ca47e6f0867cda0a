// systemClock: it goes forward, and its timers end as they should.

import { strict as assert } from "node:assert";
import { systemClock } from "../../src/pool/clock.ts";

Deno.test("systemClock goes forward, calls back, and can be cancelled", async () => {
  const begun = systemClock.now();
  const called: string[] = [];
  const cancel = systemClock.after(1, () => called.push("cancelled"));
  cancel();
  cancel();
  const alive = setInterval(() => {}, 1_000); // its own timers do not keep the process alive
  await new Promise<void>((resolve) => systemClock.after(2, resolve));
  clearInterval(alive);
  assert.deepEqual(called, []);
  assert(systemClock.now() > begun);
});

Deno.test("systemClock's longest timers do not go off at once", () => {
  const cancel = systemClock.after(2 ** 40, () => assert.fail("it went off"));
  cancel();
});
