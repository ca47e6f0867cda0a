// Real clients for the wire tests: npm:pg with the few types that it lacks, postgres.js, and psql.

import pg from "pg";
import postgres from "postgres";

/** Where and as whom to connect. */
export interface Login {
  readonly port: number;
  readonly user: string;
  readonly password?: string;
  readonly database?: string;
  /** The start-up parameter `options`. */
  readonly options?: string;
  readonly host?: string;
  /** As npm:pg and postgres.js understand it. */
  readonly ssl?: unknown;
  readonly sslnegotiation?: "direct";
}

export type Row = Record<string, unknown>;

export interface PgQuery {
  readonly text: string;
  readonly name?: string;
  readonly values?: readonly unknown[];
}

/** The part of `pg.Client` that the tests use. */
interface BareClient {
  connect(): Promise<void>;
  query(query: PgQuery): Promise<{ rows: Row[]; rowCount: number | null }>;
  end(): Promise<void>;
  on(event: string, listener: (fact: { message: string; payload?: string }) => void): void;
  readonly processID: number;
}

/** A connected `pg.Client`; a lost connection is a fact here, not an uncaught error. */
export class PgClient implements AsyncDisposable {
  lost: Error | null = null;
  readonly notifications: string[] = [];
  readonly notices: string[] = [];

  private constructor(readonly bare: BareClient) {}

  static async connect(login: Login): Promise<PgClient> {
    const bare = new pg.Client({
      host: "127.0.0.1",
      password: "none",
      database: "pgvpd_test",
      ...login,
    }) as unknown as BareClient;
    const client = new PgClient(bare);
    bare.on("error", (error) => client.lost ??= error as Error);
    bare.on("notification", ({ payload }) => client.notifications.push(payload ?? ""));
    bare.on("notice", ({ message }) => client.notices.push(message));
    await bare.connect();
    return client;
  }

  async rows(text: string, values: readonly unknown[] = [], name?: string): Promise<Row[]> {
    const query = { text, values, ...(name === undefined ? {} : { name }) };
    return (await this.bare.query(query)).rows;
  }

  /** The only value of the only row. */
  async value(text: string, values: readonly unknown[] = []): Promise<unknown> {
    const rows = await this.rows(text, values);
    return Object.values(rows[0] ?? {})[0];
  }

  /** A string of statements as one simple query. */
  async run(text: string): Promise<void> {
    await this.bare.query({ text });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.bare.end().catch(() => {});
  }
}

/** One connection of postgres.js. */
export function connectPostgresJs(login: Login): postgres.Sql & AsyncDisposable {
  const { options, ...rest } = login;
  const sql = postgres({
    host: "127.0.0.1",
    password: "none",
    database: "pgvpd_test",
    max: 1,
    onnotice: () => {},
    fetch_types: false,
    ...(options === undefined ? {} : { connection: { options } as never }),
    ...rest as postgres.Options<Record<string, never>>,
  });
  return Object.assign(sql, { [Symbol.asyncDispose]: () => sql.end({ timeout: 5 }) });
}

/** What a psql command wrote and how it ended. */
export interface PsqlResult {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Is there a psql? Says so loudly when not. */
export function psqlMissing(): boolean {
  try {
    return !new Deno.Command("psql", { args: ["--version"] }).outputSync().success;
  } catch {
    console.warn("SKIPPED: psql is not installed; apt-get install postgresql-client");
    return true;
  }
}

export function psqlCommand(
  login: Login,
  args: readonly string[],
  env: Record<string, string> = {},
): Deno.Command {
  return new Deno.Command("psql", {
    args: ["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", ...args],
    env: {
      PGHOST: "127.0.0.1",
      PGPORT: String(login.port),
      PGUSER: login.user,
      PGPASSWORD: login.password ?? "none",
      PGDATABASE: login.database ?? "pgvpd_test",
      PGCONNECT_TIMEOUT: "10",
      LC_ALL: "C",
      ...env,
    },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
}

export async function psql(
  login: Login,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<PsqlResult> {
  const { code, stdout, stderr } = await psqlCommand(login, args, env).output();
  const text = new TextDecoder();
  return { code, out: text.decode(stdout).trim(), err: text.decode(stderr).trim() };
}
