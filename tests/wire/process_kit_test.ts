// Promise: pgvpd setup, protect, unprotect and status do in a database what they say, in one
// transaction, and tell in words what is wrong.

import assert from "node:assert/strict";
import denoJson from "../../deno.json" with { type: "json" };
import type { EmbeddedPostgres } from "../../src/commands/embedded_postgres.ts";
import { makeCa, makeServer } from "../support/certificates.ts";
import { pgvpd } from "../support/process_pgvpd.ts";
import { SqlClient, startServer } from "../support/sql_database.ts";
import { TlsFiles } from "../support/wire_tls.ts";

const ROOT = await makeCa("database root");
const FOREIGN = await makeCa("foreign root");

let server: EmbeddedPostgres;
let files: TlsFiles;
Deno.test.beforeAll(async () => {
  files = await TlsFiles.make();
  const certificate = await makeServer(ROOT);
  await files.write("root.pem", ROOT.pem);
  await files.write("foreign.pem", FOREIGN.pem);
  const [pem, key] = [
    await files.writeForServer("server.pem", certificate.pem),
    await files.writeForServer("server.key", certificate.keyPem),
  ];
  server = await startServer("18", {
    settings: ["ssl = on", `ssl_cert_file = '${pem}'`, `ssl_key_file = '${key}'`],
    hba: ["host all secretive 127.0.0.1/32 scram-sha-256"],
  });
});
Deno.test.afterAll(async () => {
  await server.stop();
  await files[Symbol.asyncDispose]();
});

/** A database of its own, a connection to it, and pgvpd with the database as its upstream's. */
async function database(name: string) {
  await using maintenance = new SqlClient(server.port, "postgres", "postgres");
  await maintenance.run(`CREATE DATABASE ${name}`);
  const admin = new SqlClient(server.port, name, "postgres");
  const run = async (...args: string[]) => {
    const place = ["--no-config", "--upstream-port", String(server.port), "--database", name];
    const { code, out, err } = await pgvpd([...args, ...place]);
    return { code, out, err, lines: out.trimEnd().split("\n") };
  };
  return { admin, run, [Symbol.asyncDispose]: () => admin[Symbol.asyncDispose]() };
}

Deno.test("setup: two at once do not trip each other", async () => {
  await using kit = await database("kit_twice");
  const setup = () => kit.run("setup", "--role", "twice_user");
  const both = await Promise.all([setup(), setup()]);
  assert.deepEqual(both.map(({ code, err }) => [code, err]), [[0, ""], [0, ""]]);
  const idle = both.filter(({ lines }) => lines[1] === "  everything is there already");
  assert.equal(idle.length, 1);
});

const FUNCTIONS = "SELECT count(*) FROM pg_proc WHERE proname LIKE 'pgvpd%'";

Deno.test("setup: shown, installed, repeated, upgraded, and not put back", async () => {
  await using kit = await database("kit_setup");
  const { admin, run } = kit;
  const missing = await run("status");
  assert.deepEqual([missing.code, missing.out], [1, ""]);
  assert.match(missing.err, /not in this database: run pgvpd setup first/);

  const dry = await run("setup", "--dry-run");
  assert.deepEqual([dry.code, dry.err], [0, ""]);
  assert.equal(
    dry.lines[0],
    `In database "kit_setup" at 127.0.0.1:${server.port}, as "postgres", schema "public":`,
  );
  assert(dry.lines.includes("  create function current_tenant_id()"), dry.out);
  assert(dry.lines.includes("  create function pgvpd_protect_acl(text,jsonb,text)"));
  assert(dry.lines.includes("  create role app_user"));
  assert.equal(dry.lines.at(-1), "Nothing has been changed: this was a dry run.");
  assert.deepEqual(await admin.column(FUNCTIONS), ["0"]);

  const real = await run("setup");
  assert.deepEqual(real.lines, dry.lines.slice(0, -1), "a dry run tells what is done");
  assert.equal((await run("setup")).lines[1], "  everything is there already");

  await admin.run(`CREATE OR REPLACE FUNCTION pgvpd_items(list text) RETURNS text[] LANGUAGE sql
    AS 'SELECT NULL::text[]'; CREATE FUNCTION pgvpd_protect(text, text) RETURNS void LANGUAGE sql
    AS 'SELECT'; ALTER ROLE app_user CREATEDB`);
  assert.deepEqual((await run("setup")).lines.slice(1, 4), [
    "  drop function pgvpd_protect(text,text)",
    "  replace function pgvpd_items(text)",
    "  alter role app_user",
  ]);

  await admin.run(`CREATE OR REPLACE FUNCTION pgvpd_version() RETURNS text LANGUAGE sql
    AS $$ SELECT '99.0.0'::pg_catalog.text $$`);
  const older = await run("setup");
  assert.equal(older.code, 1);
  assert.match(
    older.err,
    new RegExp(`are of version 99.0.0, and this is pgvpd ${denoJson.version}`),
  );
});

Deno.test("setup: another schema, role and variable; a mistake leaves nothing", async () => {
  await using kit = await database("kit_schema");
  const { admin, run } = kit;
  const nowhere = await run("setup", "--schema", "My kit");
  assert.deepEqual([nowhere.code, nowhere.err], [
    1,
    'pgvpd: There is no schema "My kit": CREATE SCHEMA "My kit"; first\n',
  ]);
  await admin.run(`CREATE SCHEMA "My kit"`);
  const wrong = await run("setup", "--schema", "My kit", "--variable", "role");
  assert.match(wrong.err, /'role' is not the name of a context variable \(22023\)\nTwo or more/);
  assert.deepEqual(await admin.column(FUNCTIONS), ["0"]);
  const set = await run(
    ...["setup", "--schema", "My kit", "--role", "kit_tenant", "--variable", "app.org_id"],
  );
  assert.equal(set.code, 0, set.err);
  assert.match(set.err, /warning: current_tenant_id\(\) reads app\.org_id, which is not among/);
  const again = await run("setup", "--context", "app.org_id,app.user_id");
  assert.deepEqual([again.code, again.err, again.lines[1]], [
    0,
    "",
    "  everything is there already",
  ]);
  assert.match((await run("setup", "--schema", "public")).err, /"My kit" already: leave --schema/);

  await admin.run("CREATE TABLE notes (tenant_id text); INSERT INTO notes VALUES ('acme'), ('b')");
  assert.equal((await run("protect", "notes")).code, 0);
  await using tenant = new SqlClient(server.port, "kit_schema", "kit_tenant");
  await tenant.run("SET app.org_id = 'acme'");
  assert.deepEqual(await tenant.column("SELECT * FROM notes"), ["acme"]);

  // Functions of somebody who is neither a superuser nor the database's owner are never run.
  await admin.run(`CREATE ROLE mallory; CREATE FUNCTION "My kit".pgvpd_status(text) RETURNS void
    LANGUAGE sql AS 'SELECT'; ALTER FUNCTION "My kit".pgvpd_status(text) OWNER TO mallory`);
  for (const command of [["setup"], ["status"], ["protect", "notes"], ["unprotect", "notes"]]) {
    const { code, err } = await run(...command);
    assert.equal(code, 1);
    assert.match(
      err,
      /pgvpd_status\(text\) in schema "My kit" belongs to "mallory", who is neither/,
    );
  }
});

Deno.test("protect, status, unprotect: all or nothing", async () => {
  await using kit = await database("kit_protect");
  const { admin, run } = kit;
  assert.equal((await run("setup")).code, 0);
  await admin.run(`CREATE SCHEMA shop; CREATE TABLE shop.orders ("Org" int NOT NULL PRIMARY KEY);
    CREATE TABLE shop.lines ("Org" int PRIMARY KEY); CREATE TABLE shop.countries (code text)`);
  const none = await run("protect", "shop.orders", "shop.countries", "--column", "Org");
  assert.deepEqual([none.code, none.out], [
    1,
    'shop.orders is protected by column "Org" for role app_user\n',
  ]);
  assert.match(none.err, /^pgvpd: table shop\.countries has no column "Org" \(42703\)\nName the/);
  assert.deepEqual(await admin.column("SELECT relname FROM pg_class WHERE relrowsecurity"), []);

  const dry = await run("protect", "--all-of", "shop", "--column", "Org", "--dry-run");
  assert.deepEqual(dry.lines.slice(2), [
    `shop.countries  left as it is: no column "Org"`,
    "shop.lines      protected",
    "shop.orders     protected",
    "Nothing has been changed: this was a dry run.",
  ]);
  assert.deepEqual(await admin.column("SELECT relname FROM pg_class WHERE relrowsecurity"), []);
  const one = await run(...["protect", "shop.orders", "--column", "Org", "--column-default"]);
  assert.deepEqual([one.code, one.err], [0, ""]);
  await using app = new SqlClient(server.port, "kit_protect", "app_user");
  await app.becomeTenant("7");
  await app.run("INSERT INTO shop.orders DEFAULT VALUES");
  assert.deepEqual(await app.column("SELECT * FROM shop.orders"), ["7"]);

  const { out } = await run("status", "--json");
  assert.deepEqual(JSON.parse(out)[2], {
    ...{ schema: "shop", table: "orders", rls_enabled: true, rls_forced: true, policies: 2 },
    missing: null,
  });
  assert.equal((await run("status")).lines.at(-1), "1 of 3 tables isolated.");

  const gone = await run("unprotect", "shop.orders", "shop.lines");
  assert.deepEqual([gone.code, gone.lines], [0, [
    "shop.orders is not protected any more, and tenants may not use it at all",
    "shop.lines was not protected, nothing has changed",
  ]]);
  await app.refused("SELECT * FROM shop.orders", "42501", /permission denied/);
  for (const args of [["protect"], ["protect", "a", "--all-of", "b"]]) {
    assert.match((await run(...args)).err, /Name tables, or a schema with --all-of/);
  }
});

Deno.test("what cannot be connected to is told in words", async () => {
  await using kit = await database("kit_connect");
  await kit.admin.run("CREATE ROLE secretive LOGIN SUPERUSER PASSWORD 'right one'");
  const status = (url: string, env: Record<string, string> = {}) =>
    pgvpd(["status", "--url", url], { env }).then(({ err }) => err);
  const at = `postgres://secretive@127.0.0.1:${server.port}/kit_connect`;
  assert.match(await status(at), /asks for the password of "secretive": set PGPASSWORD/);
  assert.match(await status(at, { PGPASSWORD: "wrong" }), /authentication failed .*\(28P01\)\nSet/);
  assert.match(await status(at, { PGPASSWORD: "right one" }), /run pgvpd setup first/);
  const file = await files.write("password", "right one\n");
  const { err } = await pgvpd(["status", "--url", at, "--password-file", file]);
  assert.match(err, /run pgvpd setup first/);
  assert.match(
    await status(`postgres://127.0.0.1:${server.port}/nowhere`),
    /"nowhere" does not exist \(3D000\)\nName a database that exists/,
  );
  const closed = await status("postgres://127.0.0.1:1/x");
  assert.match(
    closed,
    /Cannot connect to database "x" at 127\.0\.0\.1:1, as "postgres": .*refused/i,
  );
});

Deno.test("TLS: the server's certificate is checked as sslmode says", async () => {
  await using _kit = await database("kit_tls");
  const status = (parameters: string) =>
    pgvpd(["status", "--url", `postgres://127.0.0.1:${server.port}/kit_tls?${parameters}`])
      .then(({ err }) => err);
  const ca = `&sslrootcert=${files.path}/root.pem`;
  const foreign = `&sslrootcert=${files.path}/foreign.pem`;
  const cases: [parameters: string, words: RegExp][] = [
    ["sslmode=require", /run pgvpd setup first/],
    [`sslmode=verify-full${ca}`, /run pgvpd setup first/],
    [`sslmode=verify-full${foreign}`, /Cannot connect to .*certificate/],
    ["sslmode=verify-full", /Cannot connect to .*certificate/],
    [`sslmode=verify-ca${foreign}`, /Cannot connect to .*certificate/],
  ];
  for (const [parameters, words] of cases) {
    assert.match(await status(parameters), words, parameters);
  }
  // With the certificate of another host.
  const other = await makeServer(ROOT, { dns: ["other.test"], ips: [] });
  await files.writeForServer("server.pem", other.pem);
  await files.writeForServer("server.key", other.keyPem);
  await server.halt();
  await server.boot();
  assert.match(await status(`sslmode=verify-full${ca}`), /Cannot connect to .*certificate/);
  assert.match(await status(`sslmode=verify-ca${ca}`), /run pgvpd setup first/);
});
