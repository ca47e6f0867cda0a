// TimeLimits: who is ended, when, with which SQLSTATE, and who is not.

import { strict as assert } from "node:assert";
import type { PgError } from "../../src/codec/error.ts";
import {
  type Activity,
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
  #reasons: PgError[] = [];
  /** The SQLSTATE that it was ended with. */
  get ended(): string | null {
    return this.#reasons[0]?.sqlState ?? null;
  }
  end(reason: PgError): void {
    assert.equal(this.ended, null, "it is ended once");
    this.#reasons.push(reason);
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
