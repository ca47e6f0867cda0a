// What is allowed to one tenant: the limits that hold for it.

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
}

/** Policies by tenant. Immutable: another configuration makes others. */
export class TenantPolicies {
  readonly #common: TenantPolicy;

  constructor(settings: TenantSettings) {
    this.#common = {
      maxConnections: settings.tenantMaxConnections,
      rateLimit: settings.tenantRateLimit,
      rateBurst: settings.tenantRateBurst,
      idleTimeout: settings.tenantIdleTimeout,
      statementTimeout: settings.tenantStatementTimeout,
      sessionTimeout: settings.tenantSessionTimeout,
      silenceTimeout: settings.tenantQueryTimeout,
    };
  }

  /** The shortest of all timeouts, whoever it is for; null: there are none. */
  get shortestTimeout(): number | null {
    const { idleTimeout, statementTimeout, sessionTimeout, silenceTimeout } = this.#common;
    const all = [idleTimeout, statementTimeout, sessionTimeout, silenceTimeout]
      .filter((each) => each !== null);
    return all.length === 0 ? null : Math.min(...all);
  }

  of(_tenant: string): TenantPolicy {
    return this.#common;
  }
}
