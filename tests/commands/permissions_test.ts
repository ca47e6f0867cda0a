// Promise: pgvpd runs with only what it needs, and names the flag for what it was not given.

import assert from "node:assert/strict";
import { freePort } from "../../src/commands/embedded_postgres.ts";
import { pgvpd, PgvpdProcess, TestDirectory } from "../support/process_pgvpd.ts";

const README = ["--allow-net", "--allow-read=pgvpd.conf", "--allow-env"];

/** The process must end with exit code 1 and one sentence. */
async function sentence(permissions: string[], args: string[] = ["--port", "0"]): Promise<string> {
  const { code, out, err } = await pgvpd(args, { permissions });
  assert.match(err, /^pgvpd: [^\n]+\n$/, "one sentence, no stack");
  assert.deepEqual([code, out], [1, ""]);
  return err;
}

Deno.test("the permissions in the README are enough to serve and to stop", async () => {
  const readme = await Deno.readTextFile(new URL("../../README.md", import.meta.url));
  assert(
    readme.includes(`deno run --no-prompt ${README.join(" ")} main.ts`),
    "README is out of step",
  );
  await using process = await PgvpdProcess.serve(["--port", "0"], { permissions: README });
  process.kill("SIGTERM");
  const { code, err } = await process.ended();
  assert.deepEqual([code, err], [0, ""]);
});

Deno.test("narrower still: addresses, one variable, no file", async () => {
  const port = await freePort();
  const permissions = [`--allow-net=127.0.0.1:${port},localhost:5432`, "--allow-env=PGVPD_PORT"];
  await using process = await PgvpdProcess.serve(
    ["--no-config", "--upstream-host", "localhost"],
    { permissions, env: { PGVPD_PORT: String(port) } },
  );
  assert.equal(process.port, port);
});

Deno.test("without net: the flag for listening is named", async () => {
  const upstream = "--allow-net=127.0.0.1:5432";
  const told = await sentence([upstream, "--allow-read=pgvpd.conf", "--allow-env"]);
  assert.match(told, /Cannot listen on 127\.0\.0\.1 port 0: .* with the --allow-net flag\n$/);
});

Deno.test("without net to the upstream server: told at the start, not to the first client", async () => {
  const port = await freePort();
  const told = await sentence(
    [`--allow-net=127.0.0.1:${port}`, "--allow-read=pgvpd.conf", "--allow-env"],
    ["--port", String(port), "--upstream-host", "db.internal"],
  );
  assert.match(told, /upstream server at db\.internal:5432: .* --allow-net=db\.internal:5432\n$/);
  const socket = await sentence(README, ["--port", "0", "--upstream-host", "/run/pg"]);
  assert.match(
    socket,
    /--allow-read=\/run\/pg\/.s.PGSQL.5432 --allow-write=\/run\/pg\/.s.PGSQL.5432/,
  );
});

Deno.test("without read: the flag and the way without a file are named", async () => {
  const told = await sentence(["--allow-net", "--allow-env"]);
  assert.match(told, /file "pgvpd\.conf": .* --allow-read flag \(--no-config starts without one\)/);
});

Deno.test("without env: the flag is named; no setting is left out silently", async () => {
  const told = await sentence(["--allow-net", "--allow-read=pgvpd.conf"]);
  assert.match(told, /^pgvpd: Cannot read the environment: .* run again with --allow-env/);
});

Deno.test("a socket directory that may not be used: the flag is named", async () => {
  await using directory = await TestDirectory.make();
  const told = await sentence(README, ["--port", "5", "--listen-host", directory.path]);
  assert.match(told, /Cannot listen on .* --allow-read flag/);
});

Deno.test("a secret file that may not be read: the flag is named", async () => {
  const told = await sentence(README, ["--port", "0", "--pool-password-file", "/run/secrets/x"]);
  assert.match(told, /--allow-read flag/);
});
