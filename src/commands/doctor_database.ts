// The doctor's connections to PostgreSQL: one session each, everything that comes back as text.

import postgres from "postgres";
import type { Query, Row } from "../doctor/lints.ts";
import { tlsOfUrl } from "./database_tls.ts";
import { CommandError } from "./failure.ts";

const CONNECT_SECONDS_MAX = 10;
const PORT = 5432;

/** What a connection needs beside its URL, where the URL does not say it. */
export type ConnectionDefaults = Pick<
  postgres.Options<Record<string, postgres.PostgresType>>,
  "host" | "port" | "database" | "user" | "password" | "ssl"
>;

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
      await database.#sql.unsafe("SELECT 1");
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
      if (error instanceof postgres.PostgresError) {
        throw new StatementRefused(error.message, error.code);
      }
      if (!(error instanceof Error && "code" in error)) throw error;
      throw new CommandError(`Lost the connection as ${this.where}: ${error.message}`);
    }
  };

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sql.end({ timeout: 1 });
  }
}

function open(url: string | null, defaults: ConnectionDefaults): postgres.Sql {
  const { host = "localhost", port, ...rest } = { ...defaults, ...(url === null ? {} : read(url)) };
  return postgres({
    ...rest,
    // postgres.js takes a text apart at commas and colons, which an IPv6 address has.
    ...(String(host).startsWith("/")
      ? { host, port }
      : { host: [host].flat(), port: [port].flat() }),
    ...{ max: 1, prepare: false, fetch_types: false, connect_timeout: CONNECT_SECONDS_MAX },
    ...{ idle_timeout: 0, max_lifetime: null, backoff: false, onnotice: () => {} },
    connection: { application_name: "pgvpd doctor" },
  } as postgres.Options<Record<string, postgres.PostgresType>>);
}

/** @throws {CommandError} which does not repeat the text: it may hold a password. */
function read(text: string): ConnectionDefaults {
  let url: URL;
  try {
    url = new URL(text);
    if (!/^postgres(ql)?:$/.test(url.protocol)) throw new TypeError();
  } catch {
    throw new CommandError("A database is named as postgres://user@host:port/database");
  }
  const { hostname, port, username, password, pathname, searchParams } = url;
  const host = searchParams.get("host") ?? hostname.replace(/^\[(.*)\]$/, "$1");
  const given = (name: string, encoded: string) =>
    encoded === "" ? {} : { [name]: decodeURIComponent(encoded) };
  return {
    ...{ port: port === "" ? PORT : Number(port), ssl: tlsOfUrl(host, searchParams) },
    ...{ ...given("host", host), ...given("user", username), ...given("password", password) },
    ...given("database", pathname.slice(1)),
  };
}

function asText(row: Record<string, unknown>): Row {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [
      name,
      value === null ? null : typeof value === "object" ? JSON.stringify(value) : String(value),
    ]),
  );
}
