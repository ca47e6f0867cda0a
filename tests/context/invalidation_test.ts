// Notifications: whatever cannot be understood means more, never less.

import assert from "node:assert/strict";
import { AskedIndex, parseInvalidation } from "../../src/context/invalidation.ts";

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
  const index = new AskedIndex<string>();
  index.add(asked, "it");
  index.add({ ...asked, inputs: ["other", null, "7"] }, "another");
  index.add({ ...asked, resolver: "teams" }, "a third");
  const about = (payload: string, database = "d") =>
    index.find(parseInvalidation(database, payload)).has("it");
  assert.equal(about("*"), true);
  assert.equal(about("*", "other"), false);
  assert.equal(index.find({ database: null, resolver: null, inputs: null }).size, 3);
  assert.equal(index.find({ database: null, resolver: "org", inputs: null }).size, 2);
  assert.equal(index.find({ database: "d", resolver: null, inputs: ["x"] }).size, 3);
  assert.equal(about("org"), true);
  assert.equal(about("organ"), false);
  assert.equal(about('["org", "A0-b", null, "007"]'), true);
  assert.equal(about('["org", "{a0B}", null, "7"]'), true, "written in another way");
  assert.equal(about('["org", "a1b", null, "7"]'), false);
  assert.equal(about('["org", "a0b", "", "7"]'), false, "NULL is not the empty text");
  assert.equal(about('["org", "A0-b"]'), true, "another number of inputs is no answer to compare");
});

Deno.test("a value that may be spelled in several ways is found in each of them", () => {
  const same: string[][] = [
    [
      "42",
      " 42\t",
      "+42",
      "042",
      "0x2a",
      "0X2A",
      "0b101010",
      "0o52",
      "0x_2a",
      "4_2",
      "42.0",
      "42.",
    ],
    ["42", "4.2e1", ".42E+2", "420e-1", "0x1.5p5", "4_2.0"],
    ["0", "-0", "000", "0x0", ".0", "0e9", "f", "false", "off", "no", "n", "OFF "],
    ["1", "t", "tr", "true", "TRUE", "y", "yes", "on", " On"],
    ["-Infinity", "-inf", "-INF"],
    ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"],
    ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "{a0eebc999c0b4ef8bb6d6bb9bd380a11}"],
  ];
  for (const spellings of same) {
    for (const asked of spellings) {
      const index = new AskedIndex<string>();
      const question = { database: "d", resolver: "org", inputs: ["x", asked] };
      index.add(question, "it");
      for (const told of spellings) {
        const about = (who: string) => parseInvalidation("d", JSON.stringify(["org", who, told]));
        assert.equal(index.find(about("X")).size, 1, `${asked} is ${told}`);
      }
      index.remove(question, "it");
      assert.equal(index.find(parseInvalidation("d", "*")).size, 0);
    }
  }
});

Deno.test("what is spelled in one way is not taken for another, whatever stands beside it", () => {
  const index = new AskedIndex<string>();
  const ask = (...inputs: string[]) =>
    index.add({ database: "d", resolver: "org", inputs }, inputs.join());
  ask("alice", "true");
  ask("bob", "t");
  ask("alice", "4.0");
  ask("alice", "5");
  ask("0b6a2c0e-0000-4000-8000-00000000000a", "0e");
  ask("0b101", "7");
  const found = (...told: string[]) =>
    [...index.find(parseInvalidation("d", JSON.stringify(["org", ...told])))].toSorted();
  const alice = ["alice,4.0", "alice,5", "alice,true"];
  const uuid = "0b6a2c0e-0000-4000-8000-00000000000a";
  assert.deepEqual(found("alice", "5"), alice);
  assert.deepEqual(found("alice", "6"), ["alice,4.0", "alice,true"]);
  assert.deepEqual(found("alice", "on"), ["0b101,7", `${uuid},0e`, ...alice]);
  assert.deepEqual(found(uuid.toUpperCase(), "0e"), [`${uuid},0e`]);
  assert.deepEqual(found("carol", "7"), ["0b101,7"]);
  assert.deepEqual(found("carol", "8"), []);
});

Deno.test("an index holds what was added and not removed, under all of its questions", () => {
  const index = new AskedIndex<number>();
  const question = (name: string, ...inputs: string[]) => ({
    database: "d",
    resolver: name,
    inputs,
  });
  const all = () => [...index.find(parseInvalidation("d", "*"))];
  index.add(question("a", "1"), 1);
  index.add(question("a", "1"), 2);
  index.add(question("b"), 1);
  assert.deepEqual(all(), [1, 2]);
  assert.deepEqual([...index.databases], ["d"]);
  index.remove(question("a", "01"), 1);
  assert.deepEqual([...index.find(parseInvalidation("d", '["a", "1"]'))], [2]);
  assert.deepEqual(all(), [2, 1]);
  index.remove(question("a", "2"), 2);
  index.remove(question("c"), 2);
  index.remove(question("a", "1", "2"), 2);
  assert.deepEqual(all(), [2, 1], "what was not there is not removed");
  index.remove(question("a", "1"), 2);
  index.remove(question("b"), 1);
  assert.deepEqual(all(), []);
  assert.deepEqual([...index.databases], []);
});

Deno.test("ten thousand events among ten thousand answers take no long time", () => {
  const index = new AskedIndex<number>();
  for (let n = 0; n < 10_000; n++) {
    index.add({ database: "d", resolver: "org", inputs: [`user-${n}`] }, n);
  }
  const startedAt = performance.now();
  for (let n = 0; n < 10_000; n++) {
    const found = index.find(parseInvalidation("d", `["org", "USER-${n}"]`));
    assert.deepEqual([...found], [n]);
  }
  assert(performance.now() - startedAt < 2_000);
});
