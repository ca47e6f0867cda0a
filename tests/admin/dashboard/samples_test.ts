// Samples: rates are of the time that has passed, and what is kept has an end.

import assert from "node:assert/strict";
import {
  LINES_MAX,
  quantileMs,
  Samples,
  SAMPLES_MAX,
} from "../../../src/admin/dashboard/samples.ts";
import { NO_TRAFFIC } from "../../../src/meters.ts";
import { tenantView } from "../../support/fake_control.ts";
import { movingControl } from "../../support/moving_control.ts";

function world() {
  const control = movingControl();
  const clock = { now: 0 };
  return { control, clock, samples: new Samples(control, () => clock.now) };
}

Deno.test("rates are per second of the time that has passed", () => {
  const { control, clock, samples } = world();
  samples.take();
  control.shown.traffic = { ...NO_TRAFFIC, transactions: 10, queries: 30 };
  control.meters.ownErrors.add("28", 5);
  clock.now = 2_000;
  samples.take();
  const { transactions, queries, errors, connections } = samples.history.at(-1)!;
  assert.deepEqual([transactions, queries, errors, connections], [5, 15, 2.5, 3]);
});

Deno.test("times are those since the sample before, and none when there were no queries", () => {
  const { control, clock, samples } = world();
  control.meters.query.observeMs(50_000);
  samples.take();
  assert.equal(samples.history[0]!.p99Ms, null, "what was before is not of now");
  for (let index = 0; index < 100; index++) control.meters.query.observeMs(2);
  clock.now = 1_000;
  samples.take();
  const { medianMs, p99Ms } = samples.history[1]!;
  assert(medianMs! > 1 && medianMs! < p99Ms! && p99Ms! <= 2.5, `${medianMs} ${p99Ms}`);
  clock.now = 2_000;
  samples.take();
  assert.equal(samples.history[2]!.medianMs, null);
});

Deno.test("a tenant's line is its queries per second; a counter that begins again is no negative", () => {
  const { control, clock, samples } = world();
  const see = (queries: number) => {
    control.shown.tenants = [tenantView("acme", { queries })];
    samples.take();
    clock.now += 1_000;
  };
  for (const queries of [5, 8, 8, 2, 4]) see(queries);
  assert.deepEqual(samples.lineOf("acme"), [3, 0, 0, 2]);
  assert.deepEqual(samples.lineOf("nobody"), []);
});

Deno.test("history and lines have an end", () => {
  const { control, clock, samples } = world();
  for (let round = 0; round < SAMPLES_MAX + 5; round++) {
    control.shown.tenants = Array.from(
      { length: LINES_MAX + 5 },
      (_, index) => tenantView(`t${index}`, { queries: round }),
    );
    samples.take();
    clock.now += 1_000;
  }
  assert.equal(samples.history.length, SAMPLES_MAX);
  assert.equal(samples.lineOf("t0").length, SAMPLES_MAX);
  assert.deepEqual(samples.lineOf(`t${LINES_MAX + 1}`), []);
  control.shown.tenants = [];
  samples.take();
  assert.deepEqual(samples.lineOf("t0"), [], "who has gone is forgotten");
});

Deno.test("a quantile lies within its bucket; beyond the last bound it is that bound", () => {
  const bounds = [0.001, 0.01];
  assert.equal(quantileMs(bounds, [0, 0, 0], 0.5), null);
  assert.equal(quantileMs(bounds, [10, 0, 0], 0.5), 0.5);
  assert.equal(Math.round(quantileMs(bounds, [0, 10, 0], 1)!), 10);
  assert.equal(quantileMs(bounds, [1, 0, 99], 0.99), 10);
});
