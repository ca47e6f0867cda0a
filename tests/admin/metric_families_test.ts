// The families: those that dashboards know already, and each of them documented.

import { strict as assert } from "node:assert";
import { Metrics } from "../../src/admin/metrics.ts";
import type { Control } from "../../src/control.ts";
import { parseExposition, sampleOf } from "../support/exposition.ts";
import { fakeControl, NO_POOL, NO_TOTALS } from "../support/fake_control.ts";

async function textOf(shown: Partial<Control> = {}, tenantsMax = 50): Promise<string> {
  return await new Metrics(fakeControl(shown), () => tenantsMax).text();
}

/** Names, types and labels of the first pgvpd. */
const SEED: readonly [name: string, type: string][] = [
  ...[
    ...["connections_total", "pool_checkouts_total", "pool_reuses_total", "pool_creates_total"],
    ...["pool_checkins_total", "pool_discards_total", "pool_timeouts_total"],
    ...["resolver_cache_hits_total", "resolver_cache_misses_total", "resolver_executions_total"],
    ...["resolver_errors_total", "tenant_rejected_total", "tenant_timeouts_total"],
  ].map((name): [string, string] => [name, "counter"]),
  ...[
    "connections_active",
    "pool_connections_total",
    "pool_connections_idle",
    "resolver_cache_size",
  ]
    .map((name): [string, string] => [name, "gauge"]),
];

Deno.test("the seventeen families of the first pgvpd are there, with their types and labels", async () => {
  assert.equal(SEED.length, 17);
  const text = await textOf({
    pools: () => [{ ...NO_POOL, idle: 1, active: 2 }],
    totals: () => ({
      ...NO_TOTALS,
      resolvers: { ...NO_TOTALS.resolvers, resolvers: [{ name: "r", executions: 3, errors: 1 }] },
    }),
  });
  const families = parseExposition(text);
  for (const [name, type] of SEED) assert.equal(families.get(`pgvpd_${name}`)?.type, type, name);
  const pool = { database: "shop", role: "app" };
  assert.equal(sampleOf(families, "pgvpd_pool_connections_total", pool), 3);
  assert.equal(sampleOf(families, "pgvpd_pool_connections_idle", pool), 1);
  assert.equal(sampleOf(families, "pgvpd_resolver_executions_total", { resolver: "r" }), 3);
  for (const reason of ["deny", "limit", "rate"]) {
    assert.equal(sampleOf(families, "pgvpd_tenant_rejected_total", { reason }), 0);
  }
});

Deno.test("every name is documented, and nothing else is", async () => {
  const docs = await Deno.readTextFile(new URL("../../docs/metrics.md", import.meta.url));
  const documented = [...docs.matchAll(/^\| `(pgvpd_\w+)` \|/gm)].map(([, name]) => name!);
  const present = [...parseExposition(await textOf()).keys()];
  assert.deepEqual(documented.toSorted(), present.toSorted());
});
