// `pgvpd config check` and `pgvpd config show`.

import {
  describeEffective,
  type Group,
  problemsOf,
  problemText,
  resolveSettings,
  SETTINGS,
} from "../config/config.ts";
import { readIgnoreFile } from "./doctor.ts";
import { CommandError } from "./failure.ts";
import { printError, printLine } from "./output.ts";
import { readResolvers } from "./resolver_file.ts";
import { readSources, readWhatCanBeRead, type SettingsArguments } from "./settings.ts";
import { loadSealKeys } from "./seal_file.ts";
import { loadTenantFiles } from "./tenant_files.ts";
import { loadTls } from "./tls_files.ts";

/** Prints every problem and warning; 1 when there is a problem. */
export function checkConfig(from: SettingsArguments): number {
  const told: string[] = [];
  const sources = readWhatCanBeRead(from, (error) => told.push(error.message));
  const { problems, warnings, settings } = problemsOf(sources);
  told.push(...problems.map(problemText));
  const isFree = (keys: readonly (string | null)[]) =>
    !problems.some(({ key }) => key !== null && keys.includes(key));
  const keysOf = (group: Group) =>
    SETTINGS.filter((each) => each.group === group).map(({ key }) => key);
  if (isFree(keysOf("TLS"))) told.push(...faultsOf(() => loadTls(settings)));
  if (isFree(["seal_key_file"])) told.push(...faultsOf(() => loadSealKeys(settings)));
  if (isFree(keysOf("Tenant limits"))) told.push(...faultsOf(() => loadTenantFiles(settings)));
  if (isFree(["resolvers", "context_variables", "set_role"])) {
    told.push(...readResolvers(settings).mistakes);
  }
  if (isFree(["doctor_ignore"])) {
    told.push(...faultsOf(() => readIgnoreFile(settings.doctorIgnore)));
  }
  for (const warning of warnings) printError(`warning: ${warning}`);
  for (const problem of told) printError(problem);
  if (told.length === 0) printLine("The configuration is good.");
  else printError(`${told.length} problem${told.length === 1 ? "" : "s"}.`);
  return told.length === 0 ? 0 : 1;
}

/** What is wrong with the contents of files, which none of the settings' problems is about. */
function faultsOf(load: () => unknown): string[] {
  try {
    load();
    return [];
  } catch (error) {
    if (error instanceof CommandError) return error.message.split("\n"); // a line for each
    throw error;
  }
}

/** Prints every value in force, secrets masked, with the layer that it comes from. */
export function showConfig(from: SettingsArguments): number {
  const resolved = resolveSettings(readSources(from));
  const rows = describeEffective(resolved);
  const keyWidth = Math.max(...rows.map((row) => row.key.length));
  const valueWidth = Math.max(...rows.map((row) => row.value.length));
  for (const { key, value, origin } of rows) {
    printLine(`${key.padEnd(keyWidth)} = ${value.padEnd(valueWidth)}  # ${origin}`);
  }
  for (const warning of resolved.warnings) printError(`warning: ${warning}`);
  return 0;
}
