// Pooling: the settings that belong together make a configuration that is taken as it is meant.

import assert from "node:assert/strict";
import { resolveSettings, SETTINGS } from "../../src/config/config.ts";

function resolve(text: string) {
  const file = { path: "pgvpd.conf", text };
  return resolveSettings({ file, environment: {}, flags: {}, readFile: () => "" });
}

Deno.test("three ways to know the clients' passwords, each enough by itself", () => {
  const ways: [text: string, poolPassword: unknown, authFile: unknown, authQuery: unknown][] = [
    ["pool_password = a", "a", null, null],
    ["auth_file = /users", null, "/users", null],
    ["auth_query = SELECT a, b FROM c($1)\nauth_user = d", null, null, "SELECT a, b FROM c($1)"],
  ];
  for (const [text, ...expected] of ways) {
    const { settings, warnings } = resolve(`pool_mode = session\nupstream_password = x\n${text}`);
    const { poolMode, poolPassword, authFile, authQuery } = settings;
    assert.equal(poolMode, "session");
    assert.deepEqual([poolPassword, authFile, authQuery], expected);
    assert.deepEqual(warnings, []);
  }
});

Deno.test("the seed's names still set the passwords", () => {
  const environment = { PGVPD_POOL_PASSWORD: "a", PGVPD_UPSTREAM_PASSWORD: "b" };
  const { settings } = resolveSettings({ environment, flags: { pool_mode: "session" } });
  assert.deepEqual([settings.poolPassword, settings.upstreamPassword], ["a", "b"]);
  const flags = SETTINGS.filter((each) => each.group === "Pooling" && each.secret === true).map((
    { flag },
  ) => flag);
  assert.deepEqual(flags, ["--pool-password", "--auth-password", "--upstream-password"]);
});

Deno.test("all of pooling but whether to pool can be reloaded", () => {
  const fixed = SETTINGS.filter((each) => each.group === "Pooling" && each.reloadable !== true);
  assert.deepEqual(fixed.map(({ key }) => key), ["pool_mode"]);
});

Deno.test("session_state is pin, error or ignore, and pin when nothing is said", () => {
  const pooled = "pool_mode = transaction\nupstream_password = x\npool_password = a\n";
  const stateOf = (text: string) => resolve(pooled + text).settings.sessionState;
  assert.equal(stateOf(""), "pin");
  for (const value of ["pin", "error", "ignore"]) {
    assert.equal(stateOf(`session_state = ${value}`), value);
  }
  assert.throws(() => stateOf("session_state = keep"), /session_state/);
});
