// Backoff: longer pauses, within their bounds, and a failure that is forgotten.

import { strict as assert } from "node:assert";
import { PgError } from "../../src/codec/error.ts";
import { Backoff } from "../../src/pool/backoff.ts";
import { FakeClock } from "../support/pool_world.ts";

const RANGE = { retryMsMin: 100, retryMsMax: 1_000 };
const CAUSE = new PgError("08001", "planted");

/** How long the pause is behind each of `count` failures. */
async function pauses(fraction: number, count: number, range = RANGE): Promise<number[]> {
  const clock = new FakeClock();
  const backoff = new Backoff(clock, () => fraction, () => {});
  const found: number[] = [];
  for (let failure = 0; failure < count; failure++) {
    const begun = clock.now();
    backoff.failed(CAUSE, range);
    while (backoff.isPaused) await clock.advance(1);
    found.push(clock.now() - begun);
  }
  return found;
}

Deno.test("Backoff makes ever longer pauses between its bounds, with jitter", async () => {
  assert.deepEqual(await pauses(0, 6), [100, 200, 400, 500, 500, 500]);
  assert.deepEqual(await pauses(0.998, 6), [200, 400, 800, 999, 999, 999]);
  assert.deepEqual(await pauses(0, 2, { retryMsMin: 100, retryMsMax: 100 }), [100, 100]);
});

Deno.test("Backoff: what fails during a pause does not make it longer", async () => {
  const clock = new FakeClock();
  const backoff = new Backoff(clock, () => 0, () => {});
  backoff.failed(CAUSE, RANGE);
  const later = new PgError("57P03", "the database system is starting up");
  backoff.failed(later, RANGE);
  assert.equal(backoff.cause, later);
  await clock.advance(100);
  assert(!backoff.isPaused);
  backoff.failed(CAUSE, RANGE);
  await clock.advance(199);
  assert(backoff.isPaused);
});

Deno.test("Backoff forgets a failure when nobody tries again, or when it succeeds", async () => {
  const clock = new FakeClock();
  let changes = 0;
  const backoff = new Backoff(clock, () => 0, () => changes++);
  backoff.failed(CAUSE, RANGE);
  await clock.advance(1_099);
  assert.deepEqual([backoff.cause, changes], [CAUSE, 1]);
  await clock.advance(1);
  assert.deepEqual([backoff.cause, changes, clock.pending], [null, 2, 0]);
  backoff.failed(CAUSE, RANGE);
  backoff.reset();
  assert.deepEqual([backoff.cause, backoff.isPaused, clock.pending], [null, false, 0]);
});
