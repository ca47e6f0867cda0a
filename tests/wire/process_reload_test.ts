// Promise: SIGHUP takes what can be taken, loses nobody, and refuses what is wrong as a whole.

import assert from "node:assert/strict";
import { PgvpdProcess, TestDirectory } from "../support/process_pgvpd.ts";
import { Bench, DATABASE, failure } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";
import { SUPERUSER } from "../support/wire_options.ts";
import { RawClient } from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await Bench.start()));
Deno.test.afterAll(() => bench.stop());

/** A proxy whose settings are in a file that can be written anew. */
class Reloaded implements AsyncDisposable {
  private constructor(readonly process: PgvpdProcess, readonly directory: TestDirectory) {}

  static async start(settings: string): Promise<Reloaded> {
    const directory = await TestDirectory.make();
    try {
      const path = await directory.write("pgvpd.conf", fixed(settings));
      // No flag: those win over the file, and are the same after every signal.
      const process = await PgvpdProcess.serve(["-c", path]);
      return new Reloaded(process, directory);
    } catch (error) {
      await directory[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Writes the file, sends SIGHUP and waits until that has been dealt with. */
  async reload(settings: string, outcome = "configuration reloaded"): Promise<void> {
    await this.directory.write("pgvpd.conf", fixed(settings));
    const before = this.process.entries(outcome).length;
    this.process.kill("SIGHUP");
    await this.process.logged(outcome, before + 1);
  }

  async value(user: string, sql: string): Promise<unknown> {
    await using client = await PgClient.connect({
      port: this.process.port,
      user,
      password: SUPERUSER,
    });
    return await client.value(sql);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]();
    await this.directory[Symbol.asyncDispose]();
  }
}

function fixed(settings: string): string {
  const port = settings.includes("port = ") ? "" : "port = 0\n";
  return `upstream_port = ${bench.postgres.port}\n${port}${settings}\n`;
}

const setting = (name: string) => `SELECT current_setting('${name}', true)`;

Deno.test("SIGHUP under load loses no connection and no query", async () => {
  await using server = await Reloaded.start("");
  const { port } = server.process;
  let asked = 0;
  let over = false;
  const steady = async (n: number) => {
    const tenant = n % 2 ? "tenant_a" : "tenant_b";
    using client = await RawClient.connect(port);
    await client.login({ user: `trusty.${tenant}`, database: DATABASE });
    for (; !over; asked++) {
      const rows = await client.query("SELECT DISTINCT tenant_id FROM tenants");
      assert.deepEqual(rows, [[tenant]]);
    }
  };
  const coming = async () => {
    for (; !over; asked++) {
      assert.equal(await server.value("trusty.tenant_a", "SELECT count(*)::int FROM tenants"), 2);
    }
  };
  const load = Promise.all([
    ...Array.from({ length: 20 }, (_, n) => steady(n)),
    coming(),
    coming(),
  ]);
  try {
    for (let turn = 0; turn < 20; turn++) {
      const goal = asked + 50;
      while (asked < goal) {
        await Promise.race([load, new Promise((resolve) => setTimeout(resolve, 1))]);
      }
      server.process.kill("SIGHUP");
    }
  } finally {
    over = true;
  }
  await load;
  assert(asked >= 1_000, `${asked} queries`);
  assert(server.process.entries("configuration reloaded").length >= 10, "signals were dealt with");
  server.process.kill("SIGTERM");
  assert.equal((await server.process.ended()).code, 0);
  assert.deepEqual(server.process.log.filter(({ level }) => level !== "INFO"), []);
});

Deno.test("reloaded settings are those of new connections; open ones keep theirs", async () => {
  await using server = await Reloaded.start("context_variables = app.current_tenant_id");
  const open = await PgClient.connect({ port: server.process.port, user: "trusty.tenant_a" });
  await using _open = open;

  await server.reload("context_variables = app.list_id,app.user_id");
  assert.equal(await server.value("trusty.l:u", setting("app.user_id")), "u");
  assert.equal(await open.value(setting("app.current_tenant_id")), "tenant_a");

  await server.reload("set_role = authenticated");
  assert.equal(await server.value("trusty.tenant_a", "SELECT current_user"), "authenticated");
  assert.equal(await open.value("SELECT current_user"), "trusty");

  await server.reload("superuser_bypass =");
  const bypassed = await failure(server.value(SUPERUSER, "SELECT 1"));
  assert.equal((bypassed as { code?: string }).code, "28000");
  await server.reload(`superuser_bypass = ${SUPERUSER}`);
  assert.equal(await server.value(SUPERUSER, "SELECT 1"), 1);

  await server.reload("tenant_separator = @");
  assert.equal(await server.value("trusty@x.y", setting("app.current_tenant_id")), "x.y");

  await server.reload("max_client_connections = 1");
  const full = await failure(server.value("trusty.tenant_a", "SELECT 1"));
  assert.equal((full as { code?: string }).code, "53300");

  await server.reload("");
  assert.equal(await server.value("trusty.tenant_a", setting("app.current_tenant_id")), "tenant_a");
});

Deno.test("a reload tells what has changed, and what needs a restart, each time", async () => {
  await using server = await Reloaded.start("");
  const { process } = server;
  const { port } = process;
  for (const turn of [1, 2]) {
    await server.reload("port = 7777\nlog_format = text\nset_role = authenticated");
    const needed = process.entries("setting changed in the file, which needs a restart");
    const told = needed.map(({ key, before, after }) => [key, before, after]);
    assert.deepEqual(told.slice(-1), [["port", "0", "7777"]]);
    assert.equal(told.length, turn, "log_format is a flag's, which wins");
  }
  const changed = process.entries("setting changed");
  assert.deepEqual(
    changed.map(({ key, before, after }) => [key, before, after]),
    [["set_role", "(not set)", "authenticated"]],
  );
  assert.equal(process.port, port);
  assert.equal(await server.value("trusty.tenant_a", "SELECT current_user"), "authenticated");
});

Deno.test("log_level changes at once, for connections that are open too", async () => {
  await using server = await Reloaded.start("");
  const { process } = server;
  await server.value("trusty.tenant_a", "SELECT 1");
  assert.equal(process.entries("client accepted").length, 0);
  await server.reload("log_level = debug");
  await server.value("trusty.tenant_a", "SELECT 1");
  await process.logged("client accepted");
});

Deno.test("a bad file changes nothing, and every mistake is logged", async () => {
  await using server = await Reloaded.start("set_role = authenticated");
  const { process } = server;
  const refused = "reload refused: the settings stay as they were";
  await server.reload("set_rool = trusty\nlog_level = loud\nset_role = trusty", refused);
  const mistakes = process.log.filter(({ message }) => message.startsWith("configuration: "));
  assert.equal(mistakes.length, 2);
  assert.match(
    mistakes[0]!.message,
    /pgvpd\.conf:3: unknown key "set_rool"; did you mean "set_role"/,
  );
  assert.match(mistakes[1]!.message, /pgvpd\.conf:4: invalid value "loud"/);
  assert.equal((await process.logged(refused))["problems"], 2);
  assert.equal(await server.value("trusty.tenant_a", "SELECT current_user"), "authenticated");

  await Deno.remove(`${server.directory.path}/pgvpd.conf`);
  process.kill("SIGHUP");
  await process.logged(refused, 2);
  assert(process.log.some(({ message }) => /there is no such file/.test(message)));
  assert.equal(await server.value("trusty.tenant_a", "SELECT current_user"), "authenticated");
});
