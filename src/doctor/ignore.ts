// The file of findings that are known and right so: each entry says which, and why.

import { parse, TomlError } from "smol-toml";
import { type Check, type Finding, findingOf } from "./lint.ts";

/** One entry of the file. */
export interface IgnoreEntry {
  /** A lint's id or name. */
  readonly lint: string;
  /** The object; `*` stands for any characters. */
  readonly object: string;
  readonly reason: string;
}

/** A mistake in the file; the message is a sentence. */
export class IgnoreError extends Error {
  override readonly name = "IgnoreError";
}

export const UNUSED: Check = {
  id: "X01",
  name: "ignore_unused",
  severity: "warning",
  finds: "an entry of the ignore file that silences nothing",
  why: "The fault is gone; the entry would hide it if it came back.",
  remedy: "Take the entry out.",
};

const FIELDS = ["lint", "object", "reason"] as const;

/** @throws {IgnoreError} for the first mistake. */
export function parseIgnoreFile(text: string, checks: readonly Check[]): IgnoreEntry[] {
  const file = parseToml(text);
  const strange = Object.keys(file).find((key) => key !== "ignore");
  if (strange !== undefined) throw new IgnoreError(`"${strange}" is not known; write [[ignore]]`);
  const entries = file["ignore"] ?? [];
  if (!Array.isArray(entries)) throw new IgnoreError("write [[ignore]], in double brackets");
  return entries.map((entry, index) => readEntry(entry, `entry ${index + 1}`, checks));
}

function parseToml(text: string): Record<string, unknown> {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [sentence] = error.message.replace(/^Invalid TOML document: /, "").split("\n");
    throw new IgnoreError(`line ${error.line}, column ${error.column}: ${sentence}`);
  }
}

function readEntry(entry: unknown, which: string, checks: readonly Check[]): IgnoreEntry {
  if (typeof entry !== "object" || entry === null) throw new IgnoreError(`${which} is no table`);
  const given: Record<string, unknown> = { ...entry };
  const strange = Object.keys(given).find((key) => !(FIELDS as readonly string[]).includes(key));
  if (strange !== undefined) throw new IgnoreError(`${which} has an unknown field "${strange}"`);
  const [lint, object, reason] = FIELDS.map((field) => {
    const value = given[field];
    if (typeof value === "string" && value.trim() !== "") return value;
    throw new IgnoreError(`${which} lacks its ${field}`);
  }) as [string, string, string];
  if (!checks.some(({ id, name }) => id === lint || name === lint)) {
    throw new IgnoreError(`${which} names a lint that does not exist: "${lint}"`);
  }
  return { lint, object, reason };
}

/** A finding that somebody has accepted. */
export type Silenced = Finding & { readonly reason: string };

/** Parts the findings; entries that silence nothing are findings themselves. */
export function silence(
  findings: readonly Finding[],
  entries: readonly IgnoreEntry[],
): { readonly findings: readonly Finding[]; readonly silenced: readonly Silenced[] } {
  const matchers = entries.map((entry) => ({ entry, pattern: patternOf(entry.object) }));
  const used = new Set<IgnoreEntry>();
  const left: Finding[] = [];
  const silenced: Silenced[] = [];
  for (const finding of findings) {
    const match = matchers.find(({ entry, pattern }) =>
      (entry.lint === finding.lint || entry.lint === finding.name) && pattern.test(finding.object)
    );
    if (match === undefined) {
      left.push(finding);
      continue;
    }
    used.add(match.entry);
    silenced.push({ ...finding, reason: match.entry.reason });
  }
  const unused = entries.filter((entry) => !used.has(entry)).map(({ lint, object, reason }) =>
    findingOf(UNUSED, { object: `${lint} ${object}`, detail: `silences nothing (${reason})` })
  );
  return { findings: [...left, ...unused], silenced };
}

function patternOf(object: string): RegExp {
  const parts = object.split("*").map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`, "s");
}
