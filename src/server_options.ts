// What a proxy is told: its settings and what was read from files, and what follows from both.

import type { SealKey } from "./auth/seal.ts";
import type { TenantsFile } from "./config/tenants_file.ts";
import type { ResolverPlan } from "./context/resolver_plan.ts";
import type { TenantType } from "./context/tenant_key.ts";
import { TenantPatterns } from "./context/tenant_patterns.ts";
import type { UpstreamOptions, UpstreamTls } from "./pool/connect.ts";
import type { Sealing } from "./pool/sealing.ts";
import type { ListenOptions } from "./server_listening.ts";
import type { AuthUsers, PoolSettings } from "./server_pools.ts";
import type { NamedUpstream } from "./server_routes.ts";
import type { GuardOptions } from "./session/guard.ts";
import type { ClientTls } from "./session/opening.ts";
import type { ResolverSettings } from "./session/resolving.ts";
import { TenantPolicies, type TenantSettings } from "./session/tenant_policies.ts";
import type { TenantRules } from "./session/tenants.ts";
import type { TimeLimitSettings } from "./session/time_limits.ts";

/** What a proxy needs; the names are those of the settings, times are in milliseconds. */
export interface ProxyOptions
  extends ListenOptions, PoolSettings, TimeLimitSettings, TenantSettings, ResolverSettings {
  readonly poolMode: "none" | "session" | "transaction";
  readonly upstreamHost: string;
  readonly upstreamPort: number;
  readonly tenantSeparator: string;
  readonly contextVariables: readonly string[];
  readonly valueSeparator: string;
  readonly superuserBypass: readonly string[];
  readonly setRole: string | null;
  readonly handshakeTimeout: number;
  readonly maxClientConnections: number;
  readonly authFailureLimit: number;
  /** Who may use the console; null: nobody. */
  readonly adminUsers: readonly string[] | null;
  readonly adminToken: string | null;
  /** `payload`, `first`, or a context variable. */
  readonly tenantKey: string;
  /** Names and patterns; null: everybody who is not denied. */
  readonly tenantAllow: readonly string[] | null;
  readonly tenantDeny: readonly string[] | null;
  /** Whether clients may, or must, use TLS. */
  readonly clientTls: "disable" | "allow" | "require";
  /** How long a token is good for; null: as long as is usual in the pool mode. */
  readonly sealTtl: number | null;
  /** Null: log, where contexts are not sealed. */
  readonly contextGuard: "off" | GuardOptions["policy"] | null;
}

/** What was read from the files that the settings name. */
export interface FileContents {
  /** auth_file; null when there is none. */
  readonly users: AuthUsers | null;
  /** Null when there is no certificate to show. */
  readonly client: ClientTls | null;
  readonly upstream: UpstreamTls;
  /** Left out: none of them is named. */
  readonly tenants?: TenantFiles;
  /** Left out when there are no resolvers. */
  readonly resolvers?: ResolverPlan | null;
  /** seal_key_file; null when contexts are not sealed. */
  readonly sealKeys?: readonly SealKey[] | null;
}

/** What the files about tenants hold. */
export interface TenantFiles {
  /** tenant_allow_file and tenant_deny_file; null when there is none. */
  readonly allow: readonly string[] | null;
  readonly deny: readonly string[] | null;
  /** tenants. */
  readonly file?: TenantsFile;
  readonly upstreams?: ReadonlyMap<string, NamedUpstream>;
}

/** No TLS on either side, no users of their own, no resolvers. */
export const WITHOUT_TLS: FileContents = {
  users: null,
  client: null,
  upstream: { mode: "disable", direct: false, authorities: null, identity: null },
};

/** How long tokens are good for: a pooled transaction gets another one when half of it is over. */
const SEAL_TTL_MS = 5 * 60_000;
const SEAL_TTL_MS_TRANSACTION = 10_000;

/** The upstream of all. */
export function upstreamOptions(options: ProxyOptions, files: FileContents): UpstreamOptions {
  const { upstreamHost: host, upstreamPort: port, tcpKeepalive: keepAlive } = options;
  return { host, port, keepAlive, tls: files.upstream };
}

/** What contexts are sealed with; null: with nothing. */
export function sealingOf(
  { sealTtl, poolMode }: ProxyOptions,
  files: FileContents,
): Sealing | null {
  const keys = files.sealKeys ?? null;
  const usual = poolMode === "transaction" ? SEAL_TTL_MS_TRANSACTION : SEAL_TTL_MS;
  return keys === null ? null : { keys, ttlMs: sealTtl ?? usual };
}

/** What statements are looked at for; null: for nothing. */
export function guardOptions(options: ProxyOptions, files: FileContents): GuardOptions | null {
  const isSealed = (files.sealKeys ?? null) !== null;
  const policy = options.contextGuard ?? (isSealed ? "off" : "log");
  if (policy === "off") return null;
  const names = [...options.contextVariables, ...files.resolvers?.variables ?? []];
  return { policy, variables: new Set(names.map((name) => name.toLowerCase())) };
}

/** Who is in the setting, and who is in the file; null when there is neither. */
function tenantPatterns(
  listed: readonly string[] | null,
  inFile: readonly string[] | null | undefined,
  type: TenantType,
): TenantPatterns | null {
  if (listed === null && (inFile ?? null) === null) return null;
  return new TenantPatterns([...listed ?? [], ...inFile ?? []], type);
}

/** Who may come in, and what holds for whom. */
export function tenantRules(options: ProxyOptions, { tenants }: FileContents): TenantRules {
  return {
    allow: tenantPatterns(options.tenantAllow, tenants?.allow, options.tenantType),
    deny: tenantPatterns(options.tenantDeny, tenants?.deny, options.tenantType),
    policies: new TenantPolicies(options, tenants?.file),
  };
}
