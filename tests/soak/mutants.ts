// `deno task mutants`: the isolation soak finds every broken build. Not part of `deno task test`: a
// process and a PostgreSQL for each takes minutes.

import { strict as assert } from "node:assert";
import { breakAndRun, MUTANTS } from "../support/soak_mutants.ts";

const OPTIONS = { seconds: 30, seed: 3, tenants: 6, clients: 3, backends: 2 };

for (const mutant of MUTANTS) {
  Deno.test(`the soak finds it: ${mutant.name}`, async () => {
    const { code, output } = await breakAndRun(mutant, OPTIONS);
    assert.notEqual(code, 0, "nothing was found");
    assert.match(output, /SoakFailure: seed 3, /);
    console.log(output.split("\n").find((line) => line.startsWith("SoakFailure")));
  });
}
