// `pgvpd protect`: isolates tables by tenant, in one transaction.

import { identifier, inTransaction, type Place, requireKit, type Transaction } from "./database.ts";
import { CommandError } from "./failure.ts";
import { noticePrinter } from "./notices.ts";

/** Which tables, and how; null is the default of the SQL function. */
export interface ProtectOptions {
  readonly tables: readonly string[];
  /** Every table of this schema that has the column. */
  readonly allOf: string | null;
  readonly column: string | null;
  readonly role: string | null;
  readonly variable: string | null;
  /** INSERTs that leave the column out get the tenant. */
  readonly columnDefault: boolean;
  readonly isDryRun: boolean;
}

type Print = (line: string) => void;

/** @throws {CommandError} when a table cannot be isolated; then none is. */
export async function protect(
  place: Place,
  options: ProtectOptions,
  print: Print,
  warn: Print,
): Promise<void> {
  const { tables, allOf, isDryRun } = options;
  if ((tables.length === 0) === (allOf === null)) {
    throw new CommandError("Name tables, or a schema with --all-of: pgvpd protect shop.orders");
  }
  const notices = noticePrinter(print, warn);
  await inTransaction(place, notices.take, async (transaction) => {
    const schema = await requireKit(transaction);
    if (allOf === null) {
      for (const table of tables) {
        await call(transaction, `${identifier(schema)}.pgvpd_protect`, table, options);
        notices.print();
      }
    } else {
      const name = `${identifier(schema)}.pgvpd_protect_all`;
      const rows = await call(transaction, name, allOf, options);
      notices.print();
      const width = Math.max(0, ...rows.map((row) => String(row["table_name"]).length));
      for (const row of rows) {
        print(`${String(row["table_name"]).padEnd(width)}  ${row["outcome"]}`);
      }
      if (rows.length === 0) print(`There is no table in schema ${identifier(allOf)}.`);
    }
    if (isDryRun) print("Nothing has been changed: this was a dry run.");
    return isDryRun ? "rollback" : "commit";
  });
}

/** Calls the function with what was given, and leaves its defaults where nothing was. */
function call(
  transaction: Transaction,
  name: string,
  subject: string,
  { column, role, variable, columnDefault }: ProtectOptions,
) {
  const given: [parameter: string, type: string, value: string | true | null][] = [
    ["tenant_column", "text", column],
    ["app_role", "text", role],
    ["context_variable", "text", variable],
    ["column_default", "boolean", columnDefault ? true : null],
  ];
  const used = given.filter(([, , value]) => value !== null);
  const parameters = used.map(([parameter, type], n) => `, ${parameter} => $${n + 2}::${type}`);
  return transaction.unsafe(`SELECT * FROM ${name}($1::text${parameters.join("")})`, [
    subject,
    ...used.map(([, , value]) => value),
  ]);
}
