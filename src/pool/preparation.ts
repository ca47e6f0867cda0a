// Preparation: the settings of a client and its context, as statements.

import { PgError } from "../codec/error.ts";
import type { SessionContext, Setting } from "../context/context.ts";
import {
  binaryQuery,
  confirmation,
  type Exchange,
  StatementFailed,
  type TextRow,
} from "./statements.ts";

/**
 * The settings of a client and its context: two statements, so that a setting which is refused does
 * not undo the context, in one write.
 */
export function preparation(
  context: SessionContext,
  settings: readonly Setting[],
  fresh: boolean,
): Exchange<unknown>[] {
  const confirming = confirmation(context, fresh);
  if (settings.length === 0) return [confirming];
  if (fresh) return [setting(settings), confirming];
  return [binaryQuery(resetSettingsQuery(settings), settings.flatMap(pair)), confirming];
}

/** Sets them, whatever they were. */
export function setting(settings: readonly Setting[]): Exchange<TextRow[]> {
  return binaryQuery(settingsQuery(settings), settings.flatMap(pair));
}

function pair({ name, value }: Setting): string[] {
  return [name, value];
}

/** The text of a parameter of a statement; all of them are bytes. */
const text = (parameter: number) => `pg_catalog.convert_from($${parameter}, 'UTF8')`;

function settingQuery(index: number): string {
  return `pg_catalog.set_config(${text(2 * index + 1)}, ${text(2 * index + 2)}, false)`;
}

function settingsQuery(settings: readonly Setting[]): string {
  const columns = settings.map((_, index) =>
    `pg_catalog.convert_to(${settingQuery(index)}, 'UTF8')`
  );
  return `SELECT ${columns.join(", ")}`;
}

/** Only what has the value that RESET gives; a variable of the application's own: an empty one. */
function resetSettingsQuery(settings: readonly Setting[]): string {
  const columns = settings.map((_, index) => {
    const name = text(2 * index + 1);
    const isReset = "coalesce((SELECT s.source OPERATOR(pg_catalog.<>) 'session' " +
      "FROM pg_catalog.pg_settings s WHERE pg_catalog.lower(s.name) OPERATOR(pg_catalog.=) " +
      `pg_catalog.lower(${name})), coalesce(pg_catalog.length(pg_catalog.current_setting(` +
      `${name}, true)), 0) OPERATOR(pg_catalog.=) 0)`;
    return `pg_catalog.convert_to(CASE WHEN ${isReset} THEN ${settingQuery(index)} END, 'UTF8')`;
  });
  return `SELECT ${columns.join(", ")}`;
}

/** A setting that the server does not take, in its own words. */
export function refusedSetting(error: unknown): never {
  if (!(error instanceof StatementFailed)) throw error;
  throw new PgError(error.sqlState, error.message, {
    detail: "The connection's own settings could not be applied to a pooled connection.",
  });
}
