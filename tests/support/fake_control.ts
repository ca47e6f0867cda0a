// A Control without a proxy: it shows what a test says, and remembers what it was told to do.

import { type Control, ControlError, type TenantView, type Totals } from "../../src/control.ts";
import { Histogram, Meters, NO_TRAFFIC } from "../../src/meters.ts";

export const NO_TOTALS: Totals = {
  ...{ connectionsTotal: 0, connectionsActive: 0, auditLost: 0 },
  pool: {
    ...{ checkouts: 0, reuses: 0, creates: 0, checkins: 0 },
    ...{ discards: 0, timeouts: 0, contextChanges: 0 },
  },
  resolvers: { cacheHits: 0, cacheMisses: 0, cacheSize: 0, resolvers: [] },
  tenant: { rejectedDeny: 0, rejectedLimit: 0, rejectedRate: 0, timeouts: 0 },
  ...{ traffic: NO_TRAFFIC, tenantTraffic: NO_TRAFFIC },
};

export const NO_POOL = {
  ...{ id: "0123456789ab", database: "shop", role: "app", upstream: null },
  ...{ idle: 0, active: 0, opening: 0, waiting: 0, longestWaitMs: 0, isFailing: false },
  ...{ checkouts: 0, reuses: 0, contextChanges: 0, opened: 0, openFailures: 0 },
  ...{ timeouts: 0, refusals: 0, waitMs: 0, closed: {} },
};

export const NO_CLIENT = {
  ...{ id: 1, peer: "192.0.2.1:1", role: "app", database: "shop", tenant: "acme" },
  ...{ state: "idle" as const, applicationName: "", isEncrypted: false, pinned: null },
  ...{ backend: null, connectedAt: new Date(0), ...NO_TRAFFIC },
};

export function tenantView(tenant: string, more: Partial<TenantView> = {}): TenantView {
  return {
    ...{ tenant, connections: 0, active: 0, waiting: 0, isPaused: false, isDenied: false },
    ...NO_TRAFFIC,
    ...more,
  };
}

export interface FakeControl extends Control {
  /** `name argument by`, in order. */
  readonly calls: string[];
}

/** @param shown what it has to show, beyond nothing. */
export function fakeControl(shown: Partial<Control> = {}): FakeControl {
  const calls: string[] = [];
  const act = (name: string) => (...args: unknown[]) => {
    const texts = args.map((each) =>
      typeof each === "object" ? JSON.stringify(each) : String(each)
    );
    calls.push([name, ...texts].join(" "));
    if (args[0] === "refuse") throw new ControlError("conflict", "not now");
    return 2 as never;
  };
  return {
    calls,
    ...{ version: "1.2.3", startedAt: new Date(0), poolMode: "session" },
    ...{ meters: new Meters(), eventLoopDelay: new Histogram() },
    totals: () => NO_TOTALS,
    readiness: () => Promise.resolve({ listening: true, upstream: true, draining: false }),
    ...{ tenants: () => [], clients: () => [], pools: () => [], backends: () => [] },
    ...{ refusals: () => [], settings: () => [], certificates: () => [] },
    tenant(name) {
      return this.tenants().find(({ tenant }) => tenant === name) ?? null;
    },
    disconnectTenant: act("disconnectTenant"),
    pause: act("pause"),
    resume: act("resume"),
    deny: act("deny"),
    allow: act("allow"),
    disconnectClient: act("disconnectClient"),
    drainPool: act("drainPool"),
    invalidateResolvers: act("invalidateResolvers"),
    reload: () => ({ problems: [], changes: 1 }),
    drain: act("drain"),
    setLogLevel: act("setLogLevel"),
    ...shown,
  };
}
