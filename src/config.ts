// The configuration: defaults, file, environment and flags become one set of values, or a list of
// everything that is wrong with them. The settings themselves are in config_table.ts.

import {
  type SettingDefinition,
  type SettingKey,
  SETTINGS,
  type Settings,
} from "./config_definitions.ts";
import {
  type Assignment,
  environmentLayer,
  fileLayer,
  flagLayer,
  type Layer,
} from "./config_layers.ts";
import {
  ConfigError,
  inReadingOrder,
  type Origin,
  originText,
  type Problem,
  quoted,
} from "./config_problems.ts";
import { formatValue } from "./config_file.ts";
import { type Merged, ruleProblems, ruleWarnings } from "./config_rules.ts";
import { ValueError } from "./config_values.ts";

export { definitionOf, FLAGS, SETTINGS } from "./config_definitions.ts";
export type {
  FlagDefinition,
  SettingDefinition,
  SettingKey,
  Settings,
} from "./config_definitions.ts";
export { ConfigError, originText, problemText } from "./config_problems.ts";
export type { Origin, Problem } from "./config_problems.ts";
export { formatValue } from "./config_file.ts";
export { GROUPS } from "./config_table.ts";
export type { Group } from "./config_table.ts";

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

/** The effective values and where each came from. */
export interface ResolvedSettings {
  readonly settings: Settings;
  readonly origins: ReadonlyMap<SettingKey, Origin>;
  /** Sentences for the operator, each with its place; none holds a secret. */
  readonly warnings: readonly string[];
}

/**
 * Merges the layers: defaults, then file, environment, flags; each replaces whole values.
 *
 * Throws ConfigError with every problem of every layer, also of values that a higher layer
 * replaces. No problem and no warning holds a secret.
 */
export function resolveSettings(sources: ConfigSources): ResolvedSettings {
  const { resolved, problems } = resolve(sources);
  if (problems.length > 0) throw new ConfigError(problems);
  return resolved;
}

/** What `resolveSettings` would complain about, in reading order: for `config check`. */
export function problemsOf(
  sources: ConfigSources,
): { readonly problems: readonly Problem[]; readonly warnings: readonly string[] } {
  const { resolved, problems } = resolve(sources);
  return { problems, warnings: resolved.warnings };
}

function resolve(sources: ConfigSources): { resolved: ResolvedSettings; problems: Problem[] } {
  const layers: Layer[] = [
    ...(sources.file ? [fileLayer(sources.file.path, sources.file.text)] : []),
    environmentLayer(sources.environment),
    flagLayer(sources.flags),
  ];
  const readFile = sources.readFile ?? Deno.readTextFileSync;
  const problems = layers.flatMap((layer) => layer.problems);
  const merger = new Merger(readFile, problems);
  for (const layer of layers) {
    for (const assignment of layer.assignments) merger.add(assignment);
  }
  const merged = merger.merge();
  problems.push(...ruleProblems(merged));
  const warnings = [...layers.flatMap((layer) => layer.warnings), ...ruleWarnings(merged)];
  return {
    resolved: { settings: merged.settings, origins: merged.origins, warnings },
    problems: inReadingOrder(problems),
  };
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

/** One row of `config show`. */
export interface EffectiveRow {
  readonly key: SettingKey;
  /** As a file would spell it; `(set)` for a secret, `(not set)` for null, `(none)` for empty. */
  readonly value: string;
  /** `default`, `pgvpd.conf:12`, `environment variable PGVPD_PORT`, `flag --port`. */
  readonly origin: string;
}

/** Every setting with its effective value and where that came from; secrets are masked. */
export function describeEffective(resolved: ResolvedSettings): EffectiveRow[] {
  return SETTINGS.map((definition) => {
    const origin = resolved.origins.get(definition.key) ?? { layer: "default" };
    const from = origin.layer !== "default" && origin.secretPath !== undefined
      ? `, from ${origin.secretPath}`
      : "";
    return {
      key: definition.key,
      value: shownValue(definition, resolved.settings[definition.property]),
      origin: originText(origin) + from,
    };
  });
}

function shownValue(definition: SettingDefinition, value: unknown): string {
  if (value === null) return "(not set)";
  if (definition.secret === true) return "(set)";
  const text = definition.type.format(value);
  return text === "" ? "(none)" : formatValue(text);
}

/** A setting that differs between two configurations. */
export interface Difference {
  readonly key: SettingKey;
  readonly before: string;
  readonly after: string;
  /** False when the change needs a restart. */
  readonly reloadable: boolean;
}

/** What changed, in the order of the table; secrets are masked. For SIGHUP. */
export function differences(before: Settings, after: Settings): Difference[] {
  return SETTINGS.flatMap((definition) => {
    const [old, now] = [before[definition.property], after[definition.property]];
    const text = (value: unknown) => value === null ? null : definition.type.format(value);
    if (text(old) === text(now)) return [];
    return [{
      key: definition.key,
      before: shownValue(definition, old),
      after: shownValue(definition, now),
      reloadable: definition.reloadable === true,
    }];
  });
}
