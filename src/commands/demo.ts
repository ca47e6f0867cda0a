// `pgvpd demo`: an embedded PostgreSQL, two tenants and the proxy in front of them.

import postgres from "postgres";
import setupSql from "../../sql/setup.sql" with { type: "text" };
import { resolveSettings } from "../config/config.ts";
import { Proxy, WITHOUT_TLS } from "../server.ts";
import { EmbeddedPostgres, freePort } from "./embedded_postgres.ts";

/** Options of the demo; the names are those of its flags. */
export interface DemoOptions {
  /** Where pgvpd listens. */
  readonly port: number;
  /** Where PostgreSQL listens; 0 takes a free port. */
  readonly pgPort: number;
  /** Keep PostgreSQL's directory when the demo ends. */
  readonly keep: boolean;
  /** Show the isolation and end: exit code 0 only if it held. */
  readonly once: boolean;
}

/** A failure that its reader can do something about; the message is a sentence. */
export class DemoError extends Error {
  override readonly name = "DemoError";
}

const DATABASE = "demo";
const PASSWORD = "demo";

const SCHEMA_SQL = `
  CREATE TABLE tenants (id text PRIMARY KEY, name text NOT NULL);
  CREATE TABLE contacts (
    id bigint GENERATED ALWAYS AS IDENTITY,
    tenant_id text NOT NULL REFERENCES tenants,
    name text NOT NULL,
    email text NOT NULL,
    PRIMARY KEY (tenant_id, id)
  );
  CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY,
    tenant_id text NOT NULL REFERENCES tenants,
    contact_id bigint NOT NULL,
    item text NOT NULL,
    amount numeric(10, 2) NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, contact_id) REFERENCES contacts (tenant_id, id)
  );
  INSERT INTO tenants VALUES ('acme', 'Acme Corporation'), ('globex', 'Globex');
  INSERT INTO contacts (tenant_id, name, email) VALUES
    ('acme', 'Alice Archer', 'alice@acme.example'),
    ('acme', 'Amir Aziz', 'amir@acme.example'),
    ('acme', 'Ada Ames', 'ada@acme.example'),
    ('globex', 'Gina Gold', 'gina@globex.example'),
    ('globex', 'Goran Grey', 'goran@globex.example');
  INSERT INTO orders (tenant_id, contact_id, item, amount) VALUES
    ('acme', 1, 'anvil', 129.00), ('acme', 2, 'rocket skates', 899.50),
    ('globex', 4, 'moon base', 1000000.00), ('globex', 5, 'hammock', 49.90);
`;

const PROTECT_SQL = `
  SELECT pgvpd_protect('tenants', 'id');
  SELECT pgvpd_protect('contacts');
  SELECT pgvpd_protect('orders');
  ALTER ROLE app_user PASSWORD '${PASSWORD}';
`;

const SHOWN_QUERY = "SELECT tenant_id, name, email FROM contacts ORDER BY name";

type Contact = { tenant_id: string; name: string; email: string };

/**
 * Runs the demo until a signal ends it, or to its end with `once`.
 *
 * @param print takes what the user is shown, line by line.
 * @returns the exit code.
 * @throws {DemoError} with a sentence, for instance when a port is taken.
 */
export async function demo(
  options: DemoOptions,
  print: (line: string) => void,
): Promise<number> {
  await using stack = new AsyncDisposableStack();
  const signals = new Signals();
  stack.use(signals);
  checkPort(options.port, "--port");
  if (options.pgPort !== 0) checkPort(options.pgPort, "--pg-port");

  const startedAt = performance.now();
  const server = await signals.orInterrupted(EmbeddedPostgres.start({
    port: options.pgPort || await freePort(),
    onProgress: (sentence) => print(`· ${sentence}`),
  }));
  stack.defer(async () => {
    await server.stop({ keep: options.keep });
    print(options.keep ? `Kept ${server.directory}` : "Everything is stopped and removed.");
  });

  print("· Creating two tenants, acme and globex, and protecting their tables");
  await createDatabase(server);
  const proxy = await startProxy(options.port, server.port);
  stack.defer(() => proxy.stop(0));
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  print(`· pgvpd listens on 127.0.0.1:${proxy.port} (${seconds} s)`);

  const held = await showIsolation(proxy.port, server.port, print);
  if (options.once || !held) return held ? 0 : 1;
  printInstructions(proxy.port, print);
  await signals.received;
  print("");
  return 0;
}

async function createDatabase(server: EmbeddedPostgres): Promise<void> {
  const connect = (database: string) =>
    postgres({
      host: "127.0.0.1",
      port: server.port,
      user: server.superuser,
      password: server.password,
      database,
      max: 1,
      onnotice: () => {},
    });
  const maintenance = connect("postgres");
  await maintenance.unsafe(`CREATE DATABASE ${DATABASE}`);
  await maintenance.end();
  const sql = connect(DATABASE);
  for (const script of [SCHEMA_SQL, setupSql, PROTECT_SQL]) await sql.unsafe(script);
  await sql.end();
}

function startProxy(port: number, upstreamPort: number): Promise<Proxy> {
  const flags = { port: String(port), upstream_port: String(upstreamPort) };
  return Proxy.start(resolveSettings({ environment: {}, flags }).settings, WITHOUT_TLS);
}

/** Runs one query as two tenants and as nobody; true when each saw its own rows and no others. */
async function showIsolation(
  port: number,
  pgPort: number,
  print: (line: string) => void,
): Promise<boolean> {
  print("");
  print(`The same query, "${SHOWN_QUERY}":`);
  let held = true;
  for (const [tenant, count] of [["acme", 3], ["globex", 2]] as const) {
    const { rows, afterDiscard } = await asTenant(port, tenant);
    print("");
    print(`  as app_user.${tenant}, through pgvpd:`);
    for (const row of rows) {
      print(`    ${row.tenant_id.padEnd(8)}${row.name.padEnd(16)}${row.email}`);
    }
    for (const seen of [rows, afterDiscard]) {
      held &&= seen.length === count && seen.every((row) => row.tenant_id === tenant);
    }
  }
  const nobody = await withoutContext(pgPort);
  print("");
  print(`  as app_user, straight to PostgreSQL, with no context: ${nobody} rows`);
  print("");
  held &&= nobody === 0;
  print(held ? "Isolated: each tenant saw its own rows and nothing else." : "NOT ISOLATED.");
  return held;
}

async function asTenant(port: number, tenant: string) {
  const sql = postgres(connectionUrl(`app_user.${tenant}`, port), { max: 1 });
  try {
    const rows = await sql.unsafe<Contact[]>(SHOWN_QUERY);
    // What a driver sends when it hands a connection back to its pool must not end the isolation.
    await sql.unsafe("DISCARD ALL");
    return { rows, afterDiscard: await sql.unsafe<Contact[]>(SHOWN_QUERY) };
  } finally {
    await sql.end();
  }
}

async function withoutContext(pgPort: number): Promise<number> {
  const sql = postgres(connectionUrl("app_user", pgPort), { max: 1 });
  try {
    return (await sql.unsafe(SHOWN_QUERY)).length;
  } finally {
    await sql.end();
  }
}

function connectionUrl(user: string, port: number): string {
  return `postgresql://${user}:${PASSWORD}@127.0.0.1:${port}/${DATABASE}`;
}

function printInstructions(port: number, print: (line: string) => void): void {
  const psql = (user: string) =>
    `  PGPASSWORD=${PASSWORD} psql -h 127.0.0.1 -p ${port} -U ${user} -d ${DATABASE}`;
  for (
    const line of [
      "",
      "Try it from another terminal:",
      "",
      psql("app_user.acme"),
      psql("app_user.globex"),
      "",
      "  SELECT * FROM contacts;                        -- this tenant's rows",
      "  DISCARD ALL; SELECT count(*) FROM contacts;    -- still only this tenant's",
      "  INSERT INTO contacts (tenant_id, name, email) VALUES ('globex', 'x', 'x');",
      "                                                 -- refused when you are acme",
      "",
      "An ORM's connection URL:",
      "",
      `  ${connectionUrl("app_user.acme", port)}`,
      "",
      "Ctrl-C stops everything and removes it.",
    ]
  ) print(line);
}

function checkPort(port: number, flag: string): void {
  try {
    Deno.listen({ hostname: "127.0.0.1", port }).close();
  } catch (error) {
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    throw new DemoError(`Port ${port} is already in use; choose another with ${flag}.`);
  }
}

/** The signals that end the demo; while it exists they do not end the process. */
class Signals implements Disposable {
  readonly received: Promise<void>;
  readonly #names: Deno.Signal[] = ["SIGINT", "SIGTERM", "SIGHUP"];
  #onSignal = () => {};

  constructor() {
    this.received = new Promise((resolve) => this.#onSignal = resolve);
    for (const name of this.#names) Deno.addSignalListener(name, this.#onSignal);
  }

  /** The server that is being started, or an error when a signal came first: then it is stopped. */
  async orInterrupted(starting: Promise<EmbeddedPostgres>): Promise<EmbeddedPostgres> {
    const interrupted = Symbol("interrupted");
    const first = await Promise.race([starting, this.received.then(() => interrupted)]);
    if (first instanceof EmbeddedPostgres) return first;
    await starting.then((server) => server.stop(), () => {});
    throw new DemoError("Interrupted.");
  }

  [Symbol.dispose](): void {
    for (const name of this.#names) Deno.removeSignalListener(name, this.#onSignal);
  }
}
