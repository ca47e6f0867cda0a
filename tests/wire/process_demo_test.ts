// Promise: the demo shows the isolation, says what is wrong in a sentence, and leaves nothing.

import assert from "node:assert/strict";
import { freePort } from "../../src/commands/embedded_postgres.ts";
import { pgvpd, PgvpdProcess, TestDirectory } from "../support/process_pgvpd.ts";
import { failure } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";

/** The demo with a directory of its own for what it writes. */
const into = (directory: TestDirectory) => ({ env: { TMPDIR: directory.path } });
const left = (directory: TestDirectory) => [...Deno.readDirSync(directory.path)];

async function makeDirectory(): Promise<TestDirectory> {
  const directory = await TestDirectory.make();
  await Deno.chmod(directory.path, 0o755); // PostgreSQL runs as somebody else when we are root
  return directory;
}

Deno.test("demo --once shows both tenants and ends with 0", async () => {
  await using directory = await makeDirectory();
  const port = await freePort();
  const { code, out, err } = await pgvpd(["demo", "--once", "--port", `${port}`], into(directory));
  assert.deepEqual([code, err], [0, ""]);
  assert.match(out, /as app_user\.acme, through pgvpd:\n {4}acme .*\n {4}acme .*\n {4}acme .*\n\n/);
  assert.match(out, /as app_user\.globex, through pgvpd:\n {4}globex .*\n {4}globex .*\n\n/);
  assert.match(out, /with no context: 0 rows/);
  assert.match(out, /Isolated: each tenant saw its own rows and nothing else\./);
  assert.deepEqual(left(directory), []);
});

Deno.test("demo with a port that is taken: one sentence, exit code 1, nothing left", async () => {
  await using directory = await makeDirectory();
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = taken.addr;
  for (const flag of ["--port", "--pg-port"]) {
    const free = flag === "--port" ? [] : ["--port", String(await freePort())];
    const { code, err } = await pgvpd(
      ["demo", "--once", flag, String(port), ...free],
      into(directory),
    );
    assert.equal(err, `pgvpd: Port ${port} is already in use; choose another with ${flag}.\n`);
    assert.equal(code, 1);
  }
  assert.deepEqual(left(directory), []);
});

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.test(`${signal} during the demo stops everything and removes it`, async () => {
    await using directory = await makeDirectory();
    const port = await freePort();
    const pgPort = await freePort();
    await using process = await PgvpdProcess.spawn(
      ["demo", "--port", String(port), "--pg-port", String(pgPort)],
      into(directory),
    );
    await process.until("it is ready", () => process.out.includes("Ctrl-C stops everything"));
    const login = { user: "app_user.acme", password: "demo", database: "demo" };
    await using client = await PgClient.connect({ ...login, port });
    assert.equal(await client.value("SELECT count(*)::int FROM contacts"), 3);
    process.kill(signal);
    const { code, out, err } = await process.ended();
    assert.deepEqual([code, err], [0, ""]);
    assert.match(out, /Everything is stopped and removed\.\n$/);
    assert.deepEqual(left(directory), []);
    for (const one of [port, pgPort]) {
      const error = await failure(PgClient.connect({ ...login, port: one }));
      assert.equal(error.code, "ECONNREFUSED");
    }
  });
}

Deno.test("a signal while PostgreSQL starts: everything is removed, too", async () => {
  await using directory = await makeDirectory();
  await using process = await PgvpdProcess.spawn(
    ["demo", "--port", String(await freePort())],
    into(directory),
  );
  await process.until("PostgreSQL is made", () => process.out.includes("Initialising"));
  process.kill("SIGINT");
  const { code, err } = await process.ended();
  assert.deepEqual([code, err], [1, "pgvpd: Interrupted.\n"]);
  assert.deepEqual(left(directory), []);
});

function setsidMissing(): boolean {
  try {
    if (new Deno.Command("setsid", { args: ["true"] }).outputSync().success) return false;
  } catch {
    // There is none.
  }
  console.warn("SKIPPED: setsid is not installed");
  return true;
}

// A terminal sends Ctrl-C to everything that runs in it, PostgreSQL included.
Deno.test({
  name: "Ctrl-C in a terminal, early and late: a sentence, and nothing left",
  ignore: setsidMissing(),
  fn: async () => {
    for (const when of ["Starting PostgreSQL", "Ctrl-C stops everything"]) {
      await using directory = await makeDirectory();
      await using process = await PgvpdProcess.spawn(
        ["demo", "--port", String(await freePort())],
        { ...into(directory), prefix: ["setsid"] },
      );
      await process.until(when, () => process.out.includes(when));
      Deno.kill(-process.pid, "SIGINT");
      const { code, err } = await process.ended();
      const late = when.startsWith("Ctrl-C");
      assert.deepEqual([code, err], late ? [0, ""] : [1, "pgvpd: Interrupted.\n"], when);
      assert.deepEqual(left(directory), [], when);
    }
  },
});

Deno.test("demo --keep keeps PostgreSQL's directory, and says where it is", async () => {
  await using directory = await makeDirectory();
  const { code, out } = await pgvpd(
    ["demo", "--once", "--keep", "--port", String(await freePort())],
    into(directory),
  );
  assert.equal(code, 0);
  const kept = /^Kept (.+)$/m.exec(out)?.[1];
  assert.deepEqual(left(directory).map(({ name }) => `${directory.path}/${name}`), [kept]);
  assert((await Deno.stat(`${kept}/data/PG_VERSION`)).isFile);
});
