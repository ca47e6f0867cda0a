// How numbers and times are written.

import assert from "node:assert/strict";
import { age, bytes, count, duration } from "../../../src/admin/dashboard/format.ts";

Deno.test("counts have one decimal below ten, and commas", () => {
  assert.deepEqual([0, 1.25, 12.7, 1234567].map(count), ["0", "1.3", "13", "1,234,567"]);
});

Deno.test("durations, sizes and ages have their unit", () => {
  assert.deepEqual([null, 0.12, 250, 2_500].map(duration), ["–", "0.1 ms", "250 ms", "2.5 s"]);
  assert.deepEqual([12, 1_500, 2e9].map(bytes), ["12 B", "1.5 kB", "2 GB"]);
  const now = new Date(1e12);
  const ago = (seconds: number) => age(new Date(now.getTime() - seconds * 1_000), now);
  assert.deepEqual([-5, 59, 61, 7_300, 200_000].map(ago), ["0 s", "59 s", "1 min", "2 h", "2 d"]);
});
