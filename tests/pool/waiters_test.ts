// Waiters: the order of arrival, and nothing left behind by who leaves.

import { strict as assert } from "node:assert";
import { PgError } from "../../src/codec/error.ts";
import { EVERYBODY } from "../../src/pool/fairness.ts";
import { Waiters } from "../../src/pool/waiters.ts";
import { FakeClock, settle } from "../support/pool_world.ts";

const LATE = new PgError("53300", "late");

function queue() {
  const clock = new FakeClock();
  const gone: number[] = [];
  const waiters: Waiters<string> = new Waiters(clock, () => gone.push(waiters.length));
  const join = (ticket: number, signal = new AbortController().signal) => {
    const patience = { signal, msMax: 100, timeoutError: () => LATE };
    const { waiter, served } = waiters.join(null, ticket, patience);
    return { waiter, end: served.catch((error: Error) => error.message) };
  };
  return { clock, gone, waiters, join };
}

Deno.test("Waiters are found in the order of arrival, and leave when they are served", async () => {
  const { waiters, join, clock, gone } = queue();
  const [a, b] = [join(1), join(2), join(3)];
  assert.deepEqual([0, 1, 2, 3].map((at) => waiters.at(at)?.ticket), [1, 2, 3, undefined]);
  waiters.at(1)!.serve("second");
  waiters.at(0)!.refuse(new PgError("57P01", "refused"));
  assert.deepEqual([await a!.end, await b!.end], ["refused", "second"]);
  assert.deepEqual([waiters.length, clock.pending, gone], [1, 1, []]);
});

Deno.test("Waiters: who gives up or is late leaves the queue, and it is told", async () => {
  const { waiters, join, clock, gone } = queue();
  const controller = new AbortController();
  const [aborted, late] = [join(1, controller.signal), join(2, controller.signal)];
  late!.waiter.serve("in time");
  controller.abort(new Error("aborted"));
  const patient = join(3);
  await clock.advance(100);
  assert.deepEqual([await aborted!.end, await late!.end, await patient.end], [
    "aborted",
    "in time",
    "late",
  ]);
  assert.deepEqual([waiters.length, clock.pending, gone], [0, 0, [0, 0]]);
});

Deno.test("Waiters can all be sent away", async () => {
  const { waiters, join, clock } = queue();
  const all = [join(1), join(2)];
  waiters.refuseAll(new PgError("57P01", "closed"));
  await settle();
  assert.deepEqual(await Promise.all(all.map(({ end }) => end)), ["closed", "closed"]);
  assert.deepEqual([waiters.length, clock.pending], [0, 0]);
});

Deno.test("Waiters of several tenants take turns, each tenant's in the order of arrival", async () => {
  const clock = new FakeClock();
  const waiters: Waiters<string> = new Waiters(clock, () => {});
  const patience = {
    signal: new AbortController().signal,
    msMax: 100,
    timeoutError: () => LATE,
  };
  for (const [ticket, tenant] of ["a", "a", "a", "b"].entries()) {
    const account = waiters.shares.account({ ...EVERYBODY, tenant });
    waiters.join(null, ticket, patience, account).served.catch(() => {});
  }
  const tickets: number[] = [];
  for (let waiter = waiters.at(0); waiter !== undefined; waiter = waiters.at(0)) {
    tickets.push(waiter.ticket);
    waiters.shares.begin(waiter.account);
    waiter.serve("");
  }
  assert.deepEqual(tickets, [0, 3, 1, 2]);
  await settle();
  assert.equal(clock.pending, 0);
});
