// The cache: nobody gets another one's answer, or one that is too old; errors are nobody's.

import assert from "node:assert/strict";
import { parseInvalidation } from "../../src/context/invalidation.ts";
import type { ResolverValues } from "../../src/context/resolution.ts";
import { type Passenger, type Question, ResolverCache } from "../../src/context/resolver_cache.ts";
import { Random } from "../support/random.ts";

const QUESTION: Question = {
  ...{ database: "d", asker: "r", resolver: "org", fingerprint: "f" },
  inputs: ["alice", null],
};
const ALL = parseInvalidation("d", "*");

function world(sizeMax = 100) {
  let now = 0;
  const cache = new ResolverCache(() => now, sizeMax);
  const keep = (question: Question, values: ResolverValues, ttlMs = 1_000) =>
    cache.fly(question, ttlMs).flight.land(values);
  return { cache, keep, pass: (ms: number) => void (now += ms) };
}

function passenger() {
  const heard: unknown[] = [];
  const one: Passenger = {
    answered: (values) => void heard.push(values),
    failed: (error) => void heard.push(error),
  };
  return { one, heard };
}

Deno.test("an answer is there until its time is over, counted from the question", () => {
  const { cache, keep, pass } = world();
  assert.equal(cache.find(QUESTION), undefined);
  const { flight } = cache.fly(QUESTION, 1_000);
  pass(400);
  flight.land(["1"]);
  pass(599);
  assert.deepEqual(cache.find(QUESTION), ["1"]);
  pass(1);
  assert.equal(cache.find(QUESTION), undefined);
  assert.equal(cache.size, 0);
  keep(QUESTION, null);
  assert.equal(cache.find(QUESTION), null, "that nothing was found is an answer");
  keep(QUESTION, ["2"], 0);
  assert.equal(cache.find(QUESTION), undefined, "and without a time nothing is kept");
});

Deno.test("the places that something is known of, or on its way from; not when its time is over", () => {
  const { cache, keep, pass } = world();
  const at = (database: string) => ({ ...QUESTION, database });
  keep(at("short"), ["1"], 500);
  keep(at("long"), ["1"]);
  const { flight } = cache.fly(at("flying"), 0);
  assert.deepEqual([...cache.places()].toSorted(), ["flying", "long", "short"]);
  pass(500);
  flight.crash(new Error("lost"));
  assert.deepEqual([[...cache.places()], cache.size], [["long"], 1]);
  pass(500);
  assert.deepEqual([[...cache.places()], cache.size], [[], 0]);
});

Deno.test("whatever differs is another question", () => {
  const { cache, keep } = world();
  keep(QUESTION, ["1"]);
  const others: Partial<Question>[] = [
    { database: "e" },
    { asker: "s" },
    { fingerprint: "g" },
    { inputs: ["alice"] },
    { inputs: ["alice", ""] },
    { inputs: [null, "alice"] },
    { inputs: ["alice", null, null] },
    { inputs: ['alice",null', null] },
    { inputs: ["ALICE", null] },
  ];
  for (const other of others) assert.equal(cache.find({ ...QUESTION, ...other }), undefined);
  assert.deepEqual(cache.find({ ...QUESTION, inputs: ["alice", null] }), ["1"]);
});

Deno.test("one flight for a question, and all its passengers hear the same", () => {
  const { cache } = world();
  const first = cache.fly(QUESTION, 1_000);
  const second = cache.fly(QUESTION, 1_000);
  assert.deepEqual([first.isNew, second.isNew], [true, false]);
  assert.equal(first.flight, second.flight);
  const [a, b] = [passenger(), passenger()];
  first.flight.board(a.one);
  first.flight.board(b.one);
  first.flight.land(["x"]);
  assert.deepEqual([a.heard, b.heard], [[["x"]], [["x"]]]);
  assert.deepEqual(cache.find(QUESTION), ["x"]);
  assert.equal(cache.fly(QUESTION, 1).isNew, true);
});

Deno.test("an error is told to those on board, and not kept", () => {
  const { cache } = world();
  const { flight } = cache.fly(QUESTION, 1_000);
  const { one, heard } = passenger();
  flight.board(one);
  flight.crash("broken");
  assert.deepEqual(heard, ["broken"]);
  assert.equal(cache.find(QUESTION), undefined);
  assert.equal(cache.fly(QUESTION, 1_000).isNew, true);
});

Deno.test("who leaves hears nothing; when all have left, whoever flies is told, once", () => {
  const { cache } = world();
  const { flight } = cache.fly(QUESTION, 1_000);
  let deserted = 0;
  flight.onDeserted = () => deserted++;
  const [a, b] = [passenger(), passenger()];
  flight.board(a.one);
  flight.board(b.one);
  flight.leave(a.one);
  flight.leave(a.one);
  assert.equal(deserted, 0);
  flight.leave(b.one);
  assert.equal(deserted, 1);
  assert.equal(cache.fly(QUESTION, 1_000).isNew, true, "the next one begins anew");
  flight.land(["late"]);
  assert.deepEqual([a.heard, b.heard, cache.find(QUESTION)], [[], [], undefined]);
});

Deno.test("invalidated: forgotten, also what is still on its way", () => {
  const { cache, keep } = world();
  const bob = { ...QUESTION, inputs: ["bob", null] };
  keep(bob, ["2"]);
  const { flight } = cache.fly(QUESTION, 1_000);
  const { one, heard } = passenger();
  flight.board(one);
  cache.invalidate(parseInvalidation("d", '["org", "Alice", null]'));
  const anew = cache.fly(QUESTION, 1_000);
  assert.equal(anew.isNew, true);
  flight.land(["old"]);
  assert.deepEqual(heard, [["old"]], "who waited for it has begun before");
  assert.equal(cache.find(QUESTION), undefined);
  anew.flight.land(["new"]);
  assert.deepEqual(cache.find(QUESTION), ["new"]);
  assert.deepEqual(cache.find(bob), ["2"]);
  cache.invalidate(parseInvalidation("e", "*"));
  assert.equal(cache.size, 2);
  cache.invalidate(ALL);
  assert.equal(cache.size, 0);
});

Deno.test("it never holds more than it may, and loses what was used longest ago", () => {
  const { cache, keep } = world(3);
  const numbered = (n: number) => ({ ...QUESTION, inputs: [`${n}`] });
  for (const n of [1, 2, 3]) keep(numbered(n), [`${n}`]);
  assert.deepEqual(cache.find(numbered(1)), ["1"]);
  keep(numbered(4), ["4"]);
  const known = () => [1, 2, 3, 4].filter((n) => cache.find(numbered(n)) !== undefined);
  assert.deepEqual(known(), [1, 3, 4]);
  cache.sizeMax = 1;
  assert.deepEqual(known(), [4]);
  cache.sizeMax = 1_000;
  const megabyte = "x".repeat(1024 * 1024);
  for (let n = 0; n < 100; n++) keep(numbered(n), [megabyte]);
  assert.equal(cache.size, 31, "64 MiB, at two bytes a letter");
  cache.invalidate(ALL);
  for (let n = 0; n < 100; n++) keep(numbered(n), ["small"]);
  assert.equal(cache.size, 100, "what was removed takes no room");
});

Deno.test("against a simple model: seeded, any order of anything", () => {
  const random = new Random(20261125);
  let now = 0;
  const cache = new ResolverCache(() => now, 1_000);
  const model = new Map<string, { value: string; until: number }>();
  for (let step = 0; step < 5_000; step++) {
    const input = `user${random.integer(0, 20)}`;
    const question = { ...QUESTION, inputs: [input] };
    switch (random.integer(0, 3)) {
      case 0: {
        const { flight } = cache.fly(question, 50);
        flight.land([`${step}`]);
        model.set(input, { value: `${step}`, until: now + 50 });
        break;
      }
      case 1:
        cache.invalidate({ database: null, resolver: "org", inputs: [input] });
        model.delete(input);
        break;
      case 2:
        now += random.integer(0, 10);
        break;
      default: {
        const known = model.get(input);
        const expected = known !== undefined && known.until > now ? [known.value] : undefined;
        assert.deepEqual(cache.find(question), expected);
      }
    }
  }
});
