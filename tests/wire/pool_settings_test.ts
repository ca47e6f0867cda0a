// Promise: on a pooled connection a client's own settings are what they would be on its own one.

import assert from "node:assert/strict";
import pg from "pg";
import {
  backendPid,
  connectPooled,
  leave,
  NAMES,
  onlyPool,
  POOL_PASSWORD,
  type Pooled,
  pooled,
  poolFront,
  ROWS,
} from "../support/pool_front.ts";
import { Bench, failure, type Front } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";
import {
  cstring,
  int16,
  int32,
  message,
  RawClient,
  RawError,
  type RawMessage,
  startup,
} from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await Bench.start()));
Deno.test.afterAll(() => bench.stop());

const TEXT = new TextDecoder();
/** Parameters that differ between any two connections. */
const OWN_TO_A_SESSION = new Set(["session_authorization"]);

/** What ParameterStatus messages say, the last of each. */
function reportedIn(messages: readonly RawMessage[]): Map<string, string> {
  const reported = messages.filter(({ type }) => type === "S").map(({ body }) => {
    const [name, value] = TEXT.decode(body).split("\0");
    return [name!, value!] as const;
  });
  return new Map([...reported].sort(([a], [b]) => a < b ? -1 : 1));
}

async function show(raw: RawClient, name: string): Promise<string> {
  return (await raw.query(`SELECT current_setting('${name}')`))[0]![0]!;
}

/** The same parameters in a connection of its own. */
async function direct(parameters: Record<string, string>): Promise<Pooled> {
  const raw = await RawClient.connect(bench.postgres.port);
  const greeting = await raw.login({ user: "trusty", database: "pgvpd_test", ...parameters });
  return { raw, greeting, [Symbol.dispose]: () => raw.close() };
}

const ACCEPTED: Record<string, Record<string, string>> = {
  "nothing": {},
  "what libpq sends": { application_name: "shop", client_encoding: "UTF8" },
  "what drivers send": {
    DateStyle: "ISO, DMY",
    TimeZone: "Europe/Berlin",
    extra_float_digits: "2",
  },
  "names in another case": { datestyle: "German", TIMEZONE: "Asia/Tokyo", Application_Name: "x" },
  "options": { options: "-c statement_timeout=12s --work-mem=5MB -csearch_path=pg_catalog" },
  "escaped options": { options: "-c application_name=a\\ b\\\\c" },
  "options behind a parameter": { application_name: "last", options: "-c application_name=first" },
  "a value twice": { options: "-c work_mem=1MB -c work_mem=2MB" },
  "search_path": { search_path: '"$user", app, public' },
  "a variable of the application": { "app.basket": "full" },
  "values that look like SQL": { application_name: "'; DROP TABLE tenants; --" },
  "an old encoding": { client_encoding: "LATIN1" },
  "no encoding": { client_encoding: "SQL_ASCII" },
};
const SHOWN = [
  ...["application_name", "client_encoding", "DateStyle", "TimeZone", "extra_float_digits"],
  ...["statement_timeout", "work_mem", "search_path"],
];

for (const [what, parameters] of Object.entries(ACCEPTED)) {
  Deno.test(`${what}: the session and its ParameterStatus are as on a direct connection`, async () => {
    await using front = await poolFront(bench);
    // Whoever was there before has had it otherwise.
    const before = await connectPooled(front, "tenant_a", { TimeZone: "Asia/Kolkata" });
    const pid = await backendPid(before.raw);
    await before.raw.query("SET DateStyle = 'SQL'; SET application_name = 'before'");
    await leave(front, before);
    using expected = await direct(parameters);
    using client = await connectPooled(front, "tenant_b", parameters);
    assert.equal(await backendPid(client.raw), pid);
    assert.deepEqual(reportedIn(client.greeting), reportedIn(expected.greeting));
    assert.equal(client.greeting.map(({ type }) => type).join("").replace(/S+/, "S"), "RSKZ");
    for (
      const name of [
        ...SHOWN,
        ...Object.keys(parameters).filter((name) => name.includes(".")),
      ]
    ) {
      assert.equal(await show(client.raw, name), await show(expected.raw, name), name);
    }
    const names = await client.raw.query("SELECT name FROM public.tenants ORDER BY name");
    assert.deepEqual(names.map(([name]) => name), ROWS["tenant_b"]);
  });
}

const REFUSED: [what: string, parameters: Record<string, string>, code: string][] = [
  ["an unknown parameter", { no_such_setting: "1" }, "42704"],
  ["a wrong value", { DateStyle: "Martian" }, "22023"],
  ["a wrong value in options", { options: "-c work_mem=lots" }, "22023"],
  ["what only a superuser may set", { log_statement: "all" }, "42501"],
  ["what only the server's start can set", { max_connections: "7" }, "55P02"],
  ["a switch", { options: "-e" }, "0A000"],
  ["options that nobody understands", { options: "nonsense" }, "08P01"],
  ["the tenant", { "app.current_tenant_id": "tenant_b" }, "42501"],
  ["the tenant, in options", { options: "-c App.Current_Tenant_Id=tenant_b" }, "42501"],
  ["the role", { role: "authenticated" }, "42501"],
  ["the role, in options", { options: "--role=authenticated" }, "42501"],
  ["another user", { session_authorization: "postgres" }, "42501"],
  ["replication", { replication: "database" }, "0A000"],
];

for (const [what, parameters, code] of REFUSED) {
  Deno.test(`${what} is refused with ${code}, and the connection goes on serving`, async () => {
    await using front = await poolFront(bench);
    const before = await connectPooled(front, "tenant_a");
    const pid = await backendPid(before.raw);
    await leave(front, before);
    const refusal = await failure(connectPooled(front, "tenant_a", parameters));
    assert(refusal instanceof RawError);
    assert.equal(refusal.code, code, refusal.message);
    assert.equal(refusal.fields["V"], "FATAL");
    using after = await connectPooled(front, "tenant_b");
    assert.equal(await backendPid(after.raw), pid);
    assert.deepEqual((await after.raw.query(NAMES)).map(([name]) => name), ROWS["tenant_b"]);
  });
}

Deno.test("what only a connection's start can set has a pool of its own", async () => {
  await using front = await poolFront(bench);
  const parameters = { ignore_system_indexes: "on" };
  const first = await connectPooled(front, "tenant_a", parameters);
  const pid = await backendPid(first.raw);
  assert.equal(await show(first.raw, "ignore_system_indexes"), "on");
  await leave(front, first);
  const other = await connectPooled(front, "tenant_a");
  assert.notEqual(await backendPid(other.raw), pid);
  assert.equal(await show(other.raw, "ignore_system_indexes"), "off");
  await leave(front, other);
  const again = await connectPooled(front, "tenant_b", { options: "-c ignore_system_indexes=on" });
  assert.equal(await backendPid(again.raw), pid);
  await leave(front, again);
});

Deno.test("without a database it is the role's, as in PostgreSQL", async () => {
  await using front = await poolFront(bench);
  for (const parameters of [{}, { database: "" }]) {
    using raw = await RawClient.connect(front.port);
    await raw.send(startup({ user: "trusty.tenant_a", ...parameters }));
    await raw.until("R");
    await raw.send(message("p", cstring(POOL_PASSWORD)));
    await raw.until("Z");
    assert.deepEqual(await raw.query("SELECT current_database()"), [["trusty"]]);
    await leave(front, { raw, greeting: [], [Symbol.dispose]: () => {} });
  }
});

Deno.test("a setting that is not UTF-8 is refused", async () => {
  await using front = await poolFront(bench);
  const parameters = { application_name: Uint8Array.of(0xff, 0xfe) };
  const refusal = await failure(connectPooled(front, "tenant_a", parameters));
  assert.equal(refusal.code, "22021");
});

/** What a session is, as its next statement sees it. */
const IDENTITY =
  `SELECT current_setting('app.current_tenant_id'), current_setting('application_name'),
  current_setting('statement_timeout')`;

async function fresh(front: Front): Promise<Pooled> {
  return await connectPooled(front, "tenant_a", {
    application_name: "shop",
    options: "-c statement_timeout=12s",
  });
}

/** Everything up to the last of so many ReadyForQuery, and what they have reported. */
async function replies(raw: RawClient, readies: number): Promise<RawMessage[]> {
  const all: RawMessage[] = [];
  for (let count = 0; count < readies; count++) all.push(...await raw.until("Z"));
  return all;
}

const batch = (sql: string) => [
  message("P", cstring(""), cstring(sql), int16(0)),
  message("B", cstring(""), cstring(""), int16(0), int16(0), int16(0)),
  message("E", cstring(""), int32(0)),
  message("S"),
];
const queries = (...texts: string[]) => texts.map((sql) => message("Q", cstring(sql)));

const RESETS: Record<string, readonly Uint8Array[]> = {
  "RESET ALL": queries("RESET ALL"),
  "RESET application_name": queries("RESET application_name"),
  "DISCARD ALL": queries("DISCARD ALL"),
  "RESET ROLE": queries("RESET ROLE"),
  "several statements": queries("SELECT 1; RESET ALL; SELECT 2"),
  "a committed transaction": queries("BEGIN", "RESET ALL", "COMMIT"),
  "a transaction rolled back": queries("BEGIN", "RESET ALL", "ROLLBACK"),
  "a savepoint": queries("BEGIN", "SAVEPOINT s", "RESET ALL", "ROLLBACK TO s", "COMMIT"),
  "a savepoint behind it": queries("BEGIN", "RESET ALL; SAVEPOINT s", "ROLLBACK TO s", "COMMIT"),
  "an extended query": batch("RESET ALL"),
  "a pipeline": [...batch("SELECT 1"), ...batch("DISCARD ALL"), ...batch("SELECT 2")],
  "a pipeline of queries": queries("RESET ALL", "SELECT 1", "RESET ALL"),
};
const readiesIn = (messages: readonly Uint8Array[]) =>
  messages.filter(([type]) => "QS".includes(String.fromCharCode(type!))).length;

for (const [what, messages] of Object.entries(RESETS)) {
  for (const mode of ["one by one", "together"]) {
    Deno.test(`context and settings outlive ${what}, sent ${mode}`, async () => {
      await using front = await poolFront(bench);
      const client = await fresh(front);
      const { raw } = client;
      const before = await raw.query(IDENTITY);
      assert.deepEqual(before, [["tenant_a", "shop", "12s"]]);
      const all = [...client.greeting];
      if (mode === "together") {
        await raw.send(...messages);
        all.push(...await replies(raw, readiesIn(messages)));
      } else {
        for (const one of messages) {
          await raw.send(one);
          all.push(...await replies(raw, readiesIn([one])));
        }
      }
      assert.deepEqual(await raw.query(IDENTITY), before);
      assert.deepEqual((await raw.query(NAMES)).map(([name]) => name), ROWS["tenant_a"]);
      for (const [name, value] of reportedIn(all)) {
        if (!OWN_TO_A_SESSION.has(name)) assert.equal(await show(raw, name), value, name);
      }
      await leave(front, client);
      assert.deepEqual(onlyPool(front).closed, {});
    });
  }
}

Deno.test("a RESET that a failed transaction had committed before is made good", async () => {
  await using front = await poolFront(bench);
  const client = await fresh(front);
  const failing = client.raw.query("BEGIN; RESET ALL; COMMIT; BEGIN; SELECT 1/0");
  assert.equal((await failure(failing)).code, "22012");
  await client.raw.query("ROLLBACK");
  assert.deepEqual(await client.raw.query(IDENTITY), [["tenant_a", "shop", "12s"]]);
  await leave(front, client);
});

Deno.test("RESET of one parameter leaves the others as the client has set them", async () => {
  await using front = await poolFront(bench);
  const client = await fresh(front);
  const { raw } = client;
  await raw.query("SET application_name = 'worker'; SET statement_timeout = '7s'");
  await raw.query("RESET statement_timeout");
  assert.deepEqual(await raw.query(IDENTITY), [["tenant_a", "worker", "12s"]]);
  await raw.query("RESET ALL");
  assert.deepEqual(await raw.query(IDENTITY), [["tenant_a", "shop", "12s"]]);
  await leave(front, client);
});

Deno.test("RESET and DISCARD ALL keep the role of set_role", async () => {
  await using front = await poolFront(bench, { setRole: "authenticated" });
  const client = await connectPooled(front, "tenant_a");
  for (const sql of ["RESET ROLE", "RESET ALL", "DISCARD ALL", "RESET SESSION AUTHORIZATION"]) {
    await client.raw.query(sql);
    assert.deepEqual(await client.raw.query("SELECT current_user"), [["authenticated"]], sql);
  }
  await leave(front, client);
});

Deno.test("a notification is not lost while the context is restored", async () => {
  await using front = await poolFront(bench);
  const client = await connectPooled(front, "tenant_a");
  await client.raw.query("LISTEN news");
  let heard = 0;
  for (let turn = 0; turn < 100; turn++) {
    const told = bench.admin.run("NOTIFY news");
    await client.raw.send(...queries("RESET DateStyle"));
    heard += (await client.raw.until("Z")).filter(({ type }) => type === "A").length;
    await told;
  }
  while (heard < 100) {
    await client.raw.until("A");
    heard++;
  }
  await leave(front, client);
});

Deno.test("npm:pg: a pool that discards all finds its tenant again", async () => {
  await using front = await poolFront(bench, { poolAuth: "scram", poolSize: 2 });
  const { port, user, password } = pooled(front, "tenant_a");
  const pool = new pg.Pool({
    host: "127.0.0.1",
    port,
    user,
    password,
    database: "pgvpd_test",
    max: 2,
  });
  try {
    for (let turn = 0; turn < 20; turn++) {
      const client = await pool.connect();
      const { rows } = await client.query(NAMES);
      assert.deepEqual(rows.map(({ name }: { name: string }) => name), ROWS["tenant_a"]);
      await client.query("DISCARD ALL");
      client.release();
    }
  } finally {
    await pool.end();
  }
});

Deno.test("a tenant in an old encoding is the tenant all the same", async () => {
  await using front = await poolFront(bench);
  for (const encoding of ["LATIN1", "SQL_ASCII", "WIN1251", "SJIS"]) {
    await front.empty();
    const client = await connectPooled(front, "täñant", { client_encoding: encoding });
    const sql =
      "SELECT encode(convert_to(current_setting('app.current_tenant_id'), 'UTF8'), 'hex')";
    const hex = Array.from(new TextEncoder().encode("täñant"), (byte) => byte.toString(16)).join(
      "",
    );
    assert.deepEqual(await client.raw.query(sql), [[hex]], encoding);
    await client.raw.query("RESET ALL");
    assert.deepEqual(await client.raw.query(sql), [[hex]], encoding);
    await leave(front, client);
    await using next = await PgClient.connect(pooled(front, "tenant_b"));
    assert.equal(await next.value("SHOW client_encoding"), "UTF8");
  }
});
