// The doctor's connections to PostgreSQL: one session each, everything that comes back as text.

import { checkServerIdentity, type PeerCertificate } from "node:tls";
import postgres from "postgres";
import type { Query, Row } from "../doctor/lints.ts";
import { CommandError } from "./failure.ts";

const CONNECT_SECONDS_MAX = 10;

/** What a connection needs beside its URL, where the URL does not say it. */
export type ConnectionDefaults = Pick<
  postgres.Options<Record<string, postgres.PostgresType>>,
  "host" | "port" | "database" | "user" | "password" | "ssl"
>;

/**
 * Options of node:tls that verify the server's certificate, and that it is for this host; null: for
 * whichever. postgres.js passes no host that is an address, and without one the certificate would
 * have to be for "localhost".
 */
export function verifyingTls(host: string | null) {
  return {
    rejectUnauthorized: true,
    ...(host === null ? {} : { host }),
    checkServerIdentity: (_: string, certificate: PeerCertificate) =>
      host === null ? undefined : checkServerIdentity(host, certificate),
  };
}

/** A statement that the server refused. */
export class StatementRefused extends Error {
  override readonly name = "StatementRefused";
  constructor(message: string, readonly sqlState: string) {
    super(message);
  }
}

/** One session; disposing of it ends it. */
export class DoctorDatabase implements AsyncDisposable {
  /** For messages: host, port, database and user, and never a password. */
  readonly where: string;
  /** Host and port. */
  readonly address: string;
  readonly #sql: postgres.Sql;

  private constructor(sql: postgres.Sql) {
    this.#sql = sql;
    const { host, port, database, user } = sql.options;
    this.address = `${host[0]}:${port[0]}`;
    this.where = `${user}@${this.address}/${database}`;
  }

  /**
   * Connects.
   *
   * @throws {CommandError} when that cannot be done, with the server's reason.
   */
  static async connect(
    url: string | null,
    defaults: ConnectionDefaults = {},
  ): Promise<DoctorDatabase> {
    const database = new DoctorDatabase(open(url, defaults));
    try {
      await database.query("SELECT 1");
      return database;
    } catch (error) {
      await database[Symbol.asyncDispose]();
      const reason = error instanceof Error ? error.message : String(error);
      throw new CommandError(`Cannot connect as ${database.where}: ${reason}`);
    }
  }

  /**
   * Runs one statement with parameters, or, without, as many as the text holds; returns the rows of
   * the last.
   *
   * @throws {StatementRefused}
   */
  readonly query: Query = async (text, parameters): Promise<readonly Row[]> => {
    try {
      if (parameters !== undefined) {
        return (await this.#sql.unsafe(text, [...parameters])).map(asText);
      }
      const results: unknown = await this.#sql.unsafe(text).simple();
      const [first] = results as readonly unknown[];
      // Of several statements there are several results.
      return (Array.isArray(first) ? (results as Row[][]).at(-1)! : results as Row[]).map(asText);
    } catch (error) {
      if (!(error instanceof postgres.PostgresError)) throw error;
      throw new StatementRefused(error.message, error.code);
    }
  };

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sql.end({ timeout: 1 });
  }
}

function open(url: string | null, defaults: ConnectionDefaults): postgres.Sql {
  const options = {
    ...defaults,
    ...{ max: 1, prepare: false, fetch_types: false, connect_timeout: CONNECT_SECONDS_MAX },
    ...{ idle_timeout: 0, max_lifetime: null, backoff: false, onnotice: () => {} },
    connection: { application_name: "pgvpd doctor" },
  };
  if (url === null) return postgres(options);
  if (!/^postgres(ql)?:\/\//.test(url)) {
    throw new CommandError("A database is named as postgres://user@host:port/database");
  }
  try {
    const { hostname, searchParams } = new URL(url);
    const mode = searchParams.get("sslmode");
    const host = hostname.replace(/^\[(.*)\]$/, "$1");
    if (mode === "verify-full") return postgres(url, { ...options, ssl: verifyingTls(host) });
    if (mode === "verify-ca") return postgres(url, { ...options, ssl: verifyingTls(null) });
    return postgres(url, options);
  } catch {
    throw new CommandError("A URL of a database cannot be read"); // it may hold a password
  }
}

function asText(row: Record<string, unknown>): Row {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [
      name,
      value === null ? null : typeof value === "object" ? JSON.stringify(value) : String(value),
    ]),
  );
}
