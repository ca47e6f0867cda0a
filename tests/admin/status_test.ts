// GET /status has the fields that the first pgvpd had.

import { strict as assert } from "node:assert";
import { adminWorld } from "../support/admin_world.ts";
import { NO_POOL } from "../support/fake_control.ts";

Deno.test("the status has every field of the first pgvpd", async () => {
  const { ask } = adminWorld({ pools: () => [{ ...NO_POOL, idle: 1, active: 2 }] });
  const { json } = await ask("GET /status");
  assert.deepEqual([json.connections_total, json.connections_active], [0, 0]);
  const pool = ["checkouts", "reuses", "creates", "checkins", "discards", "timeouts", "buckets"];
  for (const key of pool) assert(key in json.pool, key);
  const { database, role, total, idle } = json.pool.buckets[0];
  assert.deepEqual([database, role, total, idle], ["shop", "app", 3, 1]);
  for (const key of ["cache_hits", "cache_misses", "cache_size", "resolvers"]) {
    assert(key in json.resolvers, key);
  }
  for (const key of ["rejected_deny", "rejected_limit", "rejected_rate", "timeouts"]) {
    assert.equal(json.tenant[key], 0);
  }
});
