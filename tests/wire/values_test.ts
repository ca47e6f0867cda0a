// Promise: a tenant's name is taken as it is, byte for byte, whatever stands in it and whatever the
// client has said about encodings and quoting (sealed-context.md T9; W10).

import assert from "node:assert/strict";
import { Bench, DATABASE, failure, type Front } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";
import { RawClient, startup, type StartupParameters } from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await Bench.start()));
Deno.test.afterAll(() => bench.stop());

const UTF8 = new TextEncoder();

/** Names that have broken a proxy, or would. */
const ODD_NAMES = [
  "O'Brien",
  "'; SELECT 1; --",
  "\\'; SET app.current_tenant_id = 'tenant_b'; --",
  "x\\",
  "\\x41\\n\\000",
  '"quoted"',
  "$$dollar$$ $1 $2",
  "per%cent%s %I",
  " spaces  inside and around ",
  "tab\tnew\nline\r\n",
  "café",
  "テナント表ソ",
  "😀👩‍👩‍👧",
  "\uFEFFbyte order mark",
  "e\u0301 not é",
  "a.b.c:d/e@f",
  "-c app.current_tenant_id=tenant_b",
  "true",
  "none",
  "DEFAULT",
  "\u0001\u001f\u007f",
  "long ".repeat(600),
];

/** What a client may choose at start-up that changes how text and literals are read. */
const CHOICES: readonly StartupParameters[] = [
  {},
  { client_encoding: "UTF8" },
  { client_encoding: "LATIN1" },
  { client_encoding: "SJIS" },
  { client_encoding: "EUC_JP" },
  { client_encoding: "GBK" },
  { client_encoding: "SQL_ASCII" },
  { options: "-c standard_conforming_strings=off" },
  { options: "-c standard_conforming_strings=off -c client_encoding=SJIS" },
  { options: "-c standard_conforming_strings=off -c backslash_quote=on -c bytea_output=escape" },
  { search_path: "nowhere", DateStyle: "German" },
];

/** The variable's bytes, as the server holds them. */
async function held(client: RawClient): Promise<string> {
  const rows = await client.query(
    `SELECT pg_catalog.encode(pg_catalog.convert_to(
       pg_catalog.current_setting('app.current_tenant_id'), 'UTF8'), 'hex')`,
  );
  return rows[0]![0]!;
}

for (const choice of CHOICES) {
  const title = Object.entries(choice).map(([name, value]) => `${name}=${value}`).join(" ");
  Deno.test(`every odd name arrives byte for byte: ${title || "defaults"}`, async () => {
    await using front = await bench.front();
    for (const name of ODD_NAMES) await arrives(front, name, choice);
  });
}

async function arrives(front: Front, name: string, choice: StartupParameters): Promise<void> {
  using client = await RawClient.connect(front.port);
  const what = `${JSON.stringify(name.slice(0, 40))} with ${JSON.stringify(choice)}`;
  try {
    await client.login({ user: `trusty.${name}`, database: DATABASE, ...choice });
  } catch (error) {
    throw new Error(`${what}: ${error}`);
  }
  assert.equal(await held(client), hex(UTF8.encode(name)), what);
  await client.query("DISCARD ALL");
  assert.equal(await held(client), hex(UTF8.encode(name)), `${what}, after DISCARD ALL`);
}

Deno.test("rows of a tenant with an odd name are seen by it alone", async () => {
  await using front = await bench.front();
  for (const name of ODD_NAMES) {
    await using own = await PgClient.connect(front.trusty(name));
    await using other = await PgClient.connect(front.trusty(`${name}x`));
    await own.rows("INSERT INTO tenants (tenant_id, name) VALUES ($1, 'odd')", [name]);
    const count = "SELECT count(*)::int FROM tenants WHERE name = 'odd'";
    assert.equal(await own.value(count), 1, name);
    assert.equal(await other.value(count), 0, name);
    await own.run("DELETE FROM tenants");
  }
  assert.equal(await bench.admin.value("SELECT count(*)::int FROM tenants"), 4);
});

Deno.test("a client's own queries keep the encoding and quoting that it asked for", async () => {
  await using front = await bench.front();
  using client = await RawClient.connect(front.port);
  await client.login({
    user: "trusty.café",
    database: DATABASE,
    options: "-c standard_conforming_strings=off -c escape_string_warning=off",
    client_encoding: "LATIN1",
  });
  assert.deepEqual(await client.query("SELECT 'a\\'b'"), [["a'b"]]);
  const [row] = await client.queryBytes("SELECT current_setting('app.current_tenant_id')");
  assert.deepEqual([...row![0]!], [0x63, 0x61, 0x66, 0xe9]);
});

Deno.test("a user name that is not UTF-8 is refused, never collapsed", async () => {
  await using front = await bench.front();
  for (const tail of [[0xff], [0xc3], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf5, 0x80, 0x80, 0x80]]) {
    using client = await RawClient.connect(front.port);
    const user = Uint8Array.from([...UTF8.encode("trusty.tenant_a"), ...tail]);
    const error = await client.refused({ user, database: DATABASE });
    assert.equal(error.code, "22021");
  }
  await using works = await PgClient.connect(front.trusty("tenant_a"));
  assert.equal(await works.value("SELECT count(*)::int FROM tenants"), 2);
});

Deno.test("a context that makes the packet too large is refused with a reason", async () => {
  await using front = await bench.front();
  using client = await RawClient.connect(front.port);
  const error = await client.refused({ user: `trusty.${"x".repeat(9_960)}`, database: DATABASE });
  assert.equal(error.code, "08P01");
  assert.match(error.message, /startup packet too large/);
});

Deno.test("a packet larger than PostgreSQL accepts is refused before it has come", async () => {
  await using front = await bench.front();
  using client = await RawClient.connect(front.port);
  const packet = startup({ user: "trusty.tenant_a", database: "x".repeat(10_000) });
  await client.send(packet.subarray(0, 8));
  const reply = await client.next();
  assert.equal(reply?.type, "E");
  assert.ok(await client.ended());
});

Deno.test("the longest name that fits is set and read back", async () => {
  await using front = await bench.front();
  const name = "x".repeat(9_900);
  await using client = await PgClient.connect(front.trusty(name));
  assert.equal(await client.value("SELECT current_setting('app.current_tenant_id')"), name);
  await client.run("RESET ALL");
  assert.equal(await client.value("SELECT current_setting('app.current_tenant_id')"), name);
});

Deno.test("roles of any legal name are logged in and set", async () => {
  await using front = await bench.front();
  for (const role of ["app-user", "Ünïcode", "MixedCase"]) {
    await using client = await PgClient.connect({ port: front.port, user: `${role}.tenant_a` });
    assert.deepEqual(await client.rows("SELECT current_user AS role, session_user AS login"), [
      { role, login: role },
    ]);
    assert.equal(await client.value("SELECT count(*)::int FROM tenants"), 2);
  }
});

Deno.test("set_role may have any legal name", async () => {
  for (const role of ["app-user", "Ünïcode", "MixedCase", "with \"quotes\" and 'ticks'"]) {
    await bench.admin.run(
      `DO $$ BEGIN CREATE ROLE "${role.replaceAll('"', '""')}"; EXCEPTION WHEN duplicate_object
         THEN NULL; END $$; GRANT "${role.replaceAll('"', '""')}" TO trusty`,
    );
    await using front = await bench.front({ setRole: role });
    await using client = await PgClient.connect(front.trusty("tenant_a"));
    assert.equal(await client.value("SELECT current_user"), role);
    await client.run("RESET ROLE");
    assert.equal(await client.value("SELECT current_user"), role);
    await bench.admin.run(`REVOKE "${role.replaceAll('"', '""')}" FROM trusty`);
  }
});

Deno.test("a role that differs in case only is another role", async () => {
  await using front = await bench.front();
  const error = await failure(
    PgClient.connect({ port: front.port, user: "mixedcase.tenant_a", password: "x" }),
  );
  assert.equal(error.code, "28P01");
});

function hex(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
