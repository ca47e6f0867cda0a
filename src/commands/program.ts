// The command line: which words call which command, and with which options.

import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import denoJson from "../../deno.json" with { type: "json" };
import { FLAGS, resolveSettings } from "../config/config.ts";
import { nearest } from "../config/problems.ts";
import { renderHelp, renderShortHelp } from "../config/text.ts";
import { COMPLETION_SHELLS, completions } from "./completions.ts";
import { checkConfig, showConfig } from "./config_commands.ts";
import { addDatabaseCommands } from "./database_commands.ts";
import { demo } from "./demo.ts";
import { addDoctor } from "./doctor_command.ts";
import { sentenceOf } from "./failure.ts";
import { printError, printLine, writeAll } from "./output.ts";
import { ping } from "./ping.ts";
import { resolve } from "./resolve.ts";
import { serve } from "./serve.ts";
import { readSources, type SettingsArguments } from "./settings.ts";
import { SQL_FILES } from "./sql_files.ts";

/** What a command ends with: 0 all went well, 1 it did not, 2 it was called wrongly. */
export type ExitCode = number;

const EXIT_FATAL = 1;
const EXIT_USAGE = 2;
const PORT_MAX = 65_535;
/** Those that are no settings, for suggestions. */
const OTHER_FLAGS = ["--config", "--no-config", "--help", "--version", "--url"];

/** A mistake on the command line; the message is a sentence and repeats no value. */
class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Runs the command that the arguments name. Never rejects: what goes wrong is told on stderr. */
export async function run(args: readonly string[]): Promise<ExitCode> {
  let exitCode: ExitCode = 0;
  const isShort = args.includes("-h") && !args.includes("--help");
  const program = buildProgram((code) => exitCode = code, () => helpText(isShort));
  try {
    await program.parseAsync([...args], { from: "user" });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    if (error instanceof CommanderError || error instanceof UsageError) {
      if (!isHelp(error)) printError(usageSentence(error));
      return EXIT_USAGE;
    }
    printError(sentenceOf(error));
    return EXIT_FATAL;
  }
}

function buildProgram(onEnd: (code: ExitCode) => void, help: () => string): Command {
  const program = new Command("pgvpd")
    .description("Tenant identity for PostgreSQL connections.")
    .version(`pgvpd ${denoJson.version}`, "-V, --version")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => printLine(text.trimEnd()),
      writeErr: (text) => writeAll(Deno.stderr, text),
      outputError: () => {}, // run() says it
    });
  program.helpInformation = help;

  const serveCommand = program.command("serve", { isDefault: true })
    .description("run the proxy (what pgvpd does without a command)")
    .action(async (options, { args }) => {
      refuseWords(args, program);
      onEnd(await serve(settingsArguments(options)));
    });
  serveCommand.helpInformation = help;
  addSettingOptions(serveCommand);

  const config = program.command("config").description("look at the configuration");
  addSettingOptions(
    config.command("check").description("report every mistake; exit code 1 when there is one")
      .action((options, { args }) => {
        refuseWords(args, null);
        onEnd(checkConfig(settingsArguments(options)));
      }),
  );
  addSettingOptions(
    config.command("show").description("print every value in force and where it comes from")
      .action((options, { args }) => {
        refuseWords(args, null);
        onEnd(showConfig(settingsArguments(options)));
      }),
  );

  addSettingOptions(
    program.command("resolve").argument("<user>", "a user name as a client gives it")
      .description("run the resolvers for a user name and show every step")
      .option("-d, --database <name>", "the database that the client asks for")
      .action(async (username, options, { args }) => {
        refuseWords(args.slice(1), null);
        const { settings } = resolveSettings(readSources(settingsArguments(options)));
        const { database = null } = options;
        const isLetIn = await resolve(settings, { username, database }, printLine);
        onEnd(isLetIn ? 0 : EXIT_FATAL);
      }),
  );

  addDatabaseCommands(program, {
    addSettingOptions,
    settingsOf: (options) => resolveSettings(readSources(settingsArguments(options))).settings,
    refuseWords: (words) => refuseWords(words, null),
  });
  addSettingOptions(addDoctor(program, onEnd, settingsArguments));

  addDemo(program, onEnd);
  addSmallCommands(program);
  program.command("completions")
    .description("print a completion script")
    .addArgument(program.createArgument("<shell>").choices(COMPLETION_SHELLS))
    .action((shell) => printLine(completions(shell, program)));
  return program;
}

/** `demo`: everything that is needed to see a tenant isolated. */
function addDemo(program: Command, onEnd: (code: ExitCode) => void): void {
  program.command("demo")
    .description("an embedded PostgreSQL, two tenants, and pgvpd in front of them")
    .option("--port <port>", "where pgvpd listens", port, 6432)
    .option("--pg-port <port>", "where PostgreSQL listens; 0 takes a free port", port, 0)
    .option("--keep", "keep PostgreSQL's directory", false)
    .option("--once", "show the isolation and end; exit code 0 only if it held", false)
    .action(async (options) => onEnd(await demo(options, printLine)));
}

/** Those that need neither the server nor the database. */
function addSmallCommands(program: Command): void {
  addSettingOptions(
    program.command("ping").description("ask whether pgvpd answers where it listens")
      .action(async (options, { args }) => {
        refuseWords(args, null);
        const { settings } = resolveSettings(readSources(settingsArguments(options)));
        printLine(`pgvpd answers at ${await ping(settings)}`);
      }),
  );

  program.command("sql")
    .description("print an SQL file that goes into the database")
    .addArgument(program.createArgument("<file>").choices(Object.keys(SQL_FILES)))
    .action((file) => writeAll(Deno.stdout, SQL_FILES[file]!));
}

const USAGE = `pgvpd ${denoJson.version}: tenant identity for PostgreSQL connections

Usage: pgvpd [options]                run the proxy
       pgvpd config check|show        look at the configuration; resolve <user>: run its resolvers
       pgvpd setup|protect|status     the database: functions, tables by tenant; also unprotect
       pgvpd doctor                   whether isolation in the database really holds
       pgvpd seal-key new|rotate|put  the keys of a context that nobody can forge
       pgvpd ping|demo                ask whether it answers; see two tenants isolated
       pgvpd sql|completions <name>   print what goes into the database, or into a shell

  -c, --config <path>                 Configuration file [pgvpd.conf, when there is one]
      --no-config                     Read no configuration file
  -h, --help                          The settings that are needed first; with --help all of them
  -V, --version                       The version
`;

function helpText(isShort: boolean): string {
  return `${USAGE}\n${isShort ? renderShortHelp() : renderHelp()}`;
}

/** One option for each setting, and the two that say where the file is. */
function addSettingOptions(command: Command): void {
  command.allowExcessArguments(); // the action refuses them without repeating them
  command.option("-c, --config <path>", "configuration file", once("--config"));
  command.option("--no-config", "read no configuration file");
  for (const { flag, shortFlag, placeholder, valueIsOptional, sentence } of FLAGS) {
    const value = valueIsOptional ? `[${placeholder}]` : `<${placeholder}>`;
    const names = shortFlag === null ? flag : `${shortFlag}, ${flag}`;
    command.addOption(new Option(`${names} ${value}`, sentence).argParser(once(flag)));
  }
}

/** Takes a value as it is, and refuses a second one. */
function once(flag: string): (value: string, previous: string | undefined) => string {
  let given = false;
  return (value) => {
    if (given) throw new UsageError(`option '${flag}' is given twice`);
    given = true;
    return value;
  };
}

/** What the options say about the settings: key → text as it was typed. */
function settingsArguments(options: Record<string, unknown>): SettingsArguments {
  const flags: Record<string, string> = {};
  for (const { key, flag } of FLAGS) {
    const value = options[new Option(flag).attributeName()];
    if (typeof value === "string") flags[key] = value;
    else if (value === true) flags[key] = "true";
  }
  const { config } = options;
  return {
    flags,
    configFile: config === false ? null : typeof config === "string" ? config : undefined,
  };
}

function port(text: string): number {
  const value = /^\d{1,5}$/.test(text) ? Number(text) : NaN;
  if (!(value <= PORT_MAX)) throw new InvalidArgumentError("It is a number from 0 to 65535.");
  return value;
}

/** Words where only options belong. One that resembles no command may be a part of a secret. */
function refuseWords([word]: readonly string[], program: Command | null): void {
  if (word === undefined) return;
  const commands = program?.commands.map((command) => command.name()) ?? [];
  const near = nearest(word, commands);
  if (near !== null) throw new UsageError(`unknown command '${word}'\n(Did you mean ${near}?)`);
  const known = commands.length === 0 ? "" : `; the commands are ${commands.join(", ")}`;
  throw new UsageError(`a word that is neither a command nor an option's value${known}`);
}

function isHelp(error: Error): boolean {
  return error instanceof CommanderError && error.code === "commander.help";
}

/** What commander found, without the value behind a flag: it may be a secret. */
function usageSentence(error: Error): string {
  const sentence = error.message.replace(/^error: /, "");
  const flag = /^unknown option '(-[^=']*)/.exec(sentence)?.[1];
  if (flag === undefined) return sentence;
  const flags = [...FLAGS.map((each) => each.flag), ...OTHER_FLAGS];
  const near = sentence.match(/Did you mean (\S+)\?/)?.[1] ?? nearest(flag, flags);
  return `unknown option '${flag}'${near === null ? "" : `\n(Did you mean ${near}?)`}`;
}
