// Writes what is made from the table of settings and from the lints: run with `deno run -A docs/generate.ts`.

import { renderDocs, renderExample } from "../src/config/text.ts";
import { renderDoctorPage } from "../src/doctor/table.ts";

const root = new URL("../", import.meta.url);
const intro = await Deno.readTextFile(new URL("docs/configuration.intro.md", root));
await Deno.writeTextFile(new URL("docs/configuration.md", root), renderDocs(intro));
await Deno.writeTextFile(new URL("pgvpd.conf.example", root), renderExample());

const page = new URL("docs/doctor.md", root);
await Deno.writeTextFile(page, renderDoctorPage(await Deno.readTextFile(page)));
