// Resolvers: what is set without effect is told.

import assert from "node:assert/strict";
import { resolveSettings, SETTINGS } from "../../src/config/config.ts";

function resolve(text: string) {
  const file = { path: "pgvpd.conf", text };
  return resolveSettings({ file, environment: {}, flags: {}, readFile: () => "" });
}

Deno.test("without a file, and without a role, settings of resolvers do nothing and that is told", () => {
  const role = "resolver_user = a\nresolver_password = b\nresolver_database = c\n";
  assert.deepEqual(resolve(`resolvers = /r\n${role}on_invalidate = keep`).warnings, []);
  const without = resolve(`${role}on_invalidate = keep`).warnings;
  assert.equal(without.length, 4);
  assert.match(without[0]!, /"resolver_user" does nothing without "resolvers"/);
  const noRole = resolve("resolvers = /r\nresolver_password = b\nresolver_database = c").warnings;
  assert.equal(noRole.length, 2);
  assert.match(noRole[0]!, /"resolver_password" does nothing without "resolver_user"/);
});

Deno.test("all of it can be reloaded", () => {
  const fixed = SETTINGS.filter((each) => each.group === "Resolvers" && each.reloadable !== true);
  assert.deepEqual(fixed, []);
});
