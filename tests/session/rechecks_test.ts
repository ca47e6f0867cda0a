// Rechecks: one after the other, nobody twice, nobody who has gone.

import assert from "node:assert/strict";
import { Rechecks } from "../../src/session/rechecks.ts";

Deno.test("one after the other, in order, each owner once", async () => {
  const rechecks = new Rechecks();
  const log: string[] = [];
  const gates: (() => void)[] = [];
  const add = (owner: object, name: string) =>
    rechecks.add(owner, async () => {
      log.push(`${name} begins`);
      await new Promise<void>((resolve) => gates.push(resolve));
      log.push(`${name} ends`);
    });
  const [a, b, c] = [{}, {}, {}];
  add(a, "a");
  add(b, "b, the first time");
  add(c, "c");
  add(b, "b");
  rechecks.remove(c);
  add(a, "a again"); // it was begun already, and may have changed since
  for (let done = 0; done < 3; done++) {
    while (gates.length === 0) await new Promise((resolve) => setTimeout(resolve, 0));
    gates.shift()!();
  }
  while (log.length < 6) await new Promise((resolve) => setTimeout(resolve, 0));
  assert.deepEqual(log, [
    "a begins",
    "a ends",
    "b begins",
    "b ends",
    "a again begins",
    "a again ends",
  ]);
  const later = Promise.withResolvers<void>();
  rechecks.add(c, () => Promise.resolve(later.resolve()));
  await later.promise;
});

Deno.test("stopped: whoever looks is told, and nobody begins any more", async () => {
  const rechecks = new Rechecks();
  let begun = 0;
  const told = new Promise((resolve) => {
    rechecks.add({}, (signal) => {
      begun++;
      return new Promise((end) =>
        signal.addEventListener("abort", () => {
          resolve(null);
          end();
        })
      );
    });
  });
  const count = () => Promise.resolve(void begun++);
  rechecks.add({}, count);
  rechecks.stop();
  await told;
  rechecks.add({}, count);
  await new Promise((resolve) => setTimeout(resolve, 0));
  assert.equal(begun, 1);
});
