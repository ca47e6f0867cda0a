// The relations that lints are written over: pg_catalog, seen from the application's roles.
//
// One statement runs every lint, so that each of these is read once, however many tables there are.

/**
 * WITH clauses. $1 and $2 are JSON arrays of text: the roles that tenants log in as, and names that
 * a tenant's column usually has. The same text for PostgreSQL 13 to 18: a column that only newer
 * majors have is taken out of to_jsonb().
 */
export const CATALOGUE = `
WITH RECURSIVE
-- Every role that a session of these logins may become, or act as: SET ROLE and INHERIT.
member AS (
  SELECT m.roleid, m.member, m.admin_option
    FROM pg_auth_members m
   WHERE coalesce((to_jsonb(m) ->> 'set_option')::boolean
                  OR (to_jsonb(m) ->> 'inherit_option')::boolean, true)
), reach (oid, via, depth) AS (
  SELECT r.oid, r.rolname::text, 0
    FROM pg_roles r WHERE r.rolname IN (SELECT json_array_elements_text($1::text::json))
  UNION
  SELECT m.roleid, x.via || ' -> ' || g.rolname, x.depth + 1
    FROM reach x JOIN member m ON m.member = x.oid JOIN pg_roles g ON g.oid = m.roleid
   WHERE x.depth < 20
), role AS MATERIALIZED (
  SELECT DISTINCT ON (r.oid) r.*, x.via, x.depth = 0 AS direct,
         quote_ident(split_part(x.via, ' -> ', greatest(x.depth, 1))) AS parent
    FROM reach x JOIN pg_roles r ON r.oid = x.oid ORDER BY r.oid, x.depth, x.via
), app AS MATERIALIZED (
  SELECT oid, rolname, quote_ident(rolname) AS name, direct, parent FROM role WHERE NOT rolsuper
),
-- Behind the first two arguments of pgvpd_protect(): the role, unless it is the usual one.
for_role (argument) AS MATERIALIZED (
  SELECT CASE WHEN 'app_user' NOT IN (SELECT rolname FROM app)
           THEN (SELECT format(', %L', min(rolname::text)) FROM app WHERE direct) END
), ns AS MATERIALIZED (
  SELECT oid, nspname, nspowner, quote_ident(nspname) AS name FROM pg_namespace
   WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
),
-- What sealed.sql installs, if it has been run.
seal AS MATERIALIZED (
  SELECT c.oid, c.relowner, c.relrowsecurity
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE n.nspname = 'pgvpd' AND c.relname = 'seal_key'
),
-- The tenant's column: the one that pgvpd_protect() was given, or one with a name that says so.
guarded AS MATERIALIZED (
  SELECT DISTINCT ON (p.polrelid) p.polrelid, a.attnum, a.attname
    FROM pg_policy p
    JOIN pg_depend d ON d.classid = 'pg_policy'::regclass AND d.objid = p.oid
     AND d.refclassid = 'pg_class'::regclass AND d.refobjid = p.polrelid AND d.refobjsubid > 0
    JOIN pg_attribute a ON a.attrelid = p.polrelid AND a.attnum = d.refobjsubid
   WHERE starts_with(p.polname::text, 'pgvpd_tenant_') ORDER BY p.polrelid, a.attnum
), tenant_name (name, place) AS MATERIALIZED (
  SELECT name, min(place) FROM (
    SELECT value AS name, ordinality AS place
      FROM json_array_elements_text($2::text::json) WITH ORDINALITY
    UNION ALL SELECT attname::text, 1000 FROM guarded
  ) AS n GROUP BY name
), tenant_column AS MATERIALIZED (
  SELECT DISTINCT ON (a.attrelid) a.attrelid, a.attnum
    FROM pg_attribute a JOIN tenant_name n ON n.name = a.attname
   WHERE a.attnum > 0 AND NOT a.attisdropped
     AND a.attrelid NOT IN (SELECT polrelid FROM guarded)
   ORDER BY a.attrelid, n.place
), from_extension AS MATERIALIZED (
  SELECT d.classid, d.objid FROM pg_depend d WHERE d.deptype = 'e'
), rel AS MATERIALIZED (
  SELECT c.*, n.nspname, format('%I.%I', n.nspname, c.relname) AS fq,
         coalesce(g.attnum, t.attnum) AS tcol,
         EXISTS (SELECT FROM app r WHERE has_schema_privilege(r.oid, n.oid, 'USAGE')
            AND (has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE')
                 OR has_any_column_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE'))) AS exposed
    FROM pg_class c JOIN ns n ON n.oid = c.relnamespace
    LEFT JOIN guarded g ON g.polrelid = c.oid
    LEFT JOIN tenant_column t ON t.attrelid = c.oid
   WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
     AND NOT (n.nspname = 'pgvpd' AND c.relowner IN (SELECT relowner FROM seal))
     AND NOT EXISTS (SELECT FROM from_extension d
                      WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass)
), tab AS MATERIALIZED (
  SELECT r.*, quote_ident(a.attname) AS tname
    FROM rel r LEFT JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum = r.tcol
   WHERE r.relkind IN ('r', 'p')
), policy AS MATERIALIZED (
  SELECT p.oid, p.polrelid, p.polname, p.polpermissive, p.polcmd, p.polroles,
         quote_ident(p.polname) AS name, t.fq, t.tcol, t.tname, t.relrowsecurity, t.exposed,
         coalesce(pg_get_expr(p.polqual, p.polrelid), '') AS q,
         coalesce(pg_get_expr(p.polwithcheck, p.polrelid), '') AS w,
         0 = ANY (p.polroles) OR p.polroles && ARRAY(SELECT oid FROM role) AS applies
    FROM pg_policy p JOIN tab t ON t.oid = p.polrelid
), policy_function AS MATERIALIZED (
  SELECT DISTINCT p.fq, p.polname, p.name AS policy, f.oid, f.proname, f.provolatile, f.proparallel,
         f.prosrc, f.proconfig, f.prolang, f.oid::regprocedure::text AS fn
    FROM policy p
    JOIN pg_depend d ON d.classid = 'pg_policy'::regclass AND d.objid = p.oid
     AND d.refclassid = 'pg_proc'::regclass
    JOIN pg_proc f ON f.oid = d.refobjid
   WHERE f.pronamespace <> 'pg_catalog'::regnamespace
), fn AS MATERIALIZED (
  SELECT f.oid, f.proname, f.proowner, f.prosecdef, f.prosrc, f.prorettype, n.nspname,
         f.oid::regprocedure::text AS fq,
         CASE f.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END AS kind,
         quote_ident(o.rolname) AS owner, o.rolsuper OR o.rolbypassrls AS owner_bypasses,
         (SELECT c FROM unnest(f.proconfig) c WHERE c LIKE 'search_path=%') AS path,
         EXISTS (SELECT FROM app r WHERE has_schema_privilege(r.oid, n.oid, 'USAGE')
                    AND has_function_privilege(r.oid, f.oid, 'EXECUTE')) AS callable
    FROM pg_proc f JOIN ns n ON n.oid = f.pronamespace JOIN pg_roles o ON o.oid = f.proowner
   WHERE f.prokind IN ('f', 'p') AND f.prosecdef
     AND NOT EXISTS (SELECT FROM from_extension d
                      WHERE d.objid = f.oid AND d.classid = 'pg_proc'::regclass)
)
`;
