// Outgoing: pieces of a chunk and what is put between them come out in order.

import assert from "node:assert/strict";
import { Outgoing } from "../../src/session/outgoing.ts";
import { Random } from "../support/random.ts";

Deno.test("a chunk in which nothing is rewritten is not copied", () => {
  const out = new Outgoing();
  const chunk = new Random(1).bytes(100);
  out.begin(chunk);
  assert.equal(out.take(100), chunk);
  out.begin(chunk);
  assert.deepEqual(out.take(40), chunk.subarray(0, 40));
});

Deno.test("whatever is passed, skipped and added: the same as joining it", () => {
  for (let seed = 0; seed < 200; seed++) {
    const random = new Random(seed);
    const out = new Outgoing();
    for (let turn = 0; turn < 3; turn++) {
      const chunk = random.bytes(random.pick([10, 300, 100_000]));
      const expected: number[] = [];
      out.begin(chunk);
      let at = 0;
      for (let step = 0; step < 5; step++) {
        const to = random.integer(at, chunk.length);
        out.passUntil(to);
        expected.push(...chunk.subarray(at, to));
        assert.equal(out.size, expected.length);
        const own = random.bytes(random.pick([0, 4, 95, 96, 97, 5_000]));
        out.addPart(own, 0, own.length);
        if (own.length === 4) {
          out.setInt32(out.size - 4, 0x01020304);
          own.set([1, 2, 3, 4]);
        }
        expected.push(...own);
        at = random.integer(to, chunk.length);
        out.skipTo(at);
      }
      const end = random.integer(at, chunk.length);
      expected.push(...chunk.subarray(at, end));
      assert.deepEqual(out.take(end), Uint8Array.from(expected), `seed ${seed}`);
    }
  }
});
