// pgvpd: tenant identity as part of the PostgreSQL connection. Arguments in, exit code out.

import { run } from "./src/commands/program.ts";

if (import.meta.main) Deno.exit(await run(Deno.args));
