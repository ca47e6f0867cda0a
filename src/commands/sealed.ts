// The sealed context in a database: sql/sealed.sql, and the keys in its table.

import type postgres from "postgres";
import sealedSql from "../../sql/sealed.sql" with { type: "text" };
import type { SealKey } from "../auth/seal.ts";

/** One connection of the library's, inside a transaction or not. */
interface Connection {
  unsafe(sql: string): PromiseLike<unknown>;
}

/**
 * Installs or upgrades the sealed context, behind setup.sql and helpers.sql. From then on nobody
 * sees a row without a token. To be called in the transaction of the rest.
 *
 * @throws {postgres.PostgresError} what the server says; the file's own hints are among it.
 */
export async function installSealed(sql: Connection): Promise<void> {
  await sql.unsafe(sealedSql);
}

/** Whether sealed.sql has been installed. */
export async function isSealed(sql: Connection): Promise<boolean> {
  const rows = await sql.unsafe(
    "SELECT pg_catalog.to_regprocedure('pgvpd.ctx(pg_catalog.text)') IS NOT NULL AS sealed",
  );
  return (rows as readonly { readonly sealed: boolean }[])[0]!.sealed;
}

/**
 * Puts keys into the database's table, and takes out all the others.
 *
 * The keys are bound parameters, so that they are in no statement's text; where the role may say
 * so, parameters are kept out of the server's log too.
 *
 * @throws {postgres.PostgresError} 3F000 where sealed.sql is not installed.
 */
export async function putSealKeys(sql: postgres.Sql, keys: readonly SealKey[]): Promise<void> {
  await sql.begin(async (transaction) => {
    for (const name of ["log_parameter_max_length", "log_parameter_max_length_on_error"]) {
      await transaction.savepoint((inner) => inner.unsafe(`SET LOCAL ${name} = 0`))
        .catch(() => {}); // a superuser's to set
    }
    // Before 16 there is one membership, and it may have been given on purpose.
    const [who] = await transaction`SELECT rolsuper OR
        pg_catalog.current_setting('server_version_num')::int < 160000
          AND pg_catalog.pg_has_role('pgvpd_vault', 'MEMBER') AS "isAble"
      FROM pg_catalog.pg_roles WHERE rolname = CURRENT_USER`;
    const isMemberOnlyNow = who?.["isAble"] !== true;
    if (isMemberOnlyNow) await transaction.unsafe("GRANT pgvpd_vault TO CURRENT_USER");
    await transaction.unsafe("SET LOCAL ROLE pgvpd_vault");
    for (const { name, hex } of keys) {
      await transaction`SELECT pgvpd.seal_key_put(${name}, pg_catalog.decode(${hex}, 'hex'))`;
    }
    const names = keys.map(({ name }) => name).join();
    await transaction`SELECT pgvpd.seal_key_keep(
      VARIADIC pg_catalog.string_to_array(${names}, ','))`;
    await transaction.unsafe("SET LOCAL ROLE NONE");
    if (isMemberOnlyNow) await transaction.unsafe("REVOKE pgvpd_vault FROM CURRENT_USER");
  });
}
