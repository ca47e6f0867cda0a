// Lints about what stands beside tables: views, sequences, foreign tables, functions.

import type { Lint } from "./lint.ts";

export const RELATIONS: readonly Lint[] = [
  {
    id: "V01",
    name: "view_bypasses_rls",
    severity: "error",
    finds: "a view that reads with the rights of an owner whom row-level security does not bind",
    why: "Unless it is security_invoker, the policies are asked for the owner, not for the caller.",
    remedy: "Before PostgreSQL 15 give the view to an owner who is bound.",
    sql: `
      SELECT v.fq AS object,
             format('reads as %I, who is not bound by row-level security', o.rolname) AS detail,
             CASE WHEN current_setting('server_version_num')::int >= 150000
               THEN format('ALTER VIEW %s SET (security_invoker = true);', v.fq) END AS fix
        FROM rel v JOIN pg_roles o ON o.oid = v.relowner
       WHERE v.relkind = 'v' AND v.exposed
         AND NOT coalesce(lower(v.reloptions::text) ~ 'security_invoker=(true|on|1|yes)', false)
         AND (o.rolsuper OR o.rolbypassrls OR EXISTS (
           SELECT FROM pg_rewrite w
             JOIN pg_depend d ON d.objid = w.oid AND d.classid = 'pg_rewrite'::regclass
              AND d.refclassid = 'pg_class'::regclass
             JOIN pg_class b ON b.oid = d.refobjid
            WHERE w.ev_class = v.oid AND b.relrowsecurity AND b.relowner = v.relowner
              AND NOT b.relforcerowsecurity))`,
  },
  {
    id: "V02",
    name: "matview_exposed",
    severity: "error",
    finds: "a materialized view that the application reads",
    why: "It has no row-level security: it holds what its owner saw, and shows it to all.",
    remedy: "Revoke it.",
    sql: `
      SELECT fq AS object, 'a materialized view has no row-level security' AS detail,
             format('REVOKE ALL ON %s FROM PUBLIC, %s;', fq,
                    (SELECT string_agg(name, ', ') FROM app)) AS fix
        FROM rel WHERE relkind = 'm' AND exposed`,
  },
  {
    id: "V03",
    name: "foreign_table_exposed",
    severity: "error",
    finds: "a foreign table that the application reaches",
    why: "It has no row-level security.",
    remedy: "Revoke it.",
    sql: `
      SELECT fq AS object, 'a foreign table has no row-level security' AS detail,
             format('REVOKE ALL ON %s FROM PUBLIC, %s;', fq,
                    (SELECT string_agg(name, ', ') FROM app)) AS fix
        FROM rel WHERE relkind = 'f' AND exposed`,
  },
  {
    id: "V04",
    name: "sequence_writable",
    severity: "warning",
    finds: "UPDATE on a sequence, held by the application",
    why: "setval() lets one tenant break the keys of all.",
    remedy: "USAGE is enough for nextval().",
    sql: `
      SELECT s.oid::regclass::text AS object, r.name || ' may setval()' AS detail,
             format('REVOKE UPDATE ON SEQUENCE %s FROM PUBLIC, %s;', s.oid::regclass, r.name) AS fix
        FROM pg_class s JOIN ns n ON n.oid = s.relnamespace CROSS JOIN app r
       WHERE s.relkind = 'S' AND r.oid <> s.relowner
         AND has_schema_privilege(r.oid, n.oid, 'USAGE')
         AND CASE s.relkind WHEN 'S' THEN has_sequence_privilege(r.oid, s.oid, 'UPDATE') END`,
  },
  {
    id: "F01",
    name: "definer_executable",
    severity: "warning",
    finds: "a SECURITY DEFINER function that the application may call " +
      "(an error when its owner is not bound by row-level security)",
    why: "It runs with the rights of its owner, outside the tenant.",
    remedy: "Make it SECURITY INVOKER, or let nobody call it who need not.",
    sql: `
      SELECT fq AS object, 'SECURITY DEFINER, runs as ' || owner AS detail,
             format('REVOKE EXECUTE ON %s %s FROM PUBLIC, %s;', kind, fq,
                    (SELECT string_agg(name, ', ') FROM app)) AS fix,
             CASE WHEN owner_bypasses THEN 'error' END AS severity
        FROM fn
       WHERE callable AND prorettype <> 'event_trigger'::regtype
         AND NOT (nspname = 'pgvpd' AND proowner IN (SELECT relowner FROM seal))`,
  },
  {
    id: "F02",
    name: "definer_search_path",
    severity: "error",
    finds: "a SECURITY DEFINER function whose search_path is not set, or does not end in pg_temp",
    why: "A caller's temporary object is taken for a table or function, and used as the owner.",
    remedy: "Set it, with pg_temp at its end.",
    sql: `
      SELECT fq AS object, 'SECURITY DEFINER with ' || coalesce(path, 'the caller''s search_path')
               AS detail,
             format('ALTER %s %s SET search_path = pg_catalog, pg_temp;', kind, fq) AS fix
        FROM fn
       WHERE (path IS NULL OR path !~ 'pg_temp"?\\s*$')
         AND prorettype <> 'event_trigger'::regtype`,
  },
  {
    id: "F03",
    name: "dynamic_sql_executable",
    severity: "warning",
    finds: "a SECURITY DEFINER function that the application may call and that joins SQL with ||",
    why: "What the caller passes may become a part of the statement, with the owner's rights.",
    remedy: "Use format() with %I and %L, and EXECUTE … USING.",
    sql: `
      SELECT fq AS object, 'EXECUTEs a string joined with ||' AS detail
        FROM fn WHERE callable AND prosrc ~* 'execute[^;]*\\|\\|'`,
  },
  {
    id: "F04",
    name: "verifier_replaceable",
    severity: "critical",
    finds: "pgvpd.ctx() that does not belong to the owner of the key or is no SECURITY DEFINER",
    why: "Whoever owns the verifier replaces it by one that says yes.",
    remedy: "Run sealed.sql again.",
    sql: `
      SELECT f.oid::regprocedure::text AS object,
             'belongs to ' || f.proowner::regrole::text ||
               CASE WHEN f.prosecdef THEN '' ELSE ', and is no SECURITY DEFINER' END AS detail,
             format('ALTER FUNCTION %s OWNER TO %s;', f.oid::regprocedure, k.relowner::regrole)
               AS fix
        FROM seal k CROSS JOIN pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace
       WHERE n.nspname = 'pgvpd' AND f.proname = 'ctx'
         AND (f.proowner <> k.relowner OR NOT f.prosecdef
              OR f.proowner IN (SELECT oid FROM role))`,
  },
];
