// Resolvers without connections of their own, in pool modes: they run on a backend of the client's
// pool, which is cleaned first.

import type { StartupSettings } from "../context/startup_parameters.ts";
import type { TenantShare } from "../pool/fairness.ts";
import type { Lease } from "../pool/pool.ts";
import type { PooledBackend } from "../pool/pooled_backend.ts";
import { runOnFree } from "../pool/resolver_connections.ts";
import type { QueryRunner } from "./live_context.ts";

/** Which connections are alike: those that differ in this are never exchanged for each other. */
export interface PoolKey {
  /** The route's; left out for the upstream of all. */
  readonly upstream?: string;
  readonly database: string;
  /** As whom pgvpd logs in. */
  readonly user: string;
  readonly startupSettings: StartupSettings["startupOnly"];
}

/** Lends a backend of a pool, preferably one that last served this context. */
export type Checkout = (
  key: PoolKey,
  contextKey: string,
  signal: AbortSignal,
  share?: TenantShare,
) => Promise<Lease<PooledBackend>>;

/** No session's context: what was prepared for one is left for it. */
const NO_CONTEXT = "";

/** Runs queries on backends of one pool, each time on whichever is free: the tenant's turn. */
export function queryRunner(
  checkout: Checkout,
  key: PoolKey,
  share?: () => TenantShare,
): QueryRunner {
  const run: QueryRunner["run"] = (query, signal) =>
    runOnFree(() => checkout(key, NO_CONTEXT, signal, share?.()), query, signal, async (member) => {
      const isClean = await member.reset(signal); // never with what another client has left
      member.contextKey = null;
      return isClean;
    });
  return { isPrivate: false, run };
}
