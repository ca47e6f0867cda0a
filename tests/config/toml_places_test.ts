// Places in TOML: every key and item, however it is written; the position counts characters.

import assert from "node:assert/strict";
import { TomlPlaces } from "../../src/config/toml_places.ts";

const TEXT = `# a comment with [[resolver]] in it
top = 1

[[resolver]]
name = "a"   # not = a key
query = """
name = "not a key"
[[resolver]]
$1 \\""" still """""
params = [
  "x", # one
  'y', [1, 2],
]
inject = { "app.a b" = "c", app.d = "e", 'f' = { g = 1 } }
"quoted \\u0041" = true

[resolver.sub.deep]
here = 2026-01-01
[[resolver.items]]
one = 1
[[resolver.items]]
two = 2
[[resolver]]
ß = "größe"
name = '''it''s'''
last = 1`;

Deno.test("every key, item and table has its place", () => {
  const places = new TomlPlaces(TEXT);
  const at = (...path: (string | number)[]) => {
    const { line, column } = places.find(...path);
    return `${line}:${column}`;
  };
  assert.equal(at("top"), "2:1");
  assert.equal(at("resolver", 0), "4:1");
  assert.equal(at("resolver", 0, "name"), "5:1");
  assert.equal(at("resolver", 0, "query"), "6:1");
  assert.equal(at("resolver", 0, "params"), "10:1");
  assert.equal(at("resolver", 0, "params", 0), "11:3");
  assert.equal(at("resolver", 0, "params", 1), "12:3");
  assert.equal(at("resolver", 0, "params", 2, 1), "12:12");
  assert.equal(at("resolver", 0, "inject", "app.a b"), "14:12");
  assert.equal(at("resolver", 0, "inject", "app", "d"), "14:29");
  assert.equal(at("resolver", 0, "inject", "f", "g"), "14:50");
  assert.equal(at("resolver", 0, "quoted A"), "15:1");
  assert.equal(at("resolver", 0, "sub", "deep", "here"), "18:1");
  assert.equal(at("resolver", 0, "items", 0, "one"), "20:1");
  assert.equal(at("resolver", 0, "items", 1, "two"), "22:1");
  assert.equal(at("resolver", 1), "23:1");
  assert.equal(at("resolver", 1, "name"), "25:1");
  assert.equal(at("resolver", 1, "last"), "26:1");
});

Deno.test("what has no place has that of what is around it", () => {
  const places = new TomlPlaces(TEXT);
  assert.deepEqual(places.find("resolver", 0, "no such key"), { line: 4, column: 1 });
  assert.deepEqual(places.find("resolver", 0, "params", 9), { line: 10, column: 1 });
  assert.deepEqual(places.find("nothing", 1), { line: 1, column: 1 });
  assert.deepEqual(new TomlPlaces("").find("a"), { line: 1, column: 1 });
});

Deno.test("Windows line ends and columns behind letters of several units", () => {
  const places = new TomlPlaces('a = 1\r\nb = ["🦀", "é", 1]\r\n');
  assert.deepEqual(places.find("b", 1), { line: 2, column: 11 });
});
