// `deno task soak`: many clients of several tenants on very few backends, each of which checks
// every byte that it is sent. Stops at the first that is foreign or shifted.

import { parseArgs } from "node:util";
import { breakAndRun, MUTANTS } from "../support/soak_mutants.ts";
import { runSoak } from "../support/soak_run.ts";
import { Bench } from "../support/wire_bench.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
    tenants: { type: "string", default: "6" },
    clients: { type: "string", default: "3" },
    backends: { type: "string", default: "2" },
    break: { type: "string" },
  },
});
const options = {
  seconds: Number(values.seconds),
  seed: Number(values.seed),
  tenants: Number(values.tenants),
  clients: Number(values.clients),
  backends: Number(values.backends),
};

console.log(`isolation soak: ${JSON.stringify(options)}`);
if (values.break !== undefined) {
  const mutant = MUTANTS.find(({ name }) => name === values.break);
  if (mutant === undefined) {
    console.error(`--break takes one of: ${MUTANTS.map(({ name }) => name).join(", ")}`);
    Deno.exit(2);
  }
  const { code, output } = await breakAndRun(mutant, options);
  console.log(output);
  console.log(code === 0 ? "NOT CAUGHT" : "caught");
  Deno.exit(code === 0 ? 1 : 0);
}
const bench = await Bench.start();
try {
  console.log(await runSoak(bench, options));
} catch (error) {
  console.error(error instanceof Error ? `${error.name}: ${error.message}` : error);
  Deno.exitCode = 1;
} finally {
  await bench.stop();
}
