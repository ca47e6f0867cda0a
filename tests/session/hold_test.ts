// Who is held waits between transactions, and nowhere else, and never for ever.

import { strict as assert } from "node:assert";
import { TransactionHold } from "../../src/session/hold.ts";

const QUERY = "Q".charCodeAt(0);
const TERMINATE = "X".charCodeAt(0);
const BETWEEN = { betweenTransactions: true, probe: () => Promise.resolve() };

Deno.test("nobody waits unless it is held, in a transaction, or when it wants to leave", async () => {
  const hold = new TransactionHold();
  await hold.pass(BETWEEN, QUERY);
  hold.hold();
  assert(hold.isOn);
  await hold.pass({ ...BETWEEN, betweenTransactions: false }, QUERY);
  await hold.pass(BETWEEN, TERMINATE);
  assert(!hold.isWaiting);
});

Deno.test("a new transaction waits until it is released, also when it is held again meanwhile", async () => {
  const hold = new TransactionHold();
  hold.hold();
  hold.hold();
  let passed = false;
  const passing = hold.pass(BETWEEN, QUERY).then(() => passed = true);
  await Promise.resolve();
  assert(hold.isWaiting);
  hold.release();
  hold.hold();
  for (let turn = 0; turn < 10; turn++) await Promise.resolve();
  assert(!passed && hold.isWaiting);
  hold.release();
  await passing;
  assert(!hold.isWaiting && !hold.isOn);
});

Deno.test("who waits is told now and then, and when that shows it dead, it waits no more", async () => {
  const hold = new TransactionHold(1);
  hold.hold();
  let probes = 0;
  const probe = () => {
    if (++probes === 3) hold.end();
    return Promise.resolve();
  };
  await hold.pass({ betweenTransactions: true, probe }, QUERY);
  assert.equal(probes, 3);
  assert(!hold.isWaiting);
});

Deno.test("the end of the session ends the waiting, and nothing is held behind it", async () => {
  const hold = new TransactionHold();
  hold.hold();
  const passing = hold.pass(BETWEEN, QUERY);
  hold.end();
  await passing;
  hold.hold();
  assert(!hold.isOn);
  await hold.pass(BETWEEN, QUERY);
});
