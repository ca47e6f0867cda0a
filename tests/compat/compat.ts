// `deno task test:compat`: every client through every pool mode, in the clear and with TLS, and the
// table of docs/compatibility.md. It fetches npm packages and Go modules; of what the system lacks
// it says so loudly, and goes on. `--only=Drizzle,JDBC` takes some, `--write` writes the table.

import { parseArgs } from "node:util";
import { Bench } from "../support/wire_bench.ts";
import { TlsFiles } from "../support/wire_tls.ts";
import { type ClientRun, runClient } from "./client_runs.ts";
import { CLIENTS, type Command, type CompatClient } from "./clients.ts";
import { makePlaces, type Place } from "./places.ts";
import { type Row, writeTable } from "./table.ts";

const { values } = parseArgs({
  options: { only: { type: "string" }, write: { type: "boolean", default: false } },
});
const only = values.only?.toLowerCase().split(",");

const wanted = CLIENTS.filter(({ name }) => only?.includes(name.toLowerCase()) ?? true);
if (wanted.length === 0) {
  console.error(`--only takes some of: ${CLIENTS.map(({ name }) => name).join(", ")}`);
  Deno.exit(2);
}

const skipped: string[] = [];
const ready: { client: CompatClient; command: Command; runs: Map<Place, ClientRun> }[] = [];
for (const client of wanted) {
  const found = await client.prepare();
  if ("missing" in found) {
    skipped.push(client.name);
    console.warn(`SKIPPED: ${client.name}. ${found.missing}`);
  } else ready.push({ client, command: found, runs: new Map() });
}

let failed = 0;
const bench = await Bench.start();
const files = await TlsFiles.make();
try {
  const places = await makePlaces(files);
  for (const place of places) {
    await using fronts = await place.fronts(bench);
    for (const { client, command, runs } of ready) {
      const run = await runClient(bench, fronts, place, command);
      runs.set(place, run);
      failed += run.failures.length;
      console.log(`${run.failures.length === 0 ? "ok  " : "FAIL"} ${place.name}: ${client.name}`);
      for (const failure of run.failures) console.log(`     ${failure}`);
    }
  }
  const rows: Row[] = ready.map(({ client, runs }) => ({ client, runs }));
  const { complete, text } = await writeTable(rows, places, values.write);
  console.log(text);
  if (values.write && !complete) console.warn("The table is not written: something is missing.");
} finally {
  await files[Symbol.asyncDispose]();
  await bench.stop();
}
if (skipped.length > 0) console.warn(`SKIPPED: ${skipped.join(", ")}`);
if (failed > 0) Deno.exitCode = 1;
