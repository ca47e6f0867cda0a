// Lints about tables: whether row-level security is there, is on, and binds everybody.

import type { Lint } from "./lint.ts";

export const TABLES: readonly Lint[] = [
  {
    id: "T01",
    name: "rls_disabled",
    severity: "critical",
    finds:
      "a table with a tenant's column that the application reaches, without row-level security",
    why: "Every tenant sees, or changes, the rows of all.",
    remedy: "Protect it.",
    sql: `
      SELECT fq AS object, format('column %s looks like a tenant''s, row-level security is off',
                                  tname) AS detail,
             format('SELECT pgvpd_protect(%L, %L%s);', fq,
               (SELECT attname FROM pg_attribute a WHERE a.attrelid = t.oid AND a.attnum = t.tcol),
               (SELECT argument FROM for_role)) AS fix
        FROM tab t WHERE exposed AND NOT relrowsecurity AND tcol IS NOT NULL`,
  },
  {
    id: "T02",
    name: "no_tenant_column",
    severity: "warning",
    finds: "a table that the application reaches, without row-level security and tenant's column",
    why: "It is one for all tenants: whatever one writes there, all read.",
    remedy: "If it is meant to be shared, grant SELECT alone and silence this with the reason.",
    sql: `
      SELECT fq AS object, 'shared by all tenants' AS detail,
             format('REVOKE INSERT, UPDATE, DELETE ON %s FROM %s;', fq,
                    (SELECT string_agg(name, ', ') FROM app)) AS fix
        FROM tab WHERE exposed AND NOT relrowsecurity AND tcol IS NULL`,
  },
  {
    id: "T03",
    name: "rls_not_forced",
    severity: "warning",
    finds: "a tenants' table whose row-level security is not forced",
    why:
      "Its owner is not bound, and neither are the owner's views and SECURITY DEFINER functions.",
    remedy: "Force it.",
    sql: `
      SELECT fq AS object, 'the owner is not bound by the policies' AS detail,
             format('ALTER TABLE %s FORCE ROW LEVEL SECURITY;', fq) AS fix
        FROM tab WHERE relrowsecurity AND NOT relforcerowsecurity AND tcol IS NOT NULL`,
  },
  {
    id: "T04",
    name: "rls_enabled_no_policy",
    severity: "info",
    finds: "a table with row-level security and no policy",
    why: "Nobody but the owner sees a row: safe, but hardly what was meant.",
    remedy: "Make a policy, for instance with pgvpd_protect().",
    sql: `
      SELECT fq AS object, 'no policy: no row is seen' AS detail
        FROM tab t
       WHERE relrowsecurity AND NOT EXISTS (SELECT FROM policy p WHERE p.polrelid = t.oid)`,
  },
  {
    id: "T05",
    name: "policy_exists_rls_disabled",
    severity: "error",
    finds: "policies on a table whose row-level security is off",
    why: "The policies look like protection and do nothing.",
    remedy: "Enable row-level security.",
    sql: `
      SELECT fq AS object, 'without effect: ' || string_agg(name, ', ') AS detail,
             format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;', fq)
               AS fix
        FROM policy WHERE NOT relrowsecurity GROUP BY fq`,
  },
  {
    id: "T06",
    name: "child_unprotected",
    severity: "critical",
    finds: "a partition or child of a protected table that the application reaches by its own name",
    why: "A parent's policies do not apply to a child that is queried directly.",
    remedy: "Protect the parent again, which takes its children along, or grant nothing on them.",
    sql: `
      SELECT t.fq AS object, 'unprotected child of ' || p.oid::regclass::text AS detail,
             format('REVOKE ALL ON %s FROM %s;', t.fq, (SELECT string_agg(name, ', ') FROM app))
               AS fix
        FROM tab t JOIN pg_inherits i ON i.inhrelid = t.oid JOIN pg_class p ON p.oid = i.inhparent
       WHERE p.relrowsecurity AND t.exposed AND NOT t.relrowsecurity`,
  },
  {
    id: "T07",
    name: "dangerous_table_privilege",
    severity: "error",
    finds: "TRUNCATE, REFERENCES, TRIGGER or MAINTAIN on a protected table",
    why: "Row-level security does not apply to them: TRUNCATE takes every tenant's rows.",
    remedy: "Revoke them.",
    sql: `
      SELECT t.fq AS object, r.name || ' has ' || string_agg(p.privilege, ', ') AS detail,
             format('REVOKE %s ON %s FROM PUBLIC, %s;', string_agg(p.privilege, ', '), t.fq, r.name)
               AS fix
        FROM tab t CROSS JOIN app r
        CROSS JOIN unnest(CASE WHEN current_setting('server_version_num')::int >= 170000
                            THEN ARRAY['TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN']
                            ELSE ARRAY['TRUNCATE', 'REFERENCES', 'TRIGGER'] END) AS p (privilege)
       WHERE t.relrowsecurity AND r.oid <> t.relowner
         AND has_table_privilege(r.oid, t.oid, p.privilege)
       GROUP BY t.fq, r.name`,
  },
  {
    id: "T14",
    name: "rule_on_table",
    severity: "warning",
    finds: "a rewrite rule on a table",
    why: "A rule's statements run with the rights of the table's owner.",
    remedy: "Use a trigger, which runs as the caller.",
    sql: `
      SELECT t.fq AS object, 'rule ' || quote_ident(r.rulename) AS detail,
             format('DROP RULE %I ON %s;', r.rulename, t.fq) AS fix
        FROM tab t JOIN pg_rewrite r ON r.ev_class = t.oid`,
  },
  {
    id: "T15",
    name: "published_without_filter",
    severity: "info",
    finds: "a protected table in a publication without a row filter",
    why: "Logical replication does not apply row-level security: subscribers get every tenant.",
    remedy: "See to it that the subscriber is as well protected.",
    sql: `
      SELECT t.fq AS object, 'published by ' || string_agg(quote_ident(p.pubname), ', ') AS detail
        FROM tab t
        JOIN pg_publication_tables p ON p.schemaname = t.nspname AND p.tablename = t.relname
       WHERE t.relrowsecurity AND (to_jsonb(p) ->> 'rowfilter') IS NULL
       GROUP BY t.fq`,
  },
];
