// withTenantSettings: the operator's word counts, the client's other settings stay.

import { strict as assert } from "node:assert";
import { withTenantSettings } from "../../src/context/tenant_settings.ts";

const STARTUP = {
  settings: [{ name: "Work_Mem", value: "1GB" }, { name: "DateStyle", value: "ISO" }],
  startupOnly: [],
  protocolOptions: ["_pq_.x"],
};

Deno.test("a tenant's settings stand in the place of the client's of the same names", () => {
  const own = [{ name: "work_mem", value: "4MB" }, { name: "search_path", value: "acme" }];
  assert.deepEqual(withTenantSettings(STARTUP, own), {
    settings: [{ name: "DateStyle", value: "ISO" }, ...own],
    startupOnly: [],
    protocolOptions: ["_pq_.x"],
  });
  assert.equal(withTenantSettings(STARTUP, []), STARTUP);
});
