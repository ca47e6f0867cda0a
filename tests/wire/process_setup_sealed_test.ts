// Promise: pgvpd setup --sealed makes a database believe sealed contexts alone, and every setup
// after that leaves it so.

import assert from "node:assert/strict";
import type { EmbeddedPostgres } from "../../src/commands/embedded_postgres.ts";
import { pgvpd } from "../support/process_pgvpd.ts";
import { SqlClient, startServer } from "../support/sql_database.ts";

let server: EmbeddedPostgres;
Deno.test.beforeAll(async () => {
  server = await startServer("18");
});
Deno.test.afterAll(() => server.stop());

const ASKED = "SELECT concat(current_tenant_id(), '|', pgvpd_context('app.current_tenant_id'))";

Deno.test("setup --sealed: a context that is only set counts no more, also after an upgrade", async () => {
  await using admin = new SqlClient(server.port, "postgres", "postgres");
  const run = async (...args: string[]) => {
    const place = ["--no-config", "--upstream-port", String(server.port), "--database", "postgres"];
    const { code, out, err } = await pgvpd([...args, ...place]);
    assert.deepEqual([code, err], [0, ""]);
    return out;
  };
  const seen = async () => {
    await admin.run("SET app.current_tenant_id = 'acme'");
    return await admin.column(ASKED);
  };

  await run("setup");
  assert.deepEqual(await seen(), ["acme|acme"]);

  assert.match(await run("setup", "--sealed", "--dry-run"), /this was a dry run/);
  assert.deepEqual(await seen(), ["acme|acme"]);

  assert.match(await run("setup", "--sealed"), /the context is sealed from now on/);
  assert.deepEqual(await seen(), ["|"]);

  assert.match(await run("setup"), /the context is sealed, and stays so/);
  assert.deepEqual(await seen(), ["|"]);
});
