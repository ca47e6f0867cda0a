// Tenants: who may come, what is counted and when, and what is forgotten.

import { strict as assert } from "node:assert";
import { PgError } from "../../src/codec/error.ts";
import type { TenantSettings } from "../../src/session/tenant_policies.ts";
import { RESTING_MAX, Tenants } from "../../src/session/tenants.ts";
import { Random } from "../support/random.ts";
import { tenantRules } from "../support/tenant_rules.ts";

class FakeSession {
  readonly reasons: PgError[] = [];
  expel(reason: PgError): void {
    this.reasons.push(reason);
  }
  hold(): void {}
  release(): void {}
}

function world(
  settings: Partial<TenantSettings> = {},
  lists: Parameters<typeof tenantRules>[1] = {},
) {
  const clock = { now: 1_000 };
  const tenants = new Tenants(tenantRules(settings, lists), () => clock.now);
  const enter = (tenant: string) => tenants.enter(tenant, new FakeSession());
  return { clock, tenants, enter };
}

function refused(act: () => unknown, sqlState: string, message: RegExp): void {
  assert.throws(act, (error) => {
    assert(error instanceof PgError);
    assert.equal(error.sqlState, sqlState);
    assert.match(error.message, message);
    return true;
  });
}

Deno.test("lists: denied, not allowed, both, and everybody else", () => {
  const { tenants } = world({}, { allow: ["acme*"], deny: ["*-old"] });
  tenants.check("acme-1");
  for (const tenant of ["globex", "acme-old", "globex-old"]) {
    const message = new RegExp(`^tenant "${tenant}" may not connect$`);
    refused(() => tenants.check(tenant), "28000", message);
    refused(() => tenants.enter(tenant, new FakeSession()), "28000", message);
  }
  assert.equal(tenants.size, 0);
});

Deno.test("connections are counted when they enter, until they leave, and once", () => {
  const { tenants, enter } = world({ tenantMaxConnections: 2 });
  for (let count = 0; count < 100; count++) tenants.check("acme"); // an outsider knocks
  const [first, second] = [enter("acme"), enter("acme")];
  refused(() => tenants.check("acme"), "53300", /"acme": the limit is 2$/);
  refused(() => enter("acme"), "53300", /"acme": the limit is 2$/);
  enter("globex");
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  assert.equal(tenants.active("acme"), 1);
  enter("acme");
  refused(() => enter("acme"), "53300", /too many connections/);
  second[Symbol.dispose]();
  assert.equal(tenants.active("acme"), 1);
});

Deno.test("the rate is a bucket: a burst at once, and then one after the other", () => {
  const { clock, tenants, enter } = world({ tenantRateLimit: 10, tenantRateBurst: 3 });
  for (let count = 0; count < 100; count++) tenants.check("acme"); // knocking costs nothing
  for (let count = 0; count < 3; count++) enter("acme")[Symbol.dispose]();
  refused(() => tenants.check("acme"), "53300", /"acme": the limit is 10 in a second$/);
  clock.now += 99;
  refused(() => enter("acme"), "53300", /too many new connections/);
  clock.now += 1;
  enter("acme");
  refused(() => enter("acme"), "53300", /too many new connections/);
  enter("globex");
  clock.now += 60_000;
  for (let count = 0; count < 3; count++) enter("acme");
  refused(() => enter("acme"), "53300", /too many new connections/);
});

Deno.test("the burst is as many as in a second, when nothing else is said", () => {
  const { enter } = world({ tenantRateLimit: 5 });
  for (let count = 0; count < 5; count++) enter("acme");
  refused(() => enter("acme"), "53300", /the limit is 5 in a second/);
});

Deno.test("a tenant that has gone is forgotten as soon as it may come as fast as ever", () => {
  const { clock, tenants, enter } = world({ tenantRateLimit: 1 });
  enter("acme")[Symbol.dispose]();
  assert.equal(tenants.size, 1, "its bucket is not full");
  clock.now += 5_000;
  enter("globex")[Symbol.dispose]();
  assert.equal(tenants.size, 1, "acme is forgotten");
  const free = world();
  free.enter("acme")[Symbol.dispose]();
  assert.equal(free.tenants.size, 0);
});

Deno.test("however many names come, few are remembered", () => {
  const { tenants, enter } = world({ tenantRateLimit: 1 });
  for (let count = 0; count < RESTING_MAX + 500; count++) enter(`t${count}`)[Symbol.dispose]();
  assert.equal(tenants.size, RESTING_MAX);
});

Deno.test("new rules end the sessions of whom they deny, and of nobody else", () => {
  const { tenants } = world();
  const [acme, other] = [[new FakeSession(), new FakeSession()], new FakeSession()];
  for (const session of acme) tenants.enter("acme", session);
  tenants.enter("globex", other);
  tenants.rules = tenantRules({}, { deny: ["acme"] });
  for (const { reasons } of acme) {
    assert.deepEqual(reasons.map(({ sqlState }) => sqlState), ["28000"]);
  }
  assert.deepEqual(other.reasons, []);
  tenants.rules = tenantRules({}, { allow: ["acme"] });
  assert.equal(other.reasons.length, 1, "neither is who is not allowed");
});

Deno.test("a lower limit ends nobody, and a higher one holds at once", () => {
  const { tenants, enter } = world({ tenantMaxConnections: 3 });
  for (let count = 0; count < 3; count++) enter("acme");
  tenants.rules = tenantRules({ tenantMaxConnections: 1 });
  assert.equal(tenants.active("acme"), 3);
  refused(() => enter("acme"), "53300", /the limit is 1/);
  tenants.rules = tenantRules({ tenantMaxConnections: 4 });
  enter("acme");
});

Deno.test("whatever comes and goes, counts and limits are exact", () => {
  for (let seed = 0; seed < 30; seed++) {
    const random = new Random(seed);
    const { clock, tenants, enter } = world({ tenantMaxConnections: 3, tenantRateLimit: 20 });
    const held = new Map<string, Disposable[]>([["a", []], ["b", []]]);
    const came: Record<string, number[]> = { a: [], b: [] };
    for (let step = 0; step < 300; step++) {
      clock.now += random.integer(0, 40);
      const tenant = random.pick(["a", "b"]);
      const places = held.get(tenant)!;
      if (random.chance(0.4) && places.length > 0) places.pop()![Symbol.dispose]();
      else {
        try {
          places.push(enter(tenant));
          came[tenant]!.push(clock.now);
        } catch (error) {
          assert(error instanceof PgError && error.sqlState === "53300");
        }
      }
      assert.equal(tenants.active(tenant), places.length);
      assert(places.length <= 3, `seed ${seed}`);
      const inSecond = came[tenant]!.filter((at) => at > clock.now - 1_000).length;
      assert(inSecond <= 20 + 20, `seed ${seed}: a burst and what a second gives`);
    }
  }
});
