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
  /** The look at which it was last there. */
  look: number;
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
  #look = 0;

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
    this.#look++;
    const accounts = views.map((view) => this.#notice(view, decay));
    this.#forget();
    const { least, equals } = leastOf(accounts, seriesMax);
    let equalsLeft = equals;
    let unbooked = difference(total, this.#seenTotal);
    this.#seenTotal = total;
    const series: TenantSeries[] = [];
    const rest = { connections: 0, waiting: 0 };
    for (const [index, view] of views.entries()) {
      const account = accounts[index]!;
      const { tenant, connections, waiting } = view;
      const weight = weightOf(account);
      account.hasSeries = weight > least || weight === least && equalsLeft-- > 0;
      if (account.hasSeries) {
        const delta = difference(view, account.seen);
        account.own = addTraffic(account.own, delta);
        unbooked = minus(unbooked, delta);
        series.push({ tenant, connections, waiting, ...account.own });
      } else {
        rest.connections += connections;
        rest.waiting += waiting;
      }
      account.seen = view;
    }
    this.#rest = addTraffic(this.#rest, positive(unbooked));
    return [...series, { tenant: null, ...rest, ...this.#rest }];
  }

  #notice(view: TenantView, decay: number): Account {
    let account = this.#accounts.get(view.tenant);
    if (account === undefined) {
      account = { seen: NO_TRAFFIC, recent: 0, own: NO_TRAFFIC, hasSeries: false, look: 0 };
      this.#accounts.set(view.tenant, account);
    }
    const moved = since(view.bytesIn, account.seen.bytesIn) +
      since(view.bytesOut, account.seen.bytesOut);
    account.recent = account.recent * decay + moved;
    account.look = this.#look;
    return account;
  }

  /** Those that are not known any more. */
  #forget(): void {
    for (const [tenant, { look }] of this.#accounts) {
      if (look !== this.#look) this.#accounts.delete(tenant);
    }
  }
}

function weightOf({ recent, hasSeries }: Account): number {
  return hasSeries ? recent * STAY_FACTOR : recent;
}

/** What one must weigh to be among so many, and how many there may be who weigh just that. */
function leastOf(accounts: readonly Account[], count: number) {
  if (accounts.length <= count) return { least: -Infinity, equals: 0 };
  const weights = Float64Array.from(accounts, weightOf).sort();
  const least = weights[weights.length - count] ?? Infinity;
  return {
    least,
    equals: count - weights.length + weights.findLastIndex((each) => each <= least) + 1,
  };
}

/** A counter that has become less has begun anew. */
function since(now: number, before: number): number {
  return now >= before ? now - before : now;
}

/** What has come since. */
function difference(now: Traffic, before: Traffic): Traffic {
  return {
    bytesIn: since(now.bytesIn, before.bytesIn),
    bytesOut: since(now.bytesOut, before.bytesOut),
    transactions: since(now.transactions, before.transactions),
    queries: since(now.queries, before.queries),
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
