// What operators say of tenants while pgvpd runs: who is paused, and who may not connect.

import { SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { quoted } from "../config/problems.ts";

/** A session, as far as its tenant is concerned. */
export interface TenantSession {
  /** Its tenant may not be here any more: it ends now, and its query is cancelled. */
  expel(reason: PgError): void;
  /** Its tenant is paused: it begins no new transaction until `release`. */
  hold(): void;
  release(): void;
}

/** Tenants that may be paused, and denied, one by one. */
export const ORDERS_MAX = 10_000;

/** There are too many orders already. */
export class TooManyOrders extends Error {}

const DISCONNECTED = new PgError(
  SqlState.AdminShutdown,
  "terminating connection due to administrator command",
);

/** The error of a tenant that is not let in. */
export function mayNotConnect(tenant: string): PgError {
  return new PgError(
    SqlState.InvalidAuthorizationSpecification,
    `tenant ${quoted(tenant)} may not connect`,
  );
}

/** Orders hold until they are taken back, or the process ends. */
export class TenantOrders {
  readonly #denied = new Set<string>();
  readonly #paused = new Set<string>();
  #allPaused = false;

  /** @param sessionsOf those of a tenant, null: of all tenants. */
  constructor(private readonly sessionsOf: (tenant: string | null) => TenantSession[]) {}

  isDenied(tenant: string): boolean {
    return this.#denied.has(tenant);
  }

  isPaused(tenant: string): boolean {
    return this.#allPaused || this.#paused.has(tenant);
  }

  /** Tenants about which something has been said. */
  get tenants(): Set<string> {
    return this.#denied.union(this.#paused);
  }

  /** Ends every session of a tenant; what the server does for it is cancelled. Returns how many. */
  disconnect(tenant: string, reason: PgError = DISCONNECTED): number {
    const sessions = this.sessionsOf(tenant);
    for (const session of sessions) session.expel(reason);
    return sessions.length;
  }

  /** @throws {TooManyOrders}. */
  deny(tenant: string): number {
    add(this.#denied, tenant);
    return this.disconnect(tenant, mayNotConnect(tenant));
  }

  /** Returns whether it was denied. */
  allow(tenant: string): boolean {
    return this.#denied.delete(tenant);
  }

  /**
   * Holds new transactions.
   *
   * @param tenant null: all. @returns how many sessions. @throws {TooManyOrders}.
   */
  pause(tenant: string | null): number {
    if (tenant === null) this.#allPaused = true;
    else add(this.#paused, tenant);
    const sessions = this.sessionsOf(tenant);
    for (const session of sessions) session.hold();
    return sessions.length;
  }

  /** Lets them go; null when there was nothing to be resumed. With null, everybody. */
  resume(tenant: string | null): number | null {
    if (tenant !== null && this.#allPaused) return null; // it would have to be told apart
    const was = tenant === null ? this.#allPaused || this.#paused.size > 0 : this.isPaused(tenant);
    if (tenant === null) {
      this.#allPaused = false;
      this.#paused.clear();
    } else {
      this.#paused.delete(tenant);
    }
    if (!was) return null;
    const sessions = this.sessionsOf(tenant);
    for (const session of sessions) session.release();
    return sessions.length;
  }
}

function add(set: Set<string>, tenant: string): void {
  if (set.size >= ORDERS_MAX && !set.has(tenant)) throw new TooManyOrders();
  set.add(tenant);
}
