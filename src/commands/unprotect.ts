// `pgvpd unprotect`: takes the protection of tables away, and with it the tenants' privileges.

import { identifier, inTransaction, type Place, requireKit } from "./database.ts";
import { noticePrinter } from "./notices.ts";

/** Which tables, and what to leave. */
export interface UnprotectOptions {
  readonly tables: readonly string[];
  /** Tenants see every row then. */
  readonly keepPrivileges: boolean;
  readonly isDryRun: boolean;
}

type Print = (line: string) => void;

/** @throws {CommandError} when it is not possible for one of them; then it is done for none. */
export async function unprotect(
  place: Place,
  { tables, keepPrivileges, isDryRun }: UnprotectOptions,
  print: Print,
  warn: Print,
): Promise<void> {
  const notices = noticePrinter(print, warn);
  await inTransaction(place, notices.take, async (transaction) => {
    const name = `${identifier(await requireKit(transaction))}.pgvpd_unprotect`;
    for (const table of tables) {
      await transaction.unsafe(`SELECT ${name}($1::text, keep_privileges => $2::boolean)`, [
        table,
        keepPrivileges,
      ]);
      notices.print();
    }
    if (isDryRun) print("Nothing has been changed: this was a dry run.");
    return isDryRun ? "rollback" : "commit";
  });
}
