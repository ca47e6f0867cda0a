// The text format of Prometheus: families of samples, as a scrape reads them.
// https://prometheus.io/docs/instrumenting/exposition_formats/

import { Histogram } from "../meters.ts";

/** What the text is sent as. */
export const CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

export type Labels = Readonly<Record<string, string>>;
/** One series of a family: what it is told by, and how it stands. */
export type Sample = readonly [labels: Labels, value: number | Histogram];

/** What is said of all series of one name. */
export interface FamilyHead {
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
}

/** One family, with the line feed at its end. */
export function familyText({ name, type, help }: FamilyHead, samples: readonly Sample[]): string {
  const lines = [`# HELP ${name} ${escapeHelp(help)}`, `# TYPE ${name} ${type}`];
  for (const [labels, value] of samples) {
    if (value instanceof Histogram) lines.push(...histogramLines(name, labels, value));
    else lines.push(line(name, labels, value));
  }
  return `${lines.join("\n")}\n`;
}

function histogramLines(name: string, labels: Labels, histogram: Histogram): string[] {
  const { bounds, counts, sum } = histogram;
  let count = 0;
  const buckets = [...bounds, Infinity].map((bound, index) => {
    count += counts[index]!;
    return line(`${name}_bucket`, { ...labels, le: numberText(bound) }, count);
  });
  return [...buckets, line(`${name}_sum`, labels, sum), line(`${name}_count`, labels, count)];
}

function line(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`);
  const braces = pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
  return `${name}${braces} ${numberText(value)}`;
}

function numberText(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "+Inf" : "-Inf";
  return String(value);
}

function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function escapeLabel(text: string): string {
  return escapeHelp(text).replaceAll('"', '\\"');
}
