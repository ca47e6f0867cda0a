// The sealed context: what is set without effect is told, and all of it can be reloaded.

import assert from "node:assert/strict";
import { resolveSettings, type SettingKey, SETTINGS } from "../../src/config/config.ts";

const KEYS: readonly SettingKey[] = ["seal_key_file", "seal_ttl", "context_guard"];

function resolve(text: string) {
  const file = { path: "pgvpd.conf", text };
  return resolveSettings({ file, environment: {}, flags: {}, readFile: () => "" });
}

Deno.test("without a key file the time of tokens does nothing, and that is told", () => {
  assert.deepEqual(resolve("seal_key_file = /k\nseal_ttl = 1m").warnings, []);
  const [warning, ...more] = resolve("seal_ttl = 1m").warnings;
  assert.match(warning!, /"seal_ttl" does nothing without "seal_key_file"/);
  assert.deepEqual(more, []);
});

Deno.test("unset, all three are nobody's decision yet", () => {
  const { sealKeyFile, sealTtl, contextGuard } = resolve("").settings;
  assert.deepEqual([sealKeyFile, sealTtl, contextGuard], [null, null, null]);
});

Deno.test("all of it can be reloaded", () => {
  const own = SETTINGS.filter(({ key }) => KEYS.includes(key));
  assert.equal(own.length, KEYS.length);
  assert.deepEqual(own.filter(({ reloadable }) => reloadable !== true), []);
});
