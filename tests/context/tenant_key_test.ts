// The tenant of an identity, under each rule.

import { strict as assert } from "node:assert";
import { tenantKeyOf, variableIndex } from "../../src/context/tenant_key.ts";

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
