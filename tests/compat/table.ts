// The tables of docs/compatibility.md, client by place, from what the suite saw.

import { CHECKS, type ClientRun } from "./client_runs.ts";
import type { CompatClient } from "./clients.ts";
import type { MigrationTool } from "./migrations.ts";
import type { Place } from "./places.ts";

export interface ClientRow {
  readonly client: CompatClient;
  readonly runs: Map<Place, ClientRun>;
}

export interface MigrationRow {
  readonly tool: MigrationTool;
  /** Whether it went well. */
  readonly runs: Map<Place, boolean>;
}

export interface Results {
  readonly clients: readonly ClientRow[];
  readonly migrations: readonly MigrationRow[];
  readonly places: readonly Place[];
}

const PAGE = new URL("../../docs/compatibility.md", import.meta.url);
const BEGIN = "<!-- begin of the tables: deno task test:compat --write -->";
const END = "<!-- end of the tables -->";

function table(...rows: readonly (readonly string[])[]): string {
  const [head, ...lines] = rows;
  return [head!, head!.map(() => "---"), ...lines]
    .map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

function link({ name, page }: { readonly name: string; readonly page: string }): string {
  return `[${name}](clients/${page}.md)`;
}

/** A tick, or what failed. */
function cell(run: ClientRun | undefined): string {
  if (run === undefined) return "not run";
  const failing = CHECKS.filter((check) => run.results.get(check) === "fail");
  return failing.length > 0 ? `✗ ${failing.join(", ")}` : "✓";
}

/** What a client has no function for, everywhere or in some modes. */
function lacks({ runs }: ClientRow): string {
  return CHECKS.flatMap((check) => {
    const lacking = [...runs].filter(([, { results }]) => results.get(check) === "none");
    if (lacking.length === 0) return [];
    const modes = new Set(lacking.map(([{ mode }]) => mode));
    return [lacking.length === runs.size ? check : `${check} (${[...modes].join(", ")})`];
  }).join(", ");
}

function clientTable({ clients, places }: Results): string {
  const names = places.map(({ name }) => name);
  return table(
    ["client", "version", "on", ...names, "the client has no"],
    ...clients.map((row) => {
      const [run] = row.runs.values();
      const cells = places.map((place) => cell(row.runs.get(place)));
      return [link(row.client), run?.version ?? "", run?.on ?? "", ...cells, lacks(row)];
    }),
  );
}

function migrationTable({ migrations, places }: Results): string {
  return table(
    ["migrations with", "version", ...places.map(({ name }) => name)],
    ...migrations.map(({ tool, runs }) => [
      link(tool),
      tool.version,
      ...places.map((place) => runs.get(place) ? "✓" : "✗"),
    ]),
  );
}

/**
 * The tables as Markdown.
 * @param write puts them into their page too
 * @throws when the page has lost its marks
 */
export async function writeTables(results: Results, write: boolean): Promise<string> {
  const text = `${clientTable(results)}\n\n${migrationTable(results)}`;
  if (!write) return text;
  const page = await Deno.readTextFile(PAGE);
  const [before, rest] = page.split(BEGIN);
  const after = rest?.split(END)[1];
  if (after === undefined) {
    throw new Error("docs/compatibility.md has lost the marks of its tables");
  }
  await Deno.writeTextFile(PAGE, `${before}${BEGIN}\n${text}\n${END}${after}`);
  return text;
}
