// The metrics of a proxy, in the text format of Prometheus. Each family is a name, what it means,
// and how it is read from a snapshot; nothing is measured here.
// https://prometheus.io/docs/instrumenting/exposition_formats/

import { type Metric, type MetricObjectWithValues, type MetricValue, Registry } from "prom-client";
import type { Control, PoolView } from "../control.ts";
import { Histogram } from "../meters.ts";
import { labelOf, OTHER } from "./labels.ts";
import {
  FAMILIES,
  type Family,
  type Labels,
  type PoolSeries,
  type Snapshot,
} from "./metric_families.ts";
import { TenantBook } from "./tenant_series.ts";

/** Pairs of database and role with series of their own; those with the most connections. */
export const POOL_SERIES_MAX = 100;

/** Answers scrapes. */
export class Metrics {
  readonly #control: Control;
  readonly #tenantSeriesMax: () => number;
  readonly #registry = new Registry();
  readonly #book = new TenantBook();
  #snapshot: Snapshot | null = null;

  constructor(control: Control, tenantSeriesMax: () => number) {
    this.#control = control;
    this.#tenantSeriesMax = tenantSeriesMax;
    for (const family of FAMILIES) {
      const metric = new FamilyMetric(family, () => this.#snapshot!);
      this.#registry.registerMetric(metric as unknown as Metric);
    }
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** The whole text, of this moment. */
  async text(): Promise<string> {
    this.#snapshot = this.#take();
    try {
      return await this.#registry.metrics();
    } finally {
      this.#snapshot = null;
    }
  }

  #take(): Snapshot {
    const control = this.#control;
    const [totals, views] = [control.totals(), control.tenants()];
    const seriesMax = this.#tenantSeriesMax();
    return {
      control,
      totals,
      clients: control.clients(),
      pools: poolSeries(control.pools()),
      tenants: this.#book.look(views, totals.tenantTraffic, seriesMax, performance.now()),
      tenantsPresent: views.filter(({ connections }) => connections > 0).length,
      memory: Deno.memoryUsage(),
    };
  }
}

/** What prom-client asks a metric for when it writes the text. */
class FamilyMetric {
  readonly name: string;

  constructor(private readonly family: Family, private readonly snapshot: () => Snapshot) {
    this.name = `pgvpd_${family.name}`;
  }

  get(): MetricObjectWithValues<MetricValue<string>> {
    const { name, family: { help, type } } = this;
    const values = this.family.read(this.snapshot()).flatMap(([labels, value]) =>
      value instanceof Histogram ? bucketsOf(name, labels, value) : [{ labels, value }]
    );
    return { name, help, type, aggregator: "sum", values } as never;
  }
}

function bucketsOf(name: string, labels: Labels, { bounds, counts, sum }: Histogram) {
  const metricName = `${name}_bucket`;
  let count = 0;
  const buckets = bounds.map((bound, index) => {
    count += counts[index]!;
    return { metricName, labels: { ...labels, le: String(bound) }, value: count };
  });
  count += counts.at(-1)!;
  return [
    ...buckets,
    { metricName, labels: { ...labels, le: "+Inf" }, value: count },
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: count },
  ];
}

/** Pools of one database and role are one series: they differ in what no label says. */
function poolSeries(pools: readonly PoolView[]): PoolSeries[] {
  const series = new Map<string, PoolSeries>();
  const largestFirst = pools.toSorted((a, b) => sizeOf(b) - sizeOf(a));
  for (const pool of largestFirst) {
    const own = { database: labelOf(pool.database), role: labelOf(pool.role) };
    const isKnown = series.has(JSON.stringify(own)) || series.size < POOL_SERIES_MAX;
    const labels = isKnown ? own : { database: OTHER, role: OTHER };
    const key = JSON.stringify(labels);
    series.set(key, withPool(series.get(key) ?? emptySeries(labels), pool));
  }
  return [...series.values()];
}

function sizeOf({ idle, active, opening }: PoolView): number {
  return idle + active + opening;
}

function emptySeries(labels: Labels): PoolSeries {
  return { labels, idle: 0, active: 0, opening: 0, waiting: 0, longestWaitMs: 0, failing: 0 };
}

function withPool(series: PoolSeries, pool: PoolView): PoolSeries {
  return {
    labels: series.labels,
    idle: series.idle + pool.idle,
    active: series.active + pool.active,
    opening: series.opening + pool.opening,
    waiting: series.waiting + pool.waiting,
    longestWaitMs: Math.max(series.longestWaitMs, pool.longestWaitMs),
    failing: series.failing + (pool.isFailing ? 1 : 0),
  };
}
