// `pgvpd seal-key`: the file and who may read it, the database's table, and that a key is shown by
// nothing on its way.

import { strict as assert } from "node:assert";
import { parseSealKeys, type SealKey } from "../../src/auth/seal.ts";
import { EmbeddedPostgres } from "../../src/commands/embedded_postgres.ts";
import type { Place } from "../../src/commands/database.ts";
import { CommandError } from "../../src/commands/failure.ts";
import { run } from "../../src/commands/program.ts";
import { readSealKeys } from "../../src/commands/seal_file.ts";
import { newSealKey, putSealKey, rotateSealKey } from "../../src/commands/seal_key.ts";
import { installSealed } from "../../src/commands/sealed.ts";
import { SETUP_SQL } from "../support/sealed_world.ts";
import { failure } from "../support/wire_bench.ts";
import { connectPostgresJs } from "../support/wire_clients.ts";

let server: EmbeddedPostgres;
let directory: string;
/** What the commands have printed. */
let printed: string[];
const print = (line: string) => void printed.push(line);

Deno.test.beforeAll(async () => {
  server = await EmbeddedPostgres.start({
    hba: ["host all all 127.0.0.1/32 trust"],
    settings: ["log_statement = 'all'", "log_parameter_max_length = -1"],
  });
  await using sql = connect("postgres", "postgres");
  await sql.unsafe("CREATE ROLE owner LOGIN CREATEROLE");
  for (const name of ["sealed", "owned", "bare", "kit"]) {
    await sql.unsafe(`CREATE DATABASE ${name} ${name === "owned" ? "OWNER owner" : ""}`);
  }
  const install = async (database: string, user: string) => {
    await using client = connect(database, user);
    await client.begin(async (transaction) => {
      await transaction.unsafe(SETUP_SQL);
      await installSealed(transaction);
    });
  };
  await install("sealed", "postgres");
  const refused = await failure(install("owned", "owner"));
  assert.match(refused.message, /pgvpd_vault is there already, and owner may not use it/);
  await sql.unsafe("GRANT pgvpd_vault TO owner WITH ADMIN OPTION, INHERIT FALSE, SET FALSE");
  await install("owned", "owner");
});
Deno.test.afterAll(() => server.stop());
Deno.test.beforeEach(async () => {
  directory = await Deno.makeTempDir({ prefix: "pgvpd-seal-key-" });
  printed = [];
});
Deno.test.afterEach(() => Deno.remove(directory, { recursive: true }));

function connect(database: string, user: string) {
  return connectPostgresJs({ port: server.port, database, user });
}

function at(database: string, user = "postgres", password = ""): Place {
  const where = { host: "127.0.0.1", port: server.port, tls: false } as const;
  return { ...where, database, user, password: () => password };
}

function file(): string {
  return `${directory}/seal.key`;
}

/** Which keys the database verifies with, of these. */
async function known(database: string, keys: readonly SealKey[]): Promise<string[]> {
  await using sql = connect(database, "postgres");
  const [row] = await sql`SELECT pg_backend_pid() AS pid, inet_client_port() AS port`;
  const binding = { processId: row!["pid"], port: row!["port"] };
  const names: string[] = [];
  for (const key of keys) {
    const token = key.token(binding, 9_999_999_999, '{"app.x":"y"}');
    await sql`SELECT set_config('pgvpd.seal', ${token}, false)`;
    const [found] = await sql`SELECT pgvpd.ctx('app.x') AS value`;
    if (found!["value"] === "y") names.push(key.name);
  }
  const rows = await sql`SELECT kid FROM pgvpd.seal_key`;
  assert.equal(rows.length, names.length, "and it has no others");
  return names;
}

Deno.test("seal-key new: a file for its owner alone, and never over another", async () => {
  await newSealKey(file(), null, print);
  assert.equal((await Deno.stat(file())).mode! & 0o777, 0o600);
  const text = await Deno.readTextFile(file());
  assert.deepEqual(parseSealKeys(text).map(({ name }) => name), ["k1"]);
  assert.match(printed.join("\n"), /seal-key put .* --url[^]*seal_key_file = /);
  const error = await failure(newSealKey(file(), null, print));
  assert(error instanceof CommandError);
  assert.match(error.message, /is there already.*rotate/);
  assert.equal(await Deno.readTextFile(file()), text);
  assert.match(
    (await failure(newSealKey(`${directory}/no/where`, null, print))).message,
    /^Cannot wr/,
  );
});

for (const [database, user] of [["sealed", "postgres"], ["owned", "owner"]] as const) {
  Deno.test(`seal-key: new and rotate tell a database of ${user}`, async () => {
    await newSealKey(file(), at(database, user), print);
    const [first] = readSealKeys(file());
    assert.deepEqual(await known(database, [first!]), ["k1"]);
    await rotateSealKey(file(), at(database, user), print);
    const keys = readSealKeys(file());
    assert.deepEqual(keys.map(({ name }) => name), ["k2", "k1"]);
    assert.equal(keys[1]!.hex, first!.hex, "the old one is second");
    assert.deepEqual(await known(database, keys), ["k2", "k1"]);
    await rotateSealKey(file(), at(database, user), print);
    const later = readSealKeys(file());
    assert.deepEqual(later.map(({ name }) => name), ["k3", "k2"]);
    assert.deepEqual(await known(database, [...later, first!]), ["k3", "k2"]);
    for (const { hex } of [...keys, ...later]) {
      assert(!printed.join("\n").includes(hex), "no key is printed");
      if (user === "postgres") assert(!server.log.includes(hex), "and none is logged");
    }
    const warnings = printed.filter((line) => line.startsWith("WARNING"));
    assert.equal(
      warnings.length,
      user === "postgres" ? 0 : 3,
      "where they are logged, that is told",
    );
    await using sql = connect(database, user);
    const members = await sql`SELECT FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member
      WHERE m.roleid = 'pgvpd_vault'::regrole AND NOT r.rolsuper
        AND pg_has_role(r.oid, m.roleid, 'USAGE')`;
    assert.equal(members.length, 0, "nobody is left a member");
  });
}

Deno.test("seal-key rotate: permissions and owner stay, and a bad file is left alone", async () => {
  await newSealKey(file(), null, print);
  await Deno.chmod(file(), 0o400);
  await rotateSealKey(file(), null, print);
  assert.equal((await Deno.stat(file())).mode! & 0o777, 0o400);
  assert.deepEqual([...Deno.readDirSync(directory)].map(({ name }) => name), ["seal.key"]);
  await Deno.chmod(file(), 0o644);
  assert.match((await failure(rotateSealKey(file(), null, print))).message, /mode 0644/);
  await Deno.chmod(file(), 0o600);
  await Deno.writeTextFile(file(), "k1 nothing\n");
  assert.match((await failure(rotateSealKey(file(), null, print))).message, /seal\.key:1: /);
  assert.equal(await Deno.readTextFile(file()), "k1 nothing\n");
});

Deno.test("seal-key: a database that cannot take it is told, without its password", async () => {
  await newSealKey(file(), null, print);
  const before = await Deno.readTextFile(file());
  const cases: readonly (readonly [Place, RegExp])[] = [
    [at("bare"), /database "bare".*\n.*not sealed in this database: run pgvpd setup --sealed/],
    [at("nowhere", "owner", "s3cret"), /"nowhere" does not exist/],
    [{ ...at("bare"), port: 1 }, /Cannot connect to/],
  ];
  for (const [place, sentence] of cases) {
    for (const rotates of [false, true]) {
      const error = await failure(
        rotates ? rotateSealKey(file(), place, print) : putSealKey(file(), place, print),
      );
      assert(error instanceof CommandError);
      assert.match(error.message, sentence);
      assert(!error.message.includes("s3cret"));
      assert.equal(await Deno.readTextFile(file()), before);
    }
  }
});

Deno.test("seal-key on the command line", async () => {
  const url = (database: string) => `postgres://postgres@127.0.0.1:${server.port}/${database}`;
  assert.equal(await run(["setup", "--sealed", "--url", url("kit")]), 0);
  assert.equal(await run(["seal-key", "new", file()]), 0);
  assert.equal(await run(["seal-key", "rotate", file(), "--url", url("kit")]), 0);
  assert.equal(await run(["seal-key", "put", file(), "--url", url("kit")]), 0);
  assert.deepEqual(await known("kit", readSealKeys(file())), ["k2", "k1"]);
  assert.equal(await run(["setup", "--url", url("kit")]), 0);
  {
    await using sql = connect("kit", "postgres");
    const [reader] = await sql`SELECT prosrc FROM pg_proc WHERE proname = 'current_tenant_id'`;
    assert.match(reader!["prosrc"], /pgvpd\.ctx\(/, "what is sealed stays sealed");
  }
  assert.equal(await run(["seal-key", "new", file()]), 1);
  assert.equal(await run(["seal-key", "put", file(), "--user", "postgres"]), 1, "which database?");
  assert.equal(await run(["seal-key", "rotate"]), 2);
});
