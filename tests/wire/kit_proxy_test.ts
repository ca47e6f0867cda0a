// Promise: what a resolver finds, lists included, opens exactly those rows through pgvpd, in every
// mode: the SQL kit and the proxy agree on what a context is.

import assert from "node:assert/strict";
import { as, MODES, resolverFront, startResolverBench } from "../support/resolver_bench.ts";
import { type Bench, failure } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";

const CASES = ["1", "2", "3", "4"].map((n) => `ca5e0000-0000-4000-8000-00000000000${n}`);

const TABLES = `
CREATE TABLE case_grants (user_id text, case_id uuid);
INSERT INTO case_grants VALUES ('bob', '${CASES[0]}'), ('bob', '${CASES[2]}');
GRANT SELECT ON case_grants TO resolver;
CREATE TABLE cases (id uuid PRIMARY KEY, owner text, org_id int, label text);
INSERT INTO cases VALUES ('${CASES[0]}', 'alice', 1, 'a, "b"'), ('${CASES[1]}', 'bob', 2, 'c'),
  ('${CASES[2]}', 'carol', 3, 'd'), ('${CASES[3]}', 'carol', 1, 'e');
SELECT pgvpd_protect_acl('cases', '[
  {"column": "owner", "var": "app.current_tenant_id", "type": "text"},
  {"column": "id", "var": "app.case_ids", "type": "uuid_array", "commands": ["select"]},
  {"column": "org_id", "var": "app.org_id", "type": "text",
   "when": "pgvpd_context(''app.org_role'') = ''admin''"}
]', 'trusty');
CREATE TABLE kept (tenant_id text NOT NULL, body text);
INSERT INTO kept VALUES ('alice', 'hers'), ('bob', 'his');
SELECT pgvpd_protect('kept', app_role => 'trusty', column_default => true);
`;

const RESOLVERS = `
[[resolver]]
name = "membership"
query = "SELECT org_id, role FROM org_members WHERE user_id = $1"
params = ["app.current_tenant_id"]
inject = { "app.org_id" = "org_id", "app.org_role" = "role" }

[[resolver]]
name = "granted"
query = "SELECT case_id FROM case_grants WHERE user_id = $1"
params = ["app.current_tenant_id"]
inject = { "app.case_ids" = "case_id" }
rows = "array"
`;

let bench: Bench;
Deno.test.beforeAll(async () => {
  bench = await startResolverBench();
  await bench.admin.run(TABLES);
});
Deno.test.afterAll(() => bench.stop());

for (const mode of MODES) {
  Deno.test(`${mode}: owner, grant and admin see their cases and no others`, async () => {
    await using front = await resolverFront(bench, mode, RESOLVERS);
    for (
      const [user, seen] of [
        ["alice", [CASES[0], CASES[3]]], // her own, and as an admin that of organisation 1
        ["bob", [CASES[0], CASES[1], CASES[2]]], // his own, and two that were granted
        ["carol", [CASES[2], CASES[3]]],
        ["mallory", []],
      ] as const
    ) {
      await using client = await PgClient.connect(as(front, user));
      const rows = await client.rows("SELECT id FROM cases ORDER BY id");
      assert.deepEqual(rows.map((row) => row["id"]), seen, user);
      const list = await client.value("SELECT pgvpd_context_uuid_array('app.case_ids')::text");
      const granted = user === "bob" ? `{${CASES[0]},${CASES[2]}}` : null;
      assert.equal(list === "{}" ? null : list, granted, user);
    }
    await using bob = await PgClient.connect(as(front, "bob"));
    const others = bob.run(`INSERT INTO cases VALUES (gen_random_uuid(), 'alice')`);
    assert.match(String(await failure(others)), /row-level security/);
    const changed = await bob.rows("UPDATE cases SET label = 'his' RETURNING id");
    assert.deepEqual(
      changed.map((row) => row["id"]),
      [CASES[1]],
      "a grant to read is not to write",
    );
  });

  Deno.test(`${mode}: a row that names no tenant gets the client's`, async () => {
    await using front = await resolverFront(bench, mode, RESOLVERS);
    await using alice = await PgClient.connect(as(front, "alice"));
    await alice.run(`INSERT INTO kept (body) VALUES ('${mode}')`);
    const rows = await alice.rows(`SELECT * FROM kept WHERE body = '${mode}'`);
    assert.deepEqual(rows, [{ tenant_id: "alice", body: mode }]);
    await using bob = await PgClient.connect(as(front, "bob"));
    assert.equal(await bob.value("SELECT count(*)::int FROM kept"), 1);
  });
}
