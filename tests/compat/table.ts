// The table of docs/compatibility.md: client by place, from what the suite saw.

import { CHECKS, type ClientRun } from "./client_runs.ts";
import { CLIENTS, type CompatClient } from "./clients.ts";
import type { Place } from "./places.ts";

export interface Row {
  readonly client: CompatClient;
  readonly runs: ReadonlyMap<Place, ClientRun>;
}

const PAGE = new URL("../../docs/compatibility.md", import.meta.url);
const BEGIN = "<!-- begin of the table: deno task test:compat --write -->";
const END = "<!-- end of the table -->";

/** `9`, or `8 + 1 no` with what the client lacks, or what failed. */
function cell(run: ClientRun | undefined): string {
  if (run === undefined) return "not run";
  const with_ = (result: string) => CHECKS.filter((check) => run.results.get(check) === result);
  const failing = with_("fail");
  if (failing.length > 0) return `✗ ${failing.join(", ")}`;
  return "✓";
}

/** What a client has no function for, the same everywhere. */
function lacks({ runs }: Row): string {
  const [run] = runs.values();
  return CHECKS.filter((check) => run?.results.get(check) === "none").join(", ");
}

function tableOf(rows: readonly Row[], places: readonly Place[]): string {
  const head = ["client", "version", "on", ...places.map(({ name }) => name), "client has no"];
  const lines = rows.map((row) => {
    const [run] = row.runs.values();
    const link = `[${row.client.name}](clients/${row.client.page}.md)`;
    const cells = places.map((place) => cell(row.runs.get(place)));
    return [link, run?.version ?? "", run?.on ?? "", ...cells, lacks(row)];
  });
  return [head, head.map(() => "---"), ...lines]
    .map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

/**
 * The table, put into its page only when every client has run everywhere.
 * @throws when the page has lost its marks
 */
export async function writeTable(
  rows: readonly Row[],
  places: readonly Place[],
  write: boolean,
): Promise<{ complete: boolean; text: string }> {
  const text = tableOf(rows, places);
  const complete = rows.length === CLIENTS.length;
  if (!write || !complete) return { complete, text };
  const page = await Deno.readTextFile(PAGE);
  const [before, rest] = page.split(BEGIN);
  const after = rest?.split(END)[1];
  if (after === undefined) throw new Error("docs/compatibility.md has lost the marks of its table");
  await Deno.writeTextFile(PAGE, `${before}${BEGIN}\n${text}\n${END}${after}`);
  return { complete, text };
}
