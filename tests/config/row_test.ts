// The rows of the table as they are shown: grouped, complete, and in one order.

import assert from "node:assert/strict";
import { GROUPS } from "../../src/config/row.ts";
import { SETTINGS } from "../../src/config/config.ts";

Deno.test("the table has every group, one behind the other", () => {
  const groups = SETTINGS.map(({ group }) => group);
  assert.deepEqual(groups.filter((group, index) => group !== groups[index - 1]), [...GROUPS]);
});

Deno.test("a secret has no default, and shows a sample that is no secret", () => {
  const secrets = SETTINGS.filter(({ secret }) => secret === true);
  for (const { default: text, example } of secrets) {
    assert.equal(text, null);
    assert.match(example ?? "", /^"the (password|URL) of [a-z_ ]+"$/);
  }
});
