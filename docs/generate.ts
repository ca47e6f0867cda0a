// Writes what is made from the table of settings: run with `deno run -A docs/generate.ts`.

import { renderDocs, renderExample } from "../src/config/text.ts";

const root = new URL("../", import.meta.url);
await Deno.writeTextFile(new URL("docs/configuration.md", root), renderDocs());
await Deno.writeTextFile(new URL("pgvpd.conf.example", root), renderExample());
