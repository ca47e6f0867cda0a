// Writes what is made from the table of settings: run with `deno run -A docs/generate.ts`.

import { renderDocs, renderExample } from "../src/config/text.ts";

const root = new URL("../", import.meta.url);
const intro = await Deno.readTextFile(new URL("docs/configuration.intro.md", root));
await Deno.writeTextFile(new URL("docs/configuration.md", root), renderDocs(intro));
await Deno.writeTextFile(new URL("pgvpd.conf.example", root), renderExample());
