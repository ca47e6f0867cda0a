// `pgvpd status`: the protection of every table, and what it lacks.

import { identifier, inTransaction, type Place, requireKit } from "./database.ts";

/** One table; the names are those of the JSON. */
export interface TableStatus {
  readonly schema: string;
  readonly table: string;
  readonly rls_enabled: boolean;
  readonly rls_forced: boolean;
  readonly policies: number;
  /** What is missing, in words; null: nothing. */
  readonly missing: string | null;
}

/** How to show it. */
export interface StatusOptions {
  readonly isJson: boolean;
  /** Colours, for a terminal. */
  readonly isColored: boolean;
}

/** @throws {CommandError} when the kit is not installed or may not be used. */
export async function status(
  place: Place,
  options: StatusOptions,
  print: (line: string) => void,
): Promise<void> {
  let tables: TableStatus[] = [];
  await inTransaction(place, () => {}, async (transaction) => {
    const schema = await requireKit(transaction);
    const rows = await transaction.unsafe(
      `SELECT * FROM ${identifier(schema)}.pgvpd_status()`,
    );
    tables = rows.map((row) => ({
      schema: row["schema_name"],
      table: row["table_name"],
      rls_enabled: row["rls_enabled"],
      rls_forced: row["rls_forced"],
      policies: Number(row["policy_count"]),
      missing: row["missing"],
    }));
    return "rollback";
  });
  if (options.isJson) print(JSON.stringify(tables, null, 2));
  else for (const line of renderStatus(tables, options.isColored)) print(line);
}

const RED = "\x1b[31m";
const GREEN = "\x1b[32m";
const PLAIN = "\x1b[0m";

/** The lines of a table, and one that sums it up. */
export function renderStatus(tables: readonly TableStatus[], isColored: boolean): string[] {
  if (tables.length === 0) return ["There are no tables."];
  const rows = tables.map((each) => [
    `${each.schema}.${each.table}`,
    !each.rls_enabled ? "off" : each.rls_forced ? "forced" : "on",
    String(each.policies),
    each.missing ?? "nothing",
  ]);
  const head = ["table", "row security", "policies", "missing"];
  const widths = head.map((title, n) =>
    Math.max(title.length, ...rows.map((row) => row[n]!.length))
  );
  const line = (cells: readonly string[]) =>
    cells.map((cell, n) => n === cells.length - 1 ? cell : cell.padEnd(widths[n]!)).join("  ");
  const colored = (text: string, isGood: boolean) =>
    isColored ? `${isGood ? GREEN : RED}${text}${PLAIN}` : text;
  const good = tables.filter(({ missing }) => missing === null).length;
  return [
    line(head),
    ...rows.map((row, n) => colored(line(row), tables[n]!.missing === null)),
    "",
    `${good} of ${tables.length} table${tables.length === 1 ? "" : "s"} isolated.`,
  ];
}
