// What of a long list the dashboard shows: sorted, searched, and never all of it.

import type { TenantView } from "../../control.ts";

/** Rows of a table that are sent; the rest is a number below it. */
export const ROWS_MAX = 100;
/** A longer search is cut. */
const SEARCH_LENGTH_MAX = 200;

/** What tenants can be sorted by, and what the column is called. */
export const SORTS = {
  queries: "Queries",
  transactions: "Transactions",
  connections: "Connections",
  waiting: "Waiting",
  bytes: "Bytes",
  tenant: "Tenant",
} as const;
export type Sort = keyof typeof SORTS;

/** How one viewer wants tenants to be shown. */
export interface TenantQuery {
  readonly sort: Sort;
  /** Part of a name, in any case; empty: all. */
  readonly search: string;
}

/** @param parameters of the URL, which say anything. */
export function tenantQuery(parameters: URLSearchParams): TenantQuery {
  const sort = parameters.get("sort") ?? "";
  return {
    sort: Object.hasOwn(SORTS, sort) ? sort as Sort : "queries",
    search: (parameters.get("search") ?? "").slice(0, SEARCH_LENGTH_MAX).trim(),
  };
}

/** The first rows, and how many there would be. */
export interface Listed<Row> {
  readonly rows: readonly Row[];
  readonly total: number;
}

/** The first of a list that is in its order already. */
export function listed<Row>(rows: readonly Row[]): Listed<Row> {
  return { rows: rows.slice(0, ROWS_MAX), total: rows.length };
}

/** @param queriesPerSecond of a tenant now. */
export function listTenants(
  tenants: readonly TenantView[],
  { sort, search }: TenantQuery,
  queriesPerSecond: (tenant: string) => number,
): Listed<TenantView> {
  const wanted = search.toLowerCase();
  const found = wanted === ""
    ? [...tenants]
    : tenants.filter(({ tenant }) => tenant.toLowerCase().includes(wanted));
  const size = sizeOf(sort, queriesPerSecond);
  const byName = (a: TenantView, b: TenantView) => a.tenant < b.tenant ? -1 : 1;
  return listed(found.sort((a, b) => size(b) - size(a) || byName(a, b)));
}

function sizeOf(
  sort: Sort,
  queriesPerSecond: (tenant: string) => number,
): (tenant: TenantView) => number {
  switch (sort) {
    case "tenant":
      return () => 0;
    case "queries":
      return ({ tenant }) => queriesPerSecond(tenant);
    case "bytes":
      return ({ bytesIn, bytesOut }) => bytesIn + bytesOut;
    default:
      return (each) => each[sort];
  }
}
