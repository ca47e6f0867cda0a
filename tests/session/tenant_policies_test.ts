// TenantPolicies: which word about a tenant counts, and what is kept ready.

import { strict as assert } from "node:assert";
import { parseTenantsFile } from "../../src/config/tenants_file.ts";
import { EVERYBODY } from "../../src/pool/fairness.ts";
import {
  NAME_LENGTH_MAX,
  READY_MAX,
  TenantPolicies,
  type TenantSettings,
} from "../../src/session/tenant_policies.ts";
import { NO_TENANT_LIMITS } from "../support/tenant_rules.ts";

function policies(settings: Partial<TenantSettings>, text = ""): TenantPolicies {
  const { file, problems } = parseTenantsFile(text, []);
  assert.deepEqual(problems, []);
  return new TenantPolicies({ ...NO_TENANT_LIMITS, ...settings }, file);
}

Deno.test("a tenant of which nothing is said has the limits of all", () => {
  const policy = policies({ tenantMaxConnections: 3, tenantPoolMax: 2 }).of("acme");
  assert.deepEqual([policy.maxConnections, policy.rateLimit, policy.upstream], [3, null, null]);
  assert.deepEqual(policy.share, { ...EVERYBODY, tenant: "acme", poolMax: 2 });
  assert.deepEqual(policy.settings, []);
});

Deno.test("the name counts before its class, that before the pattern, that before all", () => {
  const all = policies(
    {
      tenantMaxConnections: 1,
      tenantRateLimit: 1,
      tenantIdleTimeout: 1_000,
      tenantWeight: 1,
      tenantQueueMax: 9,
    },
    `
    [upstreams.big]
    host = "b"
    [classes.paid]
    max_connections = 20
    rate_limit = 20
    settings = { work_mem = "20MB", jit = "off" }
    [classes.trial]
    rate_limit = 40
    idle_timeout = "40s"
    weight = 4
    upstream = "big"
    [tenants.acme]
    class = "paid"
    max_connections = "none"
    settings.work_mem = "10MB"
    [tenants."a*"]
    class = "trial"
    idle_timeout = "30s"
    [tenants."ac*"]
    weight = 99
  `,
  );
  const acme = all.of("acme");
  assert.deepEqual(
    [acme.maxConnections, acme.rateLimit, acme.idleTimeout, acme.share.weight, acme.upstream],
    [null, 20, 30_000, 4, "big"],
  );
  assert.equal(acme.share.queueMax, 9);
  assert.deepEqual(acme.settings.map(({ name, value }) => `${name}=${value}`), [
    ...["work_mem=10MB", "jit=off"],
  ]);
  assert.deepEqual([all.of("abc").maxConnections, all.of("abc").rateLimit], [1, 40]);
  assert.deepEqual([all.of("b").share.weight, all.of("b").upstream], [1, null]);
  assert.equal(all.of("acme"), acme, "it is kept ready");
});

Deno.test("the shortest of all timeouts is known", () => {
  assert.equal(policies({}).shortestTimeout, null);
  assert.equal(policies({ tenantSessionTimeout: 5_000 }).shortestTimeout, 5_000);
  const text = '[classes.a]\nquery_timeout = "2s"\n[tenants.b]\nidle_timeout = "3s"';
  assert.equal(policies({ tenantSessionTimeout: 5_000 }, text).shortestTimeout, 2_000);
});

Deno.test("without fair shares everybody has the same one", () => {
  assert.equal(policies({ tenantFairShares: false }).of("acme").share, EVERYBODY);
});

Deno.test("whose share changes keeps the name that it goes by", () => {
  const before = policies({ tenantPoolMax: 1 }).of("acme").share;
  const wider = policies({ tenantPoolMax: 9 });
  assert.equal(wider.shareInstead(before), wider.of("acme").share);
  const off = policies({ tenantFairShares: false, tenantPoolMax: 9 });
  assert.deepEqual(off.shareInstead(before), { ...EVERYBODY, tenant: "acme" });
  assert.equal(off.shareInstead(EVERYBODY), EVERYBODY);
});

Deno.test("however many names come, few policies are kept", () => {
  const all = policies({});
  const first = all.of("t0");
  for (let count = 1; count < READY_MAX; count++) all.of(`t${count}`);
  assert.equal(all.of("t0"), first);
  all.of("one more");
  assert.notEqual(all.of("t0"), first);
});

Deno.test("long names, which anybody may send, are not kept", () => {
  const all = policies({ tenantMaxConnections: 3 });
  const kept = "x".repeat(NAME_LENGTH_MAX);
  assert.equal(all.of(kept), all.of(kept));
  assert.notEqual(all.of(`${kept}x`), all.of(`${kept}x`));
  assert.equal(all.of(`${kept}x`).maxConnections, 3);
});
