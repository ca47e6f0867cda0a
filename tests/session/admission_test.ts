// Admission: a slot is given back exactly once, on every path.

import { strict as assert } from "node:assert";
import { PgError } from "../../src/codec/error.ts";
import { Admission } from "../../src/session/admission.ts";

Deno.test("Admission refuses beyond its maximum and admits again behind a departure", () => {
  const admission = new Admission(2);
  const first = admission.admit();
  admission.admit();
  assert.throws(
    () => admission.admit(),
    (error) =>
      error instanceof PgError && error.sqlState === "53300" && /is 2\./.test(error.fields.detail!),
  );
  assert.equal(admission.active, 2);
  first[Symbol.dispose]();
  assert.equal(admission.active, 1);
  admission.admit();
});

Deno.test("Admission takes a slot back once, however often it is given back", () => {
  const admission = new Admission(2);
  const slot = admission.admit();
  admission.admit();
  slot[Symbol.dispose]();
  slot[Symbol.dispose]();
  assert.equal(admission.active, 1);
});

Deno.test("Admission's slot is given back by using, also when something throws", () => {
  const admission = new Admission(1);
  assert.throws(() => {
    using _slot = admission.admit();
    throw new Error("planted");
  }, /planted/);
  assert.equal(admission.active, 0);
});
