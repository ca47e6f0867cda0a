// TenantPolicies: what holds for a tenant of which nothing special is said.

import { strict as assert } from "node:assert";
import { TenantPolicies } from "../../src/session/tenant_policies.ts";
import { NO_TENANT_LIMITS } from "../support/tenant_rules.ts";

Deno.test("a tenant has the limits of all", () => {
  const policies = new TenantPolicies({ ...NO_TENANT_LIMITS, tenantMaxConnections: 3 });
  assert.equal(policies.of("acme").maxConnections, 3);
  assert.equal(policies.of("acme").rateLimit, null);
});
