// A strict reader of the Prometheus text format: what it does not expect is a failure.
// https://prometheus.io/docs/instrumenting/exposition_formats/

import { strict as assert } from "node:assert";

export interface SampleLine {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface FamilyText {
  readonly type: string;
  readonly samples: SampleLine[];
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*/;

/** Families by name. Every sample stands behind the HELP and TYPE of its family, and only once. */
export function parseExposition(text: string): Map<string, FamilyText> {
  assert(text.endsWith("\n"), "the last line ends");
  const families = new Map<string, FamilyText>();
  const seen = new Set<string>();
  let current = "";
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const [, kind, name, rest] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    if (kind === "HELP") {
      assert(!families.has(name!), `${name} comes twice`);
      current = name!;
    } else if (kind === "TYPE") {
      assert.equal(name, current);
      assert.match(rest!, /^(counter|gauge|histogram)$/);
      families.set(name!, { type: rest!, samples: [] });
    } else {
      const sample = parseSample(line);
      const suffix = sample.name.slice(current.length);
      assert(sample.name.startsWith(current), `${line} stands in ${current}`);
      const isHistogram = families.get(current)!.type === "histogram";
      assert.match(suffix, isHistogram ? /^_(bucket|sum|count)$/ : /^$/, line);
      const key = JSON.stringify([sample.name, Object.entries(sample.labels).sort()]);
      assert(!seen.has(key), `${line} comes twice`);
      seen.add(key);
      families.get(current)!.samples.push(sample);
    }
  }
  return families;
}

function parseSample(line: string): SampleLine {
  const name = NAME.exec(line)?.[0];
  assert(name !== undefined, `no sample: ${line}`);
  let at = name.length;
  const labels: Record<string, string> = {};
  if (line[at] === "{") {
    at++;
    while (line[at] !== "}") {
      const label = /^([a-zA-Z_]\w*)="((?:[^"\\]|\\["\\n])*)",?/.exec(line.slice(at));
      assert(label !== null, `a broken label at ${at}: ${line.slice(0, 200)}`);
      const [whole, key, value] = label;
      labels[key!] = value!.replace(/\\(.)/g, (_, c: string) => c === "n" ? "\n" : c);
      at += whole.length;
    }
    at++;
  }
  const value = Number(line.slice(at + 1));
  assert(line[at] === " " && !Number.isNaN(value), `no value: ${line.slice(0, 200)}`);
  return { name, labels, value };
}

/** The value of the sample with exactly these labels, in whatever family it is. */
export function sampleOf(
  families: ReadonlyMap<string, FamilyText>,
  name: string,
  labels: Readonly<Record<string, string>>,
): number | undefined {
  const wanted = JSON.stringify(Object.entries(labels).sort());
  return [...families.values()].flatMap(({ samples }) => samples).find((sample) =>
    sample.name === name && JSON.stringify(Object.entries(sample.labels).sort()) === wanted
  )?.value;
}
