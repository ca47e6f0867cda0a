// Migrations through the bypass user: Drizzle Kit and Prisma make a table, and it isolates.

import assert from "node:assert/strict";
import { type Bench, failure } from "../support/wire_bench.ts";
import { type Login, PgClient } from "../support/wire_clients.ts";
import { JS, type Missing, must, NODE, npmPackages, output } from "./clients.ts";
import type { Fronts, Place } from "./places.ts";

export interface MigrationTool {
  readonly name: string;
  readonly page: string;
  readonly version: string;
  /** Carries out the migrations; a second time there is nothing to do. */
  readonly migrate: (url: string, environment: Record<string, string>) => Promise<void>;
}

async function versionOf(name: string): Promise<string> {
  const text = await Deno.readTextFile(`${JS}/node_modules/${name}/package.json`);
  return (JSON.parse(text) as { version: string }).version;
}

/** The tools, or why they cannot run. */
export async function migrationTools(): Promise<Missing | readonly MigrationTool[]> {
  if (await output([NODE, "--version"]) === null) return { missing: "migrations: install Node" };
  const missing = await npmPackages();
  if (missing !== null) return missing;
  return [
    {
      name: "Drizzle Kit",
      page: "drizzle",
      version: await versionOf("drizzle-kit"),
      migrate: drizzle,
    },
    {
      name: "Prisma Migrate",
      page: "prisma",
      version: await versionOf("prisma6"),
      migrate: prisma,
    },
  ];
}

async function drizzle(url: string, environment: Record<string, string>): Promise<void> {
  const out = await Deno.makeTempDir({ prefix: "pgvpd-drizzle-" });
  const options = {
    cwd: `${JS}/migrations/drizzle`,
    env: { DATABASE_URL: url, COMPAT_OUT: out, ...environment },
  };
  const kit = `${JS}/node_modules/drizzle-kit/bin.cjs`;
  try {
    await must([NODE, kit, "generate"], options);
    for (let turn = 0; turn < 2; turn++) await must([NODE, kit, "migrate"], options);
  } finally {
    await Deno.remove(out, { recursive: true });
  }
}

/** Prisma looks for engines that npm does not have, and with a driver adapter does not use. */
const MISSING = Deno.execPath();

async function prisma(url: string, environment: Record<string, string>): Promise<void> {
  const unused = { PRISMA_SCHEMA_ENGINE_BINARY: MISSING, PRISMA_QUERY_ENGINE_LIBRARY: MISSING };
  const options = {
    cwd: `${JS}/migrations/prisma`,
    env: { DATABASE_URL: url, ...unused, ...environment },
  };
  const deploy = ["migrate", "deploy", "--config", "prisma.config.mjs"] as const;
  for (let turn = 0; turn < 2; turn++) {
    await must([NODE, `${JS}/node_modules/prisma6/build/index.js`, ...deploy], options);
  }
}

/** @returns why it failed, or null */
export async function runMigration(
  bench: Bench,
  { front }: Fronts,
  place: Place,
  tool: MigrationTool,
): Promise<string | null> {
  const database = `migrated_${crypto.randomUUID().replaceAll("-", "")}`;
  await bench.admin.run(`CREATE DATABASE ${database}`);
  const { user, password } = front.bypass;
  const tls = place.tls ? "?sslmode=verify-full" : "";
  try {
    await tool.migrate(
      `postgresql://${user}:${password}@localhost:${front.port}/${database}${tls}`,
      place.tls ? { NODE_EXTRA_CA_CERTS: place.ca } : {},
    );
    await using admin = await PgClient.connect({ ...bench.direct, database });
    await admin.run("GRANT SELECT, INSERT ON invoices TO app_user");
    await admin.run("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO app_user");
    await isolates((person) => ({
      ...front.app(person),
      database,
      ...(place.tls ? { host: "localhost", ssl: { ca: Deno.readTextFileSync(place.ca) } } : {}),
    }));
    return null;
  } catch (error) {
    return String((error as Error).stack ?? error);
  }
}

async function isolates(login: (person: string) => Login): Promise<void> {
  const seen = "SELECT array_agg(amount ORDER BY amount) FROM invoices";
  await using a = await PgClient.connect(login("tenant_a:ann"));
  await using b = await PgClient.connect(login("tenant_b:bob"));
  await a.rows("INSERT INTO invoices (amount) VALUES ($1), ($2)", [1, 2]);
  await b.rows("INSERT INTO invoices (amount) VALUES ($1)", [3]);
  assert.deepEqual(await a.value(seen), [1, 2]);
  assert.deepEqual(await b.value(seen), [3]);
  const smuggled = "INSERT INTO invoices (tenant_id, amount) VALUES ('tenant_a', 4)";
  assert.equal((await failure(b.run(smuggled))).code, "42501");
}
