// What operators say of tenants holds for the sessions of then and for those that come.

import { strict as assert } from "node:assert";
import { ORDERS_MAX, TenantOrders, TooManyOrders } from "../../src/session/tenant_orders.ts";
import { Tenants } from "../../src/session/tenants.ts";
import { FakeTenantSession } from "../support/tenant_sessions.ts";
import { tenantRules } from "../support/tenant_rules.ts";

function world() {
  const tenants = new Tenants(tenantRules());
  const enter = (tenant: string) => {
    const session = new FakeTenantSession();
    tenants.enter(tenant, session);
    return session;
  };
  return { tenants, orders: tenants.orders, enter };
}

Deno.test("disconnect ends the sessions of one tenant, who may come again", () => {
  const { orders, enter } = world();
  const [acme, other, globex] = [enter("acme"), enter("acme"), enter("globex")];
  assert.equal(orders.disconnect("acme"), 2);
  assert.deepEqual([acme, other, globex].map(({ expelled }) => expelled?.sqlState), [
    ...["57P01", "57P01", undefined],
  ]);
  assert.equal(orders.disconnect("nobody"), 0);
  enter("acme");
});

Deno.test("who is denied is let go, and not let in until it is allowed again", () => {
  const { tenants, orders, enter } = world();
  const session = enter("acme");
  assert.equal(orders.deny("acme"), 1);
  assert.equal(session.expelled?.sqlState, "28000");
  assert.throws(() => enter("acme"), /may not connect/);
  assert.equal(tenants.rejected.deny, 1);
  enter("globex");
  assert(orders.allow("acme"));
  assert(!orders.allow("acme"));
  enter("acme");
});

Deno.test("who is paused is held, whenever it has come, until it is resumed", () => {
  const { orders, enter } = world();
  const [acme, globex] = [enter("acme"), enter("globex")];
  assert.equal(orders.pause("acme"), 1);
  const late = enter("acme");
  assert.deepEqual([acme, late, globex].map(({ isHeld }) => isHeld), [true, true, false]);
  assert.equal(orders.resume("globex"), null);
  assert.equal(orders.resume("acme"), 2);
  assert.deepEqual([acme, late].map(({ isHeld }) => isHeld), [false, false]);
  assert.equal(orders.resume("acme"), null);
});

Deno.test("all are paused and resumed together", () => {
  const { orders, enter } = world();
  const sessions = [enter("acme"), enter("globex")];
  assert.equal(orders.pause(null), 2);
  sessions.push(enter("initech"));
  assert(sessions.every(({ isHeld }) => isHeld));
  assert.equal(orders.resume("acme"), null, "one alone cannot be told apart");
  assert.equal(orders.resume(null), 3);
  assert(sessions.every(({ isHeld }) => !isHeld));
  assert.equal(orders.resume(null), null);
});

Deno.test("orders about single tenants have a bound", () => {
  const orders = new TenantOrders(() => []);
  for (let index = 0; index < ORDERS_MAX; index++) orders.pause(`t${index}`);
  orders.pause("t0");
  assert.throws(() => orders.pause("more"), TooManyOrders);
  orders.deny("more");
  assert.equal(orders.tenants.size, ORDERS_MAX + 1);
});
