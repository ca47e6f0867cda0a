// What follows from settings and files: what contexts are sealed with, and what is looked at.

import assert from "node:assert/strict";
import { SealKey } from "../src/auth/seal.ts";
import { resolveSettings } from "../src/config/config.ts";
import {
  guardOptions,
  type ProxyOptions,
  sealingOf,
  tenantRules,
  WITHOUT_TLS,
} from "../src/server_options.ts";

const { settings } = resolveSettings({ environment: {}, flags: {} });
const KEYS = [SealKey.random("k1")];
const SEALED = { ...WITHOUT_TLS, sealKeys: KEYS };

function options(more: Partial<ProxyOptions> = {}): ProxyOptions {
  return { ...settings, ...more };
}

Deno.test("without keys nothing is sealed; in transaction mode tokens are good for less", () => {
  assert.equal(sealingOf(options(), WITHOUT_TLS), null);
  const session = sealingOf(options({ poolMode: "session" }), SEALED)!;
  const transaction = sealingOf(options({ poolMode: "transaction" }), SEALED)!;
  assert(transaction.ttlMs < session.ttlMs);
  assert.equal(sealingOf(options({ sealTtl: 7_000 }), SEALED)!.ttlMs, 7_000);
});

Deno.test("statements are looked at unless contexts are sealed, or it is said otherwise", () => {
  assert.equal(guardOptions(options(), WITHOUT_TLS)!.policy, "log");
  assert.equal(guardOptions(options(), SEALED), null);
  assert.equal(guardOptions(options({ contextGuard: "block" }), SEALED)!.policy, "block");
  assert.equal(guardOptions(options({ contextGuard: "off" }), WITHOUT_TLS), null);
  const { variables } = guardOptions(options({ contextVariables: ["App.Org"] }), WITHOUT_TLS)!;
  assert.deepEqual([...variables], ["app.org"]);
});

Deno.test("a list in the settings and one in a file are one list; neither is none", () => {
  const { allow, deny } = tenantRules(options({ tenantDeny: ["evil"] }), {
    ...WITHOUT_TLS,
    tenants: { allow: null, deny: ["worse"] },
  });
  assert.equal(allow, null);
  assert.deepEqual(["evil", "worse", "good"].map((name) => deny!.matches(name)), [
    true,
    true,
    false,
  ]);
});
