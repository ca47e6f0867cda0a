// What is measured, as plain numbers: anybody bumps them, nobody waits for them, and whoever wants
// to know reads them.

/** Upper bounds in seconds, from a tenth of a millisecond to a minute. */
export const DURATION_BOUNDS: readonly number[] = [
  ...[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5],
  ...[1, 2.5, 5, 10, 30, 60],
];

/** How often something took how long. Nothing is allocated when it is told so. */
export class Histogram {
  /** One for each bound, and one for what is beyond the last. */
  readonly counts: Float64Array;
  /** In seconds. */
  sum = 0;

  /** @param bounds upper bounds in seconds, ascending; a value that is equal lies within. */
  constructor(readonly bounds: readonly number[] = DURATION_BOUNDS) {
    this.counts = new Float64Array(bounds.length + 1);
  }

  observeMs(milliseconds: number): void {
    const seconds = milliseconds / 1_000;
    const { bounds } = this;
    let index = 0;
    while (index < bounds.length && seconds > bounds[index]!) index++;
    this.counts[index]!++;
    this.sum += seconds;
  }

  get count(): number {
    return this.counts.reduce((sum, each) => sum + each, 0);
  }

  /** The bound below which this share of all lies; Infinity beyond the last; 0 when there are none. */
  quantile(share: number): number {
    const wanted = share * this.count;
    let seen = 0;
    for (const [index, count] of this.counts.entries()) {
      seen += count;
      if (count > 0 && seen >= wanted) return this.bounds[index] ?? Infinity;
    }
    return 0;
  }
}

/** Counters by a name, of which there are not more than a few. */
export class Tally {
  readonly #counts = new Map<string, number>();

  /** @param namesMax further names are counted as `other`. */
  constructor(private readonly namesMax = 100) {}

  add(name: string, amount = 1): void {
    const isKnown = this.#counts.has(name) || this.#counts.size < this.namesMax;
    const counted = isKnown ? name : "other";
    this.#counts.set(counted, this.get(counted) + amount);
  }

  get(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  get total(): number {
    return this.#counts.values().reduce((sum, each) => sum + each, 0);
  }

  [Symbol.iterator](): MapIterator<[string, number]> {
    return this.#counts.entries();
  }
}

/** A login that was refused. It holds no secret. */
export interface Refusal {
  /** The number of the connection. */
  readonly connection: number;
  readonly peer: string;
  /** The name that the client has given; null when it did not come to that. */
  readonly user: string | null;
  readonly sqlState: string;
  readonly reason: string;
  readonly at: Date;
}

/** Refusals that are remembered. */
export const REFUSALS_MAX = 50;

/** The latest of something. */
export class Recent<T> {
  readonly #items: T[] = [];

  constructor(private readonly max: number) {}

  add(item: T): void {
    this.#items.push(item);
    if (this.#items.length > this.max) this.#items.shift();
  }

  /** The latest last. */
  get items(): readonly T[] {
    return this.#items;
  }
}

/** What has been moved for somebody so far. */
export interface Traffic {
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly transactions: number;
  /** Statements, or batches of them, that were answered. */
  readonly queries: number;
}

export const NO_TRAFFIC: Traffic = { bytesIn: 0, bytesOut: 0, transactions: 0, queries: 0 };

export function addTraffic(a: Traffic, b: Traffic): Traffic {
  return {
    bytesIn: a.bytesIn + b.bytesIn,
    bytesOut: a.bytesOut + b.bytesOut,
    transactions: a.transactions + b.transactions,
    queries: a.queries + b.queries,
  };
}

/** Tenants whose past traffic is remembered one by one. */
export const TENANTS_REMEMBERED_MAX = 10_000;

/** The traffic of sessions that have ended, by tenant; the tenant that was away for longest goes. */
export class PastTraffic {
  total = NO_TRAFFIC;
  /** Of all tenants; what bypass users have moved is in `total` alone. */
  ofTenants = NO_TRAFFIC;
  readonly #byTenant = new Map<string, Traffic>();

  constructor(private readonly tenantsMax = TENANTS_REMEMBERED_MAX) {}

  /** A session is over. @param tenant null for a bypass user. */
  add(tenant: string | null, traffic: Traffic): void {
    this.total = addTraffic(this.total, traffic);
    if (tenant === null) return;
    this.ofTenants = addTraffic(this.ofTenants, traffic);
    const before = this.#byTenant.get(tenant) ?? NO_TRAFFIC;
    this.#byTenant.delete(tenant);
    this.#byTenant.set(tenant, addTraffic(before, traffic));
    if (this.#byTenant.size <= this.tenantsMax) return;
    this.#byTenant.delete(this.#byTenant.keys().next().value!);
  }

  of(tenant: string): Traffic | null {
    return this.#byTenant.get(tenant) ?? null;
  }

  [Symbol.iterator](): MapIterator<[string, Traffic]> {
    return this.#byTenant.entries();
  }
}

/** The stages of a login, in order. */
export const LOGIN_PHASES = [
  ...["startup", "tls", "connect", "authentication"],
  ...["greeting", "resolvers", "checkout", "context"],
] as const;
export type LoginPhase = typeof LOGIN_PHASES[number];

/** Everything that a proxy measures; one for each. */
export class Meters {
  /** Logins that were accepted, as a whole and by phase. */
  readonly login = new Histogram();
  readonly loginPhases: Readonly<Record<LoginPhase, Histogram>>;
  /** What clients waited for a server connection, those included who had not to. */
  readonly checkoutWait = new Histogram();
  /** From a client's request to the end of its answer. */
  readonly query = new Histogram();
  readonly transaction = new Histogram();
  readonly #resolvers = new Map<string, Histogram>();
  /** ErrorResponses by the class of their SQLSTATE: those of servers, and those of pgvpd itself. */
  readonly serverErrors = new Tally();
  readonly ownErrors = new Tally();
  /** Logins by result. */
  readonly logins = new Tally();
  /** Clients that had to keep their server connection, by reason. */
  readonly pinned = new Tally();
  /** Cancel requests: `forwarded`, or `unknown` when the key fitted nobody. */
  readonly cancels = new Tally();
  readonly past = new PastTraffic();
  readonly refusals = new Recent<Refusal>(REFUSALS_MAX);

  constructor() {
    this.loginPhases = Object.fromEntries(
      LOGIN_PHASES.map((phase) => [phase, new Histogram()]),
    ) as Record<LoginPhase, Histogram>;
  }

  /** A resolver has run, successfully or not. */
  resolverRan(name: string, milliseconds: number): void {
    let histogram = this.#resolvers.get(name);
    if (histogram === undefined) {
      if (this.#resolvers.size >= RESOLVERS_MAX) return;
      this.#resolvers.set(name, histogram = new Histogram());
    }
    histogram.observeMs(milliseconds);
  }

  get resolvers(): ReadonlyMap<string, Histogram> {
    return this.#resolvers;
  }
}

/** Names of resolvers are the operator's; this many are never reached. */
const RESOLVERS_MAX = 1_000;
