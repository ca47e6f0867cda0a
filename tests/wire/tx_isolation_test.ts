// Promise: nothing that a tenant does on a shared backend is visible to the next one. One backend
// for all; the names behind the colons are those of the peers' tests.

import assert from "node:assert/strict";
import { Bench, eventually, failure } from "../support/wire_bench.ts";
import { psql, psqlMissing } from "../support/wire_clients.ts";
import {
  connectTx,
  keptReasons,
  sameBackend,
  SLIP,
  slip,
  txFront,
  txLogin,
} from "../support/wire_tx.ts";
import { concat, cstring, message } from "../support/wire_raw_client.ts";
import { TxClient } from "../support/wire_tx.ts";

let bench: Bench;
Deno.test.beforeAll(async () => {
  bench = await Bench.start();
  await bench.admin.run(
    `${SLIP}; CREATE SEQUENCE numbers; GRANT USAGE ON SEQUENCE numbers TO trusty`,
  );
});
Deno.test.afterAll(() => bench.stop());

const NAMES = "SELECT string_agg(name, ',' ORDER BY name) FROM tenants";
const OF_A = "Alice Corp,Alice LLC";
const OF_B = "Bob Inc,Bob Ltd";

Deno.test("two tenants in turns on one backend, each with its own rows", async () => {
  await using front = await txFront(bench);
  await using a = await connectTx(front, "tenant_a");
  await using b = await connectTx(front, "tenant_b");
  await sameBackend(a, b);
  for (let turn = 0; turn < 20; turn++) {
    const [ofA, ofB] = await Promise.all([a.value(NAMES), b.value(NAMES)]);
    assert.deepEqual([ofA, ofB], [OF_A, OF_B]);
  }
  await sameBackend(a, b);
});

interface Residue {
  readonly name: string;
  /** What a leaves behind, unseen. */
  readonly leave: string;
  /** What shows it, and whether it does. */
  readonly look: string;
  readonly isThere: (value: unknown) => boolean;
  /** It is reported, and so follows its client. */
  readonly follows?: boolean;
}

const isTrue = (value: unknown) => value === true;
const differs = (usual: unknown) => (value: unknown) => value !== usual;
const RESIDUES: readonly Residue[] = [
  {
    name: "X1: a temporary table",
    leave: "CREATE TEMP TABLE notes (a text)",
    look: "SELECT EXISTS (SELECT FROM pg_class WHERE relnamespace = pg_my_temp_schema())",
    isThere: isTrue,
  },
  {
    name: "X1b: a temporary view",
    leave: "CREATE TEMP VIEW tenants AS SELECT 'mine' AS name",
    look: "SELECT EXISTS (SELECT FROM pg_class WHERE relnamespace = pg_my_temp_schema())",
    isThere: isTrue,
  },
  {
    name: "X1b: a temporary function",
    leave: "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    look: "SELECT EXISTS (SELECT FROM pg_proc WHERE pronamespace = pg_my_temp_schema())",
    isThere: isTrue,
  },
  {
    name: "X3: search_path",
    leave: "SET search_path = pg_catalog",
    look: "SELECT current_setting('search_path')",
    isThere: differs('"$user", public'),
    follows: true,
  },
  {
    name: "X3: default_transaction_read_only",
    leave: "SET default_transaction_read_only = on",
    look: "SELECT current_setting('default_transaction_read_only')",
    isThere: differs("off"),
    follows: true,
  },
  {
    name: "X3: StatementTimeoutSetConfigBackendLeak",
    leave: "SELECT set_config('statement_timeout', '1h', false)",
    look: "SELECT current_setting('statement_timeout')",
    isThere: differs("0"),
  },
  {
    name: "SetConfigCrossClientLeak, HiddenFunctionStateDoesNotLeak",
    leave: "SELECT set_config('app.secret', 'of a', false)",
    look: "SELECT coalesce(current_setting('app.secret', true), '')",
    isThere: differs(""),
  },
  {
    name: "X4: a cursor with hold",
    leave: "DECLARE h CURSOR WITH HOLD FOR SELECT name FROM tenants",
    look: "SELECT EXISTS (SELECT FROM pg_cursors WHERE name = 'h')",
    isThere: isTrue,
  },
  {
    name: "X4: the last value of a sequence",
    leave: "SELECT nextval('numbers')",
    look: "SELECT coalesce(currval('numbers'), -1)",
    isThere: differs("unreadable"),
  },
  {
    name: "X5: a statement of SQL's PREPARE",
    leave: "PREPARE p AS SELECT 'secret of a'",
    look: "SELECT EXISTS (SELECT FROM pg_prepared_statements WHERE from_sql)",
    isThere: isTrue,
  },
  {
    name: "LISTEN",
    leave: "LISTEN secrets",
    look: "SELECT EXISTS (SELECT FROM pg_listening_channels())",
    isThere: isTrue,
  },
  {
    name: "AdvisoryLock NoLeakToNextClient",
    leave: "SELECT pg_advisory_lock(42)",
    look:
      "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())",
    isThere: isTrue,
  },
  {
    name: "Resets server roles correctly",
    leave: "SET ROLE authenticated",
    look: "SELECT current_user",
    isThere: differs("trusty"),
  },
];

for (const { name, leave, look, isThere, follows = false } of RESIDUES) {
  Deno.test(`what slips through is there for its own tenant and for no other: ${name}`, async () => {
    await using front = await txFront(bench);
    await using a = await connectTx(front, "tenant_a");
    await using b = await connectTx(front, "tenant_b");
    const pid = await sameBackend(b, a);
    const seen = (client: typeof a) => client.value(look).catch(() => "unreadable");
    await a.value(slip(leave));
    assert(isThere(await seen(a)), "it is there, so it can be looked for");
    assert(!isThere(await seen(b)), "it is not there for the other");
    assert.equal(await sameBackend(a, b), pid, "on the same backend");
    assert.deepEqual(keptReasons(front), [], "and nobody kept it");
    assert.equal(isThere(await seen(a)), follows, "it is lost, unless it follows");
  });
}

Deno.test("random() of the next tenant cannot be foretold", async () => {
  await using front = await txFront(bench);
  await using a = await connectTx(front, "tenant_a");
  await using b = await connectTx(front, "tenant_b");
  await sameBackend(b, a);
  const first = "SELECT random() FROM (SELECT setseed(0.5)) s";
  const second = await a.rows(`${first}; SELECT random()`).then(() => a.value("SELECT random()"));
  await a.run(`${first}; SELECT random()`);
  assert.equal(await a.value("SELECT random()"), second, "it can be foretold in one's own");
  await a.run(`${first}; SELECT random()`);
  assert.notEqual(await b.value("SELECT random()"), second);
});

Deno.test("X2: a statement that another tenant has put in the place of ours is not run", async () => {
  await using front = await txFront(bench);
  await using a = await connectTx(front, "tenant_a");
  await using b = await connectTx(front, "tenant_b");
  const ask = async (client: typeof a) => (await client.rows(NAMES, [], "mine"))[0]!["string_agg"];
  assert.deepEqual([await ask(b), await ask(a)], [OF_B, OF_A]);
  const pid = await sameBackend(a, b, a);
  for (const name of ["pgvpd_1", "pgvpd_2", "pgvpd_3", "pgvpd_4"]) {
    await a.value(slip("DEALLOCATE ALL"));
    await a.value(slip(`PREPARE ${name} AS SELECT 'HIJACKED'`));
    assert.equal(await ask(b), OF_B);
  }
  assert.equal(await sameBackend(a, b), pid);
});

Deno.test("X5: a tenant does not see the texts of another's statements", async () => {
  await using front = await txFront(bench);
  await using a = await connectTx(front, "tenant_a");
  await using b = await connectTx(front, "tenant_b");
  await sameBackend(a, b);
  const look =
    "SELECT count(*)::int FROM pg_prepared_statements WHERE statement LIKE '%sec' || 'ret%'";
  await a.rows("SELECT 'secret'", [], "mine");
  assert.equal(await a.value(look), 1);
  assert.equal(await b.value(look), 0);
  await sameBackend(a, b);
});

Deno.test("X6: an error in the first statement does not undo the context", async () => {
  await using front = await txFront(bench);
  await using a = await connectTx(front, "tenant_a");
  await using b = await connectTx(front, "tenant_b");
  await sameBackend(a, b);
  for (let turn = 0; turn < 3; turn++) {
    assert.equal((await failure(a.value("SELECT 1/0"))).code, "22012");
    assert.equal(await a.value(NAMES), OF_A);
    assert.equal((await failure(b.rows("SELECT 1/$1::int", [0]))).code, "22012");
    assert.equal(await b.value(NAMES), OF_B);
  }
});

Deno.test("X6: in one write: an error, and behind it a question", async () => {
  await using front = await txFront(bench);
  await using a = await connectTx(front, "tenant_a");
  using b = await TxClient.connect(front, "tenant_b");
  for (let turn = 0; turn < 3; turn++) {
    assert.equal(await a.value(NAMES), OF_A);
    const questions = ["SELECT 1/0", NAMES].map((sql) => message("Q", cstring(sql)));
    await b.raw.send(concat(questions));
    await b.raw.until("Z").catch(() => {});
    await b.raw.until("Z");
    const rows = await b.raw.until("Z");
    assert.match(new TextDecoder().decode(rows.find(({ type }) => type === "D")!.body), /Bob Inc/);
  }
});

Deno.test("MidTxnDisconnectDoesNotStampAbandonedSettings: it is rolled back and forgotten", async () => {
  await using front = await txFront(bench);
  await using b = await connectTx(front, "tenant_b");
  {
    using a = await TxClient.connect(front, "tenant_a");
    await a.run(
      "BEGIN; SET application_name = 'abandoned'; INSERT INTO tenants VALUES (DEFAULT, 'tenant_a', 'x')",
    );
    await a.run(slip("SELECT set_config('app.secret', 'of a', false)"));
  }
  assert.equal(await b.value("SELECT current_setting('application_name')"), "");
  assert.equal(await b.value("SELECT coalesce(current_setting('app.secret', true), '')"), "");
  assert.equal(await b.value(NAMES), OF_B);
  assert.equal(await bench.admin.value("SELECT count(*)::int FROM tenants WHERE name = 'x'"), 0);
});

Deno.test("FailedCommitDoesNotStampAbandonedSettings", async () => {
  await using front = await txFront(bench);
  using a = await TxClient.connect(front, "tenant_a", { application_name: "before" });
  await using b = await connectTx(front, "tenant_b");
  await a.run("BEGIN; SET application_name = 'abandoned'");
  await a.raw.send(message("Q", cstring("SELECT 1/0")));
  await a.raw.until("Z").catch(() => {});
  a.learn(await a.raw.until("Z"));
  await a.run("COMMIT");
  await b.value("SELECT 1");
  assert.equal(await a.value("SELECT current_setting('application_name')"), "before");
  assert.equal(a.told.get("application_name"), "before");
});

Deno.test("a client that goes in the middle of everything leaves a clean backend", async () => {
  await using front = await txFront(bench);
  await using b = await connectTx(front, "tenant_b");
  const leavings = [
    message("Q", cstring("BEGIN; SELECT pg_sleep(30)")),
    concat([message("P", cstring("s"), cstring("SELECT 1"), Uint8Array.of(0, 0))]),
    message("Q", cstring("COPY tenants (name) TO STDOUT; SELECT pg_sleep(30)")),
    message("Q", cstring("SELECT repeat('x', 1000) FROM generate_series(1, 100000)")),
    Uint8Array.of(0x51, 0, 0, 1),
  ];
  for (const bytes of leavings) {
    using a = await TxClient.connect(front, "tenant_a");
    await a.raw.send(bytes);
    a.raw.close();
    assert.equal(await b.value(NAMES), OF_B);
    assert.equal(await b.value("SELECT current_setting('app.current_tenant_id')"), "tenant_b");
  }
  await eventually("nobody sleeps", async () =>
    await bench.admin.value(
      "SELECT count(*)::int FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%sleep(30)%' AND pid <> pg_backend_pid()",
    ) === 0);
});

Deno.test("search_path_injection, SessionSettingsSQLInjection: values are values", async () => {
  await using front = await txFront(bench);
  await using b = await connectTx(front, "tenant_b");
  const evil = "x'; SET app.current_tenant_id = 'tenant_b'; --";
  using a = await TxClient.connect(front, "tenant_a", { application_name: evil });
  for (let turn = 0; turn < 3; turn++) {
    assert.equal(await a.value("SELECT current_setting('application_name')"), evil);
    assert.equal(await a.value(NAMES), OF_A);
    assert.equal(await b.value(NAMES), OF_B);
  }
});

Deno.test("a setting that the server refuses ends the login, and the next one is not touched", async () => {
  await using front = await txFront(bench);
  await using a = await connectTx(front, "tenant_a");
  assert.equal(await a.value(NAMES), OF_A);
  for (const options of ["-c DateStyle=nonsense", "-c statement_timeout=-5", "-c no_such_one=1"]) {
    const error = await failure(connectTx(front, "tenant_b", options));
    assert.match(error.code!, /^(22023|42704)$/, options);
    assert.equal(await a.value(NAMES), OF_A);
  }
});

Deno.test("psql in turns with another tenant", { ignore: psqlMissing() }, async () => {
  await using front = await txFront(bench);
  await using b = await connectTx(front, "tenant_b");
  for (let turn = 0; turn < 2; turn++) {
    const { out } = await psql(txLogin(front, "tenant_a"), [
      "-c",
      "BEGIN",
      "-c",
      NAMES,
      "-c",
      "COMMIT",
    ]);
    assert.equal(out, OF_A);
    assert.equal(await b.value(NAMES), OF_B);
  }
});
