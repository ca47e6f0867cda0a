// `deno task test:compat`: every client through every pool mode, in the clear and with TLS, and the
// tables of docs/compatibility.md. It fetches npm packages and Go modules; of what the system lacks
// it says so loudly, and goes on. `--only=Drizzle,JDBC` takes some, `--write` writes the tables.

import { parseArgs } from "node:util";
import { Bench } from "../support/wire_bench.ts";
import { TlsFiles } from "../support/wire_tls.ts";
import { runClient } from "./client_runs.ts";
import { CLIENTS, type Command } from "./clients.ts";
import { migrationTools, runMigration } from "./migrations.ts";
import { type Fronts, makePlaces, type Place } from "./places.ts";
import { type ClientRow, type MigrationRow, writeTables } from "./table.ts";

const { values } = parseArgs({
  options: { only: { type: "string" }, write: { type: "boolean", default: false } },
});
const MIGRATIONS = "migrations";
const only = values.only?.toLowerCase().split(",");
const isWanted = (name: string) => only?.includes(name.toLowerCase()) ?? true;

const names = [...CLIENTS.map(({ name }) => name), MIGRATIONS];
if (!names.some(isWanted)) {
  console.error(`--only takes some of: ${names.join(", ")}`);
  Deno.exit(2);
}

let failed = 0;
const skipped: string[] = [];
const clients: { row: ClientRow; command: Command }[] = [];
const migrations: MigrationRow[] = [];

function skip(name: string, why: string): void {
  skipped.push(name);
  console.warn(`SKIPPED: ${name}. ${why}`);
}

async function prepare(): Promise<void> {
  for (const client of CLIENTS.filter(({ name }) => isWanted(name))) {
    const command = await client.prepare();
    if ("missing" in command) skip(client.name, command.missing);
    else clients.push({ row: { client, runs: new Map() }, command });
  }
  if (!isWanted(MIGRATIONS)) return;
  const tools = await migrationTools();
  if ("missing" in tools) skip(MIGRATIONS, tools.missing);
  else migrations.push(...tools.map((tool) => ({ tool, runs: new Map() })));
}

function report(place: Place, name: string, failures: readonly string[]): void {
  failed += failures.length;
  console.log(`${failures.length === 0 ? "ok  " : "FAIL"} ${place.name}: ${name}`);
  for (const failure of failures) console.log(`     ${failure}`);
}

async function runAt(bench: Bench, place: Place, fronts: Fronts): Promise<void> {
  for (const { row, command } of clients) {
    const run = await runClient(bench, fronts, place, command);
    row.runs.set(place, run);
    report(place, row.client.name, run.failures);
  }
  for (const { tool, runs } of migrations) {
    const failure = await runMigration(bench, fronts, place, tool);
    runs.set(place, failure === null);
    report(place, tool.name, failure === null ? [] : [failure]);
  }
}

await prepare();
const bench = await Bench.start();
const files = await TlsFiles.make();
try {
  const places = await makePlaces(files);
  for (const place of places) {
    await using fronts = await place.fronts(bench);
    await runAt(bench, place, fronts);
  }
  const isComplete = only === undefined && skipped.length === 0;
  console.log(
    await writeTables(
      { clients: clients.map(({ row }) => row), migrations, places },
      values.write && isComplete,
    ),
  );
  if (values.write && !isComplete) console.warn("NOT WRITTEN: something has not been run");
} finally {
  await files[Symbol.asyncDispose]();
  await bench.stop();
}
if (skipped.length > 0) console.warn(`SKIPPED: ${skipped.join(", ")}`);
if (failed > 0) Deno.exitCode = 1;
