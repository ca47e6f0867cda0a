// Assertions end what is wrong, with their own class: nobody takes them for a peer's mistake.

import { strict as expect } from "node:assert";
import { assert, AssertionError, unreachable } from "../src/assert.ts";
import { PgError } from "../src/codec/error.ts";

Deno.test("assert passes what holds and throws for what does not", () => {
  assert(true);
  expect.throws(
    () => assert(false, "said"),
    (error) =>
      error instanceof AssertionError && !(error instanceof PgError) && error.message === "said",
  );
});

Deno.test("unreachable names the value", () => {
  expect.throws(() => unreachable("x" as never), /unexpected value "x"/);
});
