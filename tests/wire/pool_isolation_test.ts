// Promise: whoever is served next on a pooled connection finds nothing of the one before.

import assert from "node:assert/strict";
import {
  backendPid,
  connectPooled,
  leave,
  NAMES,
  onlyPool,
  pooled,
  poolFront,
  ROWS,
} from "../support/pool_front.ts";
import { PgClient } from "../support/wire_clients.ts";
import { Bench, eventually, failure, type Front } from "../support/wire_bench.ts";
import { cstring, int16, int32, message, RawClient, RawError } from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => {
  bench = await Bench.start();
  await bench.admin.run("CREATE SEQUENCE numbers; GRANT ALL ON SEQUENCE numbers TO trusty");
});
Deno.test.afterAll(() => bench.stop());

type Deed = string | ((raw: RawClient) => Promise<void>);

/** What a tenant can leave, and a question whose answer it changes. */
interface Residue {
  readonly what: string;
  readonly deed: Deed;
  readonly question: string;
}

const setting = (name: string) => `SELECT nullif(current_setting('${name}', true), '')`;
const count = (from: string) => `SELECT count(*) FROM ${from}`;

const RESIDUES: readonly Residue[] = [
  {
    what: "a temporary table",
    deed: "CREATE TEMP TABLE notes AS SELECT 'secret of a' AS note",
    question: "SELECT to_regclass('pg_temp.notes')",
  },
  {
    what: "a temporary table in front of a shared one",
    deed: "CREATE TEMP TABLE tenants AS SELECT 'planted' AS name, 'tenant_b' AS tenant_id",
    question: NAMES,
  },
  {
    what: "a temporary view in front of a shared table",
    deed: "CREATE TEMP VIEW tenants AS SELECT 'planted' AS name",
    question: NAMES,
  },
  {
    what: "a temporary function",
    deed: "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    question: count("pg_proc WHERE pronamespace = pg_my_temp_schema()"),
  },
  {
    what: "the tenant itself",
    deed: "SET app.current_tenant_id = 'tenant_evil'",
    question: setting("app.current_tenant_id"),
  },
  {
    what: "the tenant itself, by set_config",
    deed: "SELECT set_config('app.current_tenant_id', 'tenant_evil', false)",
    question: setting("app.current_tenant_id"),
  },
  {
    what: "a variable of the application",
    deed: "SET app.basket = 'of a'",
    question: setting("app.basket"),
  },
  { what: "search_path", deed: "SET search_path = pg_catalog", question: setting("search_path") },
  {
    what: "read-only transactions",
    deed: "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    question: setting("default_transaction_read_only"),
  },
  {
    what: "a time limit",
    deed: "SELECT set_config('statement_timeout', '1h', false)",
    question: setting("statement_timeout"),
  },
  { what: "row_security", deed: "SET row_security = off", question: setting("row_security") },
  { what: "the role", deed: "SET ROLE authenticated", question: "SELECT current_user" },
  {
    what: "a name for the activity view",
    deed: "SET application_name = 'shop of a'",
    question: setting("application_name"),
  },
  {
    what: "a prepared statement",
    deed: "PREPARE find AS SELECT 'secret of a'",
    question: count("pg_prepared_statements"),
  },
  {
    what: "a statement prepared in a DO block",
    deed: "DO $$ BEGIN EXECUTE 'PREPARE pgvpd_s1(bigint) AS SELECT $1'; END $$",
    question: count("pg_prepared_statements"),
  },
  {
    what: "a statement prepared by the protocol",
    deed: async (raw) => {
      await raw.send(message("P", cstring("find"), cstring("SELECT 1"), int16(0)), message("S"));
      await raw.until("Z");
    },
    question: count("pg_prepared_statements"),
  },
  {
    what: "a held cursor",
    deed: "BEGIN; DECLARE held CURSOR WITH HOLD FOR SELECT name FROM tenants; COMMIT",
    question: count("pg_cursors WHERE is_holdable"),
  },
  {
    what: "an advisory lock",
    deed: "SELECT pg_advisory_lock(42), pg_advisory_lock_shared(43)",
    question: count("pg_locks WHERE locktype = 'advisory'"),
  },
  { what: "a LISTEN", deed: "LISTEN a", question: count("pg_listening_channels()") },
  {
    what: "the last number of a sequence",
    deed: "SELECT nextval('numbers')",
    question: "SELECT lastval()",
  },
  {
    what: "the seed of random numbers",
    deed: "SELECT setseed(0.5)",
    question: "SELECT random() = 0.9851677175347999",
  },
  { what: "an open transaction", deed: "BEGIN", question: "SELECT now() = statement_timestamp()" },
  {
    what: "a read-only, failed transaction",
    deed: async (raw) => {
      await raw.query("BEGIN READ ONLY; SELECT 1/0").catch(() => {});
    },
    question: setting("transaction_read_only"),
  },
];

async function doDeed(raw: RawClient, deed: Deed): Promise<void> {
  if (typeof deed === "string") await raw.query(deed);
  else await deed(raw);
}

/** The first column, or the SQLSTATE. */
async function answer(raw: RawClient, question: string): Promise<unknown> {
  try {
    return (await raw.query(question)).map(([value]) => value);
  } catch (error) {
    if (error instanceof RawError) return error.code;
    throw error;
  }
}

for (const { what, deed, question } of RESIDUES) {
  Deno.test(`the next tenant does not find ${what}`, async () => {
    await using front = await poolFront(bench);
    const visit = async (tenant: string, does: (raw: RawClient) => Promise<unknown>) => {
      const client = await connectPooled(front, tenant);
      const pid = await backendPid(client.raw);
      const result = await does(client.raw);
      await leave(front, client);
      return { pid, result };
    };
    const before = await visit("tenant_b", (raw) => answer(raw, question));
    const deeds = await visit("tenant_a", (raw) => doDeed(raw, deed));
    const after = await visit("tenant_b", (raw) => answer(raw, question));
    assert.deepEqual([deeds.pid, after.pid], [before.pid, before.pid], "one connection for all");
    assert.deepEqual(after.result, before.result);
    assert.deepEqual(onlyPool(front).closed, {});
  });

  Deno.test(`a connection that is passed on as it is does show ${what}`, async () => {
    using raw = await RawClient.connect(bench.postgres.port);
    await raw.login({ user: "trusty", database: "pgvpd_test" });
    await raw.query("SET app.current_tenant_id = 'tenant_b'");
    const before = await answer(raw, question);
    await doDeed(raw, deed);
    assert.notDeepEqual(await answer(raw, question), before);
  });
}

/** One client after the other through `act`, which must all be served by one connection. */
async function inTurn<T>(
  front: Front,
  tenants: readonly string[],
  act: (client: PgClient, tenant: string) => Promise<T>,
  role = "app_user",
): Promise<T[]> {
  const results: T[] = [];
  const pids = new Set<unknown>();
  for (const tenant of tenants) {
    await front.empty();
    await using client = await PgClient.connect(pooled(front, tenant, role));
    pids.add(await client.value("SELECT pg_backend_pid()"));
    results.push(await act(client, tenant));
  }
  assert.equal(pids.size, 1, "one connection for all");
  return results;
}

const names = async (client: PgClient) => (await client.rows(NAMES)).map(({ name }) => name);
const SCRAM = { poolAuth: "scram" } as const;

Deno.test("2.1, 2.4, 7P.1: tenants in turn see their own rows, on one connection", async () => {
  await using front = await poolFront(bench, SCRAM);
  const tenants = Array.from({ length: 10 }, (_, turn) => turn % 3 === 0 ? "tenant_a" : "tenant_b");
  const seen = await inTurn(front, tenants, names);
  assert.deepEqual(seen, tenants.map((tenant) => ROWS[tenant]));
  const { opened, reuses } = onlyPool(front);
  assert.deepEqual([opened, reuses], [1, 9]);
});

Deno.test("7P.2, 7.3: a foreign tenant is not to be read, written, or deleted", async () => {
  await using front = await poolFront(bench, SCRAM);
  await inTurn(front, ["tenant_a", "tenant_b", "tenant_a"], async (client, tenant) => {
    const other = tenant === "tenant_a" ? "tenant_b" : "tenant_a";
    const count = "SELECT count(*)::int FROM tenants WHERE tenant_id = $1";
    assert.deepEqual([await client.value(count, [tenant]), await client.value(count, [other])], [
      2,
      0,
    ]);
    const insert = client.rows("INSERT INTO tenants (tenant_id, name) VALUES ($1, 'x')", [other]);
    assert.equal((await failure(insert)).code, "42501");
    await client.run("DELETE FROM tenants WHERE name LIKE '%'; ROLLBACK").catch(() => {});
    await client.run("BEGIN");
    await client.rows("INSERT INTO tenants (tenant_id, name) VALUES ($1, 'x')", [tenant]);
    assert.equal(await client.value(count, [tenant]), 3);
    await client.run("ROLLBACK");
    assert.deepEqual(await names(client), ROWS[tenant]);
  });
});

Deno.test("2.2: a wrong password is refused, and holds no connection", async () => {
  await using front = await poolFront(bench, SCRAM);
  for (const password of ["testpass", "let me in "]) {
    const error = await failure(PgClient.connect({ ...pooled(front, "tenant_a"), password }));
    assert.equal(error.code, "28P01", password);
  }
  assert.equal(front.proxy.poolStats.size, 0);
  assert.deepEqual(await inTurn(front, ["tenant_a"], names), [ROWS["tenant_a"]]);
});

Deno.test("2.3, 7P.3: the bypass user sees every row, and is never pooled", async () => {
  await using front = await poolFront(bench, SCRAM);
  await inTurn(front, ["tenant_a"], names);
  const pids = new Set<unknown>();
  for (let turn = 0; turn < 2; turn++) {
    await using client = await PgClient.connect(front.bypass);
    assert.equal(await client.value("SELECT count(*)::int FROM tenants"), 4);
    assert.equal(await client.value("SELECT current_setting('app.current_tenant_id', true)"), null);
    pids.add(await client.value("SELECT pg_backend_pid()"));
  }
  assert.equal(pids.size, 2);
  assert.equal(onlyPool(front).opened, 1);
  const error = await failure(PgClient.connect({ ...front.bypass, password: "let me in" }));
  assert.equal(error.code, "28P01", "the pool's password is not the server's");
});

Deno.test("set_role and several variables change with the tenant", async () => {
  const contextVariables = ["app.current_tenant_id", "app.user_id"];
  await using front = await poolFront(bench, { setRole: "authenticated", contextVariables });
  const seen = await inTurn(
    front,
    ["tenant_a:alice", "tenant_b:", "tenant_a:"],
    async (client) => ({
      names: await names(client),
      ...(await client.rows(`SELECT current_user AS role, session_user AS login,
      current_setting('app.user_id') AS "user"`))[0],
    }),
    "trusty",
  );
  const who = { role: "authenticated", login: "trusty" };
  assert.deepEqual(seen, [
    { names: ROWS["tenant_a"], ...who, user: "alice" },
    { names: ROWS["tenant_b"], ...who, user: "" },
    { names: ROWS["tenant_a"], ...who, user: "" },
  ]);
});

Deno.test("a notification for the tenant before is not delivered to the next", async () => {
  await using front = await poolFront(bench);
  const a = await connectPooled(front, "tenant_a");
  const pid = await backendPid(a.raw);
  await a.raw.query("LISTEN news");
  await bench.admin.run("NOTIFY news, 'while a listens'");
  assert.equal((await a.raw.until("A")).length, 1);
  await leave(front, a);
  await bench.admin.run("NOTIFY news, 'secret of a'");
  using b = await connectPooled(front, "tenant_b");
  assert(!b.greeting.some(({ type }) => type === "A"));
  assert.equal(await backendPid(b.raw), pid);
  await b.raw.query("LISTEN other");
  await bench.admin.run("NOTIFY news, 'secret of a'; NOTIFY other, 'for b'");
  const [notification] = await b.raw.until("A");
  assert.match(new TextDecoder().decode(notification!.body), /other\0for b/);
});

const COPIED = "COPY tenants_of_nobody";
const openCopies: Record<string, readonly Uint8Array[]> = {
  "COPY in": [message("Q", cstring(`${COPIED} FROM STDIN`)), message("d", cstring("half a li"))],
  "COPY in, half a message": [
    message("Q", cstring(`${COPIED} FROM STDIN`)),
    message("d", new Uint8Array(100)).subarray(0, 50),
  ],
  "COPY out": [message("Q", cstring("COPY (SELECT generate_series(1, 10000000)) TO STDOUT"))],
  "an extended COPY in": [
    message("P", cstring(""), cstring(`${COPIED} FROM STDIN`), int16(0)),
    message("B", cstring(""), cstring(""), int16(0), int16(0), int16(0)),
    message("E", cstring(""), int32(0)),
    message("S"),
  ],
  "a batch without Sync": [
    message("P", cstring(""), cstring("SELECT 1"), int16(0)),
    message("H"),
  ],
  "a long query": [message("Q", cstring("SELECT pg_sleep(60)"))],
};

for (const [what, messages] of Object.entries(openCopies)) {
  Deno.test(`a client that vanishes in ${what} leaves nothing to the next`, async () => {
    await bench.admin.run(`CREATE TABLE IF NOT EXISTS tenants_of_nobody (t text);
      GRANT ALL ON tenants_of_nobody TO trusty`);
    await using front = await poolFront(bench);
    const a = await connectPooled(front, "tenant_a");
    const pid = await backendPid(a.raw);
    await a.raw.send(...messages);
    if (what !== "a long query") await a.raw.next();
    else await bench.running("pg_sleep(60)");
    a.raw.close();
    using b = await connectPooled(front, "tenant_b");
    const names = await b.raw.query(NAMES);
    assert.deepEqual(names.map(([name]) => name), ROWS["tenant_b"]);
    assert.equal((await b.raw.query("SELECT count(*) FROM tenants_of_nobody"))[0]![0], "0");
    // Half a message can only be ended by closing, and so where it is not known what is owed.
    const isHopeless = what === "COPY in, half a message" || what === "an extended COPY in";
    assert.equal(await backendPid(b.raw) === pid, !isHopeless);
    const [checkedIn] = front.entries("server connection checked in");
    assert.equal(checkedIn!["outcome"], isHopeless ? "unsettled" : "clean");
    await eventually("the old connection rests or is gone", async () => {
      const state = await bench.admin.value("SELECT state FROM pg_stat_activity WHERE pid = $1", [
        pid,
      ]);
      return state !== "active";
    });
  });
}
