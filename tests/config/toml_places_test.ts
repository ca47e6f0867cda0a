// TomlPlaces: where keys and items stand, in every way TOML has of writing them.

import assert from "node:assert/strict";
import { TomlPlaces } from "../../src/config/toml_places.ts";

const TEXT = `# a comment
top = 1
[tenants.acme]
  limit = 5 # and another
"quoted key" = 'x' ; dotted.key = 2
[tenants."trial-*"]
list = [1, { inner = 2 }]
text = """
[no.header]
"""
[[many]]
name = "a"
[[many]]
name = "b"
`.replace(" ; ", "\n");

Deno.test("keys, tables, items and strings of several lines", () => {
  const places = new TomlPlaces(TEXT);
  const cases: [(string | number)[], number, number][] = [
    [["top"], 2, 1],
    [["tenants", "acme"], 3, 1],
    [["tenants", "acme", "limit"], 4, 3],
    [["tenants", "acme", "quoted key"], 5, 1],
    [["tenants", "acme", "dotted", "key"], 6, 1],
    [["tenants", "trial-*"], 7, 1],
    [["tenants", "trial-*", "list", 1], 8, 12],
    [["tenants", "trial-*", "text"], 9, 1],
    [["many", 1, "name"], 15, 1],
    [["tenants", "acme", "no such"], 3, 1],
    [["nothing"], 1, 1],
  ];
  for (const [path, line, column] of cases) {
    assert.deepEqual(places.find(...path), { line, column }, path.join("."));
  }
});
