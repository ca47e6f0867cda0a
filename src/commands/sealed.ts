// The sealed context in a database: sql/sealed.sql, and the keys in its table.

import sealedSql from "../../sql/sealed.sql" with { type: "text" };
import type { SealKey } from "../auth/seal.ts";
import type { Transaction } from "./database.ts";
import { CommandError } from "./failure.ts";

/**
 * Installs or upgrades the sealed context, behind setup.sql and helpers.sql and with the same
 * search_path. From then on nobody sees a row without a token.
 *
 * @throws {postgres.PostgresError} what the server says; the file's own hints are among it.
 */
export async function installSealed(sql: Pick<Transaction, "unsafe">): Promise<void> {
  await sql.unsafe(sealedSql);
}

/** Whether sealed.sql has been installed. */
export async function isSealed(sql: Pick<Transaction, "unsafe">): Promise<boolean> {
  const [row] = await sql.unsafe(
    "SELECT pg_catalog.to_regprocedure('pgvpd.ctx(pg_catalog.text)') IS NOT NULL AS sealed",
  );
  return row!["sealed"];
}

/**
 * Puts keys into the database's table, and takes out all the others.
 *
 * The keys are bound parameters, so that they are in no statement's text; where the role may say
 * so, parameters are kept out of the server's log too.
 *
 * @returns whether the server may have written them to its log all the same.
 * @throws {CommandError} where sealed.sql is not installed.
 */
export async function putSealKeys(
  sql: Transaction,
  keys: readonly SealKey[],
): Promise<{ readonly mayBeLogged: boolean }> {
  if (!await isSealed(sql)) {
    throw new CommandError("The context is not sealed in this database: run pgvpd setup --sealed");
  }
  let isQuiet = true;
  for (const name of ["log_parameter_max_length", "log_parameter_max_length_on_error"]) {
    await sql.savepoint((inner) => inner.unsafe(`SET LOCAL ${name} = 0`))
      .catch(() => isQuiet = false); // a superuser's to set
  }
  const [logged] = await sql`SELECT pg_catalog.current_setting('log_statement') = 'all'
    OR pg_catalog.current_setting('log_min_duration_statement') <> '-1' AS "mayBe"`;
  // Before 16 there is one membership, and it may have been given on purpose.
  const [who] = await sql`SELECT rolsuper OR
      pg_catalog.current_setting('server_version_num')::int < 160000
        AND pg_catalog.pg_has_role('pgvpd_vault', 'MEMBER') AS "isAble"
    FROM pg_catalog.pg_roles WHERE rolname = CURRENT_USER`;
  const isMemberOnlyNow = who?.["isAble"] !== true;
  if (isMemberOnlyNow) await sql.unsafe("GRANT pgvpd_vault TO CURRENT_USER");
  await sql.unsafe("SET LOCAL ROLE pgvpd_vault");
  for (const { name, hex } of keys) {
    await sql`SELECT pgvpd.seal_key_put(${name}, pg_catalog.decode(${hex}, 'hex'))`;
  }
  const names = keys.map(({ name }) => name).join();
  await sql`SELECT pgvpd.seal_key_keep(VARIADIC pg_catalog.string_to_array(${names}, ','))`;
  await sql.unsafe("SET LOCAL ROLE NONE");
  if (isMemberOnlyNow) await sql.unsafe("REVOKE pgvpd_vault FROM CURRENT_USER");
  return { mayBeLogged: !isQuiet && logged?.["mayBe"] === true };
}
