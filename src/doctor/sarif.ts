// The report as SARIF 2.1.0, which CI systems and code hosts show.
// https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html

import { CHECKS } from "./examine.ts";
import type { Finding, Severity } from "./lint.ts";
import type { Report } from "./report.ts";

const LEVELS: Readonly<Record<Severity, string>> = {
  critical: "error",
  error: "error",
  warning: "warning",
  info: "note",
};
/** What GitHub sorts by: 9 and more is critical. */
const SCORES: Readonly<Record<Severity, string>> = {
  ...{ critical: "9.5", error: "7.5", warning: "5.0", info: "1.0" },
};

/** @param version pgvpd's. */
export function sarifReport(report: Report, version: string): string {
  const results = [
    ...report.findings.map((finding) => resultOf(finding, report.database)),
    ...report.silenced.map((finding) => ({
      ...resultOf(finding, report.database),
      suppressions: [{ kind: "external", justification: finding.reason }],
    })),
  ];
  return JSON.stringify(
    {
      $schema: "https://json.schemastore.org/sarif-2.1.0.json",
      version: "2.1.0",
      runs: [{
        tool: { driver: { name: "pgvpd doctor", version, rules: rules() } },
        results,
        properties: { server: report.server, database: report.database, roles: report.roles },
      }],
    },
    null,
    2,
  );
}

function rules() {
  return CHECKS.map(({ id, name, severity, finds, why, remedy }) => ({
    id,
    name,
    shortDescription: { text: `Finds ${finds}.` },
    fullDescription: { text: why },
    help: { text: remedy },
    defaultConfiguration: { level: LEVELS[severity] },
    properties: { "security-severity": SCORES[severity], tags: ["security"] },
  }));
}

function resultOf({ lint, severity, object, detail, why, fix }: Finding, database: string) {
  return {
    ruleId: lint,
    ruleIndex: CHECKS.findIndex(({ id }) => id === lint),
    level: LEVELS[severity],
    message: { text: `${object}: ${detail}. ${why} Fix: ${fix}` },
    locations: [{
      // A database has no files; readers that want one get its name.
      physicalLocation: {
        artifactLocation: { uri: `postgresql/${encodeURIComponent(database)}` },
        region: { startLine: 1 },
      },
      logicalLocations: [{ fullyQualifiedName: object, kind: "resource" }],
    }],
    partialFingerprints: { "lintAndObject/v1": `${lint} ${object}` },
  };
}
