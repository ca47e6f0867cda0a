// One connection of an administrator's, for the commands that install, protect and look.

import postgres from "postgres";
import type { Settings } from "../config/config.ts";
import { addressText } from "../net/address.ts";
import { type DatabaseTls, tlsOfSettings, tlsOfUrl } from "./database_tls.ts";
import { CommandError, reasonOf } from "./failure.ts";
import { askPassword, ownTerminal } from "./prompt.ts";

/** What the command line says about the database; null: nothing. */
export interface DatabaseArguments {
  /** `postgresql://user@host:port/database?sslmode=…`, without a password. */
  readonly url: string | null;
  readonly database: string | null;
  readonly user: string | null;
  /** A file that holds the password in its first line. */
  readonly passwordFile: string | null;
}

/** Where to connect, as whom, and how. */
export interface Place {
  /** A name, an address, or the directory of a unix socket. */
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  readonly tls: DatabaseTls;
  /** Called when the server asks for one. */
  readonly password: () => string;
}

/** Something the server said beside its answers. */
export interface Notice {
  readonly severity: string;
  readonly message: string;
  readonly hint: string | null;
}

/** The statements of one transaction. */
export type Transaction = postgres.TransactionSql;

const DEFAULT_USER = "postgres";
const DEFAULT_PORT = 5432;
const CONNECT_S_MAX = 15;
/** A table's lock that is waited for holds up everybody who comes later. */
const LOCK_WAIT = "10s";

/**
 * Finds out where to connect: `--url`, or the upstream of the configuration.
 *
 * @param settings reads the configuration; not called when there is a URL.
 * @throws {CommandError} with what is missing or wrong. Its message holds no password.
 */
export function placeOf(
  from: DatabaseArguments,
  settings: () => Settings,
  environment = readVariable,
): Place {
  const url = from.url === null ? null : readUrl(from.url);
  const configured = url === null ? settings() : null;
  const user = from.user ?? url?.user ?? environment("PGUSER") ?? DEFAULT_USER;
  const database = from.database ?? url?.database ?? environment("PGDATABASE");
  if (!database) {
    throw new CommandError(
      "Which database? Name it with --database, in --url, or in the variable PGDATABASE",
    );
  }
  const host = url?.host ?? configured!.upstreamHost;
  const ownPassword = configured?.upstreamUser === user ? configured.upstreamPassword : null;
  return {
    host,
    port: url?.port ?? configured!.upstreamPort,
    database,
    user,
    tls: url === null ? tlsOfSettings(configured!) : tlsOfUrl(host, url.parameters),
    password: () => {
      if (from.passwordFile !== null) return readPasswordFile(from.passwordFile);
      return environment("PGPASSWORD") ?? ownPassword ?? prompted(user);
    },
  };
}

interface UrlParts {
  readonly host: string;
  readonly port: number;
  readonly user: string | null;
  readonly database: string | null;
  readonly parameters: URLSearchParams;
}

/** The text is never repeated in a message: it may hold a password. */
function readUrl(text: string): UrlParts {
  let url: URL;
  try {
    url = new URL(text);
    if (!/^postgres(ql)?:$/.test(url.protocol)) throw new TypeError();
  } catch {
    throw new CommandError(
      "--url is no URL of a database: postgresql://user@host:5432/database?sslmode=verify-full",
    );
  }
  if (url.password !== "" || url.searchParams.has("password")) {
    throw new CommandError(
      "--url holds a password, which everybody on this machine can read in the list of processes. " +
        "Leave it out, and set PGPASSWORD, name a file with --password-file, or be asked for it",
    );
  }
  const part = (encoded: string) => encoded === "" ? null : decodeURIComponent(encoded);
  return {
    host: url.searchParams.get("host") ?? part(url.hostname.replace(/^\[(.*)\]$/, "$1")) ??
      "127.0.0.1",
    port: url.port === "" ? DEFAULT_PORT : Number(url.port),
    user: part(url.username),
    database: part(url.pathname.slice(1)),
    parameters: url.searchParams,
  };
}

function readPasswordFile(path: string): string {
  try {
    return Deno.readTextFileSync(path).split(/\r?\n/)[0]!;
  } catch (error) {
    const reason = error instanceof Deno.errors.NotFound
      ? "there is no such file"
      : reasonOf(error);
    throw new CommandError(`Cannot read the password from "${path}": ${reason}`);
  }
}

function prompted(user: string): string {
  const terminal = ownTerminal();
  if (terminal === null) {
    throw new CommandError(
      `The server asks for the password of ${JSON.stringify(user)}: set PGPASSWORD, or name a ` +
        "file with --password-file",
    );
  }
  return askPassword(terminal, `Password for ${JSON.stringify(user)}: `);
}

function readVariable(variable: string): string | null {
  const { state } = Deno.permissions.querySync({ name: "env", variable });
  return state === "granted" ? Deno.env.get(variable) || null : null;
}

/** How to say where that is. */
export function placeText({ host, port, database, user }: Place): string {
  return `database ${JSON.stringify(database)} at ${addressText(host, port)}, as ` +
    JSON.stringify(user);
}

/** What `inTransaction` is to do with what has been done. */
export type Ending = "commit" | "rollback";

/**
 * Connects, runs everything in one transaction, and disconnects.
 *
 * @param work says in the end whether to keep what it did.
 * @throws {CommandError} when the server cannot be reached or refuses something; nothing is kept.
 */
export async function inTransaction(
  place: Place,
  onNotice: (notice: Notice) => void,
  work: (transaction: Transaction) => Promise<Ending>,
): Promise<void> {
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => {});
  const sql = postgres({
    host: place.host,
    port: place.port,
    database: place.database,
    user: place.user,
    password: () => attempt(place.password, failed.reject),
    ssl: place.tls,
    ...{ max: 1, fetch_types: false, prepare: false, connect_timeout: CONNECT_S_MAX },
    connection: { application_name: "pgvpd" },
    onnotice: (notice) =>
      onNotice({
        severity: notice["severity"] ?? "NOTICE",
        message: notice["message"] ?? "",
        hint: notice["hint"] ?? null,
      }),
  });
  const isUndone = Symbol("rolled back");
  try {
    await Promise.race([
      failed.promise,
      sql.begin(async (transaction) => {
        await transaction.unsafe(`SET LOCAL lock_timeout = '${LOCK_WAIT}'`);
        if (await work(transaction) === "rollback") throw isUndone;
      }),
    ]);
  } catch (error) {
    if (error === isUndone) return;
    throw asSentence(error, place);
  } finally {
    await sql.end({ timeout: 1 });
  }
}

/** A password that cannot be had ends the connection: postgres.js would wait for it. */
function attempt(password: () => string, reject: (error: unknown) => void): string {
  try {
    return password();
  } catch (error) {
    reject(error);
    return "";
  }
}

/** What is wrong and what to do, by SQLSTATE. */
const ADVICE: Readonly<Record<string, string>> = {
  "28P01": "Set PGPASSWORD, or name a file with --password-file",
  "28000": "Name another user with --user, or let this one in with pg_hba.conf",
  "3D000": "Name a database that exists with --database or in --url",
  "42501": "Connect as the owner of the database, or as a superuser: --user",
  "55P03": "Somebody else uses the table; try again, or in a quiet hour",
};

function asSentence(error: unknown, place: Place): unknown {
  if (error instanceof postgres.PostgresError) {
    const { message, hint, code } = error;
    const advice = hint || ADVICE[code];
    return new CommandError(
      `${message.replace(/^pgvpd: /, "")} (${code})${advice ? `\n${advice}` : ""}`,
    );
  }
  if (!(error instanceof Error) || error instanceof CommandError) return error;
  const isConnecting = "code" in error || /certificate|TLS|tls|handshake/.test(error.message);
  if (!isConnecting) return error;
  return new CommandError(
    `Cannot connect to ${placeText(place)}: ${
      error.message || String((error as { code?: unknown }).code)
    }` +
      "\nIs PostgreSQL there? --url, or upstream_host and upstream_port, say where it is",
  );
}

/** An identifier in double quotes. */
export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/**
 * The schema that the SQL kit is in.
 *
 * Only functions of this user, of a superuser or of the database's owner count: another's would
 * run with this user's rights.
 *
 * @returns null when it is not installed.
 * @throws {CommandError} when there are several, or a function in it is somebody else's.
 */
export async function kitSchema(transaction: Transaction): Promise<string | null> {
  const functions = await transaction<
    { schema: string; name: string; signature: string; owner: string; trusted: boolean }[]
  >`
    SELECT n.nspname AS schema, p.proname AS name, p.oid::pg_catalog.regprocedure AS signature,
           r.rolname AS owner,
           r.rolsuper OR r.rolname = current_user OR r.oid = d.datdba AS trusted
      FROM pg_catalog.pg_proc p
      JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
      JOIN pg_catalog.pg_roles r ON r.oid = p.proowner
      JOIN pg_catalog.pg_database d ON d.datname = pg_catalog.current_database()
     WHERE p.proname ^@ 'pgvpd_' OR p.proname = 'current_tenant_id'`;
  const kits = functions.filter(({ name }) => name === "pgvpd_protect");
  const schemas = [...new Set(kits.filter(({ trusted }) => trusted).map(({ schema }) => schema))];
  if (schemas.length > 1) {
    const names = schemas.map(identifier).join(" and ");
    throw new CommandError(`pgvpd's functions are in ${names}: drop those that are not used`);
  }
  const schema = schemas[0] ?? kits[0]?.schema ?? null;
  const stranger = functions.find((each) => each.schema === schema && !each.trusted);
  if (stranger === undefined) return schema;
  throw new CommandError(
    `${stranger.signature} in schema ${identifier(stranger.schema)} belongs to ` +
      `${identifier(stranger.owner)}, who is neither a superuser nor the owner of the database: ` +
      "nothing is run. Drop it, or give it to the owner with ALTER FUNCTION … OWNER TO",
  );
}

/** The same, for commands that need it. */
export async function requireKit(transaction: Transaction): Promise<string> {
  const schema = await kitSchema(transaction);
  if (schema === null) {
    throw new CommandError("pgvpd's functions are not in this database: run pgvpd setup first");
  }
  return schema;
}
