// The tenants that are here: who may come, how many connections each has, how fast new ones come.

import { SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { quoted } from "../config/problems.ts";
import type { TenantPatterns } from "../context/tenant_patterns.ts";
import { mayNotConnect, TenantOrders, type TenantSession } from "./tenant_orders.ts";
import type { TenantPolicies, TenantPolicy } from "./tenant_policies.ts";

export type { TenantSession } from "./tenant_orders.ts";

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
  /** What operators have said since the start. */
  readonly orders: TenantOrders = new TenantOrders((tenant) => this.#sessionsOf(tenant));
  /** Logins refused, by reason. */
  readonly rejected = { deny: 0, limit: 0, rate: 0 };

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
    const unlisted = this.#listed(tenant);
    if (unlisted !== null) this.rejected.deny++;
    const refusal = unlisted ?? this.#limited(tenant, this.policyOf(tenant));
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
    if (this.orders.isPaused(tenant)) session.hold();
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

  /** Those that have sessions. */
  get present(): ReadonlySet<string> {
    return new Set(this.#present.keys());
  }

  /** A tenant as its clients must spell it; null: none of them can be it. */
  canonical(tenant: string): string | null {
    return this.#rules.policies.canonical(tenant);
  }

  /** Whether the configuration lets a tenant connect, whatever operators have said. */
  isListed(tenant: string): boolean {
    const { allow, deny } = this.#rules;
    return !(deny?.matches(tenant) ?? false) && (allow?.matches(tenant) ?? true);
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

  #sessionsOf(tenant: string | null): TenantSession[] {
    if (tenant !== null) return [...this.#present.get(tenant)?.sessions ?? []];
    return [...this.#present.values()].flatMap(({ sessions }) => [...sessions]);
  }

  #listed(tenant: string): PgError | null {
    return this.isListed(tenant) && !this.orders.isDenied(tenant) ? null : mayNotConnect(tenant);
  }

  #limited(tenant: string, policy: TenantPolicy): PgError | null {
    const { maxConnections, rateLimit } = policy;
    if (maxConnections !== null && this.active(tenant) >= maxConnections) {
      this.rejected.limit++;
      return new PgError(
        SqlState.TooManyConnections,
        `too many connections for tenant ${quoted(tenant)}: the limit is ${maxConnections}`,
        { hint: "Close connections that are not needed; tenant_max_connections is the limit." },
      );
    }
    const entry = this.#present.get(tenant) ?? this.#resting.get(tenant);
    if (rateLimit === null || entry === undefined) return null;
    if (this.#tokensOf(entry, policy) >= 1) return null;
    this.rejected.rate++;
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
