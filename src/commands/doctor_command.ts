// The options of `pgvpd doctor`, and its exit codes: 0 nothing, 1 findings, 2 it could not look.

import { type Command, Option } from "commander";
import { resolveSettings } from "../config/config.ts";
import { SEVERITIES } from "../doctor/lint.ts";
import { doctor, type DoctorOptions } from "./doctor.ts";
import { sentenceOf } from "./failure.ts";
import { printError, printLine } from "./output.ts";
import { readSources, type SettingsArguments } from "./settings.ts";

/** Nothing was found out: neither 0 nor 1 would be true. */
const EXIT_COULD_NOT_LOOK = 2;

/** Adds the command; the caller gives it the options of the settings. */
export function addDoctor(
  program: Command,
  onEnd: (code: number) => void,
  argumentsOf: (options: Record<string, unknown>) => SettingsArguments,
): Command {
  return program.command("doctor")
    .description("look, and try, whether isolation in the database really holds")
    .option("--url <url>", "the database, as an administrator: postgres://user@host:port/database")
    .option("--app-url <url>", "the same through pgvpd, as a tenant; {tenant} stands for any")
    .option("--password-file <path>", "a file with the administrator's password")
    .option("--app-password-file <path>", "a file with the password for --app-url")
    .option("--role <name>", "a role that tenants log in as; may be repeated", collect)
    .option("--tenant-column <name>", "what tenants' columns are called; may be repeated", collect)
    .addOption(new Option("--json", "print the report as JSON").conflicts("sarif"))
    .option("--sarif", "print it as SARIF 2.1.0")
    .addOption(
      new Option("--fail-on <severity>", "the mildest finding that makes the exit code 1")
        .choices([...SEVERITIES, "never"]).default("error"),
    )
    .option("--ignore <file>", "findings that are known and accepted, each with its reason")
    .action(async (options: Record<string, unknown>, { args }: Command) => {
      onEnd(await run(options, args.length > 0, argumentsOf));
    });
}

async function run(
  options: Record<string, unknown>,
  hasWords: boolean,
  argumentsOf: (options: Record<string, unknown>) => SettingsArguments,
): Promise<number> {
  if (hasWords) {
    printError("a word that is no option's value"); // and not which: it may be a part of a secret
    return EXIT_COULD_NOT_LOOK;
  }
  try {
    const { settings } = resolveSettings(readSources(argumentsOf(options)));
    const colour = Deno.stdout.isTerminal() && !Deno.noColor;
    return await doctor(settings, options as unknown as DoctorOptions, printLine, colour);
  } catch (error) {
    printError(sentenceOf(error));
    return EXIT_COULD_NOT_LOOK;
  }
}

function collect(value: string, previous: readonly string[] = []): string[] {
  return [...previous, value];
}
