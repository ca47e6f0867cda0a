// What transactions are measured along: PostgreSQL, the proxies in front of it, and pgbench.

import {
  EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  freePort,
} from "../src/commands/embedded_postgres.ts";
import { findTool, runTool, waitForPort } from "./support.ts";

export interface Route {
  readonly name: string;
  readonly port: number;
  readonly user: string;
  /** The proxy's process; null for the direct connection. */
  readonly processId: number | null;
  /** What pgbench's libpq is told. */
  readonly env?: Readonly<Record<string, string>>;
}

interface Sample {
  readonly route: string;
  readonly mode: string;
  readonly clients: number;
  readonly transactionsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly cpuMicroseconds: number | null;
}

/** What is measured along each route. */
export interface Settings {
  readonly seconds: number;
  readonly clients: readonly number[];
  readonly modes: readonly string[];
}

const DATABASE = "postgres";
export const ROLE = "app_user";
const SCALE = 5;
/** V8 takes about this long until the loops of many connections run optimised. */
const WARM_UP_SECONDS = 10;
const WARM_UP_CLIENTS = 64;
export const UNPRIVILEGED_ID = 65534;

export function parseSettings(args: readonly string[], defaults: Settings): Settings {
  const value = (flag: string, otherwise: unknown) => {
    const at = args.indexOf(flag);
    return at < 0 ? String(otherwise) : args[at + 1] ?? String(otherwise);
  };
  return {
    seconds: Number(value("--seconds", defaults.seconds)),
    clients: value("--clients", defaults.clients).split(",").map(Number),
    modes: value("--modes", defaults.modes).split(","),
  };
}

/** PostgreSQL with pgbench's tables, and everything that is started beside it. */
export class Routes implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly #pgbench = findTool("pgbench", "postgresql-client (or postgresql-contrib)");
  readonly #pgbouncer = findTool("pgbouncer", "pgbouncer");
  readonly #samples: Sample[] = [];

  private constructor(readonly server: EmbeddedPostgres) {
    this.#stack.use(server);
  }

  static async start(options: EmbeddedPostgresOptions = {}): Promise<Routes> {
    const server = await EmbeddedPostgres.start({
      hba: ["host all all 127.0.0.1/32 trust"],
      onProgress: (sentence) => console.log(`· ${sentence}`),
      ...options,
    });
    const routes = new Routes(server);
    await routes.#prepareDatabase();
    return routes;
  }

  /** Straight to the server. */
  direct(env: Record<string, string> = {}): Route {
    return { name: "direct", port: this.server.port, user: ROLE, processId: null, env };
  }

  async #prepareDatabase(): Promise<void> {
    const admin = ["-h", "127.0.0.1", "-p", `${this.server.port}`, "-U", "postgres"];
    await runTool(this.#pgbench, ["-i", "-q", "-s", `${SCALE}`, ...admin, DATABASE]);
    const { default: postgres } = await import("postgres");
    const sql = postgres({ host: "127.0.0.1", port: this.server.port, user: "postgres", max: 1 });
    await sql.unsafe(
      `CREATE ROLE ${ROLE} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${ROLE}`,
    );
    await sql.end();
  }

  /** @param lines added to its configuration. */
  async pgBouncer(lines: readonly string[] = [], env: Record<string, string> = {}): Promise<Route> {
    const { port: serverPort } = this.server;
    const port = await freePort();
    const directory = await Deno.makeTempDir({ prefix: "pgvpd-bench-" });
    this.#stack.defer(() => Deno.remove(directory, { recursive: true }));
    await Deno.chmod(directory, 0o755);
    const config = `${directory}/pgbouncer.ini`;
    await Deno.writeTextFile(
      config,
      [
        "[databases]",
        `${DATABASE} = host=127.0.0.1 port=${serverPort} dbname=${DATABASE} user=${ROLE}`,
        "[pgbouncer]",
        ...["listen_addr = 127.0.0.1", `listen_port = ${port}`, "auth_type = any"],
        ...["pool_mode = session", "default_pool_size = 200", "max_client_conn = 200"],
        ...["unix_socket_dir =", "log_connections = 0", "log_disconnections = 0", ...lines, ""],
      ].join("\n"),
    );
    const asNobody = Deno.uid() === 0 ? { uid: UNPRIVILEGED_ID, gid: UNPRIVILEGED_ID } : {};
    const processId = await this.spawn(port, this.#pgbouncer, ["-q", config], asNobody);
    return { name: "PgBouncer", port, user: ROLE, processId, env };
  }

  /** @param args added to its command line. */
  async pgvpd(args: readonly string[] = []): Promise<Route> {
    const port = await freePort();
    const main = new URL("../main.ts", import.meta.url).pathname;
    const processId = await this.spawn(port, Deno.execPath(), [
      ...["run", "--quiet", "-A", main, "--no-config", "--port", `${port}`],
      ...["--upstream-port", `${this.server.port}`, "--log-level", "warn", ...args],
    ]);
    return { name: "pgvpd", port, user: `${ROLE}.acme`, processId };
  }

  /** Starts something that listens on a port; returns its process ID. */
  async spawn(
    port: number,
    command: string,
    args: readonly string[],
    more: Deno.CommandOptions = {},
  ): Promise<number> {
    const child = new Deno.Command(command, {
      ...more,
      args: [...args],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    this.#stack.defer(async () => {
      child.kill("SIGTERM");
      await child.status;
    });
    await waitForPort(port);
    return child.pid;
  }

  /** Measures every route in every mode and prints the table, a line at a time. */
  async compare(routes: readonly Route[], settings: Settings): Promise<void> {
    console.log("· Warming up: a proxy runs for months, its compiler should have had its say");
    for (const route of routes) {
      await this.#measure(route, settings.modes.at(-1)!, WARM_UP_CLIENTS, WARM_UP_SECONDS);
    }
    const machine = `${Deno.build.target}, ${navigator.hardwareConcurrency} cores`;
    console.log(`\n${machine}, ${settings.seconds} s a sample\n`);
    console.log(
      "| mode | clients | route | tps | p50 ms | p99 ms | CPU µs/tx | × PgBouncer CPU | × p99 |",
    );
    console.log("|---|--:|---|--:|--:|--:|--:|--:|--:|");
    for (const mode of settings.modes) {
      for (const clients of settings.clients) {
        for (const route of routes) {
          const sample = await this.#measure(route, mode, clients, settings.seconds);
          this.#samples.push(sample);
          console.log(tableRow(sample, this.#samples));
        }
      }
    }
  }

  async #measure(
    route: Route,
    mode: string,
    clients: number,
    seconds: number,
  ): Promise<Sample> {
    const logs = await Deno.makeTempDir({ prefix: "pgvpd-bench-log-" });
    const before = cpuMicroseconds(route.processId);
    await runTool(this.#pgbench, [
      ...["-n", "-S", "-M", mode, "-c", `${clients}`, "-j", "1", "-T", `${seconds}`],
      ...["-l", "--log-prefix", `${logs}/log`],
      ...["-h", "127.0.0.1", "-p", `${route.port}`, "-U", route.user, DATABASE],
    ], route.env);
    const cpu = cpuMicroseconds(route.processId) - before;
    const latencies = await readLatencies(logs);
    await Deno.remove(logs, { recursive: true });
    const count = latencies.length;
    return {
      route: route.name,
      mode,
      clients,
      transactionsPerSecond: count / seconds,
      p50Ms: latencies[Math.floor(count * 0.5)]! / 1000,
      p99Ms: latencies[Math.floor(count * 0.99)]! / 1000,
      cpuMicroseconds: route.processId === null ? null : cpu / count,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** The latencies of every transaction in pgbench's logs, in microseconds, sorted. */
async function readLatencies(directory: string): Promise<Float64Array> {
  const values: number[] = [];
  for await (const { name } of Deno.readDir(directory)) {
    for (const line of (await Deno.readTextFile(`${directory}/${name}`)).split("\n")) {
      if (line !== "") values.push(Number(line.split(" ")[2]));
    }
  }
  return Float64Array.from(values).sort();
}

/** User and system time of a process so far; /proc counts in hundredths of a second. */
function cpuMicroseconds(processId: number | null): number {
  if (processId === null) return 0;
  const stat = Deno.readTextFileSync(`/proc/${processId}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

function tableRow(sample: Sample, samples: readonly Sample[]): string {
  const rival = samples.find(({ route, mode, clients }) =>
    route === "PgBouncer" && mode === sample.mode && clients === sample.clients
  );
  const isOurs = sample.cpuMicroseconds !== null && rival !== undefined && rival !== sample;
  const ratio = (ours: number, theirs: number) => isOurs ? (ours / theirs).toFixed(2) : "";
  return `| ${
    [
      ...[sample.mode, sample.clients, sample.route, Math.round(sample.transactionsPerSecond)],
      ...[sample.p50Ms.toFixed(2), sample.p99Ms.toFixed(2)],
      sample.cpuMicroseconds?.toFixed(1) ?? "",
      ratio(sample.cpuMicroseconds ?? NaN, rival?.cpuMicroseconds ?? NaN),
      ratio(sample.p99Ms, rival?.p99Ms ?? NaN),
    ].join(" | ")
  } |`;
}
