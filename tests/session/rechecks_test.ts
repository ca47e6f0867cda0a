// Rechecks: a few at a time, what is certain first, nobody twice, nobody who has gone.

import assert from "node:assert/strict";
import { Rechecks } from "../../src/session/rechecks.ts";

function world(atOnce: number) {
  const rechecks = new Rechecks(() => atOnce);
  const log: string[] = [];
  const gates = new Map<string, () => void>();
  const add = (owner: object, name: string, isCertain = true) =>
    rechecks.add(owner, async () => {
      log.push(name);
      await new Promise<void>((resolve) => gates.set(name, resolve));
    }, isCertain);
  /** Ends it, and waits for what follows. */
  const end = async (name: string) => {
    gates.get(name)!();
    await new Promise((resolve) => setTimeout(resolve, 0));
  };
  return { rechecks, log, add, end };
}

Deno.test("one at a time: in order, each owner once, and again when it changes meanwhile", async () => {
  const { rechecks, log, add, end } = world(1);
  const [a, b, c] = [{}, {}, {}];
  add(a, "a");
  add(b, "b, the first time");
  add(c, "c");
  add(b, "b");
  rechecks.remove(c);
  add(a, "a again"); // it was begun already, and may have changed since
  assert.deepEqual(log, ["a"]);
  await end("a");
  assert.deepEqual(log, ["a", "b"]);
  await end("b");
  assert.deepEqual(log, ["a", "b", "a again"]);
  await end("a again");
  add(c, "c");
  assert.deepEqual(log, ["a", "b", "a again", "c"]);
  await end("c");
});

Deno.test("several at a time: one that hangs holds up nobody, and no owner is looked at twice", async () => {
  const { log, add, end } = world(2);
  const [hanging, b, c, d] = [{}, {}, {}, {}];
  add(hanging, "hanging");
  add(b, "b");
  add(hanging, "hanging again");
  add(c, "c");
  add(d, "d");
  assert.deepEqual(log, ["hanging", "b"]);
  await end("b");
  await end("c");
  assert.deepEqual(log, ["hanging", "b", "c", "d"], "it is not its turn before it is over");
  await end("d");
  await end("hanging");
  assert.deepEqual(log.at(-1), "hanging again");
  await end("hanging again");
});

Deno.test("what is certain goes before what is possible, also when that is known later", async () => {
  const { log, add, end } = world(1);
  const [first, a, b, c] = [{}, {}, {}, {}];
  add(first, "first");
  add(a, "a may", false);
  add(b, "b may", false);
  add(c, "c has");
  add(b, "b has");
  add(c, "c may", false); // it stays as urgent as it was
  for (const name of ["first", "c may", "b has", "a may"]) await end(name);
  assert.deepEqual(log, ["first", "c may", "b has", "a may"]);
});

Deno.test("stopped: whoever looks is told, and nobody begins any more", async () => {
  const rechecks = new Rechecks(() => 1);
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
    }, true);
  });
  const count = () => Promise.resolve(void begun++);
  rechecks.add({}, count, true);
  rechecks.add({}, count, false);
  rechecks.stop();
  await told;
  rechecks.add({}, count, true);
  await new Promise((resolve) => setTimeout(resolve, 0));
  assert.equal(begun, 1);
});
