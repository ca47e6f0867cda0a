// TimeLimits: who is ended, when, with which SQLSTATE, and who is not.

import { strict as assert } from "node:assert";
import type { PgError } from "../../src/codec/error.ts";
import type { TenantTimeouts } from "../../src/session/tenant_policies.ts";
import {
  type Activity,
  DRAIN_MS_MAX,
  type LimitedSession,
  TimeLimits,
  type TimeLimitSettings,
} from "../../src/session/time_limits.ts";
import { FakeClock } from "../support/pool_world.ts";

const NONE: TimeLimitSettings = {
  clientIdleTimeout: null,
  idleTransactionTimeout: null,
  transactionTimeout: null,
};

class FakeSession implements LimitedSession {
  activity: Activity = "idle";
  traffic = 0;
  transactions = 0;
  answers = 0;
  isPooled = true;
  tenantTimeouts: TenantTimeouts | null = null;
  /** The SQLSTATE that it was told to end with, when it can. */
  drained: string | null = null;
  cancels = 0;
  #reasons: PgError[] = [];
  /** The SQLSTATE that it was ended with. */
  get ended(): string | null {
    return this.#reasons[0]?.sqlState ?? null;
  }
  end(reason: PgError): void {
    assert.equal(this.ended, null, "it is ended once");
    this.#reasons.push(reason);
  }
  drain(reason: PgError): void {
    assert.equal(this.drained, null, "it is told once");
    this.drained = reason.sqlState;
  }
  cancelStatement(): void {
    this.cancels++;
  }
}

function world(settings: Partial<TimeLimitSettings>) {
  const clock = new FakeClock();
  const limits = new TimeLimits({ ...NONE, ...settings }, clock);
  const session = new FakeSession();
  const watch = limits.watch(session);
  return { clock, limits, session, watch };
}

Deno.test("client_idle_timeout ends who is silent outside a transaction, and nobody else", async () => {
  for (const activity of ["idle", "busy", "in transaction", "waiting"] as const) {
    const { clock, session } = world({ clientIdleTimeout: 1_000 });
    session.activity = activity;
    await clock.advance(900);
    assert.equal(session.ended, null);
    await clock.advance(400);
    assert.equal(session.ended, activity === "idle" ? "57P05" : null, activity);
  }
});

Deno.test("a client that says something is not silent", async () => {
  const { clock, session } = world({ clientIdleTimeout: 1_000 });
  for (let count = 0; count < 10; count++) {
    await clock.advance(800);
    session.traffic += 10;
  }
  assert.equal(session.ended, null);
  await clock.advance(1_300);
  assert.equal(session.ended, "57P05");
});

Deno.test("idle_transaction_timeout ends who is silent inside a transaction", async () => {
  const { clock, session } = world({ idleTransactionTimeout: 500 });
  await clock.advance(2_000);
  session.activity = "busy";
  await clock.advance(2_000);
  assert.equal(session.ended, null, "a statement may take long");
  session.activity = "in transaction";
  await clock.advance(400);
  assert.equal(session.ended, null);
  await clock.advance(300);
  assert.equal(session.ended, "25P03");
});

Deno.test("transaction_timeout counts the transaction as a whole, and each anew", async () => {
  const { clock, session } = world({ transactionTimeout: 1_000 });
  for (let count = 0; count < 5; count++) {
    session.activity = "busy";
    await clock.advance(600);
    session.traffic++;
    session.transactions++; // one after the other, never seen idle
  }
  assert.equal(session.ended, null);
  for (let count = 0; count < 3; count++) {
    session.activity = count % 2 === 0 ? "in transaction" : "busy";
    session.traffic++;
    await clock.advance(400);
  }
  assert.equal(session.ended, "25P04");
});

Deno.test("nobody is looked at when there is no limit, or nobody to look at", async () => {
  const { clock, limits, session, watch } = world({});
  assert.equal(clock.pending, 0);
  limits.settings = { ...NONE, clientIdleTimeout: 100 };
  assert.equal(clock.pending, 1);
  watch[Symbol.dispose]();
  assert.equal(clock.pending, 0);
  await clock.advance(1_000);
  assert.equal(session.ended, null);
});

Deno.test("a new limit holds for sessions that are there", async () => {
  const { clock, limits, session } = world({});
  await clock.advance(10_000);
  limits.settings = { ...NONE, clientIdleTimeout: 100 };
  await clock.advance(150);
  assert.equal(session.ended, "57P05");
});

function tenantWorld(timeouts: Partial<TenantTimeouts>) {
  const none = { idleTimeout: null, statementTimeout: null, sessionTimeout: null };
  const all = world({});
  all.session.tenantTimeouts = { ...none, silenceTimeout: null, ...timeouts };
  const set = Object.values(timeouts).filter((each) => typeof each === "number");
  all.limits.tenantShortest = Math.min(...set);
  return all;
}

Deno.test("a tenant's idle timeout ends who is silent while nothing runs, and nobody else", async () => {
  const ends = { idle: "57P05", "in transaction": "25P03", busy: null, waiting: null } as const;
  for (const activity of ["idle", "in transaction", "busy", "waiting"] as const) {
    const { clock, session } = tenantWorld({ idleTimeout: 1_000 });
    session.activity = activity;
    await clock.advance(900);
    assert.equal(session.ended, null);
    await clock.advance(400);
    assert.equal(session.ended, ends[activity], activity);
  }
});

Deno.test("the seed's timeout ends silence whatever runs, but not while it waits", async () => {
  for (const activity of ["idle", "in transaction", "busy", "waiting"] as const) {
    const { clock, session } = tenantWorld({ silenceTimeout: 1_000 });
    session.activity = activity;
    await clock.advance(800);
    session.traffic++;
    await clock.advance(900);
    assert.equal(session.ended, null);
    await clock.advance(400);
    assert.equal(session.ended, activity === "waiting" ? null : "57P05", activity);
  }
});

Deno.test("a statement that takes too long is cancelled, and again when that has missed", async () => {
  const { clock, session } = tenantWorld({ statementTimeout: 1_000 });
  session.activity = "busy";
  for (let count = 0; count < 10; count++) {
    await clock.advance(800);
    session.answers++; // one after the other, never seen at rest
    session.traffic++;
  }
  assert.equal(session.cancels, 0);
  await clock.advance(1_200);
  assert.equal(session.cancels, 1);
  await clock.advance(1_100);
  assert.equal(session.cancels, 2);
  session.activity = "in transaction";
  await clock.advance(5_000);
  assert.deepEqual([session.cancels, session.ended], [2, null]);
});

Deno.test("an old session is told to end when it can, and a minute later must", async () => {
  const { clock, session } = tenantWorld({ sessionTimeout: 5_000 });
  session.activity = "in transaction";
  await clock.advance(4_900);
  assert.equal(session.drained, null);
  await clock.advance(600);
  assert.deepEqual([session.drained, session.ended], ["57P01", null]);
  await clock.advance(DRAIN_MS_MAX + 1_000);
  assert.equal(session.ended, "57P01");
});

Deno.test("limits of pools are not for who has a connection of its own, limits of tenants are", async () => {
  const { clock, session, limits } = world({ clientIdleTimeout: 100 });
  session.isPooled = false;
  await clock.advance(1_000);
  assert.equal(session.ended, null);
  const timeouts = { statementTimeout: null, sessionTimeout: null, silenceTimeout: null };
  session.tenantTimeouts = { ...timeouts, idleTimeout: 200 };
  limits.tenantShortest = 200;
  await clock.advance(300);
  assert.equal(session.ended, "57P05");
});

Deno.test("who belongs to no tenant has no tenant's limits", async () => {
  const { clock, session } = tenantWorld({ idleTimeout: 100 });
  session.tenantTimeouts = null;
  await clock.advance(10_000);
  assert.equal(session.ended, null);
});
