// A proxy as operators see it, for the tests of what shows it: everything is what the test says.

import type { Control, TenantView, Totals } from "../../src/control.ts";
import { Histogram, Meters, NO_TRAFFIC, type Traffic } from "../../src/meters.ts";

/** A tenant of which nothing is known. */
export function tenantView(tenant: string, more: Partial<TenantView> = {}): TenantView {
  const calm = { connections: 0, active: 0, waiting: 0, isPaused: false, isDenied: false };
  return { ...NO_TRAFFIC, ...calm, tenant, ...more };
}

/** What a test may change while it runs. */
export interface FakeControl extends Control {
  readonly shown: {
    tenants: TenantView[];
    traffic: Traffic;
    pools: ReturnType<Control["pools"]>;
    backends: ReturnType<Control["backends"]>;
    clients: ReturnType<Control["clients"]>;
  };
}

/** A proxy in which nothing goes on. */
export function fakeControl(): FakeControl {
  const meters = new Meters();
  const shown: FakeControl["shown"] = {
    ...{ tenants: [], traffic: NO_TRAFFIC, pools: [], backends: [], clients: [] },
  };
  const totals = (): Totals => ({
    ...{ connectionsTotal: 7, connectionsActive: 3, auditLost: 0 },
    pool: {
      ...{ checkouts: 0, reuses: 0, creates: 0, checkins: 0, discards: 0, timeouts: 0 },
      contextChanges: 0,
    },
    resolvers: { cacheHits: 0, cacheMisses: 0, cacheSize: 0, resolvers: [] },
    tenant: { rejectedDeny: 0, rejectedLimit: 0, rejectedRate: 0, timeouts: 0 },
    ...{ traffic: shown.traffic, tenantTraffic: shown.traffic },
  });
  const none = () => 0;
  return {
    ...{ version: "1.2.3", startedAt: new Date(), poolMode: "transaction", meters, shown },
    ...{ eventLoopDelay: new Histogram(), totals },
    readiness: () => Promise.resolve({ listening: true, upstream: true, draining: false }),
    tenants: () => shown.tenants,
    tenant: (tenant) => shown.tenants.find((each) => each.tenant === tenant) ?? null,
    ...{ clients: () => shown.clients, pools: () => shown.pools, backends: () => shown.backends },
    refusals: () => meters.refusals.items,
    ...{ settings: () => [], certificates: () => [] },
    ...{ disconnectTenant: none, pause: none, resume: none, deny: none, allow: none },
    ...{ disconnectClient: none, invalidateResolvers: none, drain: none, setLogLevel: none },
    reload: () => ({ problems: [], changes: 0 }),
  };
}
