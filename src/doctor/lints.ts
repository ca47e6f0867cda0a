// All lints, and how they are run: one statement, however many tables there are.

import { CATALOGUE } from "./catalogue.ts";
import { DATABASE } from "./database.ts";
import { KEYS } from "./keys.ts";
import { type Finding, findingOf, type Lint, type Severity } from "./lint.ts";
import { POLICIES } from "./policies.ts";
import { RELATIONS } from "./relations.ts";
import { ROLES } from "./roles.ts";
import { TABLES } from "./tables.ts";

/** Every lint, by its id. */
export const LINTS: readonly Lint[] = [ROLES, TABLES, KEYS, POLICIES, RELATIONS, DATABASE].flat()
  .toSorted((one, other) => order(one.id) - order(other.id));

/** Names that a tenant's column usually has. */
export const TENANT_COLUMNS: readonly string[] = [
  ...["tenant_id", "tenant", "org_id", "organization_id", "organisation_id"],
  ...["account_id", "workspace_id", "company_id"],
];

/** A row as text: what it holds depends on the statement. */
export type Row = Readonly<Record<string, string | null>>;
/** Runs one statement; parameters are text. */
export type Query = (text: string, parameters?: readonly string[]) => Promise<readonly Row[]>;

/** What the lints are about. */
export interface Target {
  /** The roles that tenants log in as; each exists. */
  readonly roles: readonly string[];
  readonly tenantColumns: readonly string[];
}

/**
 * Runs the lints. The caller's transaction should be read-only and its search_path
 * `pg_catalog, pg_temp`: the statement looks names up there.
 */
export async function runLints(
  query: Query,
  { roles, tenantColumns }: Target,
  lints: readonly Lint[] = LINTS,
): Promise<Finding[]> {
  const byId = new Map(lints.map((lint) => [lint.id, lint]));
  const rows = await query(statementOf(lints), [
    JSON.stringify(roles),
    JSON.stringify(tenantColumns),
  ]);
  return rows.map((row) => findingOf(byId.get(row["lint"]!)!, JSON.parse(row["found"]!) as Found));
}

interface Found {
  readonly object: string;
  readonly detail: string;
  readonly fix?: string | null;
  readonly severity?: Severity | null;
}

function statementOf(lints: readonly Lint[]): string {
  return CATALOGUE + lints
    .map(({ id, sql }) => `SELECT '${id}' AS lint, to_jsonb(f)::text AS found FROM (${sql}\n) AS f`)
    .join("\nUNION ALL\n");
}

function order(id: string): number {
  return "RTPVFD".indexOf(id[0]!) * 100 + Number(id.slice(1));
}
