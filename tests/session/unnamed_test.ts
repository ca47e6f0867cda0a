// UnnamedStatement: whose statement is on a backend, and whether it can be restored there.

import assert from "node:assert/strict";
import { ReplyFates } from "../../src/protocol/fates.ts";
import { Outgoing } from "../../src/session/outgoing.ts";
import { UnnamedStatement } from "../../src/session/unnamed.ts";
import { parse } from "../support/extended.ts";

const TEXT = new TextEncoder().encode("SELECT 1\0\0\0");

function world() {
  const fates = new ReplyFates();
  const home: { unnamedOwner: object | null } = { unnamedOwner: null };
  return { fates, home, unnamed: new UnnamedStatement(fates) };
}

function unitOver(fates: ReplyFates, replies: number): void {
  fates.unitSent();
  for (let count = 0; count < replies; count++) fates.replied();
  fates.ready();
}

Deno.test("it is the client's where it was parsed, and foreign to others", () => {
  const { fates, home, unnamed } = world();
  assert.equal(unnamed.isOn(home), false);
  unnamed.parse(home, TEXT, 0, TEXT.length);
  unitOver(fates, 1);
  assert.deepEqual([unnamed.isOn(home), unnamed.isKnown, unnamed.isForeignOn(home)], [
    true,
    true,
    false,
  ]);
  const other = new UnnamedStatement(new ReplyFates());
  assert.deepEqual([other.isOn(home), other.isForeignOn(home)], [false, true]);
  unnamed.drop(home);
  assert.deepEqual([unnamed.isOn(home), unnamed.isKnown, home.unnamedOwner], [false, false, null]);
});

Deno.test("restoring is a Parse of the same text; until it is answered, each batch restores", () => {
  const { fates, home, unnamed } = world();
  unnamed.parse(home, TEXT, 0, TEXT.length);
  unitOver(fates, 1);
  home.unnamedOwner = null; // the backend was cleaned
  const out = new Outgoing();
  out.begin(new Uint8Array(0));
  unnamed.restore(home, out);
  assert.deepEqual(out.take(0), parse("", "SELECT 1"));
  assert.equal(unnamed.isOn(home), true, "in the same batch");
  fates.unitSent();
  assert.equal(unnamed.isOn(home), false, "an error may have come before it");
  fates.ready();
  assert.deepEqual([home.unnamedOwner, unnamed.isKnown], [null, true]);
  unnamed.restore(home, out);
  fates.unitSent();
  assert.equal(fates.replied(), true);
  fates.ready();
  assert.equal(unnamed.isOn(home), true);
});

Deno.test("a Parse that fails leaves no text, a Close that is skipped leaves all", () => {
  const { fates, home, unnamed } = world();
  unnamed.parse(home, TEXT, 0, TEXT.length);
  unitOver(fates, 0);
  assert.equal(unnamed.isKnown, false);
  unnamed.parse(home, TEXT, 0, TEXT.length);
  unitOver(fates, 1);
  unnamed.close();
  unnamed.close();
  assert.equal(unnamed.isKnown, false);
  unitOver(fates, 0);
  assert.equal(unnamed.isKnown, true);
  assert.equal(unnamed.isOn(home), true);
  unnamed.close();
  unitOver(fates, 1);
  assert.equal(unnamed.isKnown, false);
  assert.equal(new UnnamedStatement(fates).isForeignOn(home), true, "others must look out");
});

Deno.test("of a large one there is no text", () => {
  const { fates, home, unnamed } = world();
  unnamed.parseLarge(home);
  unitOver(fates, 1);
  assert.deepEqual([unnamed.isOn(home), unnamed.isKnown], [true, false]);
});

Deno.test("what deallocated all statements does so no more once it is dropped or closed", () => {
  const { fates, home, unnamed } = world();
  unnamed.parse(home, TEXT, 0, TEXT.length);
  unnamed.deallocatesAll = true;
  unitOver(fates, 1);
  unnamed.drop(home);
  assert.equal(unnamed.deallocatesAll, false, "a simple query drops it");

  unnamed.parse(home, TEXT, 0, TEXT.length);
  unnamed.deallocatesAll = true;
  unitOver(fates, 1);
  unnamed.close();
  unitOver(fates, 0);
  assert.equal(unnamed.deallocatesAll, true, "the Close was skipped");
  unnamed.close();
  unitOver(fates, 1);
  assert.equal(unnamed.deallocatesAll, false, "the Close was answered");
});
