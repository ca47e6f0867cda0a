// The rules of tenants for tests: none, but for what a test says.

import { TenantPatterns } from "../../src/context/tenant_patterns.ts";
import { TenantPolicies, type TenantSettings } from "../../src/session/tenant_policies.ts";
import type { TenantRules } from "../../src/session/tenants.ts";

export const NO_TENANT_LIMITS: TenantSettings = {
  tenantType: "text",
  tenantMaxConnections: null,
  tenantRateLimit: null,
  tenantRateBurst: null,
  tenantIdleTimeout: null,
  tenantStatementTimeout: null,
  tenantSessionTimeout: null,
  tenantQueryTimeout: null,
  tenantFairShares: true,
  tenantWeight: 1,
  tenantPoolMax: null,
  tenantPoolMin: 0,
  tenantQueueMax: null,
};

export function tenantRules(
  settings: Partial<TenantSettings> = {},
  lists: { readonly allow?: readonly string[]; readonly deny?: readonly string[] } = {},
): TenantRules {
  const patterns = (list?: readonly string[]) => list ? new TenantPatterns(list) : null;
  return {
    allow: patterns(lists.allow),
    deny: patterns(lists.deny),
    policies: new TenantPolicies({ ...NO_TENANT_LIMITS, ...settings }),
  };
}
