// From layers to values: every value is read, the highest layer wins, all problems are collected.

import { type SettingDefinition, type SettingKey, SETTINGS, type Settings } from "./definitions.ts";
import { type Assignment, environmentLayer, fileLayer, flagLayer, type Layer } from "./layers.ts";
import { inReadingOrder, type Origin, type Problem, quoted } from "./problems.ts";
import { type Merged, ruleProblems, ruleWarnings } from "./rules.ts";
import { ValueError } from "./values.ts";

/** What the layers above the defaults hold. */
export interface ConfigSources {
  /** The configuration file; `path` is how problems name it. Null or left out: there is none. */
  readonly file?: { readonly path: string; readonly text: string } | null;
  /** All variables of the process; those that do not start with `PGVPD_` are ignored. */
  readonly environment: Record<string, string | undefined>;
  /** Key (`upstream_port`, `pool_password_file`) → text as it was typed. */
  readonly flags: Readonly<Record<string, string>>;
  /** Reads secret files and files that must exist; throws when it cannot. Default: the disk. */
  readonly readFile?: (path: string) => string;
}

/** What the layers result in; the settings are worth something only without problems. */
export interface MergedLayers extends Merged {
  /** In reading order. */
  readonly problems: readonly Problem[];
  readonly warnings: readonly string[];
}

/** Reads all layers, keeps for each setting the value of the highest, and judges the result. */
export function mergeLayers(sources: ConfigSources): MergedLayers {
  const layers: Layer[] = [
    ...(sources.file ? [fileLayer(sources.file.path, sources.file.text)] : []),
    environmentLayer(sources.environment),
    flagLayer(sources.flags),
  ];
  const problems = layers.flatMap((layer) => layer.problems);
  const merger = new Merger(sources.readFile ?? Deno.readTextFileSync, problems);
  for (const layer of layers) {
    for (const assignment of layer.assignments) merger.add(assignment);
  }
  const merged = merger.merge();
  problems.push(...ruleProblems(merged));
  const warnings = [...layers.flatMap((layer) => layer.warnings), ...ruleWarnings(merged)];
  return { ...merged, problems: inReadingOrder(problems), warnings };
}

interface Parsed {
  readonly value: unknown;
}

/** Reads every value and keeps the one from the highest layer. */
class Merger {
  readonly #highest = new Map<SettingKey, { assignment: Assignment; parsed: Parsed | null }>();
  readonly #unreadable = new Set<SettingKey>();

  constructor(
    readonly readFile: (path: string) => string,
    readonly problems: Problem[],
  ) {}

  /** Assignments come from the lowest layer to the highest. */
  add(assignment: Assignment): void {
    // Every value is checked, so that a mistake is told before the day it takes effect.
    const parsed = assignment.isSecretFile ? null : this.#parse(assignment, assignment.text);
    this.#highest.set(assignment.definition.key, { assignment, parsed });
  }

  merge(): Merged {
    const values: Record<string, unknown> = {};
    const origins = new Map<SettingKey, Origin>();
    for (const definition of SETTINGS) {
      const highest = this.#highest.get(definition.key);
      values[definition.property] = defaultValue(definition);
      origins.set(definition.key, { layer: "default" });
      if (highest === undefined) continue;
      const { assignment } = highest;
      const secretPath = assignment.isSecretFile ? { secretPath: assignment.text } : {};
      origins.set(definition.key, { ...assignment.origin, ...secretPath });
      const parsed = assignment.isSecretFile ? this.#readSecret(assignment) : highest.parsed;
      if (parsed === null) {
        this.#unreadable.add(definition.key);
        continue;
      }
      values[definition.property] = parsed.value;
      this.#checkAvailable(assignment, parsed.value);
      this.#checkFile(assignment);
    }
    return { settings: Object.freeze(values) as Settings, origins, unreadable: this.#unreadable };
  }

  #parse(assignment: Assignment, text: string): Parsed | null {
    const { definition } = assignment;
    if (assignment.cut && definition.secret === true) {
      this.#refuse(
        assignment,
        'is cut at a "#" or ";" behind white space; put the value in quotes',
      );
      return null;
    }
    try {
      return { value: definition.type.parse(text) };
    } catch (error) {
      if (!(error instanceof ValueError)) throw error;
      const hint = assignment.cut && text === ""
        ? '; a "#" or ";" behind white space starts a comment, quote it if it is the value'
        : "";
      const shown = definition.secret === true || text === "" ? "" : ` ${quoted(text)}`;
      const reason = `${error.message}${hint}`;
      this.#report(assignment, `invalid value${shown} for "${assignment.name}": ${reason}`);
      return null;
    }
  }

  #refuse(assignment: Assignment, reason: string): void {
    this.#report(assignment, `"${assignment.name}" ${reason}`);
  }

  #report({ origin, definition }: Assignment, message: string): void {
    this.problems.push({ origin, key: definition.key, message });
  }

  /** The file's text less one trailing newline, or null when it cannot be read. */
  #readSecret(assignment: Assignment): Parsed | null {
    if (assignment.text === "") {
      this.#refuse(assignment, "must not be empty; must be the path of a file");
      return null;
    }
    let text: string;
    try {
      text = this.readFile(assignment.text);
    } catch (error) {
      this.#refuse(assignment, unreadableSecret(assignment.text, error));
      return null;
    }
    return this.#parse(assignment, text.replace(/\r?\n$/, ""));
  }

  /** A setting of a feature that is not there must not look as if it worked. */
  #checkAvailable(assignment: Assignment, value: unknown): void {
    const { definition } = assignment;
    if (definition.available) return;
    const isDefault = definition.default !== null &&
      definition.type.format(value) === definition.type.format(defaultValue(definition));
    if (!isDefault) {
      this.#refuse(assignment, "is not available in this version yet; remove it");
    }
  }

  #checkFile(assignment: Assignment): void {
    const { file } = assignment.definition.type;
    if (file === null) return;
    try {
      if (file.contains.test(this.readFile(assignment.text))) return;
      this.#refuse(assignment, `is ${quoted(assignment.text)}, which is not ${file.what}`);
    } catch (error) {
      this.#refuse(assignment, unreadable(assignment.text, error));
    }
  }
}

/** The text may be the secret itself, written to the wrong setting: only a clear path is shown. */
function unreadableSecret(path: string, error: unknown): string {
  if (/^\.{0,2}\//.test(path)) return unreadable(path, error);
  const name = error instanceof Error ? error.name : "Error";
  return `names a file that cannot be read (${name}); write its path from "/" or "./" on`;
}

function unreadable(path: string, error: unknown): string {
  const reason = error instanceof Error ? error.message : String(error);
  return `is ${quoted(path)}, which cannot be read: ${reason}`;
}

function defaultValue(definition: SettingDefinition): unknown {
  return definition.default === null ? null : definition.type.parse(definition.default);
}
