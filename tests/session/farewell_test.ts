// Letting a client go: what it is told, and that nobody waits for it longer than is decent.

import assert from "node:assert/strict";
import { elapsed, lingering, STILL_RUNNING, UPSTREAM_LOST } from "../../src/session/farewell.ts";
import { errorFields } from "../support/messages.ts";

Deno.test("the loss of the server is a FATAL with a hint; the notice ends nothing", () => {
  const lost = errorFields(UPSTREAM_LOST);
  assert.deepEqual([lost["S"], lost["C"]], ["FATAL", "08006"]);
  assert.match(lost["H"]!, /Reconnect/);
  assert.equal(STILL_RUNNING[0], "N".charCodeAt(0));
});

Deno.test("whoever is sooner is not waited for longer", async () => {
  const begun = performance.now();
  await elapsed(60_000, Promise.resolve());
  await lingering(Promise.resolve());
  assert(performance.now() - begun < 30_000);
});

Deno.test("whoever is not is waited for as long as was said", async () => {
  const begun = performance.now();
  await elapsed(30, new Promise(() => {}));
  assert(performance.now() - begun >= 29);
});
