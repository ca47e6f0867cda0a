// Slots: states and their numbers stay together, and the right idle member is found.

import { strict as assert } from "node:assert";
import { Slot, Slots } from "../../src/pool/slots.ts";
import { FakeMember } from "../support/pool_world.ts";

function idleSlots(...contextKeys: string[]) {
  const slots = new Slots<FakeMember>();
  const all = contextKeys.map((contextKey, index) => {
    const slot = new Slot(new FakeMember(index), 0, 1);
    slot.member.contextKey = contextKey;
    slots.add(slot);
    slots.move(slot, "idle", index);
    return slot;
  });
  return { slots, all };
}

Deno.test("Slots count every state, and forget what is gone", () => {
  const { slots, all: [a, b, c] } = idleSlots("a", "b", "c");
  slots.move(b!, "checking", 5);
  slots.move(c!, "leased", 5);
  assert.deepEqual({ ...slots.count }, { idle: 1, checking: 1, leased: 1 });
  slots.move(a!, "gone", 5);
  slots.move(c!, "gone", 5);
  assert.deepEqual([slots.size, slots.idle.length], [1, 0]);
  assert.throws(() => slots.move(a!, "idle", 5), /does not come back/);
});

Deno.test("Slots find the last of the same context, else the last, not idle for too long", () => {
  const { slots } = idleSlots("a", "b", "a", "c");
  const found = (contextKey: string | null, since?: number) =>
    slots.findIdle(contextKey, since)?.member.id;
  assert.deepEqual([found("a"), found("b"), found("x"), found(null)], [2, 1, 3, 3]);
  assert.deepEqual([found("b", 1), found("b", 2), found("x", 4)], [1, 3, undefined]);
  assert.equal(new Slots().findIdle("a"), undefined);
});

Deno.test("Slot's lifetime is a share of the longest", () => {
  const slot = new Slot(new FakeMember(0), 500, 0.9);
  assert.equal(slot.expiry(1_000), 1_400);
  assert.equal(slot.expiry(Infinity), Infinity);
});

Deno.test("retired slots have no lifetime left; those that come later have theirs", () => {
  const slots = new Slots<FakeMember>();
  const [old, gone, young] = [1, 2, 3].map((at) => new Slot(new FakeMember(at), at, 1));
  slots.add(old!);
  slots.add(gone!);
  slots.move(gone!, "gone", 5);
  assert.equal(slots.retire(), 1);
  slots.add(young!);
  assert.deepEqual([old!.expiry(10), young!.expiry(10)], [-Infinity, 13]);
});
