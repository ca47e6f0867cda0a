// `pgvpd setup`: installs or upgrades the SQL kit in one transaction, and says what that changed.

import helpersSql from "../../sql/helpers.sql" with { type: "text" };
import setupSql from "../../sql/setup.sql" with { type: "text" };
import denoJson from "../../deno.json" with { type: "json" };
import {
  identifier,
  inTransaction,
  kitSchema,
  type Place,
  placeText,
  type Transaction,
} from "./database.ts";
import { CommandError } from "./failure.ts";
import { noticePrinter } from "./notices.ts";
import { installSealed, isSealed } from "./sealed.ts";

/** What to install, and how. */
export interface SetupOptions {
  /** Null: where it is already, else the first schema of the search_path. */
  readonly schema: string | null;
  /** The role that tenants log in as; null: what it was, else app_user. */
  readonly role: string | null;
  /** What current_tenant_id() reads; null: what it was, else app.current_tenant_id. */
  readonly variable: string | null;
  /** Have policies believe sealed contexts alone; where they do already, they go on to. */
  readonly isSealed: boolean;
  /** Do everything, tell it, and roll back. */
  readonly isDryRun: boolean;
  /** The variables that pgvpd sets; null: not known. */
  readonly contextVariables: readonly string[] | null;
}

type Print = (line: string) => void;

/** One file of SQL; in the order of the list, each once the one before it has been run. */
interface Script {
  readonly name: string;
  readonly text: string;
}

const SCRIPTS: readonly Script[] = [
  { name: "setup.sql", text: setupSql },
  { name: "helpers.sql", text: helpersSql },
];

/** "pgvpd" as a number. */
const SETUP_LOCK = 0x7067767064;

/** @throws {CommandError} when something cannot be done; then nothing is. */
export async function setup(
  place: Place,
  options: SetupOptions,
  print: Print,
  warn: Print,
): Promise<void> {
  const notices = noticePrinter(print, warn);
  await inTransaction(place, notices.take, async (transaction) => {
    // Two at once, as when several instances of an application start, would trip each other.
    await transaction`SELECT pg_catalog.pg_advisory_xact_lock(${SETUP_LOCK})`;
    const schema = await enterSchema(transaction, options.schema);
    print(`In ${placeText(place)}, schema ${identifier(schema)}:`);
    await refuseNewer(transaction, schema);
    const before = await stateOf(transaction, schema);
    await transaction`SELECT pg_catalog.set_config('pgvpd.app_role', ${options.role ?? ""}, true),
      pg_catalog.set_config('pgvpd.tenant_variable', ${options.variable ?? ""}, true)`;
    const wasSealed = await isSealed(transaction);
    for (const { text } of SCRIPTS) await transaction.unsafe(text);
    // Where it is sealed already, that is how to upgrade.
    if (wasSealed || options.isSealed) await installSealed(transaction);
    const after = await stateOf(transaction, schema);
    const changes = changesBetween(before, after);
    for (const change of changes) print(`  ${change}`);
    if (changes.length === 0) print("  everything is there already");
    if (wasSealed) print("  the context is sealed, and stays so");
    notices.print();
    await compareVariables(transaction, schema, options.contextVariables, warn);
    if (options.isDryRun) print("Nothing has been changed: this was a dry run.");
    return options.isDryRun ? "rollback" : "commit";
  });
}

/** The schema becomes the first of the search_path until the end of the transaction. */
async function enterSchema(transaction: Transaction, wanted: string | null): Promise<string> {
  const installed = await kitSchema(transaction);
  if (wanted !== null && installed !== null && wanted !== installed) {
    throw new CommandError(
      `pgvpd's functions are in schema ${identifier(installed)} already: leave --schema out`,
    );
  }
  const [current] = await transaction<{ schema: string | null }[]>`
    SELECT pg_catalog.current_schema() AS schema`;
  const schema = wanted ?? installed ?? current!.schema;
  if (schema === null) {
    throw new CommandError("No schema of the search_path exists: name one with --schema");
  }
  const [known] = await transaction`
    SELECT FROM pg_catalog.pg_namespace WHERE nspname = ${schema}`;
  if (known === undefined) {
    throw new CommandError(
      `There is no schema ${identifier(schema)}: CREATE SCHEMA ${identifier(schema)}; first`,
    );
  }
  await transaction`SELECT pg_catalog.set_config('search_path', ${identifier(schema)}, true)`;
  return schema;
}

/** An older program would put older functions in the place of newer ones. */
async function refuseNewer(transaction: Transaction, schema: string): Promise<void> {
  const [found] = await transaction<{ version: string | null }[]>`
    SELECT pg_catalog.substring(p.prosrc, '''([^'']+)''') AS version FROM pg_catalog.pg_proc p
      JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
     WHERE n.nspname = ${schema} AND p.proname = 'pgvpd_version' AND p.pronargs = 0`;
  const installed = found?.version ?? null;
  if (installed === null || !isNewer(installed, denoJson.version)) return;
  throw new CommandError(
    `The functions in schema ${identifier(schema)} are of version ${installed}, and this is ` +
      `pgvpd ${denoJson.version}: use pgvpd ${installed} or a newer one`,
  );
}

/** Whether version `one` (1.10.2) comes after `other`. */
export function isNewer(one: string, other: string): boolean {
  const numbers = (version: string) => version.split(/[.-]/).map((part) => parseInt(part) || 0);
  const [left, right] = [numbers(one), numbers(other)];
  for (let n = 0; n < Math.max(left.length, right.length); n++) {
    const difference = (left[n] ?? 0) - (right[n] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return false;
}

/** Name of a function or role → something that is another when it has changed. */
type State = ReadonlyMap<string, string>;

async function stateOf(transaction: Transaction, schema: string): Promise<State> {
  const rows = await transaction<{ name: string; mark: string }[]>`
    SELECT 'function ' || p.oid::pg_catalog.regprocedure AS name,
           pg_catalog.concat(pg_catalog.pg_get_functiondef(p.oid), p.proacl) AS mark
      FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
     WHERE n.nspname = ${schema} AND p.prokind = 'f'
       AND (p.proname = 'current_tenant_id' OR p.proname ^@ 'pgvpd_')
    UNION ALL
    SELECT 'role ' || pg_catalog.quote_ident(r.rolname), r::text FROM pg_catalog.pg_roles r
     ORDER BY 1`;
  return new Map(rows.map(({ name, mark }) => [name, mark]));
}

function changesBetween(before: State, after: State): string[] {
  const gone = [...before.keys()].filter((name) => !after.has(name)).map((name) => `drop ${name}`);
  const made = [...after].flatMap(([name, mark]) => {
    const former = before.get(name);
    if (former === mark) return [];
    if (former === undefined) return [`create ${name}`];
    return [name.startsWith("role ") ? `alter ${name}` : `replace ${name}`];
  });
  return [...gone, ...made];
}

/** A variable that pgvpd never sets would hide every row, which looks like a failure. */
async function compareVariables(
  transaction: Transaction,
  schema: string,
  contextVariables: readonly string[] | null,
  warn: Print,
): Promise<void> {
  if (contextVariables === null) return;
  const [reader] = await transaction<{ variable: string | null }[]>`
    SELECT pg_catalog.substring(p.prosrc, '(?:current_setting|pgvpd\\.ctx)\\(''([^'']+)''')
             AS variable
      FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
     WHERE n.nspname = ${schema} AND p.proname = 'current_tenant_id' AND p.pronargs = 0`;
  const variable = reader?.variable ?? null;
  if (variable === null) return;
  const isSet = contextVariables.some((name) => name.toLowerCase() === variable.toLowerCase());
  if (isSet) return;
  warn(
    `current_tenant_id() reads ${variable}, which is not among pgvpd's context_variables ` +
      `(${contextVariables.join(", ")}): it is NULL, and hides every row. Run setup with ` +
      `--variable ${contextVariables[0]}, or give --variable to pgvpd protect`,
  );
}
