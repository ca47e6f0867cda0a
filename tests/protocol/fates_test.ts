// ReplyFates: which replies are withheld, and what is undone when they do not come.

import assert from "node:assert/strict";
import { FORWARDED, ReplyFates, WITHHELD } from "../../src/protocol/fates.ts";

/** A reply that writes down what becomes of it. */
function noted(log: string[], name: string, withheld = false) {
  return {
    withheld,
    replied: (batch: number) => void log.push(`${name} replied ${batch}`),
    failed: (batch: number) => void log.push(`${name} failed ${batch}`),
  };
}

Deno.test("replies are withheld in the order in which they were asked for", () => {
  const fates = new ReplyFates();
  for (const reply of [FORWARDED, WITHHELD, WITHHELD, FORWARDED]) fates.push(reply);
  fates.unitSent();
  assert.equal(fates.anyWithheld, true);
  assert.deepEqual(Array.from({ length: 4 }, () => fates.replied()), [false, true, true, false]);
  assert.equal(fates.anyWithheld, false);
  assert.equal(fates.replied(), false, "one that nobody has asked for is the client's");
  fates.ready();
  assert.equal(fates.settled, true);
});

Deno.test("what is left of a unit fails backwards, and what is behind it stays", () => {
  const log: string[] = [];
  const fates = new ReplyFates();
  for (const name of ["a", "b", "c"]) fates.push(noted(log, name, name === "c"));
  fates.unitSent();
  fates.push(noted(log, "d", true));
  fates.unitSent();
  fates.replied();
  fates.ready();
  assert.deepEqual(log, ["a replied 0", "c failed 0", "b failed 0"]);
  assert.equal(fates.anyWithheld, true);
  assert.equal(fates.replied(), true);
  fates.ready();
  assert.equal(log.at(-1), "d replied 1");
});

Deno.test("Syncs that a COPY has swallowed make one unit of several", () => {
  const log: string[] = [];
  const fates = new ReplyFates();
  fates.push(noted(log, "copy"));
  fates.unitSent(); // dropped: the server reads the data of the COPY
  fates.unitSent(); // dropped
  fates.replied();
  fates.unitsDropped(2);
  fates.push(noted(log, "behind"));
  fates.unitSent();
  fates.ready();
  assert.deepEqual(log, ["copy replied 0", "behind failed 2"]);
  assert.equal(fates.settled, true);
});

Deno.test("a DEALLOCATE is undone unless its tag comes; one that nobody saw coming is told", () => {
  const log: string[] = [];
  const fates = new ReplyFates();
  fates.onStatementsLost = () => log.push("lost");
  const deallocation = (all: boolean, name: string) => ({
    all,
    confirmed: () => void log.push(`${name} confirmed`),
    undo: () => void log.push(`${name} undone`),
  });
  fates.deallocates(deallocation(false, "one"));
  fates.deallocates(deallocation(true, "all"));
  fates.unitSent();
  fates.deallocates(deallocation(true, "later"));
  fates.unitSent();
  assert.equal(fates.deallocating, true);
  fates.deallocated(true);
  fates.deallocated(true); // by a function: the later one is not executed yet
  fates.ready();
  fates.deallocated(true);
  fates.ready();
  fates.deallocated(false);
  assert.deepEqual(log, ["all confirmed", "lost", "one undone", "later confirmed"]);
  assert.equal(fates.deallocating, false);
});

Deno.test("thousands may be due at once, and none is lost when the room grows", () => {
  const fates = new ReplyFates();
  let due = 0;
  for (let round = 0; round < 2_000; round++) {
    for (let count = 0; count < 3; count++, due++) fates.push(due % 5 === 0 ? WITHHELD : FORWARDED);
    if (round % 2 === 0) assert.equal(fates.replied(), (round / 2) % 5 === 0);
  }
  fates.unitSent();
  for (let index = 1_000; index < due; index++) assert.equal(fates.replied(), index % 5 === 0);
  assert.equal(fates.settled, true);
});
