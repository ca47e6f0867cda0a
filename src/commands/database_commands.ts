// The words of the commands that work on a database: setup, protect, unprotect, status, seal-key.

import type { Command } from "commander";
import type { Settings } from "../config/config.ts";
import { type Place, placeOf } from "./database.ts";
import { CommandError } from "./failure.ts";
import { printError, printLine } from "./output.ts";
import { protect } from "./protect.ts";
import { newSealKey, putSealKey, rotateSealKey } from "./seal_key.ts";
import { setup } from "./setup.ts";
import { status } from "./status.ts";
import { unprotect } from "./unprotect.ts";

/** What the program lends: its options for settings, and how they are read. */
export interface Lent {
  readonly addSettingOptions: (command: Command) => void;
  readonly settingsOf: (options: Record<string, unknown>) => Settings;
  /** Refuses words behind a command that takes none. */
  readonly refuseWords: (words: readonly string[]) => void;
}

type Options = Readonly<Record<string, unknown>>;

const DRY_RUN = ["--dry-run", "do it, show it, and roll it back"] as const;

/** Adds the commands to the program. */
export function addDatabaseCommands(program: Command, lent: Lent): void {
  addSetup(program, lent);
  addProtect(program, lent);
  addUnprotect(program, lent);
  addStatus(program, lent);
  addSealKey(program, lent);
}

function addSetup(program: Command, lent: Lent): void {
  addCommand(program, lent, "setup", "install or upgrade pgvpd's functions in a database")
    .option("--schema <name>", "where to [where they are, else the first of the search_path]")
    .option("--role <name>", "the role that tenants log in as [app_user]")
    .option("--variable <name>", "what current_tenant_id() reads [app.current_tenant_id]")
    .option("--sealed", "have policies believe nothing but sealed contexts")
    .option(...DRY_RUN)
    .action(async (options, { args }) => {
      lent.refuseWords(args);
      await setup(
        placeFor(options, lent),
        {
          schema: text(options.schema),
          role: text(options.role),
          variable: text(options.variable),
          isSealed: options.sealed === true,
          isDryRun: options.dryRun === true,
          contextVariables: options.url ? null : lent.settingsOf(options).contextVariables,
        },
        printLine,
        warn,
      );
    });
}

function addProtect(program: Command, lent: Lent): void {
  addCommand(program, lent, "protect [tables...]", "isolate tables by tenant")
    .option("--column <name>", "the column that holds the tenant [tenant_id]")
    .option("--all-of <schema>", "every table of this schema that has the column")
    .option("--role <name>", "the role of the tenants' sessions [set_role, else app_user]")
    .option("--variable <name>", "compare with this variable of the context")
    .option("--column-default", "INSERTs that leave the column out get the tenant")
    .option(...DRY_RUN)
    .action(async (tables: string[], options) => {
      await protect(
        placeFor(options, lent),
        {
          tables,
          allOf: text(options.allOf),
          column: text(options.column),
          role: text(options.role) ?? (options.url ? null : lent.settingsOf(options).setRole),
          variable: text(options.variable),
          columnDefault: options.columnDefault === true,
          isDryRun: options.dryRun === true,
        },
        printLine,
        warn,
      );
    });
}

function addUnprotect(program: Command, lent: Lent): void {
  const description = "take the protection away, and the tenants' privileges";
  addCommand(program, lent, "unprotect <tables...>", description)
    .option("--keep-privileges", "leave the privileges: tenants see every row")
    .option(...DRY_RUN)
    .action(async (tables: string[], options) => {
      await unprotect(
        placeFor(options, lent),
        {
          tables,
          keepPrivileges: options.keepPrivileges === true,
          isDryRun: options.dryRun === true,
        },
        printLine,
        warn,
      );
    });
}

function addStatus(program: Command, lent: Lent): void {
  addCommand(program, lent, "status", "the protection of every table, and what it lacks")
    .option("--json", "as JSON")
    .action(async (options, { args }) => {
      lent.refuseWords(args);
      const isColored = Deno.stdout.isTerminal() && !Deno.noColor;
      const how = { isJson: options.json === true, isColored };
      await status(placeFor(options, lent), how, printLine);
    });
}

/** `seal-key new|rotate|put`: the file, and a database that is to know its keys. */
function addSealKey(program: Command, lent: Lent): void {
  const sealKey = program.command("seal-key").description("keys that prove the context");
  // A file can be made where no database can be reached.
  const named = (options: Options) =>
    options["url"] === undefined && options["database"] === undefined
      ? null
      : placeFor(options, lent);
  addCommand(sealKey, lent, "new <file>", "make a file with a first key")
    .action((file: string, options) => newSealKey(file, named(options), printLine));
  addCommand(sealKey, lent, "rotate <file>", "put another key in front of the one that signs")
    .action((file: string, options) => rotateSealKey(file, named(options), printLine));
  addCommand(sealKey, lent, "put <file>", "tell a database the keys of a file")
    .action((file: string, options) => putSealKey(file, placeFor(options, lent), printLine));
}

/** A command with the options that say where the database is. */
function addCommand(program: Command, lent: Lent, words: string, description: string): Command {
  const command = program.command(words).description(description);
  lent.addSettingOptions(command);
  // All of them are known, as everywhere, but a screenful of settings would hide what follows.
  for (const option of command.options) {
    option.hidden = !/^--(no-)?config$/.test(option.long ?? "");
  }
  return command
    .option("--url <url>", "the database, without a password [the upstream of the configuration]")
    .option("--database <name>", "the database [PGDATABASE]")
    .option("--user <name>", "an administrator, mostly the tables' owner [PGUSER, else postgres]")
    .option("--password-file <path>", "its password [PGPASSWORD, else asked for]");
}

function placeFor(options: Options, lent: Lent): Place {
  const said = {
    url: text(options["url"]),
    database: text(options["database"]),
    user: text(options["user"]),
    passwordFile: text(options["passwordFile"]),
  };
  return placeOf(said, () => lent.settingsOf(options));
}

function warn(line: string): void {
  printError(`warning: ${line}`);
}

function text(value: unknown): string | null {
  if (value === undefined) return null;
  if (value === "") throw new CommandError("An option has an empty value");
  return String(value);
}
