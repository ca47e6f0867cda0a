// The settings of tenants: all of them can change while pgvpd runs.

import assert from "node:assert/strict";
import { SETTINGS } from "../../src/config/config.ts";

Deno.test("every setting of tenants can be reloaded", () => {
  const fixed = SETTINGS.filter(({ group, reloadable }) =>
    group === "Tenant limits" && reloadable !== true
  );
  assert.deepEqual(fixed.map(({ key }) => key), []);
});
