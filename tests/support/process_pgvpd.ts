// pgvpd as a process of its own: what it prints, how it ends, and that it never outlives its test.

const MAIN = new URL("../../main.ts", import.meta.url).pathname;
const PATIENCE_MS = 20_000;

/** How a process under test is started. */
export interface ProcessOptions {
  /** Directory to start in; an empty one of its own when left out, so that no file is found. */
  readonly cwd?: string;
  /** The whole environment besides what Deno itself needs. */
  readonly env?: Readonly<Record<string, string>>;
  /** Deno's permission flags. */
  readonly permissions?: readonly string[];
  /** A command in front of the whole, such as unshare. */
  readonly prefix?: readonly string[];
}

/** A process that has ended. */
export interface ProcessEnd {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** One line of the log as JSON. */
export type LogLine = Readonly<Record<string, unknown>> & {
  readonly level: string;
  readonly message: string;
};

/** pgvpd while it runs; disposing of it kills it. */
export class PgvpdProcess implements AsyncDisposable {
  out = "";
  err = "";
  readonly pid: number;
  readonly #child: Deno.ChildProcess;
  readonly #over: Promise<Deno.CommandStatus>;
  readonly #directory: string | null;
  #isOver = false;
  #onOutput = Promise.withResolvers<void>();

  private constructor(child: Deno.ChildProcess, directory: string | null) {
    this.#child = child;
    this.pid = child.pid;
    this.#directory = directory;
    const read = Promise.all([
      this.#collect(child.stdout, (text) => this.out += text),
      this.#collect(child.stderr, (text) => this.err += text),
    ]);
    this.#over = Promise.all([child.status, read]).then(([status]) => {
      this.#isOver = true;
      this.#onOutput.resolve();
      return status;
    });
  }

  static async spawn(
    args: readonly string[],
    options: ProcessOptions = {},
  ): Promise<PgvpdProcess> {
    const own = options.cwd === undefined
      ? await Deno.makeTempDir({ prefix: "pgvpd-test-" })
      : null;
    const { permissions = ["-A"], prefix = [] } = options;
    const command = [
      ...[...prefix, Deno.execPath(), "run", "--quiet", "--no-prompt"],
      ...[...permissions, MAIN, ...args],
    ];
    const child = new Deno.Command(command[0]!, {
      args: command.slice(1),
      cwd: options.cwd ?? own!,
      clearEnv: true,
      env: { ...inherited(), ...options.env },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    return new PgvpdProcess(child, own);
  }

  /** Starts the proxy with JSON records and waits until it is ready. */
  static async serve(
    args: readonly string[],
    options: ProcessOptions = {},
  ): Promise<PgvpdProcess> {
    const process = await PgvpdProcess.spawn(["--log-format", "json", ...args], options);
    try {
      await process.logged("pgvpd is ready");
      return process;
    } catch (error) {
      await process[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The port of the first address that it listens on. */
  get port(): number {
    const ready = this.log.find(({ message }) => message === "pgvpd is ready");
    return Number(/[:.](\d+)(,|$)/.exec(String(ready?.["listening"]))?.[1]);
  }

  /** Every whole line of standard output as JSON. */
  get log(): LogLine[] {
    return this.out.slice(0, this.out.lastIndexOf("\n") + 1).split("\n").filter((line) => line)
      .map((line) => JSON.parse(line));
  }

  entries(message: string): LogLine[] {
    return this.log.filter((line) => line.message === message);
  }

  /** Waits for the `count`th record with this message, and returns it. */
  async logged(message: string, count = 1): Promise<LogLine> {
    await this.until(`${count} × "${message}"`, () => this.entries(message).length >= count);
    return this.entries(message)[count - 1]!;
  }

  /** Waits until what it has printed fulfils the condition. */
  async until(what: string, condition: () => boolean): Promise<void> {
    const patience = Promise.withResolvers<"late">();
    const timer = setTimeout(() => patience.resolve("late"), PATIENCE_MS);
    try {
      while (!condition()) {
        const said = `pgvpd said:\n${this.out.slice(-3_000)}\n${this.err}`;
        if (this.#isOver) throw new Error(`pgvpd ended before ${what}; ${said}`);
        if (await Promise.race([this.#onOutput.promise, patience.promise]) === "late") {
          throw new Error(`waited ${PATIENCE_MS} ms in vain for ${what}; ${said}`);
        }
      }
    } finally {
      clearTimeout(timer);
    }
  }

  kill(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  /** Waits until it has ended by itself. */
  async ended(): Promise<ProcessEnd> {
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), PATIENCE_MS);
    const { code, signal } = await this.#over;
    clearTimeout(timer);
    if (signal === "SIGKILL") {
      throw new Error(`pgvpd did not end; it said:\n${this.out}${this.err}`);
    }
    return { code, out: this.out, err: this.err };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (!this.#isOver) this.#child.kill("SIGKILL");
    } catch {
      // It has just ended.
    }
    await this.#over;
    if (this.#directory !== null) await Deno.remove(this.#directory, { recursive: true });
  }

  async #collect(from: ReadableStream<Uint8Array>, add: (text: string) => void): Promise<void> {
    const decoder = new TextDecoder();
    for await (const bytes of from) {
      add(decoder.decode(bytes, { stream: true }));
      this.#onOutput.resolve();
      this.#onOutput = Promise.withResolvers();
    }
  }
}

/** Runs pgvpd with these arguments to its end. */
export async function pgvpd(
  args: readonly string[],
  options: ProcessOptions = {},
): Promise<ProcessEnd> {
  await using process = await PgvpdProcess.spawn(args, options);
  return await process.ended();
}

/** What Deno needs to find its cache, and nothing that is pgvpd's. */
function inherited(): Record<string, string> {
  const names = ["PATH", "HOME", "DENO_DIR", "XDG_CACHE_HOME", "TMPDIR"];
  const isForDownloads = (name: string) => /CERT|SSL|TLS_CA|_PROXY$|^NPM_CONFIG_/i.test(name);
  return Object.fromEntries(
    Object.entries(Deno.env.toObject())
      .filter(([name]) => names.includes(name) || isForDownloads(name)),
  );
}

/** A directory that is removed at the end. */
export class TestDirectory implements AsyncDisposable {
  private constructor(readonly path: string) {}

  static async make(): Promise<TestDirectory> {
    return new TestDirectory(await Deno.makeTempDir({ prefix: "pgvpd-test-" }));
  }

  /** Writes a file and returns its path. */
  async write(name: string, text: string): Promise<string> {
    const path = `${this.path}/${name}`;
    await Deno.writeTextFile(path, text);
    return path;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}
