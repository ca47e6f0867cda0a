// TenantPatterns: exact names, patterns, and what is neither.

import { strict as assert } from "node:assert";
import { Glob, isGlob, TenantPatterns, unescaped } from "../../src/context/tenant_patterns.ts";
import { Random } from "../support/random.ts";

Deno.test("names are exact, patterns match wholes", () => {
  const patterns = new TenantPatterns(["acme", "trial-*", "x?z", "*.test", String.raw`a\*b`]);
  const yes = ["acme", "trial-", "trial-1", "xyz", "x*z", "x😀z", ".test", "a.test", "a*b"];
  const no = ["Acme", "acme ", "my-trial-1", "xz", "xyyz", "test", "a-b", String.raw`a\*b`, ""];
  for (const name of yes) assert(patterns.matches(name), name);
  for (const name of no) assert(!patterns.matches(name), name);
  assert(!new TenantPatterns([]).matches("acme"));
});

Deno.test("a backslash makes a letter of a wildcard", () => {
  assert.deepEqual(["a*", "a?", String.raw`a\*`, String.raw`a\\*`].map(isGlob), [
    ...[true, true, false, true],
  ]);
  assert.equal(unescaped(String.raw`a\*\\b`), String.raw`a*\b`);
});

Deno.test("a pattern matches what the same regular expression matches", () => {
  for (let seed = 0; seed < 2_000; seed++) {
    const random = new Random(seed);
    const word = (letters: string[]) =>
      Array.from({ length: random.integer(0, 7) }, () => random.pick(letters)).join("");
    const [pattern, text] = [word(["a", "b", "*", "?"]), word(["a", "b"])];
    const expression = pattern.replaceAll("*", "[^]*").replaceAll("?", "[^]");
    const expected = new RegExp(`^(?:${expression})$`).test(text);
    assert.equal(new Glob(pattern).matches(text), expected, `${pattern} on ${text}, seed ${seed}`);
  }
});

Deno.test("many wildcards and a long name do not take long", () => {
  const pattern = new Glob(`${"*a".repeat(200)}b`);
  const begun = performance.now();
  assert(!pattern.matches("a".repeat(10_000)));
  assert(performance.now() - begun < 30_000);
});

Deno.test("names of a type are known in any spelling, patterns as they are", () => {
  const uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
  const uuids = new TenantPatterns([uuid.toUpperCase(), "b*", "acme"], "uuid");
  assert.deepEqual([uuid, uuid.toUpperCase(), "b1", "acme"].map((name) => uuids.matches(name)), [
    ...[true, false, true, true],
  ]);
  assert(new TenantPatterns(["007"], "integer").matches("7"));
  assert(!new TenantPatterns(["007"]).matches("7"));
});
