// The text of the metrics: well-formed whatever names there are, of bounded size, in little time.

import { strict as assert } from "node:assert";
import { Metrics, POOL_SERIES_MAX } from "../../src/admin/metrics.ts";
import type { Control } from "../../src/control.ts";
import { addTraffic, NO_TRAFFIC } from "../../src/meters.ts";
import { fakeControl, NO_CLIENT, NO_POOL, NO_TOTALS, tenantView } from "../support/fake_control.ts";
import { parseExposition, sampleOf } from "../support/exposition.ts";

async function textOf(shown: Partial<Control> = {}, tenantsMax = 50): Promise<string> {
  return await new Metrics(fakeControl(shown), () => tenantsMax).text();
}

Deno.test("names with quotes, line feeds and backslashes, and very long ones, are whole labels", async () => {
  const evil = 'a"} 1\npgvpd_forged_total 7\n\\';
  const text = await textOf({
    tenants: () => [evil, "x".repeat(10_000), "other"].map((tenant) => tenantView(tenant)),
    pools: () => [{ ...NO_POOL, database: evil, role: "y".repeat(10_000) }],
  });
  const families = parseExposition(text);
  assert(!families.has("pgvpd_forged_total"));
  assert.equal(sampleOf(families, "pgvpd_tenant_connections", { tenant: evil }), 0);
  const tenants = families.get("pgvpd_tenant_connections")!.samples.map(({ labels }) => labels);
  assert.equal(tenants.length, 4);
  assert.equal(new Set(tenants.map(({ tenant }) => tenant)).size, 4);
  assert(text.split("\n").every((line) => line.length < 500));
});

Deno.test("10,000 tenants and 1,000 pools leave the text under 1 MB", async () => {
  const moved = { bytesIn: 1e9, bytesOut: 1e9, transactions: 1e6, queries: 1e6 };
  const views = Array.from(
    { length: 10_000 },
    (_, index) => tenantView(`tenant-${index}-${"ü".repeat(200)}`, { ...moved, connections: 3 }),
  );
  const tenantTraffic = views.reduce(addTraffic, NO_TRAFFIC);
  const pools = Array.from({ length: 1_000 }, (_, index) => (
    { ...NO_POOL, database: `${index}${"d".repeat(5_000)}`, idle: index }
  ));
  const clients = Array.from({ length: 10_000 }, (_, id) => ({ ...NO_CLIENT, id }));
  const control = fakeControl({
    tenants: () => views,
    pools: () => pools,
    clients: () => clients,
    totals: () => ({ ...NO_TOTALS, tenantTraffic }),
  });
  const metrics = new Metrics(control, () => 50);
  const text = await metrics.text();
  const size = new TextEncoder().encode(text).length;
  assert(size < 1_000_000, `${size} bytes`);
  const families = parseExposition(text);
  assert.equal(families.get("pgvpd_tenant_queries_total")!.samples.length, 51);
  assert.equal(sampleOf(families, "pgvpd_tenant_queries_total", { tenant: "other" }), 9_950e6);
  assert.equal(sampleOf(families, "pgvpd_tenants", {}), 10_000);
  const bucketed = families.get("pgvpd_pool_connections_idle")!.samples;
  assert.equal(bucketed.length, POOL_SERIES_MAX + 1);
  const idle = bucketed.reduce((sum, { value }) => sum + value, 0);
  assert.equal(idle, 999 * 500);
});

Deno.test("histograms are cumulative, and their last bucket is their count", async () => {
  const control = fakeControl();
  for (const ms of [0.05, 3, 100_000]) control.meters.query.observeMs(ms);
  control.meters.loginPhases.tls.observeMs(1);
  const families = parseExposition(await new Metrics(control, () => 50).text());
  const family = families.get("pgvpd_query_seconds")!;
  assert.equal(family.type, "histogram");
  const at = (le: string) => sampleOf(families, "pgvpd_query_seconds_bucket", { le });
  assert.deepEqual([at("0.0001"), at("0.0025"), at("0.005"), at("60"), at("+Inf")], [
    1,
    1,
    2,
    2,
    3,
  ]);
  assert.equal(sampleOf(families, "pgvpd_query_seconds_count", {}), 3);
  const count = "pgvpd_login_phase_seconds_count";
  assert.equal(sampleOf(families, count, { phase: "tls" }), 1);
});

Deno.test("pools of one database and role are one series", async () => {
  const pools = [1, 2].map((active) => ({
    ...NO_POOL,
    id: `${active}`,
    active,
    longestWaitMs: 500,
  }));
  const families = parseExposition(await textOf({ pools: () => pools }));
  const labels = { database: "shop", role: "app" };
  assert.equal(sampleOf(families, "pgvpd_pool_connections_active", labels), 3);
  assert.equal(sampleOf(families, "pgvpd_pool_longest_wait_seconds", labels), 0.5);
});
