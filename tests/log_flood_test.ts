// The flood gate: the first records of a message pass, the rest is counted and told once.

import { strict as assert } from "node:assert";
import { FloodGate, RECORDS_PER_WINDOW_MAX } from "../src/log_flood.ts";

function flood(windowMs?: number) {
  const summaries: [message: string, leftOut: number][] = [];
  const gate = new FloodGate((...summary) => void summaries.push(summary), windowMs);
  const admitted = (message: string, count: number) =>
    Array.from({ length: count }, () => gate.admit(message)).filter(Boolean).length;
  return { gate, summaries, admitted };
}

Deno.test("FloodGate lets the first records of each message through and counts the others", () => {
  const { gate, summaries, admitted } = flood();
  assert.equal(admitted("refused", RECORDS_PER_WINDOW_MAX + 7), RECORDS_PER_WINDOW_MAX);
  assert.equal(admitted("lost", 3), 3, "another message has a window of its own");
  gate.flush();
  assert.deepEqual(summaries, [["refused", 7]], "only what was left out is told");
  assert.equal(admitted("refused", 1), 1, "a new window is open");
  gate.flush();
  assert.equal(summaries.length, 1);
});

Deno.test("FloodGate ends a window by itself", async () => {
  const told = Promise.withResolvers<number>();
  const gate = new FloodGate((_, leftOut) => told.resolve(leftOut), 10);
  for (let count = 0; count < RECORDS_PER_WINDOW_MAX + 2; count++) gate.admit("again");
  const alive = setTimeout(() => {}, 60_000); // the gate's own timer keeps no process alive
  assert.equal(await told.promise, 2);
  clearTimeout(alive);
});

Deno.test("FloodGate stops telling messages apart when there are too many", () => {
  const { gate, admitted } = flood();
  for (let index = 0; index < 1_000; index++) gate.admit(`message ${index}`);
  assert.equal(admitted("one more", 100), 100, "it is written, not held");
  gate.flush();
});
