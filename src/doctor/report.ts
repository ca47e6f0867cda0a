// What the doctor says: as a table for people, and as JSON.

import type { Examination } from "./examine.ts";
import type { Silenced } from "./ignore.ts";
import { type Finding, SEVERITIES, type Severity } from "./lint.ts";

/** An examination, and what of it somebody has accepted. */
export interface Report extends Examination {
  readonly silenced: readonly Silenced[];
}

const PLURALS: Readonly<Record<Severity, string>> = {
  critical: "critical",
  error: "errors",
  warning: "warnings",
  info: "notes",
};
const SINGULARS: Readonly<Record<Severity, string>> = {
  critical: "critical",
  error: "error",
  warning: "warning",
  info: "note",
};
/** SGR codes: https://en.wikipedia.org/wiki/ANSI_escape_code#SGR */
const COLOURS: Readonly<Record<Severity, string>> = {
  critical: "1;31",
  error: "31",
  warning: "33",
  info: "36",
};
const DIM = "2";
const OBJECT_COLUMNS_MAX = 40;

/** Lines for a terminal: each lint once, its objects below it, each with what fixes it. */
export function textReport(report: Report, { colour }: { readonly colour: boolean }): string {
  const paint = (code: string, text: string) => colour ? `\x1b[${code}m${text}\x1b[0m` : text;
  const lines: string[] = [];
  for (const group of groupsOf(report.findings)) {
    const { severity, lint, name, why } = group[0]!;
    const label = paint(COLOURS[severity], severity === "info" ? "NOTE" : severity.toUpperCase());
    lines.push(`${label}  ${lint} ${name}: ${why}`);
    const widest = Math.max(...group.map(({ object }) => plain(object).length));
    const width = Math.min(widest, OBJECT_COLUMNS_MAX);
    for (const { object, detail, fix } of group) {
      lines.push(`  ${plain(object).padEnd(width)}  ${plain(detail)}`);
      lines.push(`  ${" ".repeat(width)}  ${paint(DIM, plain(fix))}`);
    }
    lines.push("");
  }
  for (const { lint, object, reason } of report.silenced) {
    lines.push(paint(DIM, `silenced  ${lint} ${plain(object)}: ${plain(reason)}`));
  }
  for (const sentence of report.tried) lines.push(paint(DIM, `tried     ${plain(sentence)}`));
  for (const sentence of report.untried) lines.push(paint(DIM, `not tried ${plain(sentence)}`));
  const roles = report.roles.map(named).join(", ");
  lines.push(
    `${summary(report)} in database ${named(report.database)} for ${roles}, ` +
      `PostgreSQL ${plain(report.server)}`,
  );
  return lines.join("\n");
}

/** One JSON object; its fields are described in docs/doctor.md. */
export function jsonReport({ findings, silenced, ...rest }: Report): string {
  const counts = countsOf(findings);
  return JSON.stringify({ version: 1, ...rest, counts, findings, silenced }, null, 2);
}

/** How many findings of each severity. */
export function countsOf(findings: readonly Finding[]): Record<Severity, number> {
  const counts = { critical: 0, error: 0, warning: 0, info: 0 };
  for (const { severity } of findings) counts[severity]++;
  return counts;
}

function summary({ findings, silenced }: Report): string {
  const counts = countsOf(findings);
  const parts = SEVERITIES.filter((severity) => counts[severity] > 0).map((severity) =>
    `${counts[severity]} ${(counts[severity] === 1 ? SINGULARS : PLURALS)[severity]}`
  );
  if (counts.critical + counts.error + counts.warning === 0) parts.unshift("no finding");
  if (silenced.length > 0) parts.push(`${silenced.length} silenced`);
  return parts.join(", ");
}

/** Findings of one lint and severity stand together. */
function groupsOf(findings: readonly Finding[]): Finding[][] {
  const groups = new Map<string, Finding[]>();
  for (const finding of findings) {
    const key = `${finding.severity} ${finding.lint}`;
    const group = groups.get(key) ?? [];
    group.push(finding);
    groups.set(key, group);
  }
  return [...groups.values()];
}

const named = (name: string) => `"${plain(name)}"`;

/** Names come out of the database: none of them may move the cursor. */
function plain(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\u2028\u2029]/gu,
    (character) => `\\u${character.codePointAt(0)!.toString(16).padStart(4, "0")}`,
  );
}
