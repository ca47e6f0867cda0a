// Promise: a plan is bound when every relation that the query itself reads has a condition.

import assert from "node:assert/strict";
import { hasCondition } from "../../src/doctor/plan.ts";

const scan = (more: Record<string, unknown> = {}) => ({
  ...{ "Node Type": "Seq Scan", "Relation Name": "t", ...more },
});
const json = (plan: unknown) => JSON.stringify([{ Plan: plan }]);
const BOUND = { Filter: "(tenant_id = (InitPlan 1).col1)" };

Deno.test("conditions that bind", () => {
  const bound = [
    scan(BOUND),
    scan({ "Index Cond": "(tenant_id = $0)" }),
    scan({ Filter: "pgvpd_context_contains('app.orgs'::text, other)" }),
    { "Node Type": "Result", "One-Time Filter": "false" },
    { "Node Type": "Append", Plans: [scan(BOUND), scan(BOUND)] },
    {
      ...scan({ "Node Type": "Bitmap Heap Scan" }),
      Plans: [{ "Node Type": "Bitmap Index Scan", "Index Cond": "(tenant_id = $0)" }],
    },
    { ...scan(BOUND), Plans: [{ ...scan(), "Parent Relationship": "InitPlan" }] },
    {
      "Node Type": "Result",
      Plans: [scan(BOUND), { ...scan(), "Parent Relationship": "SubPlan" }],
    },
  ];
  for (const plan of bound) assert.ok(hasCondition(json(plan), ["org", "tenant_id"]), json(plan));
});

Deno.test("plans that do not", () => {
  const unbound = [
    scan(),
    scan({ Filter: "(body IS NOT NULL)" }),
    scan({ "Index Name": "tenant_id_idx" }),
    { "Node Type": "Append", Plans: [scan(BOUND), scan()] },
    { "Node Type": "Result", "One-Time Filter": "true", Plans: [scan()] },
  ];
  for (const plan of unbound) {
    assert.ok(!hasCondition(json(plan), ["org", "tenant_id"]), json(plan));
  }
});

Deno.test("a name is a word of its own, whatever is in it", () => {
  const filtered = (filter: string, column: string) =>
    hasCondition(json(scan({ Filter: filter })), [column]);
  assert.ok(!filtered("(tenant_id = 'x')", "id") && !filtered("(größe = 1)", "gr"));
  for (const name of ["a b", "a.b", "(", "x-y", "Größe"]) {
    assert.ok(filtered(`("${name}" = 'x'::text)`, name), name);
  }
  assert.ok(filtered(`("say ""hi""" = 1)`, 'say "hi"'));
});

Deno.test("without a known column any condition will do, and none will not", () => {
  assert.ok(hasCondition(json(scan({ Filter: "(body IS NOT NULL)" })), []));
  assert.ok(!hasCondition(json(scan()), []));
});
