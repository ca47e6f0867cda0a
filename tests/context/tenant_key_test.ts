// The tenant of an identity, under each rule.

import { strict as assert } from "node:assert";
import {
  canonicalTenant,
  refuseOtherSpelling,
  tenantKeyOf,
  variableIndex,
} from "../../src/context/tenant_key.ts";

const VARIABLES = ["app.org", "app.user"];
const IDENTITY = { role: "app", payload: "acme:7", values: ["acme", "7"] };

Deno.test("the tenant is the payload, the first value, or that of a variable", () => {
  const keys = ["payload", "first", "app.user", "APP.User"]
    .map((rule) => tenantKeyOf(IDENTITY, rule, VARIABLES));
  assert.deepEqual(keys, ["acme:7", "acme", "7", "7"]);
});

Deno.test("a variable that is there no more makes nobody's tenant wider", () => {
  assert.equal(variableIndex("app.plan", VARIABLES), -1);
  assert.equal(tenantKeyOf(IDENTITY, "app.plan", VARIABLES), "acme:7");
});

const UUID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";

Deno.test("of all spellings of a uuid or an integer one is PostgreSQL's", () => {
  const others = [
    UUID.toUpperCase(),
    UUID.replaceAll("-", ""),
    `{${UUID}}`,
    "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
    "A0eeBC999c0b-4ef8-bb6d6bb9-bd380a11",
  ];
  assert.equal(canonicalTenant(UUID, "uuid"), UUID);
  for (const other of others) {
    assert.equal(canonicalTenant(other, "uuid"), UUID, other);
    assert.throws(() => refuseOtherSpelling(other, "uuid"), { sqlState: "28000" });
  }
  for (const none of ["", "acme", UUID.slice(1), `${UUID}0`, `{${UUID}`, ` ${UUID}`, `${UUID}-`]) {
    assert.throws(() => refuseOtherSpelling(none, "uuid"), /written as PostgreSQL writes a uuid/);
  }
  for (const other of ["042", "+42", "00000000042"]) {
    assert.equal(canonicalTenant(other, "integer"), "42");
    assert.throws(() => refuseOtherSpelling(other, "integer"), { sqlState: "28000" });
  }
  for (const none of ["", "-", "-0", " 42", "42 ", "4_2", "0x2a", "42.0", "4e1", "9".repeat(31)]) {
    assert.throws(() => refuseOtherSpelling(none, "integer"), /writes an integer/);
  }
  for (const fine of ["0", "-1", "42", "9223372036854775807"]) refuseOtherSpelling(fine, "integer");
  refuseOtherSpelling(UUID, "uuid");
  for (const any of ["", "042", UUID.toUpperCase()]) refuseOtherSpelling(any, "text");
});
