// What is allowed to one tenant: the limits that hold for it.

/** Limits of one tenant; null means none. Times are in milliseconds. */
export interface TenantPolicy {
  /** Connections at once. */
  readonly maxConnections: number | null;
  /** New connections in a second. */
  readonly rateLimit: number | null;
  /** New connections at once, when there were none for a while; null: as many as in a second. */
  readonly rateBurst: number | null;
}

/** The settings that all tenants share. */
export interface TenantSettings {
  readonly tenantMaxConnections: number | null;
  readonly tenantRateLimit: number | null;
  readonly tenantRateBurst: number | null;
}

/** Policies by tenant. Immutable: another configuration makes others. */
export class TenantPolicies {
  readonly #common: TenantPolicy;

  constructor(settings: TenantSettings) {
    this.#common = {
      maxConnections: settings.tenantMaxConnections,
      rateLimit: settings.tenantRateLimit,
      rateBurst: settings.tenantRateBurst,
    };
  }

  of(_tenant: string): TenantPolicy {
    return this.#common;
  }
}
