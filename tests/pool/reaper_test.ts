// Reaper: who is closed when, and that one timer is enough.

import { strict as assert } from "node:assert";
import { Reaper } from "../../src/pool/reaper.ts";
import { Slot, Slots } from "../../src/pool/slots.ts";
import { FakeClock, FakeMember } from "../support/pool_world.ts";

function world(minIdle: number, idleTimeoutMs: number, maxLifetimeMs: number) {
  const clock = new FakeClock();
  const slots = new Slots<FakeMember>();
  const closed: string[] = [];
  const limits = { minIdle, idleTimeoutMs, maxLifetimeMs };
  const close = (slot: Slot<FakeMember>, reason: string) => {
    slots.move(slot, "gone", clock.now());
    closed.push(`${slot.member.id} ${reason}`);
  };
  let reaped = 0;
  const reaper = new Reaper(clock, slots, () => limits, close, () => reaped++);
  const idle = (id: number, lifetimeShare = 1) => {
    const slot = new Slot(new FakeMember(id), clock.now(), lifetimeShare);
    slots.add(slot);
    slots.move(slot, "idle", clock.now());
    reaper.arm(slot);
    return slot;
  };
  return { clock, slots, closed, reaper, idle, reaped: () => reaped };
}

Deno.test("Reaper closes the longest idle ones beyond the minimum, with one timer", async () => {
  const { clock, closed, idle, reaped } = world(1, 100, Infinity);
  idle(1);
  await clock.advance(10);
  idle(2);
  idle(3);
  assert.equal(clock.pending, 1);
  await clock.advance(89);
  assert.deepEqual([closed, reaped()], [[], 0]);
  await clock.advance(1);
  assert.deepEqual(closed, ["1 idle"]);
  await clock.advance(10);
  assert.deepEqual([closed, reaped()], [["1 idle", "2 idle"], 2]);
  await clock.advance(1_000);
  assert.deepEqual([closed.length, clock.pending], [2, 0]);
});

Deno.test("Reaper closes whose lifetime is over, and passes over who is in use", async () => {
  const { clock, slots, closed, idle, reaper } = world(9, Infinity, 100);
  idle(1, 1.1);
  const used = idle(2, 0.9);
  slots.move(used, "leased", clock.now());
  await clock.advance(100);
  assert.deepEqual(closed, []);
  await clock.advance(10);
  assert.deepEqual(closed, ["1 lifetime"]);
  idle(3);
  reaper.stop();
  assert.equal(clock.pending, 0);
});
