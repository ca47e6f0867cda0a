// parseTenantList: what a line may be, and what is said of what it may not.

import assert from "node:assert/strict";
import { parseTenantList, TenantListError, TENANTS_MAX } from "../../src/config/tenant_list.ts";

Deno.test("one tenant a line, with comments and without doubles", () => {
  const text = "\uFEFF# who may come\nacme\r\n\n  globex-*  # and all like it\nacme\nini#tech\n";
  assert.deepEqual(parseTenantList(text), ["acme", "globex-*", "ini#tech"]);
  assert.deepEqual(parseTenantList(""), []);
});

Deno.test("mistakes are told with their line", () => {
  const cases: [string, number, RegExp][] = [
    ["a\nb\x01c", 2, /control characters/],
    [`a\n\n${"x".repeat(1_001)}`, 3, /at most 1000 characters/],
    [Array.from({ length: TENANTS_MAX + 1 }, (_, index) => index).join("\n"), 100_001, /more than/],
  ];
  for (const [text, line, reason] of cases) {
    assert.throws(() => parseTenantList(text), (error: Error) => {
      assert(error instanceof TenantListError);
      assert.equal(error.line, line);
      assert.match(error.message, reason);
      return true;
    });
  }
});
