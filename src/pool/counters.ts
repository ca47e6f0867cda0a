// What pools have done, added up.

import type { PoolStats } from "./slots.ts";

/** Counters of a pool, or of several. */
export interface PoolCounters {
  readonly opened: number;
  readonly openFailures: number;
  readonly checkouts: number;
  readonly reuses: number;
  readonly sameContext: number;
  readonly timeouts: number;
  readonly refusals: number;
  /** Members that were closed, by reason. */
  readonly closed: Readonly<Record<string, number>>;
  /** Members that are lent, which have not come back yet. */
  readonly active: number;
}

export const NOTHING_DONE: PoolCounters = {
  ...{ opened: 0, openFailures: 0, checkouts: 0, reuses: 0, sameContext: 0 },
  ...{ timeouts: 0, refusals: 0, closed: {}, active: 0 },
};

export function countersOf(stats: PoolStats): PoolCounters {
  const { opened, openFailures, checkouts, reuses, sameContext } = stats;
  const { timeouts, refusals, closed, active } = stats;
  return {
    ...{ opened, openFailures, checkouts, reuses, sameContext },
    ...{ timeouts, refusals, closed, active },
  };
}

export function addCounters(a: PoolCounters, b: PoolCounters): PoolCounters {
  const closed: Record<string, number> = { ...a.closed };
  for (const [reason, count] of Object.entries(b.closed)) {
    closed[reason] = (closed[reason] ?? 0) + count;
  }
  return {
    opened: a.opened + b.opened,
    openFailures: a.openFailures + b.openFailures,
    checkouts: a.checkouts + b.checkouts,
    reuses: a.reuses + b.reuses,
    sameContext: a.sameContext + b.sameContext,
    timeouts: a.timeouts + b.timeouts,
    refusals: a.refusals + b.refusals,
    closed,
    active: a.active + b.active,
  };
}
