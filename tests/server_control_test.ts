// Control: what the parts of a proxy are together, and that every act is told.

import assert from "node:assert/strict";
import { resolveSettings } from "../src/config/config.ts";
import { ControlError, type Operator } from "../src/control.ts";
import { Histogram, Meters } from "../src/meters.ts";
import { type Act, type Process, ProxyControl } from "../src/server_control.ts";
import { Resolvers } from "../src/session/resolving.ts";
import { Tenants } from "../src/session/tenants.ts";
import { TimeLimits } from "../src/session/time_limits.ts";
import { tenantRules } from "./support/tenant_rules.ts";

const BY: Operator = { name: "root", from: "192.0.2.1:1", via: "http" };

function world(
  lists: Parameters<typeof tenantRules>[1] = {},
  rules: Parameters<typeof tenantRules>[0] = {},
) {
  const acts: Act[] = [];
  const calls: string[] = [];
  const process: Process = {
    ...{ version: "1", startedAt: new Date(0), eventLoopDelay: new Histogram() },
    ...{ settings: () => [], certificates: () => [], auditLost: () => 3 },
    reload: () => ({ problems: [], changes: 2 }),
    drain: () => void calls.push("drain"),
    setLogLevel: (level) => void calls.push(level),
    acted: (act) => void acts.push(act),
  };
  const { settings } = resolveSettings({ environment: {}, flags: {} });
  const meters = new Meters();
  const tenants = new Tenants(tenantRules(rules, lists));
  const control = new ProxyControl({
    ...{ poolMode: "none", meters, tenants, pools: null, limits: new TimeLimits(settings) },
    connections: () => ({ total: 5, active: 1 }),
    sessions: () => [],
    resolvers: new Resolvers(null, settings, () => Promise.reject(new Error("not called"))),
    readiness: () => Promise.resolve({ listening: true, upstream: true, draining: false }),
  }, process);
  return { control, meters, tenants, acts, calls };
}

Deno.test("totals are there without pools, resolvers and tenants", () => {
  const { control } = world();
  const { connectionsTotal, pool, resolvers, tenant, auditLost } = control.totals();
  assert.deepEqual([connectionsTotal, pool.checkouts, resolvers.resolvers], [5, 0, []]);
  assert.deepEqual([tenant.rejectedDeny, auditLost], [0, 3]);
  assert.deepEqual([control.pools(), control.backends(), control.clients()], [[], [], []]);
});

Deno.test("tenants are those of the past, and those about whom something was said", () => {
  const { control, meters } = world({ deny: ["evil"] });
  const traffic = { bytesIn: 1, bytesOut: 2, transactions: 3, queries: 4 };
  meters.past.add("acme", traffic);
  meters.past.add("evil", traffic);
  control.pause("globex", BY);
  const shown = control.tenants().map((each) => [each.tenant, each.isPaused, each.isDenied]);
  assert.deepEqual(shown, [["acme", false, false], ["evil", false, true], ["globex", true, false]]);
  assert.equal(control.tenant("acme")!.queries, 4);
  assert.equal(control.tenant("nobody"), null);
});

Deno.test("every act is told: by whom, about what, and what has come of it", () => {
  const { control, acts, calls } = world();
  control.deny("acme", BY);
  control.allow("acme", BY);
  control.setLogLevel("debug", BY);
  assert.deepEqual(control.reload(BY), { problems: [], changes: 2 });
  control.drain(BY);
  assert.equal(control.drainPool(null, BY), 0);
  assert.deepEqual(calls, ["debug", "drain"]);
  assert.deepEqual(acts.map(({ act, target, outcome }) => [act, target, outcome]), [
    ["tenant.deny", "acme", "done, 0"],
    ["tenant.allow", "acme", "done, 0"],
    ["log-level", "debug", "done, 0"],
    ["reload", null, "done, 2"],
    ["drain", null, "done, 1"],
    ["pool.drain", null, "done, 0"],
  ]);
  assert(acts.every(({ by }) => by === BY));
});

Deno.test("what cannot be done is refused, and told all the same", () => {
  const { control, acts } = world({ deny: ["evil"] });
  const refusals: [act: () => unknown, kind: string, message: RegExp][] = [
    [() => control.allow("acme", BY), "conflict", /not denied/],
    [() => control.allow("evil", BY), "conflict", /configuration denies/],
    [() => control.resume("acme", BY), "conflict", /not paused/],
    [() => control.resume(null, BY), "conflict", /nobody is paused/],
    [() => control.disconnectClient(9, BY), "unknown", /no client/],
    [() => control.drainPool("x", BY), "unknown", /no pool/],
    [
      () => control.invalidateResolvers({ resolver: "r", inputs: null }, BY),
      ...["unknown", /no resolver/] as const,
    ],
  ];
  for (const [act, kind, message] of refusals) {
    assert.throws(act, (error) => {
      assert(error instanceof ControlError);
      assert.equal(error.kind, kind);
      assert.match(error.message, message);
      return true;
    });
  }
  assert.equal(acts.length, refusals.length);
  assert(acts.every(({ outcome }) => outcome.startsWith("refused: ")));
});

Deno.test("orders hold for a tenant however an operator spells it", () => {
  const { control, tenants } = world({}, { tenantType: "uuid" });
  const tenant = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
  control.deny(tenant.toUpperCase(), BY);
  assert.equal(tenants.orders.isDenied(tenant), true);
  assert.equal(control.tenant(`{${tenant}}`)!.isDenied, true);
  control.allow(`{${tenant}}`, BY);
  assert.equal(tenants.orders.isDenied(tenant), false);
  assert.throws(() => control.pause("acme", BY), ControlError);
});
