// Which secret a client must know: from the password of everybody, a file, or the database.

import { parseStoredPassword, type StoredPassword } from "../auth/password.ts";
import { SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import type { UpstreamConnection } from "../pool/connect.ts";
import { PooledBackend } from "../pool/pooled_backend.ts";
import { converse, textQuery, type TextRow } from "../pool/statements.ts";

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

/**
 * Connections at once. Clients choose databases before anybody knows who they are: that must not
 * use up the server's connections.
 */
const LANES_MAX = 8;
/** How long a question may take, opening a connection included. */
const ASK_MS_MAX = 10_000;

/** Asks the database for secrets, on connections of its own. */
export class AuthQuery {
  readonly #options: AuthQueryOptions;
  /** By the database they were asked for last, in the order of use. */
  readonly #lanes = new Map<string, Lane>();

  constructor(options: AuthQueryOptions) {
    this.#options = options;
  }

  /**
   * @returns undefined when there is no such user, null when it has no password.
   * @throws {PgError} when the database cannot be asked · the signal's reason.
   */
  async find(who: ClientName, signal: AbortSignal): Promise<StoredPassword | null | undefined> {
    const database = this.#options.database ?? who.database;
    const parameters = this.#options.sql.includes("$2") ? [who.role, who.user] : [who.role];
    try {
      const rows = await this.#laneFor(database).ask(database, parameters, signal);
      const secret = rows[0]?.at(-1);
      if (rows.length === 0) return undefined;
      return secret ? parseStoredPassword(UTF8.encode(secret)) : null;
    } catch (error) {
      signal.throwIfAborted();
      throw askingFailed(error);
    }
  }

  /** Lets what is being asked be answered, and closes the connections. */
  async close(): Promise<void> {
    await Promise.all([...this.#lanes.values()].map((lane) => lane.close()));
  }

  #laneFor(database: string): Lane {
    let lane = this.#lanes.get(database);
    if (lane === undefined && this.#lanes.size >= LANES_MAX) {
      const [longestUnused, other] = this.#lanes.entries().next().value!;
      this.#lanes.delete(longestUnused);
      lane = other;
    }
    lane ??= new Lane(this.#options);
    this.#lanes.delete(database);
    this.#lanes.set(database, lane);
    return lane;
  }
}

/** One connection at a time, and one question at a time. */
class Lane {
  readonly #options: AuthQueryOptions;
  #connection: { readonly member: PooledBackend; readonly database: string } | null = null;
  /** Resolves when everything that was asked is answered. */
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(options: AuthQueryOptions) {
    this.#options = options;
  }

  /** A question that has begun goes on when its client leaves: others wait behind it. */
  ask(database: string, parameters: string[], signal: AbortSignal): Promise<TextRow[]> {
    const turn = this.#last.then(async () => {
      signal.throwIfAborted();
      return await this.#ask(database, parameters, AbortSignal.timeout(ASK_MS_MAX));
    });
    this.#last = turn.catch(() => {}).then(() => {
      if (this.#closed) return this.#disconnect();
    });
    return turn;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#last;
    await this.#disconnect();
  }

  async #ask(database: string, parameters: string[], bound: AbortSignal): Promise<TextRow[]> {
    const known = this.#connection;
    if (known?.database === database && known.member.backend.idle) {
      try {
        return await this.#exchange(known.member, parameters, bound);
      } catch (error) {
        // It has died, with last words or without: a new one answers.
        if (known.member.backend.idle || bound.aborted) throw error;
      }
    }
    await this.#disconnect();
    const { user, password, connect } = this.#options;
    const member = await PooledBackend.open({
      connect,
      credentials: { user, password },
      database,
      startupSettings: [{ name: "client_encoding", value: "UTF8" }],
      provesRoles: false,
    }, bound);
    this.#connection = { member, database };
    return await this.#exchange(member, parameters, bound);
  }

  async #exchange(
    { backend }: PooledBackend,
    parameters: string[],
    bound: AbortSignal,
  ): Promise<TextRow[]> {
    const onAbort = () => backend.close();
    bound.addEventListener("abort", onAbort, { once: true });
    try {
      const [rows] = await converse(backend, [textQuery(this.#options.sql, parameters)]);
      return rows;
    } finally {
      bound.removeEventListener("abort", onAbort);
    }
  }

  /** Resolves when the connection is no more: its place is free. */
  async #disconnect(): Promise<void> {
    const connection = this.#connection;
    this.#connection = null;
    connection?.member.close();
    await connection?.member.ended;
  }
}

/**
 * What goes wrong here is the operator's affair, who finds it in the log; the client learns that it
 * is not its own fault, and no name of a role or a table: it is still a stranger.
 */
function askingFailed(cause: unknown): PgError {
  // Whoever is told that the server is away knows that it may come back.
  const isAway = cause instanceof PgError && /^(08|57)/.test(cause.sqlState);
  return new PgError(
    isAway ? cause.sqlState : SqlState.InternalError,
    "pgvpd could not look the password up",
    { hint: "pgvpd's log says why; see auth_query, auth_user and auth_password." },
    { cause },
  );
}
