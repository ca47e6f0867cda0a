// Promise: files about tenants are taken when they are good, and change nothing when they are not.

import assert from "node:assert/strict";
import { PgvpdProcess, TestDirectory } from "../support/process_pgvpd.ts";
import { Bench, eventually, failure } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";

let bench: Bench;
let other: Bench;
Deno.test.beforeAll(async () => {
  [bench, other] = await Promise.all([Bench.start(), Bench.start()]);
  await other.admin.run("UPDATE tenants SET name = 'Moved ' || name");
});
Deno.test.afterAll(async () => void await Promise.all([bench.stop(), other.stop()]));

/** A proxy whose tenants are in files. */
async function start(directory: TestDirectory, mode: string): Promise<PgvpdProcess> {
  const toml = await directory.write("tenants.toml", "");
  const deny = await directory.write("deny", "");
  const path = await directory.write(
    "pgvpd.conf",
    `port = 0\nupstream_port = ${bench.postgres.port}\npool_mode = ${mode}\npool_size = 3\n` +
      `tenants = ${toml}\ntenant_deny_file = ${deny}\n` +
      (mode === "none" ? "" : "pool_password = none\nupstream_password = none\n"),
  );
  return await PgvpdProcess.serve(["-c", path]);
}

async function hup(process: PgvpdProcess): Promise<void> {
  const before = process.entries("configuration reloaded").length;
  process.kill("SIGHUP");
  await process.logged("configuration reloaded", before + 1);
}

function connect({ port }: PgvpdProcess, tenant: string): Promise<PgClient> {
  return PgClient.connect({ port, user: `trusty.${tenant}` });
}

async function nameThere(process: PgvpdProcess, tenant: string): Promise<unknown> {
  await using client = await connect(process, tenant);
  return await client.value("SELECT name FROM tenants ORDER BY name LIMIT 1");
}

for (const mode of ["none", "session", "transaction"]) {
  Deno.test(`${mode}: a tenant moves by an edit and SIGHUP, under load, and nobody is lost`, async () => {
    await using directory = await TestDirectory.make();
    await using process = await start(directory, mode);
    await using stays = await connect(process, "tenant_a");
    let over = false;
    const names = new Set<unknown>();
    const load = (async () => {
      while (!over) names.add(await nameThere(process, "tenant_a"));
    })();
    await eventually("somebody was served", () => names.size === 1);
    const moved = `[tenants.tenant_a]\nupstream = "big"\n[upstreams.big]\nhost = "127.0.0.1"\n` +
      `port = ${other.postgres.port}\n`;
    await directory.write("tenants.toml", moved);
    await hup(process);
    assert.equal(await nameThere(process, "tenant_a"), "Moved Alice Corp");
    assert.equal(await nameThere(process, "tenant_b"), "Bob Inc");
    assert.equal(await stays.value("SELECT name FROM tenants ORDER BY 1 LIMIT 1"), "Alice Corp");
    over = true;
    await load;
    assert.deepEqual([...names], ["Alice Corp", "Moved Alice Corp"].slice(0, names.size));
    await directory.write("tenants.toml", `${moved}\n[tenants.x]\nclass = "nowhere"\n`);
    await hup(process);
    const [told] = process.entries(
      "files about tenants cannot be used: what they held before stays",
    );
    assert.match(String(told!["error"]), /tenants\.toml:\d+:1: there is no \[classes\.nowhere\]/);
    assert.equal(await nameThere(process, "tenant_a"), "Moved Alice Corp");
  });
}

Deno.test("a list is read again by itself when it changes, and who is denied is let go", async () => {
  await using directory = await TestDirectory.make();
  await using process = await start(directory, "none");
  await using client = await connect(process, "tenant_a");
  await directory.write("deny", "tenant_a # has left us\n");
  await eventually("it is let go", () => client.lost !== null, 15_000);
  assert.equal((client.lost as Error & { code?: string }).code, "28000");
  assert.equal((await failure(connect(process, "tenant_a"))).code, "28000");
  assert.equal(await nameThere(process, "tenant_b"), "Bob Inc");
});

Deno.test("a mistake in one file about tenants does not hold the others up", async () => {
  await using directory = await TestDirectory.make();
  await using process = await start(directory, "none");
  await directory.write("tenants.toml", `[tenants.tenant_b]\nmax_connections = 1\n`);
  await hup(process);
  await using first = await connect(process, "tenant_b");
  await directory.write("tenants.toml", `[tenants.tenant_b]\nmax_conections = 2\n`);
  await directory.write("deny", "tenant_a\n");
  await hup(process);
  assert.equal((await failure(connect(process, "tenant_a"))).code, "28000");
  assert.equal((await failure(connect(process, "tenant_b"))).code, "53300");
  await directory.write("deny", "tenant_\x07\n");
  await directory.write("tenants.toml", "");
  await hup(process);
  assert.equal((await failure(connect(process, "tenant_a"))).code, "28000", "it stays denied");
  await using second = await connect(process, "tenant_b");
  assert.deepEqual([first.lost, second.lost], [null, null]);
  const told = process.entries("files about tenants cannot be used: what they held before stays");
  const errors = told.map(({ error }) => String(error));
  const patterns = [/tenants\.toml:2:1: unknown key "max_conections"/, /deny:1: a tenant has no/];
  for (const each of patterns) assert(errors.some((error) => each.test(error)), errors.join("\n"));
  assert(errors.every((error) => patterns.some((each) => each.test(error))), errors.join("\n"));
});
