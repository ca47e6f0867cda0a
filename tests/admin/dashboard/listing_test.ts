// Listing: what the URL says decides the order, and never that everything is shown.

import assert from "node:assert/strict";
import { listTenants, ROWS_MAX, tenantQuery } from "../../../src/admin/dashboard/listing.ts";
import { tenantView } from "../../support/fake_control.ts";

const TENANTS = [
  tenantView("beta", { connections: 1, bytesIn: 500 }),
  tenantView("Acme", { connections: 3 }),
  tenantView("gamma", { connections: 2, bytesOut: 100 }),
];
const rate = (tenant: string) => tenant === "gamma" ? 9 : 0;

function names(url: string): string[] {
  const query = tenantQuery(new URLSearchParams(url));
  return listTenants(TENANTS, query, rate).rows.map(({ tenant }) => tenant);
}

Deno.test("tenants are sorted by what is asked for, the most first, and by name", () => {
  assert.deepEqual(names(""), ["gamma", "Acme", "beta"], "by queries per second");
  assert.deepEqual(names("sort=connections"), ["Acme", "gamma", "beta"]);
  assert.deepEqual(names("sort=bytes"), ["beta", "gamma", "Acme"]);
  assert.deepEqual(names("sort=tenant"), ["Acme", "beta", "gamma"]);
});

Deno.test("what cannot be sorted by, is not: not even what every object has", () => {
  assert.equal(tenantQuery(new URLSearchParams("sort=constructor")).sort, "queries");
  assert.equal(tenantQuery(new URLSearchParams("sort=isDenied")).sort, "queries");
});

Deno.test("a search is a part of the name, in any case; a long one is cut", () => {
  assert.deepEqual(names("search=%20ACM%20"), ["Acme"]);
  assert.deepEqual(names("search=nobody"), []);
  assert.equal(tenantQuery(new URLSearchParams({ search: "x".repeat(9_999) })).search.length, 200);
});

Deno.test("of many only the first are listed, and the others counted", () => {
  const many = Array.from({ length: ROWS_MAX + 7 }, (_, index) => tenantView(`t${index}`));
  const { rows, total } = listTenants(many, { sort: "tenant", search: "" }, rate);
  assert.deepEqual([rows.length, total], [ROWS_MAX, ROWS_MAX + 7]);
});
