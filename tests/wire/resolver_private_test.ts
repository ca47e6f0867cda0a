// Promise: what a resolver has found on one client's own connection is that client's alone: the
// connection knows whose it is, and what the client brought.

import assert from "node:assert/strict";
import {
  as,
  MODES,
  resolverFront,
  seenBy,
  startResolverBench,
  valuesOf,
} from "../support/resolver_bench.ts";
import { type Bench, eventually } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";

let bench: Bench;
Deno.test.beforeAll(async () => {
  bench = await startResolverBench();
  await bench.admin.run(`
    CREATE TABLE notes (tenant text, user_id text, word text);
    INSERT INTO notes VALUES ('acme', '42', 'of acme'), ('globex', '42', 'of globex');
    ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own ON notes USING (tenant = current_setting('app.current_tenant_id', true));
    GRANT SELECT ON notes TO trusty, member`);
});
Deno.test.afterAll(() => bench.stop());

const OWN = {
  ...{ resolverUser: null, resolverPassword: null },
  contextVariables: ["app.current_tenant_id", "app.user_id"],
};
/** It sees rows of the tenant whose context the connection has, and waits where it is told to. */
const WORD = `[[resolver]]
name = "word"
query = """SELECT word, current_setting('app.flavour', true) AS flavour
  FROM pg_advisory_xact_lock_shared(7) LEFT JOIN notes ON user_id = $1"""
params = ["app.user_id"]
inject = { "app.word" = "word", "app.found" = "flavour" }
cache_ttl = 3600`;

Deno.test("none: two tenants with the same inputs have an answer each, kept or on its way", async () => {
  await using front = await resolverFront(bench, "none", WORD, OWN);
  const word = async (tenant: string) => (await seenBy(as(front, `${tenant}:42`), "app.word"));
  for (const tenant of ["acme", "globex", "acme"]) {
    assert.deepEqual(await word(tenant), { "app.word": `of ${tenant}` });
  }
  await bench.admin.run("SELECT pg_advisory_lock(7)");
  const both = Promise.all(["acme", "globex"].map(word));
  try {
    await eventually("both ask", async () => {
      const waiting = "SELECT count(*)::int AS n FROM pg_locks WHERE objid = 7 AND NOT granted";
      return (await bench.admin.rows(waiting))[0]!["n"] === 2;
    });
  } finally {
    await bench.admin.run("SELECT pg_advisory_unlock(7)");
  }
  assert.deepEqual(await both, [{ "app.word": "of acme" }, { "app.word": "of globex" }]);
  assert.equal(front.proxy.resolverStats.cacheSize, 0);
});

Deno.test("none: what a client brought is in nobody's answer but its own", async () => {
  await using front = await resolverFront(bench, "none", WORD, OWN);
  const login = as(front, "acme:42");
  const bringing = { ...login, options: "-c app.flavour=salty" };
  assert.deepEqual(await seenBy(bringing, "app.found"), { "app.found": "salty" });
  assert.deepEqual(await seenBy(login, "app.found"), { "app.found": "" });
});

for (const mode of MODES.filter((mode) => mode !== "none")) {
  Deno.test(`${mode}: on a pool's connection a resolver sees nobody's context, and answers are kept`, async () => {
    await using front = await resolverFront(bench, mode, WORD, { ...OWN, poolSize: 1 });
    const pids = new Set<unknown>();
    for (const tenant of ["acme", "globex", "acme"]) {
      const options = "-c app.flavour=salty";
      await using client = await PgClient.connect({ ...as(front, `${tenant}:42`), options });
      const seen = await valuesOf(client, "app.current_tenant_id", "app.word", "app.found");
      assert.deepEqual(seen, {
        ...{ "app.current_tenant_id": tenant, "app.word": "", "app.found": "" },
      });
      pids.add(await client.value("SELECT pg_backend_pid()"));
    }
    assert.equal(pids.size, 1, "all had the same backend");
    assert.equal(front.proxy.resolverStats.executions.get("word"), 1);
  });
}
