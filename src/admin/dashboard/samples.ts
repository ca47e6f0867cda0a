// Samples: what the dashboard draws, taken once a second while somebody looks.

import type { Control, TenantView } from "../../control.ts";
import type { Histogram } from "../../meters.ts";

/** How many are kept: with one a second, the last minute. */
export const SAMPLES_MAX = 60;
/** Tenants that have a line of their own; more have none until one of these is silent for long. */
export const LINES_MAX = 1_000;

/** The proxy at one moment. Rates are per second, since the sample before. */
export interface Sample {
  readonly connections: number;
  readonly waiting: number;
  readonly transactions: number;
  readonly queries: number;
  readonly errors: number;
  /** Of the queries since the sample before, in milliseconds; null when there were none. */
  readonly medianMs: number | null;
  readonly p99Ms: number | null;
}

/** Sums that only grow. */
interface Sums {
  readonly at: number;
  readonly transactions: number;
  readonly queries: number;
  readonly errors: number;
  readonly queryTimes: Float64Array;
}

/** The last minute of a proxy. Nothing is sampled but by `take()`. */
export class Samples {
  readonly #control: Control;
  readonly #now: () => number;
  readonly #history: Sample[] = [];
  #sums: Sums | null = null;
  /** Queries that tenants have made, as of the last sample. */
  #queries = new Map<string, number>();
  readonly #lines = new Map<string, number[]>();

  /** @param now milliseconds of a clock that does not jump. */
  constructor(control: Control, now: () => number = () => performance.now()) {
    this.#control = control;
    this.#now = now;
  }

  /** The oldest first. */
  get history(): readonly Sample[] {
    return this.#history;
  }

  /** Queries per second of a tenant, the oldest first; empty when nothing is known. */
  lineOf(tenant: string): readonly number[] {
    return this.#lines.get(tenant) ?? [];
  }

  /** @returns the tenants as they were counted. */
  take(): TenantView[] {
    const totals = this.#control.totals();
    const { meters } = this.#control;
    const sums: Sums = {
      at: this.#now(),
      transactions: totals.traffic.transactions,
      queries: totals.traffic.queries,
      errors: meters.serverErrors.total + meters.ownErrors.total,
      queryTimes: meters.query.counts.slice(),
    };
    const before = this.#sums;
    this.#sums = sums;
    const seconds = before === null ? 0 : (sums.at - before.at) / 1_000;
    const rate = (read: (sums: Sums) => number) =>
      seconds > 0 ? Math.max(0, read(sums) - read(before!)) / seconds : 0;
    const times = sums.queryTimes.map((count, index) => count - (before?.queryTimes[index] ?? 0));
    const { bounds } = meters.query;
    this.#keep({
      connections: totals.connectionsActive,
      waiting: this.#control.pools().reduce((sum, pool) => sum + pool.waiting, 0),
      transactions: rate((each) => each.transactions),
      queries: rate((each) => each.queries),
      errors: rate((each) => each.errors),
      medianMs: before === null ? null : quantileMs(bounds, times, 0.5),
      p99Ms: before === null ? null : quantileMs(bounds, times, 0.99),
    });
    const tenants = this.#control.tenants();
    this.#draw(tenants, seconds);
    return tenants;
  }

  #keep(sample: Sample): void {
    this.#history.push(sample);
    if (this.#history.length > SAMPLES_MAX) this.#history.shift();
  }

  #draw(tenants: readonly TenantView[], seconds: number): void {
    const before = this.#queries;
    this.#queries = new Map(tenants.map(({ tenant, queries }) => [tenant, queries]));
    if (seconds <= 0) return;
    for (const { tenant, queries } of tenants) {
      const line = this.#lines.get(tenant);
      const rate = Math.max(0, queries - (before.get(tenant) ?? 0)) / seconds;
      if (line !== undefined) line.push(rate);
      else if (rate > 0 && this.#lines.size < LINES_MAX) this.#lines.set(tenant, [rate]);
    }
    for (const [tenant, line] of this.#lines) {
      if (line.length > SAMPLES_MAX) line.shift();
      if (!this.#queries.has(tenant) || line.every((rate) => rate === 0)) {
        this.#lines.delete(tenant);
      }
    }
  }
}

/**
 * What this share of all took at most, within a bucket as if it were evenly filled.
 *
 * @param bounds in seconds, as {@linkcode Histogram.bounds}.
 * @returns milliseconds; the last bound for what is beyond it; null when there was nothing.
 */
export function quantileMs(
  bounds: Histogram["bounds"],
  counts: ArrayLike<number>,
  share: number,
): number | null {
  const all = Array.from(counts);
  const total = all.reduce((sum, count) => sum + count, 0);
  if (total === 0) return null;
  let below = 0;
  for (const [index, count] of all.entries()) {
    const wanted = share * total - below;
    below += count;
    if (count === 0 || wanted > count) continue;
    const floor = index === 0 ? 0 : bounds[index - 1]!;
    const ceiling = bounds[index] ?? floor;
    return (floor + (ceiling - floor) * (wanted / count)) * 1_000;
  }
  return bounds.at(-1)! * 1_000;
}
