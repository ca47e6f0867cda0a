// The clients of the compatibility suite: how each is found, prepared and run.

const HERE = new URL(".", import.meta.url).pathname;
const NODE_MINIMUM = [22, 17];

/** A program that does the checks and says the results on its standard output. */
export interface CompatClient {
  /** As in the table. */
  readonly name: string;
  /** Of its page in docs/clients/. */
  readonly page: string;
  /** Fetches and builds what is needed; once. @returns what is missing, or the command */
  readonly prepare: () => Promise<Missing | Command>;
}

/** Why a client cannot run here, and what would help. */
export interface Missing {
  readonly missing: string;
}

export interface Command {
  readonly args: readonly [string, ...string[]];
  readonly cwd: string;
}

/** What a program wrote, and how it ended; null when there is no such program. */
export interface Output {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export async function output(
  args: readonly [string, ...string[]],
  options: { cwd?: string; env?: Record<string, string>; signal?: AbortSignal } = {},
): Promise<Output | null> {
  const [program, ...rest] = args;
  try {
    const command = new Deno.Command(program, { args: rest, stdin: "null", ...options });
    const { code, stdout, stderr } = await command.output();
    const text = new TextDecoder();
    return { code, out: text.decode(stdout), err: text.decode(stderr) };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/** The first of these commands that ends well. */
async function firstThatWorks(
  ...commands: readonly (readonly [string, ...string[]])[]
): Promise<string | null> {
  for (const args of commands) {
    if ((await output(args))?.code === 0) return args[0];
  }
  return null;
}

/** Says what a command did wrong. */
export async function must(
  args: readonly [string, ...string[]],
  options: { cwd: string; env?: Record<string, string> },
): Promise<Output> {
  const done = await output(args, options);
  if (done?.code === 0) return done;
  throw new Error(`${args.join(" ")}: ${done?.err || done?.out || "is not installed"}`);
}

export const JS = `${HERE}js`;
let packages: Promise<Missing | null> | null = null;

/** The npm packages, exactly as locked, in tests/compat/js/node_modules. */
export function npmPackages(): Promise<Missing | null> {
  return packages ??= fetchNpmPackages();
}

async function fetchNpmPackages(): Promise<Missing | null> {
  if (await output(["npm", "--version"]) === null) return { missing: "npm: install Node" };
  const lock = await Deno.readTextFile(`${JS}/package-lock.json`);
  const stamp = `${JS}/node_modules/.compat-lock`;
  if (await Deno.readTextFile(stamp).catch(() => "") === lock) return null;
  console.log("fetching the npm packages (400 MB) into tests/compat/js/node_modules");
  await must(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], { cwd: JS });
  await must(["npx", "--no-install", "prisma", "generate", "--schema", "prisma/schema.prisma"], {
    cwd: JS,
    // The engine of migrations, which generating does not use and which npm does not have.
    env: { PRISMA_SCHEMA_ENGINE_BINARY: Deno.execPath() },
  });
  await Deno.writeTextFile(stamp, lock);
  return null;
}

/** `node`, or what COMPAT_NODE names. */
export const NODE = Deno.env.get("COMPAT_NODE") ?? "node";

/** Node where it is new enough for all of them, Deno otherwise. */
export async function javaScript(): Promise<readonly [string, ...string[]]> {
  const version = (await output([NODE, "--version"]))?.out ?? "";
  const [major = 0, minor = 0] = version.replace(/^v/, "").split(".").map(Number);
  const isNew = major > NODE_MINIMUM[0]! ||
    (major === NODE_MINIMUM[0] && minor >= NODE_MINIMUM[1]!);
  return isNew ? [NODE] : [Deno.execPath(), "run", "--quiet", "-A", "--no-lock"];
}

function npmClient(name: string, page: string): CompatClient {
  return {
    name,
    page,
    prepare: async () =>
      await npmPackages() ??
        { args: [...await javaScript(), `${page.replaceAll("-", "_")}.mjs`], cwd: JS },
  };
}

const NATIVE = `${HERE}native`;

/** With the `python3` of the path, or the system's where another one is in front of it. */
function pythonClient(
  name: string,
  page: string,
  module: string,
  script: string,
): CompatClient {
  const probe = ["-c", `import ${module}`] as const;
  const prepare = async () => {
    const python = await firstThatWorks(["python3", ...probe], ["/usr/bin/python3", ...probe]);
    if (python === null) return { missing: `${name}: apt-get install python3-${module}` };
    return { args: [python, "-B", script], cwd: NATIVE } as const;
  };
  return { name, page, prepare };
}

async function jdbc(): Promise<Missing | Command> {
  const jar = Deno.env.get("COMPAT_JDBC_JAR") ?? "/usr/share/java/postgresql.jar";
  const found = await Deno.stat(jar).then(() => true, () => false);
  if (!found || await firstThatWorks(["java", "-version"]) === null) {
    return { missing: "JDBC: apt-get install libpostgresql-jdbc-java default-jdk-headless" };
  }
  return { args: ["java", "-cp", jar, "JdbcClient.java"], cwd: NATIVE };
}

function scripted(
  what: string,
  probe: readonly [string, ...string[]],
  script: string,
): () => Promise<Missing | Command> {
  return async () => {
    const program = await firstThatWorks(probe);
    return program === null ? { missing: what } : { args: [program, script], cwd: NATIVE };
  };
}

function goClient(program: string): () => Promise<Missing | Command> {
  return async () => {
    if (await firstThatWorks(["go", "version"]) === null) return { missing: "Go: go.dev/dl" };
    const cwd = `${HERE}go`;
    if ((await output(["go", "mod", "download"], { cwd }))?.code !== 0) {
      return { missing: "the Go module proxy cannot be reached" };
    }
    const binary = await Deno.makeTempFile({ prefix: `pgvpd-compat-${program}-` });
    await must(["go", "build", "-o", binary, `./${program}`], { cwd });
    return { args: [binary], cwd };
  };
}

export const CLIENTS: readonly CompatClient[] = [
  npmClient("node-postgres", "node-postgres"),
  npmClient("postgres.js", "postgres-js"),
  npmClient("Drizzle", "drizzle"),
  npmClient("Prisma", "prisma"),
  npmClient("Kysely", "kysely"),
  npmClient("Knex", "knex"),
  npmClient("TypeORM", "typeorm"),
  npmClient("Sequelize", "sequelize"),
  npmClient("MikroORM", "mikro-orm"),
  pythonClient("psycopg 2", "psycopg", "psycopg2", "psycopg2_client.py"),
  pythonClient("psycopg 3", "psycopg", "psycopg", "psycopg3_client.py"),
  pythonClient("asyncpg", "asyncpg", "asyncpg", "asyncpg_client.py"),
  { name: "JDBC", page: "jdbc", prepare: jdbc },
  {
    name: "Perl DBI",
    page: "perl-dbi",
    prepare: scripted(
      "Perl DBI: apt-get install libdbd-pg-perl",
      ["perl", "-MDBD::Pg", "-e", "1"],
      "dbi_client.pl",
    ),
  },
  {
    name: "Ruby pg",
    page: "ruby-pg",
    prepare: scripted(
      "Ruby pg: apt-get install ruby ruby-pg",
      ["ruby", "-rpg", "-e", "1"],
      "ruby_client.rb",
    ),
  },
  {
    name: "PHP PDO",
    page: "php-pdo",
    prepare: scripted(
      "PHP PDO: apt-get install php-cli php-pgsql",
      ["php", "-r", 'exit(extension_loaded("pdo_pgsql") ? 0 : 1);'],
      "pdo_client.php",
    ),
  },
  { name: "Go pgx", page: "go", prepare: goClient("pgx") },
  { name: "Go lib/pq", page: "go", prepare: goClient("pq") },
];
