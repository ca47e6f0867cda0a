// One transaction of the application's, in which things are tried and which is rolled back.

import type { Query, Row } from "./lints.ts";

/** Time for one statement, so that a proof on a large table does not become its load. */
const STATEMENT_MS_MAX = 2_000;

/** An identifier as SQL. */
export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A string as SQL, whatever standard_conforming_strings says. */
export function literal(text: string): string {
  const quoted = text.replaceAll("'", "''");
  return text.includes("\\") ? ` E'${quoted.replaceAll("\\", "\\\\")}'` : `'${quoted}'`;
}

/** Who to become before anything is tried. */
export interface Disguise {
  /** Null: the session is that role already. */
  readonly login: string | null;
  /** A superuser becomes it with its session; others only with SET ROLE, which RESET ROLE ends. */
  readonly wholeSession: boolean;
  /** What pgvpd's `set_role` says. */
  readonly setRole: string | null;
}

/** What a trial came to: the rows of its last statement, or the server's refusal. */
export type Outcome = readonly Row[] | Error;

/** Tries statements; none of them stays, and none of them spoils the next one. */
export type Trial = (text: string) => Promise<Outcome>;

/**
 * Runs `work` in a read-only transaction and rolls it back.
 *
 * @throws what the server says when the role cannot be taken on.
 */
export async function inDisguise<T>(
  query: Query,
  { login, wholeSession, setRole }: Disguise,
  work: (trial: Trial) => Promise<T>,
): Promise<T> {
  await query("BEGIN TRANSACTION READ ONLY");
  try {
    await query(`SET LOCAL statement_timeout = ${STATEMENT_MS_MAX}`);
    if (login !== null) {
      await query(
        `SET LOCAL ${wholeSession ? "SESSION AUTHORIZATION" : "ROLE"} ${identifier(login)}`,
      );
    }
    if (setRole !== null) await query(`SET LOCAL ROLE ${identifier(setRole)}`);
    return await work((text) => attempt(query, text));
  } finally {
    await query("ROLLBACK");
  }
}

async function attempt(query: Query, text: string): Promise<Outcome> {
  await query("SAVEPOINT pgvpd_doctor");
  try {
    return await query(text);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return error;
  } finally {
    await query("ROLLBACK TO SAVEPOINT pgvpd_doctor");
  }
}
