// The metrics of a proxy, in the text format of Prometheus. Each family is a name, what it means,
// and how it is read from a snapshot; nothing is measured here.
// https://prometheus.io/docs/instrumenting/exposition_formats/

import type { Control, PoolView } from "../control.ts";
import { CONTENT_TYPE, familyText, type Labels } from "./exposition.ts";
import { labelOf, OTHER } from "./labels.ts";
import { FAMILIES, type PoolSeries, type Snapshot } from "./metric_families.ts";
import { TenantBook } from "./tenant_series.ts";

/** Pairs of database and role with series of their own; those with the most connections. */
export const POOL_SERIES_MAX = 100;

/** Answers scrapes. */
export class Metrics {
  readonly #control: Control;
  readonly #tenantSeriesMax: () => number;
  readonly #book = new TenantBook();

  constructor(control: Control, tenantSeriesMax: () => number) {
    this.#control = control;
    this.#tenantSeriesMax = tenantSeriesMax;
  }

  get contentType(): string {
    return CONTENT_TYPE;
  }

  /** The whole text, of this moment. */
  text(): string {
    const snapshot = this.#take();
    return FAMILIES.map((family) =>
      familyText({ ...family, name: `pgvpd_${family.name}` }, family.read(snapshot))
    ).join("");
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
