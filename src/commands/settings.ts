// Where the settings come from: the file, the environment and the flags of this process.

import { type ConfigSources, SETTINGS } from "../config/config.ts";
import { CommandError, reasonOf } from "./failure.ts";

/** What the command line says about the settings. */
export interface SettingsArguments {
  /** Key → text, for `resolveSettings`. */
  readonly flags: Readonly<Record<string, string>>;
  /** The file that `--config` names; null: read none; undefined: nothing was said. */
  readonly configFile: string | null | undefined;
}

/** Read when nobody names a file, and it exists. */
const DEFAULT_CONFIG_FILE = "pgvpd.conf";
const CONFIG_FILE_VARIABLE = "PGVPD_CONFIG";

/**
 * Reads what there is to read.
 *
 * @throws {CommandError} when a named file is not there, or a file or the environment may not be
 * read: a setting that is left out silently is worse than no start.
 */
export function readSources(from: SettingsArguments): ConfigSources {
  return readWhatCanBeRead(from, (error) => {
    throw error;
  });
}

/** The same, but goes on without what cannot be read: for `config check`, which tells everything. */
export function readWhatCanBeRead(
  from: SettingsArguments,
  onUnreadable: (error: CommandError) => void,
): ConfigSources {
  const environment = orElse({}, readEnvironment, onUnreadable);
  const named = from.configFile === undefined
    ? environment[CONFIG_FILE_VARIABLE] || undefined
    : from.configFile;
  const file = named === null ? null : orElse(null, () => readConfigFile(named), onUnreadable);
  return { file, environment, flags: from.flags };
}

function orElse<T>(without: T, read: () => T, onUnreadable: (error: CommandError) => void): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    onUnreadable(error);
    return without;
  }
}

function readConfigFile(named: string | undefined): { path: string; text: string } | null {
  const path = named ?? DEFAULT_CONFIG_FILE;
  try {
    return {
      path,
      text: new TextDecoder("utf-8", { fatal: true }).decode(Deno.readFileSync(path)),
    };
  } catch (error) {
    if (named === undefined && error instanceof Deno.errors.NotFound) return null;
    const reason = error instanceof Deno.errors.NotFound
      ? "there is no such file"
      : error instanceof TypeError
      ? "it is not UTF-8 text"
      : reasonOf(error);
    const way = named === undefined ? " (--no-config starts without one)" : "";
    throw new CommandError(`Cannot read configuration file "${path}": ${reason}${way}`);
  }
}

/**
 * The whole environment, or, with narrow permissions, those variables that may be read.
 *
 * @throws {CommandError} when none may: their settings would be left out silently.
 */
function readEnvironment(): Record<string, string | undefined> {
  if (Deno.permissions.querySync({ name: "env" }).state === "granted") return Deno.env.toObject();
  const names = [
    CONFIG_FILE_VARIABLE,
    ...SETTINGS.flatMap((setting) => [
      setting.environment,
      ...setting.secretFile === null ? [] : [setting.secretFile.environment],
    ]),
  ];
  const mayRead = (variable: string) =>
    Deno.permissions.querySync({ name: "env", variable }).state === "granted";
  const readable = names.filter(mayRead);
  if (readable.length === 0) {
    throw new CommandError(
      "Cannot read the environment: Deno does not allow it; run again with --allow-env, or with " +
        "--allow-env=PGVPD_CONFIG or other PGVPD_… variables to have only those read",
    );
  }
  return Object.fromEntries(readable.map((name) => [name, Deno.env.get(name)]));
}
