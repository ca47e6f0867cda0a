// What is allowed to one tenant: the limits that hold for it, and its share of the pools.

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
}

/** The settings that all tenants share. */
export interface TenantSettings {
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

/** Policies by tenant. Immutable: another configuration makes others. */
export class TenantPolicies {
  readonly #settings: TenantSettings;
  readonly #ready = new Map<string, TenantPolicy>();

  constructor(settings: TenantSettings) {
    this.#settings = settings;
  }

  /** The shortest of all timeouts, whoever it is for; null: there are none. */
  get shortestTimeout(): number | null {
    const { tenantIdleTimeout, tenantStatementTimeout, tenantSessionTimeout, tenantQueryTimeout } =
      this.#settings;
    const all = [
      ...[tenantIdleTimeout, tenantStatementTimeout, tenantSessionTimeout, tenantQueryTimeout],
    ].filter((each) => each !== null);
    return all.length === 0 ? null : Math.min(...all);
  }

  of(tenant: string): TenantPolicy {
    const known = this.#ready.get(tenant);
    if (known !== undefined) return known;
    const policy = this.#make(tenant);
    if (this.#ready.size >= READY_MAX) this.#ready.delete(this.#ready.keys().next().value!);
    this.#ready.set(tenant, policy);
    return policy;
  }

  #make(tenant: string): TenantPolicy {
    const settings = this.#settings;
    return {
      maxConnections: settings.tenantMaxConnections,
      rateLimit: settings.tenantRateLimit,
      rateBurst: settings.tenantRateBurst,
      idleTimeout: settings.tenantIdleTimeout,
      statementTimeout: settings.tenantStatementTimeout,
      sessionTimeout: settings.tenantSessionTimeout,
      silenceTimeout: settings.tenantQueryTimeout,
      share: !settings.tenantFairShares ? EVERYBODY : {
        tenant,
        weight: settings.tenantWeight,
        poolMax: settings.tenantPoolMax ?? Infinity,
        poolMin: settings.tenantPoolMin,
        queueMax: settings.tenantQueueMax ?? Infinity,
      },
    };
  }
}
