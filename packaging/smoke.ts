// Does this program serve? Starts it in an empty directory in front of a real PostgreSQL with the
// SQL it carries, and asks for the rows of two tenants: `deno run -A packaging/smoke.ts <program>`.

import { strict as assert } from "node:assert";
import postgres from "postgres";
import { EmbeddedPostgres, freePort } from "../src/commands/embedded_postgres.ts";
import { makeCa, makeServer, type TestCertificate } from "../tests/support/certificates.ts";

const PASSWORD = "smoke";
const READY_MS_MAX = 60_000;
const TENANTS = ["acme", "globex"];
const TABLE_SQL = `
  CREATE TABLE notes (tenant_id text NOT NULL, body text NOT NULL);
  INSERT INTO notes VALUES ('acme', 'a'), ('globex', 'g');
  SELECT pgvpd_protect('notes');
  ALTER ROLE app_user PASSWORD '${PASSWORD}';
`;

/** Authentication relayed, and pgvpd's own on both sides. */
const MODES: readonly Readonly<Record<string, string>>[] = [
  { PGVPD_POOL_MODE: "none" },
  {
    PGVPD_POOL_MODE: "transaction",
    PGVPD_POOL_PASSWORD: PASSWORD,
    PGVPD_UPSTREAM_PASSWORD: PASSWORD,
  },
];
/** What `smoke` puts into the program's directory. */
export const SMOKE_FILES = ["server.crt", "server.key"];

/** A program, and how it is started. */
export interface Program {
  /** The program and what stands in front of its own arguments. */
  readonly command: readonly string[];
  /** Where it is started. */
  readonly cwd: string;
  /** The whole environment. */
  readonly env: Readonly<Record<string, string>>;
}

/** Runs the program to its end; it must go well. */
async function output({ command, cwd, env }: Program, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(command[0]!, {
    args: [...command.slice(1), ...args],
    ...{ cwd, env: { ...env }, clearEnv: true },
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

/**
 * Has the program print its SQL and installs it; then serves with it.
 *
 * @param program how to start it, once the ports of it and of PostgreSQL are known.
 * @throws when a tenant does not see its own rows alone, or the program does not end with 0.
 */
export async function smoke(
  program: (ports: { port: number; pgPort: number }) => Program,
): Promise<void> {
  await using server = await EmbeddedPostgres.start();
  const port = await freePort();
  const it = program({ port, pgPort: server.port });
  const { superuser: user, password } = server;
  const admin = connection(server.port, user, password);
  try {
    await admin.unsafe(await output(it, "sql", "setup"));
    await admin.unsafe(await output(it, "sql", "helpers"));
    await admin.unsafe(TABLE_SQL);
  } finally {
    await admin.end();
  }
  const ca = await makeCa("smoke");
  const { pem, keyPem } = await makeServer(ca);
  await Deno.writeTextFile(`${it.cwd}/server.crt`, pem);
  await Deno.writeTextFile(`${it.cwd}/server.key`, keyPem);
  const settings = ["--port", `${port}`, "--upstream-port", `${server.port}`];
  settings.push("--tls-cert", "server.crt", "--tls-key", "server.key");
  for (const mode of MODES) {
    await serves({ ...it, env: { ...it.env, ...mode } }, settings, port, ca);
  }
}

/** Both tenants see their own rows, in the clear and over TLS, and the program ends in order. */
async function serves(
  it: Program,
  settings: readonly string[],
  port: number,
  ca: TestCertificate,
): Promise<void> {
  const child = new Deno.Command(it.command[0]!, {
    args: [...it.command.slice(1), ...settings],
    ...{ cwd: it.cwd, env: { ...it.env }, clearEnv: true, stdin: "null" },
    ...{ stdout: "piped", stderr: "inherit" },
  }).spawn();
  const log = new Log(child.stdout);
  try {
    await log.until("pgvpd is ready");
    await output(it, "ping", ...settings);
    for (const tenant of TENANTS) {
      await seesItsOwn(port, tenant, false);
      await seesItsOwn(port, tenant, { ca: ca.pem });
    }
    child.kill("SIGTERM");
    assert.equal((await child.status).code, 0);
  } finally {
    try {
      child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await child.status;
    await log.ended;
  }
}

/** As postgres.js understands it. */
type Ssl = false | { readonly ca: string };

function connection(port: number, user: string, password: string, ssl: Ssl = false) {
  const where = { host: "127.0.0.1", port, database: "postgres", ssl };
  return postgres({ ...where, user, password, max: 1, onnotice: () => {} });
}

async function seesItsOwn(port: number, tenant: string, ssl: Ssl): Promise<void> {
  const sql = connection(port, `app_user.${tenant}`, PASSWORD, ssl);
  try {
    const rows = await sql`SELECT tenant_id FROM notes`;
    assert.deepEqual(rows.map((row) => row["tenant_id"]), [tenant]);
  } finally {
    await sql.end();
  }
}

/** What the program prints. */
class Log {
  readonly ended: Promise<void>;
  #text = "";
  #news = Promise.withResolvers<void>();

  constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.ended = this.#collect(stream);
  }

  async until(words: string): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(
      () => late.reject(new Error(`not ready: ${this.#text}`)),
      READY_MS_MAX,
    );
    const over = this.ended.then(() => {
      if (!this.#text.includes(words)) throw new Error(`it has ended: ${this.#text}`);
    });
    try {
      while (!this.#text.includes(words)) {
        await Promise.race([this.#news.promise, late.promise, over]);
      }
    } finally {
      clearTimeout(timer);
      over.catch(() => {});
    }
  }

  async #collect(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      this.#text += text;
      this.#news.resolve();
      this.#news = Promise.withResolvers();
    }
  }
}

if (import.meta.main) {
  const [path] = Deno.args;
  if (path === undefined) throw new Error("say which program");
  const program = Deno.realPathSync(path);
  const cwd = Deno.makeTempDirSync({ prefix: "pgvpd-smoke-" });
  await smoke(() => ({ command: [program], cwd, env: {} }));
  Deno.removeSync(cwd, { recursive: true });
  console.log(`${path} serves two tenants.`);
}
