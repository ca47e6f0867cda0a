// Where the documents are tried: a PostgreSQL with a database for each page, and pgvpd in front.

import { EmbeddedPostgres } from "../../src/commands/embedded_postgres.ts";
import { SQL_FILES } from "../../src/commands/sql_files.ts";
import { configureLog } from "../../src/log.ts";
import { Proxy, WITHOUT_TLS } from "../../src/server.ts";
import { type Login, PgClient } from "./wire_clients.ts";
import { proxyOptions, SUPERUSER } from "./wire_options.ts";

/** What setup.sql makes; pages may make others, which are dropped with the page. */
const LASTING_ROLES = ["app_user", SUPERUSER];

/** One server and one proxy for all pages. */
export class DocsWorld implements AsyncDisposable {
  private constructor(readonly postgres: EmbeddedPostgres, readonly proxy: Proxy) {}

  static async start(): Promise<DocsWorld> {
    const postgres = await EmbeddedPostgres.start({
      superuser: SUPERUSER,
      password: SUPERUSER,
      hba: ["host all app_user,pgvpd_resolver 127.0.0.1/32 trust"],
    });
    configureLog({ level: "error", format: "text", colour: false, write: () => {} });
    return new DocsWorld(postgres, await Proxy.start(proxyOptions(postgres.port), WITHOUT_TLS));
  }

  /** A database with setup.sql and helpers.sql, and what a page takes for granted. */
  async database(name: string, prelude: string): Promise<PageDatabase> {
    await this.#maintain(`CREATE DATABASE ${name}`);
    const admin = await PgClient.connect(this.owner(name));
    for (const name of ["setup", "helpers"]) await admin.run(SQL_FILES[name]!);
    await admin.run(prelude);
    return new PageDatabase(this, name, admin);
  }

  owner(database: string): Login {
    return { port: this.postgres.port, user: SUPERUSER, password: SUPERUSER, database };
  }

  async drop(database: string): Promise<void> {
    await this.#maintain(`DROP DATABASE ${database} WITH (FORCE)`);
    await using admin = await PgClient.connect(this.owner("postgres"));
    const roles = await admin.rows(
      `SELECT quote_ident(rolname) AS role FROM pg_roles
        WHERE rolname NOT LIKE 'pg\\_%' AND rolname <> ALL ($1)`,
      [LASTING_ROLES],
    );
    for (const { role } of roles) await admin.run(`DROP ROLE ${role}`);
  }

  async #maintain(statement: string): Promise<void> {
    await using admin = await PgClient.connect(this.owner("postgres"));
    await admin.run(statement);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.proxy.stop(0);
    await this.postgres.stop();
  }
}

/** One page's database. */
export class PageDatabase implements AsyncDisposable {
  constructor(readonly world: DocsWorld, readonly name: string, readonly admin: PgClient) {}

  tenant(tenant: string): Login {
    const { port } = this.world.proxy;
    return { port, user: `app_user.${tenant}`, database: this.name };
  }

  /** What the shell of a page sees: psql goes to the database, pgvpd is this one. */
  shell(directory: string): Record<string, string> {
    const { port, user, password } = this.world.owner(this.name);
    const path = `${directory}:${Deno.env.get("PATH") ?? ""}`;
    return {
      ...{ PATH: path, PGHOST: "127.0.0.1", PGPORT: `${port}`, PGUSER: user },
      ...{ PGPASSWORD: password!, PGDATABASE: this.name, LC_ALL: "C", PAGER: "cat" },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.admin[Symbol.asyncDispose]();
    await this.world.drop(this.name);
  }
}
