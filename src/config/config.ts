// The configuration: defaults, file, environment and flags become one set of values, or a list of
// everything that is wrong with them. The settings themselves are in table.ts.

import { type SettingDefinition, type SettingKey, SETTINGS, type Settings } from "./definitions.ts";
import { formatValue } from "./file.ts";
import { type ConfigSources, mergeLayers } from "./merge.ts";
import { ConfigError, type Origin, originText, type Problem } from "./problems.ts";

export { definitionOf, FLAGS, SETTINGS } from "./definitions.ts";
export type { FlagDefinition, SettingDefinition, SettingKey, Settings } from "./definitions.ts";
export { ConfigError, originText, problemText } from "./problems.ts";
export type { Origin, Problem } from "./problems.ts";
export { formatValue } from "./file.ts";
export type { ConfigSources } from "./merge.ts";
export { GROUPS } from "./row.ts";
export type { Group } from "./row.ts";

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
  const { settings, origins, problems, warnings } = mergeLayers(sources);
  if (problems.length > 0) throw new ConfigError(problems);
  return { settings, origins, warnings };
}

/** What `resolveSettings` would complain about, in reading order: for `config check`. */
export function problemsOf(sources: ConfigSources): {
  readonly problems: readonly Problem[];
  readonly warnings: readonly string[];
  /** What could be read. Settings that a problem names are worth nothing. */
  readonly settings: Settings;
} {
  const { problems, warnings, settings } = mergeLayers(sources);
  return { problems, warnings, settings };
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
  readonly property: keyof Settings;
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
      property: definition.property,
      before: shownValue(definition, old),
      after: shownValue(definition, now),
      reloadable: definition.reloadable === true,
    }];
  });
}
