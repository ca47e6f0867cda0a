// The grammar of pgvpd.conf, line by line, and what is written reads back the same.

import assert from "node:assert/strict";
import { formatValue, parseFile } from "../../src/config/file.ts";

/** The value of the only line, or the text of its fault. */
function read(line: string): string {
  const { entries, faults } = parseFile(line);
  assert.equal(entries.length + faults.length, 1, `one result for ${JSON.stringify(line)}`);
  return entries[0]?.value ?? `fault: ${faults[0]!.message}`;
}

const VALUES: readonly [line: string, value: string][] = [
  ["port = 7000", "7000"],
  ["port=7000", "7000"],
  ["\t port\t=\t7000 \t", "7000"],
  ["port =", ""],
  ['port = ""', ""],
  ["a = b = c", "b = c"],
  ["a = two words", "two words"],
  ["a = x#y;z", "x#y;z"],
  ["a =#x", "#x"],
  ["a = x # comment", "x"],
  ["a = x\t; comment", "x"],
  ["a = # only a comment", ""],
  ['a = "x # y" # comment', "x # y"],
  ["a = 'x ; y'\t; comment", "x ; y"],
  [`a = "it's"`, "it's"],
  [`a = 'say "hi"'`, 'say "hi"'],
  [`a = "say ""hi"""`, 'say "hi"'],
  [`a = 'it''s'`, "it's"],
  [`a = """"`, '"'],
  [`a = "back\\slash\\n"`, "back\\slash\\n"],
  ['a = x"y', 'x"y'],
  ['a = "  kept  "', "  kept  "],
  ["a = \u00a0x", "\u00a0x"],
];

Deno.test("parseFile() reads a value", () => {
  for (const [line, value] of VALUES) assert.equal(read(line), value, line);
});

const FAULTS: readonly [line: string, message: RegExp][] = [
  ["port 7000", /no "=" in the line/],
  ["= 7000", /no key before/],
  ["[pgvpd]", /there are no sections/],
  ["[a = b]", /there are no sections/],
  ['a = "', /unbalanced quote/],
  ["a = '", /unbalanced quote/],
  ['a = "x', /unbalanced quote/],
  [`a = "x""`, /unbalanced quote/],
  [`a = "x'`, /unbalanced quote/],
  ['a = "x" y', /text behind the closing quote/],
  ['a = "x"y', /text behind the closing quote/],
  ['a = "x"#y', /text behind the closing quote/],
  ["a = x\0y", /control character/],
  ["a = x\ry", /control character/],
];

Deno.test("parseFile() refuses what is not a key and a value", () => {
  for (const [line, message] of FAULTS) assert.match(read(line), message, JSON.stringify(line));
});

Deno.test("parseFile() skips comments and empty lines, and counts them", () => {
  const { entries, faults } = parseFile("\n# a = 1\n  ; b = 2\n \t\n#\nc = 3\n");
  assert.deepEqual(entries, [{ key: "c", value: "3", line: 6, cut: false }]);
  assert.deepEqual(faults, []);
});

Deno.test("parseFile() accepts a byte order mark, CRLF and a missing last newline", () => {
  const { entries, faults } = parseFile("\uFEFFport = 1\r\n\r\nhost = 'a'\r\nx = y");
  assert.deepEqual(entries.map(({ key, value, line }) => [key, value, line]), [
    ["port", "1", 1],
    ["host", "a", 3],
    ["x", "y", 4],
  ]);
  assert.deepEqual(faults, []);
});

Deno.test("parseFile() says which values ended at a comment", () => {
  const { entries } = parseFile("a = x # y\nb = x#y\nc = 'x # y'\nd = 'x' # y");
  assert.deepEqual(entries.map((entry) => entry.cut), [true, false, false, false]);
});

Deno.test("formatValue() quotes only what needs it", () => {
  assert.equal(formatValue("app.user,app.org"), "app.user,app.org");
  assert.equal(formatValue("two words"), "two words");
  assert.equal(formatValue(""), '""');
  assert.equal(formatValue("#"), '"#"');
  assert.equal(formatValue('say "hi"'), `'say "hi"'`);
  assert.equal(formatValue(`both " and '`), `"both "" and '"`);
  assert.throws(() => formatValue("two\nlines"), RangeError);
});

Deno.test("random printable values survive write and read", () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  const random = mulberry32(seed);
  // The characters the grammar gives a meaning to come up often.
  const alphabet = [...`"''""##;; =\t\\[]ab1.,:`, "\u00a0", "é", "\u{1F600}", "\u2028"];
  for (let round = 0; round < 20_000; round++) {
    const length = Math.floor(random() * 12);
    const value = Array.from(
      { length },
      () =>
        random() < 0.8
          ? alphabet[Math.floor(random() * alphabet.length)]!
          : String.fromCharCode(0x20 + Math.floor(random() * 95)),
    ).join("");
    const line = `key = ${formatValue(value)}`;
    for (const text of [line, `${line} # comment`, `${line}\r\n`]) {
      const { entries, faults } = parseFile(text);
      const label = `seed ${seed}: ${JSON.stringify(text)}`;
      assert.deepEqual(faults, [], label);
      assert.deepEqual(entries.map((entry) => entry.value), [value], label);
    }
  }
});

/** A small seeded generator of numbers from 0 to 1. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
