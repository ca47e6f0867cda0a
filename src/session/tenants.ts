// The tenants that are here: who may come, how many connections each has, how fast new ones come.

import { SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { quoted } from "../config/problems.ts";
import type { TenantPatterns } from "../context/tenant_patterns.ts";
import type { TenantPolicies, TenantPolicy } from "./tenant_policies.ts";

/** A session, as far as its tenant is concerned. */
export interface TenantSession {
  /** Its tenant may not be here any more: it ends now, and its query is cancelled. */
  expel(reason: PgError): void;
}

/** What holds for all tenants, and for each. */
export interface TenantRules {
  /** Null: everybody who is not denied. */
  readonly allow: TenantPatterns | null;
  readonly deny: TenantPatterns | null;
  readonly policies: TenantPolicies;
}

/** Tenants without sessions that are remembered, because they have come faster than they may. */
export const RESTING_MAX = 10_000;
/** Of them so many are looked at whenever one is added: their number goes down as time passes. */
const LOOKS_PER_REST = 2;

interface Entry {
  readonly sessions: Set<TenantSession>;
  /** New connections that are allowed, as of `at`. */
  tokens: number;
  at: number;
}

/**
 * Sessions by tenant. Names come from clients: only who has logged in makes an entry, and it goes
 * when its last session has ended and it may come as fast as ever.
 */
export class Tenants {
  readonly #present = new Map<string, Entry>();
  readonly #resting = new Map<string, Entry>();
  readonly #now: () => number;
  #rules: TenantRules;

  /** @param now in milliseconds, monotonic. */
  constructor(rules: TenantRules, now: () => number = () => performance.now()) {
    this.#rules = rules;
    this.#now = now;
  }

  /**
   * Whether a client of this tenant is worth being asked for its password. Nothing is counted: an
   * outsider takes no place from the tenant.
   *
   * @throws {PgError} 28000 for a tenant that may not connect · 53300 when it is at a limit.
   */
  check(tenant: string): void {
    const refusal = this.#listed(tenant) ?? this.#limited(tenant, this.policyOf(tenant));
    if (refusal !== null) throw refusal;
  }

  /**
   * Counts a session that has authenticated, until what is returned is disposed of. Checked and
   * counted in one step: limits are exact however many come at the same time.
   *
   * @throws {PgError} as `check`. Nothing is counted then.
   */
  enter(tenant: string, session: TenantSession): Disposable {
    this.check(tenant);
    const entry = this.#present.get(tenant) ?? this.#resting.get(tenant) ?? this.#newEntry();
    const policy = this.policyOf(tenant);
    if (policy.rateLimit !== null) {
      entry.tokens = this.#tokensOf(entry, policy) - 1;
      entry.at = this.#now();
    }
    entry.sessions.add(session);
    this.#resting.delete(tenant);
    this.#present.set(tenant, entry);
    return { [Symbol.dispose]: () => this.#leave(tenant, entry, session) };
  }

  /** New rules; tenants that may not connect under them lose the sessions that they have. */
  set rules(rules: TenantRules) {
    this.#rules = rules;
    for (const [tenant, { sessions }] of [...this.#present]) {
      const refusal = this.#listed(tenant);
      if (refusal === null) continue;
      for (const session of [...sessions]) session.expel(refusal);
    }
  }

  policyOf(tenant: string): TenantPolicy {
    return this.#rules.policies.of(tenant);
  }

  /** Sessions of a tenant. */
  active(tenant: string): number {
    return this.#present.get(tenant)?.sessions.size ?? 0;
  }

  /** Tenants that are remembered. */
  get size(): number {
    return this.#present.size + this.#resting.size;
  }

  #leave(tenant: string, entry: Entry, session: TenantSession): void {
    if (!entry.sessions.delete(session) || entry.sessions.size > 0) return;
    this.#present.delete(tenant);
    this.#resting.set(tenant, entry);
    if (this.#isFull(tenant, entry)) this.#resting.delete(tenant);
    let looks = LOOKS_PER_REST;
    for (const [oldest, resting] of this.#resting) {
      if (looks-- === 0) break;
      if (this.#isFull(oldest, resting)) this.#resting.delete(oldest);
    }
    if (this.#resting.size > RESTING_MAX) {
      this.#resting.delete(this.#resting.keys().next().value!);
    }
  }

  #newEntry(): Entry {
    return { sessions: new Set(), tokens: Infinity, at: this.#now() };
  }

  #listed(tenant: string): PgError | null {
    const { allow, deny } = this.#rules;
    if (!(deny?.matches(tenant) ?? false) && (allow?.matches(tenant) ?? true)) return null;
    return new PgError(
      SqlState.InvalidAuthorizationSpecification,
      `tenant ${quoted(tenant)} may not connect`,
    );
  }

  #limited(tenant: string, policy: TenantPolicy): PgError | null {
    const { maxConnections, rateLimit } = policy;
    if (maxConnections !== null && this.active(tenant) >= maxConnections) {
      return new PgError(
        SqlState.TooManyConnections,
        `too many connections for tenant ${quoted(tenant)}: the limit is ${maxConnections}`,
        { hint: "Close connections that are not needed; tenant_max_connections is the limit." },
      );
    }
    const entry = this.#present.get(tenant) ?? this.#resting.get(tenant);
    if (rateLimit === null || entry === undefined) return null;
    if (this.#tokensOf(entry, policy) >= 1) return null;
    return new PgError(
      SqlState.TooManyConnections,
      `too many new connections for tenant ${quoted(tenant)}: ` +
        `the limit is ${rateLimit} in a second`,
      { hint: "Use connections for longer; tenant_rate_limit is the limit." },
    );
  }

  #tokensOf({ tokens, at }: Entry, { rateLimit, rateBurst }: TenantPolicy): number {
    const perMs = (rateLimit ?? Infinity) / 1_000;
    return Math.min(rateBurst ?? rateLimit ?? Infinity, tokens + (this.#now() - at) * perMs);
  }

  /** It may come as fast as if it had never been here. */
  #isFull(tenant: string, entry: Entry): boolean {
    const policy = this.policyOf(tenant);
    const full = policy.rateBurst ?? policy.rateLimit;
    return policy.rateLimit === null || full === null || this.#tokensOf(entry, policy) >= full;
  }
}
