// The dashboard and the alert rules in docs/ ask for metrics and labels that there are.

import { strict as assert } from "node:assert";
import { FAMILIES } from "../../src/admin/metric_families.ts";

function docs(name: string): Promise<string> {
  return Deno.readTextFile(new URL(`../../docs/${name}`, import.meta.url));
}

/** Names in queries that are no series of any family. */
function unknownIn(text: string): string[] {
  const known = new Set(FAMILIES.flatMap(({ name, type }) => {
    const whole = `pgvpd_${name}`;
    return type === "histogram"
      ? ["bucket", "sum", "count"].map((end) => `${whole}_${end}`)
      : whole;
  }));
  return [...text.matchAll(/\bpgvpd_[a-z_]+/g)].map(([name]) => name).filter((name) =>
    !known.has(name)
  );
}

Deno.test("the checker finds a metric that is not there", () => {
  assert.deepEqual(unknownIn("rate(pgvpd_bytes_total[5m]) + pgvpd_bytes + pgvpd_query_seconds"), [
    ...["pgvpd_bytes", "pgvpd_query_seconds"],
  ]);
});

Deno.test("the Grafana dashboard is JSON, its panels have queries, and every metric is there", async () => {
  const dashboard = JSON.parse(await docs("grafana-dashboard.json"));
  const panels = dashboard.panels.filter(({ type }: { type: string }) => type !== "row");
  assert(panels.length >= 15);
  const ids = dashboard.panels.map(({ id }: { id: number }) => id);
  assert.equal(new Set(ids).size, ids.length);
  for (const { title, targets } of panels) {
    assert(targets.length > 0, title);
    for (const { expr } of targets) {
      assert.deepEqual(unknownIn(expr), [], title);
      const open = [...expr].filter((character) => character === "(").length;
      assert.equal([...expr].filter((character) => character === ")").length, open, expr);
    }
  }
});

Deno.test("every alert has a condition, a severity and a summary, and every metric is there", async () => {
  const text = await docs("alerts.yml");
  const alerts = text.split("- alert: ").slice(1);
  assert(alerts.length >= 10);
  for (const alert of alerts) {
    const expr = /^ {8}expr: (.+)$/m.exec(alert)?.[1];
    assert(expr !== undefined, alert);
    assert.deepEqual(unknownIn(expr), [], expr);
    assert.match(alert, /^ {8}labels: \{ severity: (warning|critical) \}$/m);
    assert.match(alert, /^ {10}summary: ".+"$/m);
  }
});

Deno.test("promtool takes the alert rules", { ignore: promtoolMissing() }, async () => {
  const path = new URL("../../docs/alerts.yml", import.meta.url).pathname;
  const { success, stderr } = await new Deno.Command("promtool", { args: ["check", "rules", path] })
    .output();
  assert(success, new TextDecoder().decode(stderr));
});

/** Is there no promtool? Says so loudly. */
function promtoolMissing(): boolean {
  try {
    return !new Deno.Command("promtool", { args: ["--version"] }).outputSync().success;
  } catch {
    console.warn("SKIPPED: promtool is not installed; apt-get install prometheus");
    return true;
  }
}
