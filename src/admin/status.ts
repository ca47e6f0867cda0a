// GET /status: the numbers of the whole, under the names that the first pgvpd had, and some more.

import type { Control } from "../control.ts";

/** What is sent as JSON. */
export function statusOf(control: Control): Record<string, unknown> {
  const { connectionsTotal, connectionsActive, pool, resolvers, tenant, traffic, auditLost } =
    control.totals();
  const { checkouts, reuses, creates, checkins, discards, timeouts } = pool;
  return {
    version: control.version,
    started_at: control.startedAt,
    pool_mode: control.poolMode,
    connections_total: connectionsTotal,
    connections_active: connectionsActive,
    pool: {
      ...{ checkouts, reuses, creates, checkins, discards, timeouts },
      context_changes: pool.contextChanges,
      buckets: control.pools().map(({ database, role, idle, active, waiting }) => (
        { database, role, total: idle + active, idle, waiting }
      )),
    },
    resolvers: {
      cache_hits: resolvers.cacheHits,
      cache_misses: resolvers.cacheMisses,
      cache_size: resolvers.cacheSize,
      resolvers: resolvers.resolvers,
    },
    tenant: {
      rejected_deny: tenant.rejectedDeny,
      rejected_limit: tenant.rejectedLimit,
      rejected_rate: tenant.rejectedRate,
      timeouts: tenant.timeouts,
    },
    traffic: {
      bytes_in: traffic.bytesIn,
      bytes_out: traffic.bytesOut,
      queries: traffic.queries,
      transactions: traffic.transactions,
    },
    audit_lost: auditLost,
  };
}
