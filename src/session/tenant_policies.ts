// What is allowed to one tenant: the limits that hold for it, and its share of the pools.

import {
  type LimitName,
  NO_TENANTS,
  type TenantEntry,
  type TenantOverride,
  type TenantsFile,
} from "../config/tenants_file.ts";
import type { Setting } from "../context/context.ts";
import { canonicalTenant, type TenantType } from "../context/tenant_key.ts";
import { Glob, isGlob, listedTenant } from "../context/tenant_patterns.ts";
import { EVERYBODY, type TenantShare } from "../pool/fairness.ts";

/** How long sessions of a tenant may take for what, in milliseconds; null: for ever. */
export interface TenantTimeouts {
  /** Silence while nothing runs. */
  readonly idleTimeout: number | null;
  /** One statement. */
  readonly statementTimeout: number | null;
  /** The session as a whole. */
  readonly sessionTimeout: number | null;
  /** Silence whatever is going on: `tenant_query_timeout`. */
  readonly silenceTimeout: number | null;
}

/** Limits of one tenant; null means none. */
export interface TenantPolicy extends TenantTimeouts {
  /** Connections at once. */
  readonly maxConnections: number | null;
  /** New connections in a second. */
  readonly rateLimit: number | null;
  /** New connections at once, when there were none for a while; null: as many as in a second. */
  readonly rateBurst: number | null;
  /** Its share of each pool: the same object until something changes. */
  readonly share: TenantShare;
  /** Settings of PostgreSQL that its sessions begin with. */
  readonly settings: readonly Setting[];
  /** Where its database is; null: where that of all is. */
  readonly upstream: string | null;
}

/** The settings that all tenants share. */
export interface TenantSettings {
  readonly tenantType: TenantType;
  readonly tenantMaxConnections: number | null;
  readonly tenantRateLimit: number | null;
  readonly tenantRateBurst: number | null;
  readonly tenantIdleTimeout: number | null;
  readonly tenantStatementTimeout: number | null;
  readonly tenantSessionTimeout: number | null;
  readonly tenantQueryTimeout: number | null;
  readonly tenantFairShares: boolean;
  readonly tenantWeight: number;
  readonly tenantPoolMax: number | null;
  readonly tenantPoolMin: number;
  readonly tenantQueueMax: number | null;
}

/** Policies that are kept ready; any other is made when it is asked for. */
export const READY_MAX = 10_000;
/** Names come from whoever connects: longer ones, in characters, are not kept. */
export const NAME_LENGTH_MAX = 256;

/** Limits by their names in tenants.toml. */
type Limits = Readonly<Record<LimitName, number | null>>;

const TIMEOUTS: readonly LimitName[] = [
  ...["idle_timeout", "statement_timeout", "session_timeout", "query_timeout"] as const,
];

/**
 * Policies by tenant. Immutable: another configuration makes others.
 *
 * What is said of a tenant by its name counts before what is said of its class, that before what is
 * said of the first pattern that fits, that before what is said of the pattern's class, and the
 * settings for all come last.
 */
export class TenantPolicies {
  readonly #common: Limits;
  readonly #fairShares: boolean;
  readonly #type: TenantType;
  readonly #file: TenantsFile;
  readonly #names = new Map<string, TenantEntry>();
  readonly #patterns: { readonly glob: Glob; readonly entry: TenantEntry }[] = [];
  readonly #ready = new Map<string, TenantPolicy>();

  constructor(settings: TenantSettings, file: TenantsFile = NO_TENANTS) {
    this.#common = commonLimits(settings);
    this.#fairShares = settings.tenantFairShares;
    this.#type = settings.tenantType;
    this.#file = file;
    for (const entry of file.tenants) {
      if (isGlob(entry.pattern)) this.#patterns.push({ glob: new Glob(entry.pattern), entry });
      else this.#names.set(listedTenant(entry.pattern, settings.tenantType), entry);
    }
  }

  /** The shortest of all timeouts, whoever it is for; null: there are none. */
  get shortestTimeout(): number | null {
    const { tenants, classes } = this.#file;
    const all = [this.#common, ...[...tenants, ...classes.values()].map(({ limits }) => limits)]
      .flatMap((limits) => TIMEOUTS.map((name) => limits[name] ?? null))
      .filter((timeout) => timeout !== null);
    return all.length === 0 ? null : all.reduce((least, each) => Math.min(least, each));
  }

  /** A tenant as its clients must spell it; null: none of them can be it. */
  canonical(tenant: string): string | null {
    return canonicalTenant(tenant, this.#type);
  }

  of(tenant: string): TenantPolicy {
    const known = this.#ready.get(tenant);
    if (known !== undefined) return known;
    const policy = this.#make(tenant);
    if (tenant.length > NAME_LENGTH_MAX) return policy;
    if (this.#ready.size >= READY_MAX) this.#ready.delete(this.#ready.keys().next().value!);
    this.#ready.set(tenant, policy);
    return policy;
  }

  /** The share of whoever has had this one until now, and goes by its name. */
  shareInstead({ tenant }: TenantShare): TenantShare {
    const { share } = this.of(tenant);
    return share.tenant === tenant ? share : { ...EVERYBODY, tenant };
  }

  /** What is said of a tenant, the last word first. */
  #overridesOf(tenant: string): TenantOverride[] {
    const named = this.#names.get(tenant);
    const fitting = this.#patterns.find(({ glob }) => glob.matches(tenant))?.entry;
    return [named, fitting].filter((entry) => entry !== undefined).flatMap((entry) => {
      const { className } = entry;
      return className === null ? [entry] : [entry, this.#file.classes.get(className)!];
    });
  }

  #make(tenant: string): TenantPolicy {
    const overrides = this.#overridesOf(tenant);
    const limits = { ...this.#common };
    const settings = new Map<string, string>();
    for (const override of overrides.toReversed()) {
      Object.assign(limits, override.limits);
      for (const [name, value] of override.settings) settings.set(name, value);
    }
    return {
      maxConnections: limits.max_connections,
      rateLimit: limits.rate_limit,
      rateBurst: limits.rate_burst,
      idleTimeout: limits.idle_timeout,
      statementTimeout: limits.statement_timeout,
      sessionTimeout: limits.session_timeout,
      silenceTimeout: limits.query_timeout,
      share: this.#fairShares ? shareOf(tenant, limits) : EVERYBODY,
      settings: [...settings].map(([name, value]) => ({ name, value })),
      upstream: overrides.find(({ upstream }) => upstream !== null)?.upstream ?? null,
    };
  }
}

function commonLimits(settings: TenantSettings): Limits {
  return {
    max_connections: settings.tenantMaxConnections,
    rate_limit: settings.tenantRateLimit,
    rate_burst: settings.tenantRateBurst,
    idle_timeout: settings.tenantIdleTimeout,
    statement_timeout: settings.tenantStatementTimeout,
    session_timeout: settings.tenantSessionTimeout,
    query_timeout: settings.tenantQueryTimeout,
    weight: settings.tenantWeight,
    pool_max: settings.tenantPoolMax,
    pool_min: settings.tenantPoolMin,
    queue_max: settings.tenantQueueMax,
  };
}

function shareOf(tenant: string, limits: Limits): TenantShare {
  return {
    tenant,
    weight: limits.weight ?? 1,
    poolMax: limits.pool_max ?? Infinity,
    poolMin: limits.pool_min ?? 0,
    queueMax: limits.queue_max ?? Infinity,
  };
}
