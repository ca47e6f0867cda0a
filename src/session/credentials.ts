// Which secret a client must know: from the password of everybody, a file, or the database.

import { parseStoredPassword, type StoredPassword, StoredPasswordError } from "../auth/password.ts";
import { SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import type { UpstreamConnection } from "../pool/connect.ts";
import { PooledBackend } from "../pool/pooled_backend.ts";
import { converse, StatementFailed, textQuery } from "../pool/statements.ts";

const UTF8 = new TextEncoder();

/** Who wants to come in. */
export interface ClientName {
  /** The whole user name, `app_user.acme`. */
  readonly user: string;
  /** The role in it, `app_user`. */
  readonly role: string;
  readonly database: string;
}

/** A secret, and the name that it was found under. */
export interface FoundSecret {
  readonly stored: StoredPassword;
  /** Secrets that are found under one name are the same: they have the same salt. */
  readonly name: string;
}

/** Finds secrets. */
export interface Credentials {
  /** Null when there is no such user, or it has no password: it can never log in. */
  find(who: ClientName, signal: AbortSignal): Promise<FoundSecret | null>;
}

/** The sources in the order in which they are asked; the first that knows the user decides. */
export interface CredentialSources {
  /** auth_file: user names, or roles, and their secrets. */
  readonly users: ReadonlyMap<string, StoredPassword | null> | null;
  /** auth_query. */
  readonly query: AuthQuery | null;
  /** pool_password: for everybody whom no other source knows. */
  readonly password: string | null;
}

/** Whose secret the one of pool_password is. */
const EVERYBODY = "";

/** Asks the sources one after the other. */
export class ConfiguredCredentials implements Credentials {
  readonly #sources: CredentialSources;

  constructor(sources: CredentialSources) {
    this.#sources = sources;
  }

  async find(who: ClientName, signal: AbortSignal): Promise<FoundSecret | null> {
    const { users, query, password } = this.#sources;
    for (const name of [who.user, who.role]) {
      const stored = users?.get(name);
      if (stored !== undefined) return stored === null ? null : { stored, name };
    }
    if (query !== null) {
      const stored = await query.find(who, signal);
      if (stored !== undefined) return stored === null ? null : { stored, name: who.role };
    }
    if (password === null) return null;
    return { stored: { kind: "cleartext", password: UTF8.encode(password) }, name: EVERYBODY };
  }
}

/** How auth_query is run. */
export interface AuthQueryOptions {
  /** `$1` is the role; `$2`, when it occurs, the whole user name. */
  readonly sql: string;
  readonly user: string;
  readonly password: string | null;
  /** Null: the client's. */
  readonly database: string | null;
  readonly connect: (signal: AbortSignal) => Promise<UpstreamConnection>;
}

/** Databases with a connection for auth_query at once. */
const CONNECTIONS_MAX = 8;

/** Asks the database for secrets, on connections of its own: one for each database. */
export class AuthQuery {
  readonly #options: AuthQueryOptions;
  readonly #connections = new Map<string, Promise<PooledBackend>>();
  /** The question before, by database: one is asked at a time. */
  readonly #turns = new Map<string, Promise<unknown>>();

  constructor(options: AuthQueryOptions) {
    this.#options = options;
  }

  /**
   * @returns undefined when there is no such user, null when it has no password.
   * @throws {PgError} when the database cannot be asked.
   */
  async find(who: ClientName, signal: AbortSignal): Promise<StoredPassword | null | undefined> {
    const database = this.#options.database ?? who.database;
    const before = this.#turns.get(database);
    const turn = (async () => {
      await before?.catch(() => {});
      signal.throwIfAborted();
      return await this.#ask(database, who, signal);
    })();
    this.#turns.set(database, turn);
    try {
      return await turn;
    } finally {
      if (this.#turns.get(database) === turn) this.#turns.delete(database);
    }
  }

  close(): void {
    for (const connection of this.#connections.values()) {
      connection.then((one) => one.close(), () => {});
    }
    this.#connections.clear();
  }

  async #ask(
    database: string,
    who: ClientName,
    signal: AbortSignal,
  ): Promise<StoredPassword | null | undefined> {
    const { sql } = this.#options;
    const parameters = sql.includes("$2") ? [who.role, who.user] : [who.role];
    const { backend } = await this.#connection(database, signal);
    const onAbort = () => backend.close(); // it is out of step then
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      const [rows] = await converse(backend, [textQuery(sql, parameters)]);
      const secret = rows[0]?.at(-1);
      if (rows.length === 0) return undefined;
      return secret === null || secret === undefined || secret === ""
        ? null
        : parseStoredPassword(UTF8.encode(secret));
    } catch (error) {
      throw askingFailed(error);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  async #connection(database: string, signal: AbortSignal): Promise<PooledBackend> {
    const known = await this.#connections.get(database)?.catch(() => null);
    if (known?.backend.idle) return known;
    known?.close();
    this.#connections.delete(database);
    if (this.#connections.size >= CONNECTIONS_MAX) this.#closeOldest();
    const { user, password, connect } = this.#options;
    const opening = PooledBackend.open({
      connect,
      credentials: { user, password },
      database,
      startupSettings: [{ name: "client_encoding", value: "UTF8" }],
      provesRoles: false,
    }, signal);
    this.#connections.set(database, opening);
    try {
      return await opening;
    } catch (error) {
      this.#connections.delete(database);
      throw askingFailed(error);
    }
  }

  #closeOldest(): void {
    const [database, connection] = this.#connections.entries().next().value!;
    this.#connections.delete(database);
    connection.then((one) => one.close(), () => {});
  }
}

/** What goes wrong here is the operator's affair; the client learns that it is not its own fault. */
function askingFailed(error: unknown): unknown {
  if (error instanceof StatementFailed || error instanceof StoredPasswordError) {
    return new PgError(
      SqlState.InternalError,
      "pgvpd could not look the password up",
      { hint: "Check auth_query and the rights of auth_user; the log has the server's own words." },
      { cause: error },
    );
  }
  return error;
}
