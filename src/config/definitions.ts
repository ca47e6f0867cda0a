// The table of settings seen from outside: the type of the values, and every setting with all of
// its names filled in.

import type { Row } from "./row.ts";
import { TABLE } from "./table.ts";
import type { ValueType } from "./values.ts";

type CamelCase<Key extends string> = Key extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Key;
type ValueOf<R> = R extends { type: ValueType<infer Value>; default: infer Default }
  ? Default extends null ? Value | null : Value
  : never;

/** A setting's key as the file spells it. */
export type SettingKey = keyof typeof TABLE;

/**
 * The effective values: one camelCase property for each key of the table (`upstream_port` is
 * `upstreamPort`). Times are in milliseconds, lists are arrays, what is unset is null.
 */
export type Settings = {
  readonly [Key in SettingKey as CamelCase<Key>]: ValueOf<typeof TABLE[Key]>;
};

/** The names by which a secret can be read from a file instead. */
export interface SecretFile {
  readonly key: string;
  readonly environment: string;
  readonly flag: string;
}

/** One setting with all its names. */
export interface SettingDefinition extends Row {
  readonly key: SettingKey;
  /** Its name in `Settings`. */
  readonly property: keyof Settings;
  readonly type: ValueType<unknown>;
  readonly aliases: readonly string[];
  readonly environment: string;
  readonly flag: string;
  readonly secretFile: SecretFile | null;
}

/** The one table: every setting, in the order in which it is shown. */
export const SETTINGS: readonly SettingDefinition[] = Object.entries<Row>(TABLE)
  .map(([key, row]) => define(key as SettingKey, row));

const BY_KEY = new Map<string, SettingDefinition>(SETTINGS.map((each) => [each.key, each]));

/** The definition of a key that is known to exist. */
export function definitionOf(key: SettingKey): SettingDefinition {
  return BY_KEY.get(key)!;
}

function define(key: SettingKey, row: Row): SettingDefinition {
  const environment = row.environment ?? `PGVPD_${key.toUpperCase()}`;
  const flag = row.flag ?? `--${key.replaceAll("_", "-")}`;
  const secretFile = row.secret === true
    ? { key: `${key}_file`, environment: `${environment}_FILE`, flag: `${flag}-file` }
    : null;
  const property = key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  return {
    ...row,
    key,
    property: property as keyof Settings,
    aliases: row.aliases ?? [],
    environment,
    flag,
    secretFile,
  };
}

/** A flag of the command line; its text goes to `resolveSettings` under `key`. */
export interface FlagDefinition {
  /** The setting's key, or that of its `…_file` twin. */
  readonly key: string;
  readonly flag: string;
  readonly shortFlag: string | null;
  /** What stands for the value in help, without brackets. */
  readonly placeholder: string;
  /** True for booleans: the flag alone means "true". */
  readonly valueIsOptional: boolean;
  readonly sentence: string;
  readonly setting: SettingDefinition;
}

/** Every flag in the order of the table, twins of secrets included. */
export const FLAGS: readonly FlagDefinition[] = SETTINGS.flatMap((setting) => {
  const { key, flag, type, sentence, secretFile } = setting;
  const own: FlagDefinition = {
    key,
    flag,
    shortFlag: setting.shortFlag ?? null,
    placeholder: type.placeholder,
    valueIsOptional: type.bareFlag !== undefined,
    sentence,
    setting,
  };
  if (secretFile === null) return [own];
  const twin = { ...own, ...secretFile, shortFlag: null, placeholder: "path" };
  return [own, { ...twin, sentence: `File that holds ${flag}'s value.` }];
});
