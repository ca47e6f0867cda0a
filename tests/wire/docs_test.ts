// Promise: what the documents show works as it is written: SQL as installer and as tenant, shell
// commands, the cookbook's resolvers, the Drizzle guide's program.

import assert from "node:assert/strict";
import { type Block, readPage, readPages } from "../support/markdown.ts";
import { DocsWorld, type PageDatabase } from "../support/docs_world.ts";
import { PgvpdProcess, TestDirectory } from "../support/process_pgvpd.ts";
import { failure } from "../support/wire_bench.ts";
import { PgClient, psqlMissing } from "../support/wire_clients.ts";

const MAIN = new URL("../../main.ts", import.meta.url).pathname;
const CONFIG = new URL("../../deno.json", import.meta.url).pathname;
const CONTACTS_SQL = new URL("../../packaging/compose/contacts.sql", import.meta.url);

const CONTACTS = "CREATE TABLE contacts (tenant_id text, name text);";
/** What a page takes for granted. Every page with SQL or shell commands to run is here. */
const PRELUDES: Readonly<Record<string, string>> = {
  "README.md": `${CONTACTS} CREATE SCHEMA billing;
    CREATE TABLE billing.invoices (org_id uuid, amount numeric);`,
  "docs/authentication.md": "CREATE ROLE pgvpd_auth;",
  "docs/guides/drizzle.md": "",
  "docs/guides/managed-postgres.md": "",
  "docs/guides/prisma.md": "",
  "docs/how-it-works.md": "",
  "docs/migrating.md": CONTACTS,
  "docs/multi-tenant-patterns.md": "",
  "docs/quick-start.md": "",
  "docs/resolvers-cookbook.md": "",
  "docs/resolvers.md": `CREATE TABLE org_members (user_id uuid, org_id uuid);
    CREATE TABLE case_grants (user_id uuid);`,
  "docs/threat-model.md": "",
  "docs/troubleshooting.md": "",
};
/** Pages that are tried by tests of their own. */
const ELSEWHERE =
  /^docs\/(clients\/.*|admin|compatibility|doctor|metrics|sealed|security|sql)\.md$/;

let world: DocsWorld;
Deno.test.beforeAll(async () => {
  world = await DocsWorld.start();
});
Deno.test.afterAll(async () => await world[Symbol.asyncDispose]());

const withoutPsql = psqlMissing();

/** Runs what a page shows, in its order. */
async function runPage(database: PageDatabase, blocks: readonly Block[]): Promise<void> {
  await using directory = await TestDirectory.make();
  const shim = `#!/bin/sh\nexec "${Deno.execPath()}" run --quiet -A "${MAIN}" "$@"\n`;
  await Deno.chmod(await directory.write("pgvpd", shim), 0o755);
  for (const [index, block] of blocks.entries()) {
    const where = `${block.page}:${block.line}`;
    if (block.language === "sql") await runSql(database, block, where);
    if (block.language !== "sh" || block.words[0] !== "test" || withoutPsql) continue;
    const out = await runShell(database, block, directory.path);
    const next = blocks[index + 1];
    if (next?.language === "text") assert.equal(shown(out), shown(next.text), where);
  }
}

/** Without the blanks at the ends of lines, which editors take away. */
const shown = (text: string) => text.replace(/ +$/gm, "").trim();

async function runSql(database: PageDatabase, block: Block, where: string): Promise<void> {
  const { text, words: [tenant, sqlState] } = block;
  if (tenant === undefined) return await told(where, database.admin.run(text));
  await using client = await PgClient.connect(database.tenant(tenant));
  if (sqlState === undefined) return await told(where, client.run(text));
  assert.equal((await failure(client.run(text))).code, sqlState, where);
}

/** The same promise, with the place in what it is rejected with. */
async function told(where: string, promise: Promise<void>): Promise<void> {
  await promise.catch((error) => {
    throw new Error(`${where}: ${error.message}`, { cause: error });
  });
}

async function runShell(database: PageDatabase, block: Block, bin: string): Promise<string> {
  const text = block.text.replaceAll("6432", `${database.world.proxy.port}`);
  const { code, stdout, stderr } = await new Deno.Command("bash", {
    args: ["-eo", "pipefail", "-c", text],
    cwd: bin,
    env: database.shell(bin),
    stdin: "null",
  }).output();
  assert.equal(code, 0, `${block.page}:${block.line}: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
}

for (const [index, [path, prelude]] of Object.entries(PRELUDES).entries()) {
  Deno.test(`what ${path} shows works`, async () => {
    await using database = await world.database(`docs_${index}`, prelude);
    await runPage(database, readPage(path).blocks);
  });
}

Deno.test("every page with something to run is run", () => {
  const toRun = readPages().filter(({ path, blocks }) =>
    !ELSEWHERE.test(path) && path !== "CONTRIBUTING.md" &&
    blocks.some(({ language, words }) => language === "sql" || words[0] === "test")
  ).map(({ path }) => path);
  assert.deepEqual(toRun, Object.keys(PRELUDES).sort());
});

Deno.test("what does not work would be found", async () => {
  await using database = await world.database("docs_wrong", CONTACTS);
  const block = (language: string, words: string[], text: string): Block => ({
    ...{ page: "x.md", line: 7, language, words, text },
  });
  const wrong: [Block[], RegExp][] = [
    [[block("sql", [], "SELECT nothing")], /x\.md:7: column "nothing" does not exist/],
    [[block("sql", ["acme"], "CREATE TABLE x ()")], /x\.md:7: permission denied/],
    [[block("sql", ["acme", "42501"], "SELECT 1")], /should have failed/],
  ];
  if (!withoutPsql) {
    wrong.push([[block("sh", ["test"], "pgvpd sql nonsense | psql")], /x\.md:7/]);
    wrong.push([[block("sh", ["test"], "echo a"), block("text", [], "b")], /x\.md:7/]);
  }
  for (const [blocks, message] of wrong) await assert.rejects(runPage(database, blocks), message);
});

Deno.test("the cookbook's resolvers run together, and say what they promise", async () => {
  const { path, blocks } = readPage("docs/resolvers-cookbook.md");
  const text = (language: string) =>
    blocks.filter((block) => block.language === language).map((block) => block.text).join("\n\n");
  await using database = await world.database("cookbook", "");
  await database.admin.run(text("sql"));
  await using directory = await TestDirectory.make();
  await directory.write("resolvers.toml", text("toml"));
  await directory.write("resolver", "resolver");
  const conf = text("ini").replace("/run/secrets", directory.path);
  const file = await directory.write("pgvpd.conf", conf);
  assert.match(conf, /^resolver_password_file = /m, path);
  await using process = await PgvpdProcess.serve(
    ["-c", file, "--port", "0", "--upstream-port", `${world.postgres.port}`],
    { cwd: directory.path },
  );
  const login = { port: process.port, database: "cookbook" };
  const [user, org] = [
    "11111111-1111-4111-8111-111111111111",
    "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa",
  ];
  {
    await using client = await PgClient.connect({ ...login, user: `app_user.${user}` });
    const value = (name: string) => client.value(`SELECT current_setting('${name}')`);
    assert.equal(await value("app.org_id"), org);
    assert.equal(await value("app.org_role"), "admin");
    assert.equal(await value("app.plan"), "pro");
    assert.equal(await value("app.team_ids"), "{bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb}");
    assert.equal(
      await value("app.team_tree"),
      "{bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb,cccccccc-cccc-4ccc-8ccc-cccccccccccc}",
    );
  }
  const stranger = `app_user.${user.replace("1", "2")}`;
  const refused = await failure(PgClient.connect({ ...login, user: stranger }));
  assert.match(refused.message, /"org_membership" found nothing/);
});

Deno.test("the compose example: acme sees its two contacts, globex its own", async () => {
  await using database = await world.database("compose", "");
  await database.admin.run(await Deno.readTextFile(CONTACTS_SQL));
  for (const [tenant, count] of [["acme", 2], ["globex", 1]] as const) {
    await using client = await PgClient.connect(database.tenant(tenant));
    const rows = await client.rows("SELECT * FROM contacts");
    assert.deepEqual(rows.map((row) => row["tenant_id"]), Array(count).fill(tenant));
  }
});

Deno.test("a schema per tenant: the resolver's role reads its own schema and no other", async () => {
  const { blocks } = readPage("docs/multi-tenant-patterns.md");
  const block = (language: string, words: string) =>
    blocks.find((each) => each.language === language && each.text.includes(words))!.text;
  await using database = await world.database("schemas", "");
  await database.admin.run(block("sql", "CREATE SCHEMA acme"));
  await using directory = await TestDirectory.make();
  const resolvers = await directory.write("resolvers.toml", block("toml", "session_role"));
  const tenants = await directory.write("tenants.toml", block("toml", "search_path"));
  await using process = await PgvpdProcess.serve([
    ...["--no-config", "--port", "0", "--upstream-port", `${world.postgres.port}`],
    ...["--resolvers", resolvers, "--tenants", tenants],
  ]);
  for (const [tenant, other] of [["acme", "globex"], ["globex", "acme"]] as const) {
    const login = { port: process.port, user: `app_user.${tenant}`, database: "schemas" };
    await using client = await PgClient.connect(login);
    assert.equal(await client.value("SELECT current_user"), `tenant_${tenant}`);
    await client.run(`INSERT INTO notes VALUES ('of ${tenant}')`);
    assert.equal(await client.value("SELECT body FROM notes"), `of ${tenant}`);
    assert.equal((await failure(client.rows(`SELECT FROM ${other}.notes`))).code, "42501");
  }
  const stranger = { port: process.port, user: "app_user.initech", database: "schemas" };
  assert.match((await failure(PgClient.connect(stranger))).message, /"tenant_role" found nothing/);
});

/** Asks the guide's application as Ada of acme and Gina of globex. */
const DRIVER = `
import { app } from "./app.ts";
import { closeAll } from "./db.ts";
const server = app.listen(0, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));
const url = "http://127.0.0.1:" + server.address().port;
const ask = async (token, method, path, body) => {
  const response = await fetch(url + path, {
    method,
    headers: { authorization: "Bearer " + token, "content-type": "application/json" },
    body: body && JSON.stringify(body),
  });
  const text = await response.text();
  return [response.status, text.startsWith("[") || text.startsWith("{") ? JSON.parse(text) : text];
};
const said = [
  await ask("token-of-ada", "POST", "/contacts", { name: "Alice" }),
  await ask("token-of-gina", "POST", "/contacts", { name: "Gus" }),
  await ask("token-of-ada", "GET", "/contacts"),
  await ask("token-of-gina", "GET", "/contacts"),
  await ask("token-of-gina", "PATCH", "/contacts/1", { name: "Mallory" }),
  await ask("token-of-ada", "PATCH", "/contacts/1", { name: "Alice A." }),
  await ask("nonsense", "GET", "/contacts"),
];
console.log(JSON.stringify(said));
await closeAll();
server.close();
server.closeAllConnections();
`;

Deno.test("the program of the Drizzle guide isolates two tenants", async () => {
  const { blocks } = readPage("docs/guides/drizzle.md");
  await using database = await world.database("drizzle", "");
  await database.admin.run(blocks.find(({ language }) => language === "sql")!.text);
  await using directory = await TestDirectory.make();
  for (const { words: [name], text } of blocks.filter(({ language }) => language === "ts")) {
    await directory.write(name!, text);
  }
  const path = await directory.write("drive.ts", DRIVER);
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "-A", "--no-check", "--config", CONFIG, path],
    env: { DB_PORT: `${world.proxy.port}`, DB_NAME: "drizzle", DB_PASSWORD: "none" },
    stdin: "null",
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  const alice = { id: 1, tenantId: "acme", name: "Alice" };
  const gus = { id: 2, tenantId: "globex", name: "Gus" };
  assert.deepEqual(JSON.parse(new TextDecoder().decode(stdout)), [
    [201, alice],
    [201, gus],
    [200, [alice]],
    [200, [gus]],
    [404, "Not Found"],
    [204, ""],
    [401, "Unauthorized"],
  ]);
});
