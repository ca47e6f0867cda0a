// What is measured, and that nothing of it grows without bound.

import { strict as assert } from "node:assert";
import { Histogram, Meters, PastTraffic, Tally } from "../src/meters.ts";

Deno.test("a histogram counts a value in the first bucket that it fits into", () => {
  const histogram = new Histogram([0.001, 0.01]);
  for (const ms of [0, 1, 1.001, 10, 10.5, 99_999]) histogram.observeMs(ms);
  assert.deepEqual([...histogram.counts], [2, 2, 2]);
  assert.equal(histogram.count, 6);
  assert(Math.abs(histogram.sum - 100.021_501) < 1e-9);
});

Deno.test("a quantile is a bound, Infinity beyond the last, and zero when there is nothing", () => {
  const histogram = new Histogram([0.001, 0.01]);
  assert.equal(histogram.quantile(0.5), 0);
  for (const ms of [0.5, 5, 5]) histogram.observeMs(ms);
  assert.equal(histogram.quantile(0), 0.001);
  assert.equal(histogram.quantile(0.5), 0.01);
  histogram.observeMs(500);
  assert.equal(histogram.quantile(1), Infinity);
});

Deno.test("a tally has a bound, and loses nothing beyond it", () => {
  const tally = new Tally(2);
  for (const name of ["a", "b", "c", "d", "a"]) tally.add(name);
  assert.deepEqual([...tally], [["a", 2], ["b", 1], ["other", 2]]);
  assert.equal(tally.total, 5);
  assert.equal(tally.get("c"), 0);
});

Deno.test("past traffic forgets the tenant that was away for longest, and no byte of the total", () => {
  const past = new PastTraffic(2);
  const one = { bytesIn: 1, bytesOut: 2, transactions: 3, queries: 4 };
  past.add("a", one);
  past.add("b", one);
  past.add("a", one);
  past.add("c", one);
  past.add(null, one);
  assert.deepEqual([...past].map(([tenant]) => tenant), ["a", "c"]);
  assert.equal(past.of("a")!.transactions, 6);
  assert.equal(past.of("b"), null);
  assert.equal(past.ofTenants.queries, 16);
  assert.equal(past.total.bytesOut, 10);
});

Deno.test("a resolver is measured under its name, up to a bound", () => {
  const meters = new Meters();
  for (let index = 0; index < 1_100; index++) meters.resolverRan(`r${index}`, 1);
  meters.resolverRan("r0", 2);
  assert.equal(meters.resolvers.size, 1_000);
  assert.equal(meters.resolvers.get("r0")!.count, 2);
});
