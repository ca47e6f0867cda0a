// The bench of the wire tests: one real PostgreSQL with two tenants in it, and proxies in front.

import { EmbeddedPostgres } from "../../src/commands/embedded_postgres.ts";
import { configureLog } from "../../src/log.ts";
import {
  type FileContents,
  Proxy,
  type ProxyOptions,
  type ProxySurroundings,
  WITHOUT_TLS,
} from "../../src/server.ts";
import { type Login, PgClient } from "./wire_clients.ts";
import { proxyOptions, SUPERUSER } from "./wire_options.ts";

export const DATABASE = "pgvpd_test";
export const APP_PASSWORD = "testpass";
const POLL_MS = 10;
const PATIENCE_MS = 20_000;

/** Roles that need no password. */
const TRUSTED = ["trusty", '"app-user"', '"Ünïcode"', '"MixedCase"', "stored_user"];

const FIXTURE = `
CREATE TABLE tenants (id int GENERATED ALWAYS AS IDENTITY, tenant_id text, name text);
INSERT INTO tenants (tenant_id, name) VALUES
  ('tenant_a', 'Alice Corp'), ('tenant_a', 'Alice LLC'),
  ('tenant_b', 'Bob Inc'), ('tenant_b', 'Bob Ltd');
ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenants USING (tenant_id = current_setting('app.current_tenant_id', true));
CREATE ROLE app_user LOGIN PASSWORD '${APP_PASSWORD}';
SET password_encryption = 'md5';
CREATE ROLE md5_user LOGIN PASSWORD '${APP_PASSWORD}';
RESET password_encryption;
CREATE ROLE mixed_user LOGIN PASSWORD '${APP_PASSWORD}';
CREATE ROLE clear_user LOGIN PASSWORD '${APP_PASSWORD}';
${TRUSTED.map((role) => `CREATE ROLE ${role} LOGIN;`).join("\n")}
ALTER ROLE stored_user SET app.current_tenant_id = 'tenant_b';
ALTER ROLE stored_user SET app.user_id = 'stored';
CREATE ROLE authenticated NOLOGIN;
CREATE ROLE forbidden NOLOGIN;
GRANT authenticated TO app_user, ${TRUSTED.join(", ")};
GRANT SELECT, INSERT, UPDATE, DELETE ON tenants
  TO app_user, md5_user, mixed_user, clear_user, authenticated, ${TRUSTED.join(", ")};
GRANT CREATE ON SCHEMA public TO app_user, authenticated, trusty;
`;

/** One line of the proxy's log. */
export type LogEntry = Readonly<Record<string, unknown>> & {
  readonly level: string;
  readonly message: string;
};

/** A proxy under test; disposing of it waits until it has given everything back, then stops it. */
export class Front implements AsyncDisposable {
  constructor(readonly proxy: Proxy, readonly log: readonly LogEntry[]) {}

  get port(): number {
    return this.proxy.port;
  }

  /** Log in as a tenant through a role that needs no password. */
  trusty(tenant: string): Login {
    return { port: this.port, user: `trusty.${tenant}` };
  }

  /** Log in as a tenant with a password, by SCRAM. */
  app(tenant: string): Login {
    return { port: this.port, user: `app_user.${tenant}`, password: APP_PASSWORD };
  }

  /** Log in as the user that is passed through. */
  get bypass(): Login {
    return { port: this.port, user: SUPERUSER, password: SUPERUSER };
  }

  async empty(ms = PATIENCE_MS): Promise<void> {
    await eventually("no client is connected", () => this.proxy.connectionsActive === 0, ms);
  }

  entries(message: string): LogEntry[] {
    return this.log.filter((entry) => entry.message === message);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const idle = this.empty().then(() => null, (error) => error);
    const failure = await idle;
    await this.proxy.stop(0);
    if (failure !== null) throw failure;
    const bugs = this.log.filter(({ level }) => level === "ERROR");
    if (bugs.length > 0) throw new Error(`the proxy logged errors: ${JSON.stringify(bugs)}`);
  }
}

/** One PostgreSQL server with the fixture. */
export class Bench {
  private constructor(readonly postgres: EmbeddedPostgres, public admin: PgClient) {}

  /** @param more in front of what the server is configured with anyway. */
  static async start(
    more: { readonly hba?: readonly string[]; readonly settings?: readonly string[] } = {},
  ): Promise<Bench> {
    const postgres = await EmbeddedPostgres.start({
      superuser: SUPERUSER,
      password: SUPERUSER,
      settings: more.settings ?? [],
      hba: [
        ...more.hba ?? [],
        ...TRUSTED.map((role) => `host all ${role} 127.0.0.1/32 trust`),
        "host all md5_user,mixed_user 127.0.0.1/32 md5",
        "host all clear_user 127.0.0.1/32 password",
        "host all replicator 127.0.0.1/32 trust",
      ],
    });
    try {
      const login = { port: postgres.port, user: SUPERUSER, password: SUPERUSER };
      {
        await using maintenance = await PgClient.connect({ ...login, database: "postgres" });
        await maintenance.run(`CREATE DATABASE ${DATABASE}`);
        await maintenance.run(`CREATE DATABASE trusty`);
      }
      const admin = await PgClient.connect(login);
      await admin.run(FIXTURE);
      return new Bench(postgres, admin);
    } catch (error) {
      await postgres.stop();
      throw error;
    }
  }

  /** Straight to the server, past every proxy. */
  get direct(): Login {
    return { port: this.postgres.port, user: SUPERUSER, password: SUPERUSER };
  }

  /** A proxy on a free port in front of the server. */
  async front(
    overrides: Partial<ProxyOptions> = {},
    files: FileContents = WITHOUT_TLS,
    surroundings: ProxySurroundings = {},
  ): Promise<Front> {
    const log: LogEntry[] = [];
    configureLog({
      level: "debug",
      format: "json",
      colour: false,
      write: (line) => log.push(JSON.parse(line)),
    });
    const options = proxyOptions(this.postgres.port, overrides);
    return new Front(await Proxy.start(options, files, surroundings), log);
  }

  /** Backends of clients other than our own. */
  async backends(): Promise<number> {
    const count = await this.admin.value(
      `SELECT count(*)::int FROM pg_stat_activity
        WHERE backend_type IN ('client backend', 'walsender') AND pid <> pg_backend_pid()`,
    );
    return Number(count);
  }

  async noBackends(ms = PATIENCE_MS): Promise<void> {
    await eventually("no backend is left", async () => await this.backends() === 0, ms);
  }

  /** Waits until some backend runs a query like this one; returns its process ID. */
  async running(fragment: string): Promise<number> {
    let processId = 0;
    await eventually(`a query like ${fragment} runs`, async () => {
      const rows = await this.admin.rows(
        `SELECT pid FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()
            AND query LIKE $1`,
        [`%${fragment}%`],
      );
      processId = Number(rows[0]?.["pid"] ?? 0);
      return processId !== 0;
    });
    return processId;
  }

  async reconnectAdmin(): Promise<void> {
    await this.admin[Symbol.asyncDispose]();
    this.admin = await PgClient.connect(this.direct);
  }

  async stop(): Promise<void> {
    await this.admin[Symbol.asyncDispose]();
    await this.postgres.stop();
  }
}

/** Polls until the condition holds. */
export async function eventually(
  what: string,
  condition: () => boolean | Promise<boolean>,
  ms = PATIENCE_MS,
): Promise<void> {
  const deadline = performance.now() + ms;
  while (!await condition()) {
    if (performance.now() > deadline) throw new Error(`waited ${ms} ms in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** What a promise is rejected with; it must be. */
export async function failure(promise: PromiseLike<unknown>): Promise<Error & { code?: string }> {
  try {
    await promise;
  } catch (error) {
    return error as Error & { code?: string };
  }
  throw new Error("this should have failed");
}
