// Which tenants have series of their own: those with the most traffic of late. Everybody else is
// `other`, so that tenants without number are series with one.

import type { TenantView } from "../control.ts";
import { addTraffic, NO_TRAFFIC, type Traffic } from "../meters.ts";

/** One series of each family. */
export interface TenantSeries extends Traffic {
  /** Null: everybody who has none of its own. */
  readonly tenant: string | null;
  readonly connections: number;
  readonly waiting: number;
}

/** In this time what a tenant has moved counts a third in who has series. */
const MEMORY_MS = 600_000;
/** Who has series keeps them unless another one has moved so much more. */
const STAY_FACTOR = 1.25;

interface Account {
  /** What it had moved at the last look. */
  seen: Traffic;
  /** What it has moved of late. */
  recent: number;
  /** What was booked on its own series: counted from the first look at which it had them. */
  own: Traffic;
  hasSeries: boolean;
}

/**
 * Books what was moved since the last look, once: on the tenant's series, or on those of others.
 * So every counter only grows, and together they are the total, whoever comes and goes.
 */
export class TenantBook {
  readonly #accounts = new Map<string, Account>();
  #rest: Traffic = NO_TRAFFIC;
  #seenTotal: Traffic = NO_TRAFFIC;
  #at = -Infinity;

  /**
   * @param views every tenant of which something is known.
   * @param total what all tenants have moved since the start, those included that are forgotten.
   * @param seriesMax tenants with series of their own.
   * @param now in milliseconds, monotonic.
   */
  look(
    views: readonly TenantView[],
    total: Traffic,
    seriesMax: number,
    now: number,
  ): TenantSeries[] {
    const decay = this.#at === -Infinity ? 1 : Math.exp((this.#at - now) / MEMORY_MS);
    this.#at = now;
    let unbooked = difference(total, this.#seenTotal);
    this.#seenTotal = total;
    const moved = new Map<string, Traffic>();
    for (const view of views) {
      const account = this.#accountOf(view.tenant);
      const delta = difference(view, account.seen);
      account.seen = view;
      account.recent = account.recent * decay + delta.bytesIn + delta.bytesOut;
      moved.set(view.tenant, delta);
    }
    this.#forgetAllBut(moved);
    const chosen = this.#choose(views, seriesMax);
    const series: TenantSeries[] = [];
    const rest = { connections: 0, waiting: 0 };
    for (const { tenant, connections, waiting } of views) {
      const account = this.#accounts.get(tenant)!;
      account.hasSeries = chosen.has(tenant);
      if (!account.hasSeries) {
        rest.connections += connections;
        rest.waiting += waiting;
        continue;
      }
      const delta = moved.get(tenant)!;
      account.own = addTraffic(account.own, delta);
      unbooked = minus(unbooked, delta);
      series.push({ tenant, connections, waiting, ...account.own });
    }
    this.#rest = addTraffic(this.#rest, positive(unbooked));
    return [...series, { tenant: null, ...rest, ...this.#rest }];
  }

  #accountOf(tenant: string): Account {
    let account = this.#accounts.get(tenant);
    if (account === undefined) {
      account = { seen: NO_TRAFFIC, recent: 0, own: NO_TRAFFIC, hasSeries: false };
      this.#accounts.set(tenant, account);
    }
    return account;
  }

  #forgetAllBut(present: ReadonlyMap<string, unknown>): void {
    for (const tenant of this.#accounts.keys()) {
      if (!present.has(tenant)) this.#accounts.delete(tenant);
    }
  }

  #choose(views: readonly TenantView[], seriesMax: number): ReadonlySet<string> {
    const weight = (tenant: string) => {
      const { recent, hasSeries } = this.#accounts.get(tenant)!;
      return hasSeries ? recent * STAY_FACTOR : recent;
    };
    const names = views.map(({ tenant }) => tenant);
    if (names.length <= seriesMax) return new Set(names);
    const weighed = names.map((tenant) => [weight(tenant), tenant] as const);
    weighed.sort(([a], [b]) => b - a);
    return new Set(weighed.slice(0, seriesMax).map(([, tenant]) => tenant));
  }
}

/** What has come since; a counter that has become less has begun anew. */
function difference(now: Traffic, before: Traffic): Traffic {
  const one = (a: number, b: number) => a >= b ? a - b : a;
  return {
    bytesIn: one(now.bytesIn, before.bytesIn),
    bytesOut: one(now.bytesOut, before.bytesOut),
    transactions: one(now.transactions, before.transactions),
    queries: one(now.queries, before.queries),
  };
}

function minus(a: Traffic, b: Traffic): Traffic {
  return {
    bytesIn: a.bytesIn - b.bytesIn,
    bytesOut: a.bytesOut - b.bytesOut,
    transactions: a.transactions - b.transactions,
    queries: a.queries - b.queries,
  };
}

function positive({ bytesIn, bytesOut, transactions, queries }: Traffic): Traffic {
  const one = (value: number) => Math.max(0, value);
  return {
    bytesIn: one(bytesIn),
    bytesOut: one(bytesOut),
    transactions: one(transactions),
    queries: one(queries),
  };
}
