// Promise: the report is SARIF 2.1.0 as readers want it: rules, results that point to them, levels,
// places, fingerprints that stay, and suppressions with their reason.

import assert from "node:assert/strict";
import { CHECKS } from "../../src/doctor/examine.ts";
import { findingOf } from "../../src/doctor/lint.ts";
import type { Report } from "../../src/doctor/report.ts";
import { sarifReport } from "../../src/doctor/sarif.ts";

const findings = CHECKS.map((check) =>
  findingOf(check, { object: `object of ${check.id}`, detail: "d" })
);
const report: Report = {
  ...{ server: "18.6", database: "my app", roles: ["app_user"], tried: [], untried: [] },
  ...{ findings, silenced: [{ ...findings[0]!, reason: "known" }] },
};
const sarif = JSON.parse(sarifReport(report, "1.2.3"));

Deno.test("one run of one tool", () => {
  assert.equal(sarif.version, "2.1.0");
  assert.match(sarif.$schema, /sarif-2\.1\.0\.json$/);
  assert.equal(sarif.runs.length, 1);
  const { name, version, rules } = sarif.runs[0].tool.driver;
  assert.deepEqual([name, version, rules.length], ["pgvpd doctor", "1.2.3", CHECKS.length]);
});

Deno.test("each result points to its rule, and to a place", () => {
  const { results, tool: { driver: { rules } } } = sarif.runs[0];
  assert.equal(results.length, CHECKS.length + 1);
  for (const result of results) {
    assert.equal(rules[result.ruleIndex].id, result.ruleId);
    assert.ok(["error", "warning", "note"].includes(result.level));
    assert.ok(result.message.text.includes(`object of ${result.ruleId}`));
    const [{ physicalLocation, logicalLocations }] = result.locations;
    assert.equal(physicalLocation.artifactLocation.uri, "postgresql/my%20app");
    assert.equal(logicalLocations[0].fullyQualifiedName, `object of ${result.ruleId}`);
  }
  const levels = Object.fromEntries(
    results.map(({ ruleId, level }: { ruleId: string; level: string }) => [ruleId, level]),
  );
  const { T01, D01, T02, D10 } = levels;
  assert.deepEqual([T01, D01, T02, D10], ["error", "error", "warning", "note"]);
});

Deno.test("fingerprints tell findings apart and stay the same", () => {
  const prints = sarif.runs[0].results.slice(0, CHECKS.length).map((
    { partialFingerprints }: { partialFingerprints: Record<string, string> },
  ) => Object.values(partialFingerprints)[0]);
  assert.equal(new Set(prints).size, CHECKS.length);
  assert.deepEqual(JSON.parse(sarifReport(report, "1.2.3")), sarif);
});

Deno.test("what is silenced is suppressed, with the reason; nothing else is", () => {
  const suppressed = sarif.runs[0].results.filter((
    { suppressions }: { suppressions?: unknown },
  ) => suppressions !== undefined);
  assert.equal(suppressed.length, 1);
  assert.deepEqual(suppressed[0].suppressions, [{ kind: "external", justification: "known" }]);
});

Deno.test("every rule says what it finds, why, and what to do", () => {
  for (const rule of sarif.runs[0].tool.driver.rules) {
    assert.match(rule.shortDescription.text, /^Finds .+\.$/);
    assert.ok(rule.fullDescription.text.length > 0 && rule.help.text.length > 0);
    assert.ok(Number(rule.properties["security-severity"]) > 0);
  }
});
