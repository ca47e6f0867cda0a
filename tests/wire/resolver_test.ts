// Promise: what resolvers find is in the context before the client may speak, in every mode, and
// nobody comes in whom they refuse.

import assert from "node:assert/strict";
import {
  as,
  MEMBERSHIP,
  MODES,
  resolverFront,
  seenBy,
  startResolverBench,
} from "../support/resolver_bench.ts";
import { type Bench, failure } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await startResolverBench()));
Deno.test.afterAll(() => bench.stop());

for (const mode of MODES) {
  Deno.test(`${mode}: 3.1: a resolver fills the variables`, async () => {
    await using front = await resolverFront(bench, mode, MEMBERSHIP);
    assert.deepEqual(await seenBy(as(front, "alice"), "app.org_id", "app.org_role"), {
      "app.org_id": "1",
      "app.org_role": "admin",
    });
    assert.deepEqual(await seenBy(as(front, "bob"), "app.org_id", "app.org_role"), {
      "app.org_id": "2",
      "app.org_role": "reader",
    });
  });

  Deno.test(`${mode}: 3.2: for an unknown user they are empty`, async () => {
    await using front = await resolverFront(bench, mode, MEMBERSHIP);
    assert.deepEqual(await seenBy(as(front, "nobody"), "app.org_id", "app.org_role"), {
      "app.org_id": "",
      "app.org_role": "",
    });
  });

  Deno.test(`${mode}: required, and no row: FATAL 28000 and nothing else`, async () => {
    await using front = await resolverFront(bench, mode, `${MEMBERSHIP}required = true\n`);
    const error = await failure(PgClient.connect(as(front, "nobody")));
    assert.equal(error.code, "28000");
    assert.equal(
      error.message,
      'the session context could not be resolved: "org_membership" found nothing',
    );
    assert.equal((await seenBy(as(front, "alice"), "app.org_id"))["app.org_id"], "1");
  });
}

const SHARD = `
[[resolver]]
name = "shard"
query = "SELECT shard, $2 || '/' || shard AS path FROM regions WHERE region = $1"
params = ["app.region", "app.current_tenant_id"]
inject = { "app.shard" = "shard", "app.path" = "path" }

[[resolver]]
name = "region"
query = "SELECT region FROM orgs WHERE org_id = $1::int"
params = ["app.org_id"]
inject = { "app.region" = "region" }
${MEMBERSHIP}`;
const CHAIN = ["app.org_id", "app.region", "app.shard", "app.path"];

for (const mode of MODES) {
  Deno.test(`${mode}: a chain of three finds its order, and NULL ends it`, async () => {
    await using front = await resolverFront(bench, mode, SHARD, { onInvalidate: "keep" });
    assert.deepEqual(await seenBy(as(front, "alice"), ...CHAIN), {
      "app.org_id": "1",
      "app.region": "eu",
      "app.shard": `shard "1", it's`,
      "app.path": `alice/shard "1", it's`,
    });
    const empty = { "app.region": "", "app.shard": "", "app.path": "" };
    assert.deepEqual(await seenBy(as(front, "bob"), ...CHAIN), { "app.org_id": "2", ...empty });
    assert.deepEqual(await seenBy(as(front, "x"), ...CHAIN), { "app.org_id": "", ...empty });
    assert.equal(front.proxy.resolverStats.executions.get("shard"), 1, "NULL was not asked about");
  });

  Deno.test(`${mode}: on_null_input: run is asked with NULL, fail and required refuse`, async () => {
    const second = (more: string) =>
      `${MEMBERSHIP}
[[resolver]]
name = "second"
query = "SELECT CASE WHEN $1::text IS NULL THEN 'NULL came' ELSE $1 END AS word"
params = ["app.org_role"]
inject = { "app.word" = "word" }
${more}`;
    const words: Record<string, string> = { alice: "admin", x: "NULL came" };
    await using front = await resolverFront(bench, mode, second('on_null_input = "run"'));
    for (const [user, word] of Object.entries(words)) {
      assert.deepEqual(await seenBy(as(front, user), "app.word"), { "app.word": word });
    }
    for (const more of ['on_null_input = "fail"', "required = true"]) {
      await using strict = await resolverFront(bench, mode, second(more));
      assert.equal((await seenBy(as(strict, "alice"), "app.word"))["app.word"], "admin");
      const error = await failure(PgClient.connect(as(strict, "x")));
      assert.deepEqual([error.code, /"second" lacks an input/.test(error.message)], [
        "28000",
        true,
      ]);
    }
  });

  Deno.test(`${mode}: rows: one refuses two, first takes the first, array takes all`, async () => {
    await using one = await resolverFront(bench, mode, MEMBERSHIP);
    assert.equal((await seenBy(as(one, "alice"), "app.org_id"))["app.org_id"], "1");
    const error = await failure(PgClient.connect(as(one, "twice")));
    assert.equal(error.code, "28000");
    assert.match(String(one.entries("resolver failed")[0]!["error"]), /more than one row/);

    const ordered = MEMBERSHIP.replace("= $1", "= $1 ORDER BY org_id DESC");
    await using first = await resolverFront(bench, mode, `${ordered}rows = "first"`);
    assert.equal((await seenBy(as(first, "twice"), "app.org_id"))["app.org_id"], "2");

    await using array = await resolverFront(
      bench,
      mode,
      `${MEMBERSHIP}rows = "array"
[[resolver]]
name = "grants"
query = "SELECT case_id FROM grants WHERE user_id = $1 ORDER BY ctid"
params = ["app.current_tenant_id"]
inject = { "app.cases" = "case_id" }
rows = "array"`,
    );
    assert.deepEqual(await seenBy(as(array, "twice"), "app.org_id", "app.org_role"), {
      "app.org_id": "{1,2}",
      "app.org_role": "{admin,reader}",
    });
    await using client = await PgClient.connect(as(array, "alice"));
    const cases = await client.value("SELECT current_setting('app.cases')::text[]");
    assert.deepEqual(cases, ["a", "b c", null, '"q"']);
    assert.equal((await seenBy(as(array, "x"), "app.cases"))["app.cases"], "{}");
  });

  Deno.test(`${mode}: arrays of 5,000 elements, made by pgvpd and by the server`, async () => {
    const ids = "SELECT md5(i::text)::uuid AS id FROM generate_series(1, 5000) AS i";
    await using front = await resolverFront(
      bench,
      mode,
      `
[[resolver]]
name = "many_rows"
query = "${ids}"
inject = { "app.rows" = "id" }
rows = "array"

[[resolver]]
name = "one_row"
query = "SELECT array_agg(id) AS ids FROM (${ids}) AS all_of_them"
inject = { "app.array" = "ids" }`,
    );
    await using client = await PgClient.connect(as(front, "alice"));
    const same = `SELECT cardinality(current_setting('app.rows')::uuid[]) AS count,
      current_setting('app.rows')::uuid[] = current_setting('app.array')::uuid[] AS same,
      md5(current_setting('app.rows')) = md5(current_setting('app.array')) AS same_bytes,
      (current_setting('app.rows')::uuid[])[5000] = md5('5000')::uuid AS last`;
    const expected = { count: 5000, same: true, same_bytes: true, last: true };
    for (let turn = 0; turn < 3; turn++) assert.deepEqual(await client.rows(same), [expected]);
  });

  Deno.test(`${mode}: a slow resolver is named, and holds nobody else up`, async () => {
    await using front = await resolverFront(
      bench,
      mode,
      `${MEMBERSHIP}
[[resolver]]
name = "sleepy"
query = "SELECT pg_sleep(CASE WHEN $1 = 'slow' THEN 60 ELSE 0 END)::text AS nothing"
params = ["app.current_tenant_id"]
inject = { "app.nothing" = "nothing" }
timeout = "1500ms"`,
    );
    const slow = Array.from({ length: 3 }, () => failure(PgClient.connect(as(front, "slow"))));
    assert.equal((await seenBy(as(front, "alice"), "app.org_id"))["app.org_id"], "1");
    for (const error of await Promise.all(slow)) {
      assert.equal(error.code, "28000");
      assert.match(error.message, /"sleepy" took too long/);
    }
    const [entry] = front.entries("resolver took too long");
    assert.deepEqual([entry!["resolver"], entry!["timeout_ms"]], ["sleepy", 1_500]);
  });

  Deno.test(`${mode}: the budget of the handshake covers resolvers, and says so`, async () => {
    await using front = await resolverFront(
      bench,
      mode,
      `
[[resolver]]
name = "endless"
query = "SELECT pg_sleep(60)::text AS nothing"
inject = { "app.nothing" = "nothing" }
timeout = 120`,
      { handshakeTimeout: 2_000 },
    );
    const error = await failure(PgClient.connect(as(front, "alice")));
    assert.equal(error.code, "08006");
    assert.match(error.message, /timed out after 2 s while running resolver endless/);
  });

  Deno.test(`${mode}: the operator's mistakes refuse, and only the log says what they are`, async () => {
    const mistakes: [query: string, told: RegExp][] = [
      ["SELECT org_id, role AS rolle FROM org_members WHERE user_id = $1", /no column "role"/],
      ["SELECT org_id, role FROM no_such_table WHERE user_id = $1", /no_such_table/],
      ["SELECT org_id, role FROM org_members WHERE user_id = $1; SELECT 1", /multiple commands/],
      ["DELETE FROM org_members WHERE user_id = $1 RETURNING org_id, role", /read-only/],
      ["SELECT nextval('tenants_id_seq') AS org_id, $1 AS role", /permission denied/],
      ["SELECT 1 AS org_id, 2 AS org_id, $1 AS role", /more than one column/],
      ["SELECT word AS org_id, $1 AS role FROM secrets", /permission denied/],
      ["COPY org_members TO STDOUT -- $1", /not those to a resolver/],
      ["COMMIT -- $1", /no columns/],
    ];
    for (const [query, told] of mistakes) {
      const toml = MEMBERSHIP.replace(/query = .*/, `query = ${JSON.stringify(query)}`)
        .replace(/params = .*/, query.includes("-- $1") ? "" : "$&");
      await using front = await resolverFront(bench, mode, toml);
      const error = await failure(PgClient.connect(as(front, "alice")));
      assert.equal(error.code, "28000", query);
      assert.equal(
        error.message,
        'the session context could not be resolved: "org_membership" failed',
      );
      assert.match(String(front.entries("resolver failed")[0]!["error"]), told);
    }
    assert.equal(await bench.admin.value("SELECT count(*)::int FROM org_members"), 5);
  });
}
