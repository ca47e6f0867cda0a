// Label values: as the name is, unless it is long, broken, or would be taken for everybody else.

import { strict as assert } from "node:assert";
import { LABEL_LENGTH_MAX, labelOf, OTHER } from "../../src/admin/labels.ts";

Deno.test("a usual name stays as it is, whatever is in it", () => {
  for (const name of ["acme", "", 'a"b', "a\nb\\", "Ünïcode", "x".repeat(LABEL_LENGTH_MAX)]) {
    assert.equal(labelOf(name), name);
  }
});

Deno.test("long names are cut and stay apart; a lone surrogate becomes text", () => {
  const long = "x".repeat(10_000);
  const [one, other] = [labelOf(`${long}1`), labelOf(`${long}2`)];
  assert.notEqual(one, other);
  assert.equal(one, labelOf(`${long}1`));
  assert(one.length <= LABEL_LENGTH_MAX + 9);
  assert(labelOf("a\ud800").isWellFormed());
  assert(labelOf(`${"x".repeat(LABEL_LENGTH_MAX - 1)}\u{1f600}${long}`).isWellFormed());
});

Deno.test("somebody called other is not everybody else", () => {
  assert.match(labelOf(OTHER), /^other#[0-9a-f]{8}$/);
});
