// Promise: whatever clients of different tenants do on the backends they share, no byte of one is
// ever seen by another, and every reply comes to who has asked.

import { runSoak } from "../support/soak_run.ts";
import { Bench } from "../support/wire_bench.ts";

Deno.test("20 seconds of everything at once: no byte is foreign or shifted", async () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  console.log(`again with: deno task soak --seed ${seed} --seconds 20`);
  const bench = await Bench.start();
  try {
    await runSoak(bench, { seconds: 20, seed, tenants: 6, clients: 3, backends: 2 });
  } finally {
    await bench.stop();
  }
});
