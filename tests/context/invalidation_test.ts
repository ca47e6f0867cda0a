// Notifications: whatever cannot be understood means more, never less.

import assert from "node:assert/strict";
import { concerns, parseInvalidation } from "../../src/context/invalidation.ts";

Deno.test("payloads: everything, a resolver, a resolver with inputs", () => {
  const read = (payload: string) => {
    const { database, resolver, inputs } = parseInvalidation("d", payload);
    assert.equal(database, "d");
    return [resolver, inputs];
  };
  assert.deepEqual(read("*"), [null, null]);
  assert.deepEqual(read(""), [null, null]);
  assert.deepEqual(read("org"), ["org", null]);
  assert.deepEqual(read('["org"]'), ["org", null]);
  assert.deepEqual(read('["org", "a", null]'), ["org", ["a", null]]);
  for (const broken of ["[", "[]", "[1]", '["org", 1]', '["org", ["a"]]', "[null]"]) {
    assert.deepEqual(read(broken), [null, null], broken);
  }
});

Deno.test("what a notification is about", () => {
  const asked = { database: "d", resolver: "org", inputs: ["A0-b", null, "007"] };
  const about = (payload: string, database = "d") =>
    concerns(parseInvalidation(database, payload), asked);
  assert.equal(about("*"), true);
  assert.equal(about("*", "other"), false);
  assert.equal(concerns({ database: null, resolver: null, inputs: null }, asked), true);
  assert.equal(about("org"), true);
  assert.equal(about("organ"), false);
  assert.equal(about('["org", "A0-b", null, "007"]'), true);
  assert.equal(about('["org", "{a0B}", null, "7"]'), true, "written in another way");
  assert.equal(about('["org", "a1b", null, "7"]'), false);
  assert.equal(about('["org", "a0b", "", "7"]'), false, "NULL is not the empty text");
  assert.equal(about('["org", "A0-b"]'), true, "another number of inputs is no answer to compare");
});
