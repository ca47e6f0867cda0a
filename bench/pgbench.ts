// What does pgvpd cost per transaction, beside PgBouncer, a bare loop and a direct connection?
//
//   deno task bench [--seconds 4] [--clients 1,8,64] [--modes simple,extended,prepared]
//
// One run, one machine, the routes taken in turn. CPU is the proxy's own, user and system time of
// its process over transactions done; the machine is shared with PostgreSQL and pgbench, so compare
// within a run and never across runs.

import { freePort } from "../src/commands/embedded_postgres.ts";
import { parseSettings, ROLE, type Route, Routes } from "./routes.ts";

const settings = parseSettings(Deno.args, {
  seconds: 4,
  clients: [1, 8, 64],
  modes: ["simple", "extended", "prepared"],
});
await using routes = await Routes.start();
await routes.compare([
  routes.direct(),
  await routes.pgBouncer(),
  await startBareLoop(),
  await routes.pgvpd(),
], settings);

/** What any proxy on Deno costs at least. */
async function startBareLoop(): Promise<Route> {
  const port = await freePort();
  const script = new URL("bare_loop.ts", import.meta.url).pathname;
  const args = ["run", "--quiet", "-A", script, `${port}`, `${routes.server.port}`];
  const processId = await routes.spawn(port, Deno.execPath(), args);
  return { name: "bare Deno loop", port, user: ROLE, processId };
}
