// Proofs: what the catalogues promise is tried as the application's role, and rolled back.

import { CATALOGUE } from "./catalogue.ts";
import { type Check, type Finding, findingOf } from "./lint.ts";
import type { Query, Target } from "./lints.ts";
import { hasCondition } from "./plan.ts";
import { identifier, literal, type Trial } from "./session.ts";

const FILTER: Check = {
  id: "E01",
  name: "filter_missing",
  severity: "critical",
  finds: "a protected table that the application's role reads without a condition on the tenant",
  why: "EXPLAIN as that role shows what really is read: here the rows of every tenant.",
  remedy: "Find out who the role is for PostgreSQL: an owner, a member of one, or BYPASSRLS.",
};
const NOBODY: Check = {
  id: "E02",
  name: "rows_for_nobody",
  severity: "critical",
  finds: "a protected table in which a tenant who does not exist sees rows",
  why: "Whatever he sees every tenant sees.",
  remedy: "Look for a permissive policy that lets these rows through.",
};
const ROLE: Check = {
  id: "E03",
  name: "role_changed",
  severity: "critical",
  finds: "a role that a session of the application could take on, by SET ROLE or set_config()",
  why: "The session then has that role's rights, and policies for it.",
  remedy: "Revoke the membership.",
};
const CONTEXT: Check = {
  id: "E04",
  name: "context_forged",
  severity: "critical",
  finds: "a context that SQL could change (a note while sealed.sql is not installed)",
  why: "Whoever can run SQL of his own, by an injection for instance, is any tenant he likes.",
  remedy: "Install sealed.sql: pgvpd then proves the context to the database.",
};

/** Every check that is tried, but for that of poolers.ts. */
export const PROOFS: readonly Check[] = [FILTER, NOBODY, ROLE, CONTEXT];

/** More is not tried: the first are those that matter. */
const ROLES_MAX = 200;
/** For all reading of tables; a database without indexes would take for ever. */
const READING_MS_MAX = 5_000;

/** What there is to try, as an administrator sees it. */
export interface Scene {
  readonly tables: readonly ProtectedTable[];
  readonly roles: readonly { readonly name: string; readonly isUnbound: boolean }[];
  /** current_tenant_id() of an administrator, as SQL; null: it is not there. */
  readonly tenantFunction: string | null;
  readonly isSealed: boolean;
}

export interface ProtectedTable {
  /** As SQL. */
  readonly name: string;
  /** Columns that decide who sees a row: the tenant's, and those in policies. */
  readonly columns: readonly string[];
  /** Of the tenant's column; null: none is known. */
  readonly type: string | null;
  /**
   * Whether nobody but administrators has written what runs when it is read. Functions of others
   * must not run in an administrator's session, whatever role it has taken on: they could go back.
   */
  readonly isTrusted: boolean;
}

/** Roles whose functions may run in this session. */
const TRUSTED = `(SELECT oid FROM pg_roles WHERE rolsuper OR rolname = current_user
  UNION ALL SELECT s.relowner FROM seal s JOIN pg_roles r ON r.oid = s.relowner
   WHERE r.rolname = 'pgvpd_vault' AND NOT r.rolcanlogin)`;
/**
 * Tables that run somebody else's code when they are read, or only planned for: in a policy, an
 * index, a constraint or statistics, their own or of their children.
 */
const STRANGE = `, family (root, oid) AS (
  SELECT oid, oid FROM tab
  UNION SELECT f.root, i.inhrelid FROM family f JOIN pg_inherits i ON i.inhparent = f.oid
), expression (rel, classid, objid) AS (
  SELECT polrelid, 'pg_policy'::regclass::oid, oid FROM pg_policy
  UNION ALL SELECT indrelid, 'pg_class'::regclass, indexrelid FROM pg_index
  UNION ALL SELECT conrelid, 'pg_constraint'::regclass, oid FROM pg_constraint
  UNION ALL SELECT stxrelid, 'pg_statistic_ext'::regclass, oid FROM pg_statistic_ext
), strange AS MATERIALIZED (
  SELECT f.root AS oid FROM family f JOIN expression e ON e.rel = f.oid
    JOIN pg_depend d ON d.classid = e.classid AND d.objid = e.objid
    LEFT JOIN pg_proc p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid
    LEFT JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid
    -- What a policy reads besides has code of its own, unless it is a plain table.
    LEFT JOIN pg_class c ON d.refclassid = 'pg_class'::regclass AND c.oid = d.refobjid
     AND d.classid = 'pg_policy'::regclass AND c.oid <> e.rel
     AND (c.relrowsecurity OR c.relkind NOT IN ('r', 'p'))
   WHERE coalesce(p.proowner, o.oprowner, c.relowner) NOT IN ${TRUSTED})`;

/** Reads what proofs need to know. The search_path has to be pinned, as for lints. */
export async function readScene(query: Query, target: Target): Promise<Scene> {
  const names = [JSON.stringify(target.roles), JSON.stringify(target.tenantColumns)];
  const tables = await query(
    `${CATALOGUE}${STRANGE} SELECT t.fq AS name, format_type(a.atttypid, NULL) AS type,
       (SELECT json_agg(DISTINCT c.attname)::text
          FROM pg_attribute c
          LEFT JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = c.attrelid
           AND d.refobjsubid = c.attnum AND d.classid = 'pg_policy'::regclass
         WHERE c.attrelid = t.oid AND (c.attnum = t.tcol OR d.objid IS NOT NULL)) AS columns,
       (t.oid NOT IN (SELECT oid FROM strange))::text AS trusted
     FROM tab t LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = t.tcol
    WHERE t.relrowsecurity AND EXISTS (SELECT FROM app r
      WHERE has_schema_privilege(r.oid, t.relnamespace, 'USAGE')
        AND has_any_column_privilege(r.oid, t.oid, 'SELECT')) ORDER BY 1`,
    names,
  );
  const roles = await query(
    `SELECT rolname::text AS name, (rolsuper OR rolbypassrls)::text AS unbound FROM pg_roles
      WHERE rolname NOT IN (SELECT json_array_elements_text($1::text::json))
      ORDER BY rolsuper DESC, rolbypassrls DESC, rolname LIMIT ${ROLES_MAX}`,
    names.slice(0, 1),
  );
  const [facts] = await query(
    `${CATALOGUE} SELECT (SELECT format('%s.current_tenant_id()', p.pronamespace::regnamespace)
               FROM pg_proc p WHERE p.proname = 'current_tenant_id' AND p.pronargs = 0
                AND p.proowner IN ${TRUSTED}
              ORDER BY p.pronamespace LIMIT 1) AS function,
            EXISTS (SELECT FROM seal)::text AS sealed`,
    names,
  );
  return {
    tables: tables.map(({ name, columns, type, trusted }) => ({
      name: name!,
      columns: JSON.parse(columns ?? "[]") as string[],
      type: type!,
      isTrusted: trusted === "true",
    })),
    roles: roles.map(({ name, unbound }) => ({ name: name!, isUnbound: unbound === "true" })),
    tenantFunction: facts!["function"]!,
    isSealed: facts!["sealed"] === "true",
  };
}

/** How many tables were looked at, and what was found. */
export interface TablesProof {
  readonly findings: readonly Finding[];
  readonly explained: number;
  /** Read, as a tenant who does not exist. */
  readonly read: number;
}

/**
 * Has each table's plan explained. With `variable` the session variable is set to a tenant who
 * does not exist, and each table is read as well; null: the session has a context already.
 */
export async function proveTables(
  trial: Trial,
  tables: readonly ProtectedTable[],
  { variable, reads, now = () => performance.now() }: {
    readonly variable: string | null;
    readonly reads: boolean;
    readonly now?: () => number;
  },
): Promise<TablesProof> {
  const findings: Finding[] = [];
  const endsAt = now() + READING_MS_MAX;
  let [explained, read] = [0, 0];
  for (const { name, columns, type } of tables) {
    const context = variable === null
      ? ""
      : `SELECT set_config(${literal(variable)}, ${literal(nobody(type))}, true);`;
    const plan = await trial(`${context} EXPLAIN (FORMAT JSON, COSTS OFF) SELECT FROM ${name}`);
    if (plan instanceof Error) continue; // refused: nothing is read
    explained++;
    if (!hasCondition(plan[0]!["QUERY PLAN"]!, columns)) {
      const detail = ["the plan has no condition", columns.join(" or ")].filter((each) => each)
        .join(" on ");
      findings.push(findingOf(FILTER, { object: name, detail }));
      continue;
    }
    if (!reads || now() > endsAt) continue;
    const rows = await trial(`${context} SELECT 1 AS seen FROM ${name} LIMIT 1`);
    if (rows instanceof Error) continue;
    read++;
    if (rows.length > 0) {
      const detail = "a tenant who does not exist sees rows";
      findings.push(findingOf(NOBODY, { object: name, detail }));
    }
  }
  return { findings, explained, read };
}

/** A tenant whom nobody else is, as the column's type wants it. */
function nobody(type: string | null): string {
  if (type !== null && /int|numeric/.test(type)) {
    return String(-1 - crypto.getRandomValues(new Uint16Array(1))[0]!); // fits a smallint's range
  }
  const uuid = crypto.randomUUID();
  return type === "uuid" ? uuid : `pgvpd-doctor-${uuid}`;
}

/** How many changes of role were tried, and which of them were done. */
export interface RolesProof {
  readonly findings: readonly Finding[];
  readonly tried: number;
}

/**
 * Tries to become every role that there is, in each way that SQL has.
 *
 * @param isLogin whether the session really has logged in as that role; to one that was given the
 * role by SET SESSION AUTHORIZATION that statement proves nothing.
 */
export async function proveRoles(
  trial: Trial,
  roles: Scene["roles"],
  { setRole, isLogin }: { readonly setRole: string | null; readonly isLogin: boolean },
): Promise<RolesProof> {
  const findings: Finding[] = [];
  const before = await whoAfter(trial, "");
  let tried = 0;
  const back = ["RESET ROLE", "SET ROLE NONE", ...(isLogin ? ["RESET SESSION AUTHORIZATION"] : [])];
  for (const statement of back) {
    tried++;
    const after = await whoAfter(trial, `${statement};`);
    if (after === null || after === before) continue;
    findings.push(findingOf(ROLE, {
      object: after,
      detail: `${statement} leads from ${before} to ${after}`,
      severity: roles.some(({ name, isUnbound }) => name === after && isUnbound)
        ? "critical"
        : "warning",
    }));
  }
  for (const { name, isUnbound } of roles) {
    if (name === setRole) continue;
    const ways = [
      `SET ROLE ${identifier(name)}`,
      `SELECT set_config('role', ${literal(name)}, true)`,
      ...(isUnbound && isLogin ? [`SET SESSION AUTHORIZATION ${identifier(name)}`] : []),
    ];
    tried += ways.length;
    const done = [];
    for (const way of ways) {
      if (await whoAfter(trial, `${way};`) === name) done.push(way.replace(/ ".*|\(.*/, ""));
    }
    if (done.length === 0) continue;
    findings.push(findingOf(ROLE, {
      object: name,
      detail: `${before} became ${name}${
        isUnbound ? ", whom row-level security does not bind" : ""
      }`,
      severity: isUnbound ? "critical" : "warning",
      ...(before === null ? {} : { fix: `REVOKE ${identifier(name)} FROM ${identifier(before)};` }),
    }));
  }
  return { findings, tried };
}

async function whoAfter(trial: Trial, statement: string): Promise<string | null> {
  const rows = await trial(`${statement} SELECT current_user::text AS who`);
  return rows instanceof Error ? null : rows[0]!["who"]!;
}

/**
 * Tries to become another tenant with set_config(). Null when that cannot be told: there is no
 * function that says who the tenant is, or the role may not call it.
 */
export async function proveContext(
  trial: Trial,
  { tenantFunction, isSealed }: Scene,
  variable: string,
): Promise<readonly Finding[] | null> {
  if (tenantFunction === null) return null;
  const other = nobody(null);
  const rows = await trial(
    `SELECT set_config(${literal(variable)}, ${literal(other)}, true);
     SELECT ${tenantFunction} AS tenant`,
  );
  if (rows instanceof Error || rows[0]!["tenant"] !== other) return [];
  return [findingOf(CONTEXT, {
    object: variable,
    detail: `after set_config() ${tenantFunction} is another tenant`,
    severity: isSealed ? "critical" : "info",
  })];
}
