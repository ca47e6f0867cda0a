// Members who come and go: the bench of resolvers with the triggers of sql/helpers.sql, and proxies
// that keep what they are told.

import assert from "node:assert/strict";
import { as, MEMBERSHIP, seenBy, startResolverBench } from "./resolver_bench.ts";
import { type Bench, eventually, type Front } from "./wire_bench.ts";

export const CACHED = `${MEMBERSHIP}required = true\ncache_ttl = 3600\n`;
/** So that nobody asks but who logs in. */
export const KEEP = { onInvalidate: "keep" } as const;

/** Every change of a member is told. */
export async function startMembersBench(): Promise<Bench> {
  const bench = await startResolverBench();
  try {
    await bench.admin.run(`
      CREATE TRIGGER pgvpd_invalidate AFTER INSERT OR UPDATE OR DELETE ON org_members
        FOR EACH ROW EXECUTE FUNCTION pgvpd_invalidate_on_change('org_membership', 'user_id');
      CREATE TRIGGER pgvpd_invalidate_all AFTER TRUNCATE ON org_members
        FOR EACH STATEMENT EXECUTE FUNCTION pgvpd_invalidate_on_change('org_membership')`);
    return bench;
  } catch (error) {
    await bench.stop();
    throw error;
  }
}

/** How often the database was asked. */
export function executions(front: Front): number {
  return front.proxy.resolverStats.executions.get("org_membership") ?? 0;
}

/** The proxy is told of changes: from now on answers are kept. */
export async function listening(front: Front, user = "norole"): Promise<void> {
  await seenBy(as(front, user), "app.org_id");
  await eventually(
    "it listens",
    () => front.entries("listening for invalidations").length > 0,
  );
  await front.empty();
}

/** Somebody is a member from now on. */
export async function join(bench: Bench, user: string, org = 1): Promise<void> {
  await bench.admin.rows("INSERT INTO org_members VALUES ($1, $2, 'reader', 'member')", [
    user,
    org,
  ]);
}

/** Somebody is none any more. */
export async function leave(bench: Bench, user: string): Promise<void> {
  await bench.admin.rows("DELETE FROM org_members WHERE user_id = $1", [user]);
}

/** Changes something, and waits until the proxy has been told as much. */
export async function told(front: Front, change: Promise<void>): Promise<void> {
  const before = front.entries("invalidated").length;
  await change;
  await eventually("it is told", () => front.entries("invalidated").length > before);
}

/**
 * One of these took less: the others may have met a machine that is busy.
 *
 * @param times in milliseconds.
 */
export function assertQuick(times: readonly number[], msMax: number): void {
  assert.ok(Math.min(...times) < msMax, `it takes ${times.map(Math.round).join(", ")} ms`);
}
