// PgError: the one place that turns an error into an ErrorResponse.

import { strict as assert } from "node:assert";
import { PgError } from "../../src/codec/error.ts";
import { cstring, errorFields, message } from "../support/messages.ts";

Deno.test("PgError encodes as PostgreSQL's ErrorResponse, severity twice", () => {
  const error = new PgError("28000", "no tenant", { detail: "Facts.", hint: "Do this." });
  const fields = ["SFATAL", "VFATAL", "C28000", "Mno tenant", "DFacts.", "HDo this."];
  assert.deepEqual(error.encode(), message("E", ...fields.map(cstring), Uint8Array.of(0)));
});

Deno.test("PgError leaves out the fields that it does not have", () => {
  const fields = errorFields(new PgError("08P01", "no", { severity: "ERROR" }).encode());
  assert.deepEqual(fields, { S: "ERROR", V: "ERROR", C: "08P01", M: "no" });
});

Deno.test("PgError never puts a NUL into a field: it would begin a forged one", () => {
  const error = new PgError("08P01", "a\0MB\0", { detail: "\0", hint: "x\0\0SFAKE" });
  const fields = errorFields(error.encode());
  assert.deepEqual(fields, {
    S: "FATAL",
    V: "FATAL",
    C: "08P01",
    M: "aMB",
    H: "xSFAKE",
    D: "",
  });
});

Deno.test("PgError keeps its cause for the log and out of what the client is told", () => {
  const error = new PgError("08001", "could not connect", {}, { cause: new Error("hunter2") });
  assert.equal((error.cause as Error).message, "hunter2");
  assert(!new TextDecoder().decode(error.encode()).includes("hunter2"));
});

Deno.test("PgError.protocolViolation has the SQLSTATE 08P01", () => {
  const error = PgError.protocolViolation("wrong", { hint: "Right." });
  assert.equal(error.sqlState, "08P01");
  assert.equal(error.fields.hint, "Right.");
  assert.equal(error.name, "PgError");
});
