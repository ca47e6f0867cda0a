// Refusals: each says how full the pool is, and names the settings that would help.

import { strict as assert } from "node:assert";
import { PgError } from "../../src/codec/error.ts";
import { crowdRefusal, openError, timeoutError } from "../../src/pool/refusals.ts";

const FULL = { name: "shop/app", size: 2, taken: 2, leased: 1, waiting: 8 };

const SHARE = { tenant: "acme", weight: 1, poolMax: 2, poolMin: 0, queueMax: 3 };

Deno.test("timeoutError names the ceiling that was reached", () => {
  const full = timeoutError(FULL, 1_500, null);
  assert.equal(full.message, "no server connection became free within 1.5 s");
  assert.equal(full.fields.detail, 'Pool "shop/app" has 2 of 2 server connections, 1 in use.');
  assert.match(full.fields.hint!, /raise pool_size or pool_checkout_timeout\.$/);
  const capped = timeoutError({ ...FULL, taken: 1 }, 5_000, null);
  assert.match(capped.fields.hint!, /raise pool_max_total or pool_checkout_timeout\.$/);
  const failing = timeoutError({ ...FULL, taken: 1 }, 5_000, new PgError("08001", "no route"));
  assert.match(failing.fields.detail!, /The last attempt to open one: no route\.$/);
  assert.match(failing.fields.hint!, /pool_size/);
});

Deno.test("timeoutError names the tenant's maximum when that was it", () => {
  const { message, fields } = timeoutError(FULL, 1_500, null, SHARE);
  assert.equal(message, 'tenant "acme" used its 2 server connections for 1.5 s');
  assert.match(fields.hint!, /tenant_pool_max/);
});

Deno.test("crowdRefusal: too many of all, too many of one tenant, and neither", () => {
  const account = (size: number, ready: number) => ({ queue: { size }, ready, share: SHARE });
  assert.equal(crowdRefusal(account(3, 3), 0, FULL, 8), null);
  const whole = crowdRefusal(account(3, 3), 0, FULL, 7)!;
  const { sqlState, fields } = whole.error;
  assert.deepEqual([sqlState, whole.isTenants], ["53300", false]);
  assert.match(fields.detail!, /pool_max_waiting is 7\.$/);
  assert.equal(crowdRefusal(account(3, 3), 1, FULL, 7), null);
  const { error: crowd, isTenants } = crowdRefusal(account(4, 4), 0, FULL, 8)!;
  assert.deepEqual([crowd.sqlState, isTenants], ["53300", true]);
  assert.match(crowd.message, /tenant "acme" wait for a server connection: the limit is 3$/);
  assert.equal(crowdRefusal(account(4, 4), 1, FULL, 8), null, "one is served soon");
  assert.notEqual(crowdRefusal(account(4, 0), 1, FULL, 8), null, "another's member is no help");
});

Deno.test("openError passes a PgError as it is, and never says XX000", () => {
  const known = new PgError("28P01", "password authentication failed");
  assert.equal(openError(known), known);
  const unknown = openError(new TypeError("connection refused"));
  assert.equal(unknown.sqlState, "08001");
  assert.match(unknown.message, /: connection refused$/);
  assert.match(openError("text").message, /: text$/);
});
