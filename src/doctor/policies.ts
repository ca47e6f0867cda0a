// Lints about policies and the functions that they call.

import type { Lint } from "./lint.ts";

/** What reads the context: each is a regular expression of PostgreSQL, up to the parenthesis. */
const READERS = String.raw`(pgvpd\.ctx|current_tenant_id|pgvpd_context\w*)\(`;
/** Those, and the bare setting, as far as they do not look at the row. */
const CONSTANTS = String.raw`(pgvpd\.ctx|current_tenant_id|pgvpd_context|current_setting)\(`;
/** A condition without blanks and parentheses. */
const bare = (condition: string) => `lower(regexp_replace(${condition}, '[\\s()]', '', 'g'))`;
const IS_TRUE = "('true', '1=1', 'nottrueisfalse')";

export const POLICIES: readonly Lint[] = [
  {
    id: "P01",
    name: "policy_trusts_guc",
    severity: "critical",
    finds:
      "a policy that reads current_setting() itself (a note while sealed.sql is not installed)",
    why: "Any SQL that a client runs can SET a session variable.",
    remedy: "Install sealed.sql and compare with (SELECT pgvpd.ctx('…')), the name in lower case.",
    sql: `
      SELECT fq AS object, name || ' reads current_setting()' AS detail,
             CASE WHEN NOT EXISTS (SELECT FROM seal) THEN 'info' END AS severity
        FROM policy WHERE exposed AND (q || ' ' || w) ~ 'current_setting\\('`,
  },
  {
    id: "P02",
    name: "policy_function_trusts_guc",
    severity: "critical",
    finds: "policies that call a function which returns a session variable unverified (likewise)",
    why: "Any SQL that a client runs can SET a session variable.",
    remedy: "Install sealed.sql, which replaces pgvpd's own functions; do the same with others.",
    sql: `
      SELECT fn AS object,
             format('returns a session variable unverified; policies of %s tables call it',
                    count(DISTINCT fq)) AS detail,
             CASE WHEN NOT EXISTS (SELECT FROM seal) THEN 'info' END AS severity
        FROM policy_function
       WHERE prosrc ~ 'current_setting' AND prosrc !~ 'sha256|hmac|pgvpd\\.ctx\\('
       GROUP BY fn`,
  },
  {
    id: "P03",
    name: "no_restrictive_seal",
    severity: "error",
    finds: "a protected table without a RESTRICTIVE policy for all commands and PUBLIC " +
      "that binds it to the context",
    why: "Permissive policies are ORed: any later one opens the table to all tenants.",
    remedy: "Protect it with pgvpd_protect(), which makes such a policy.",
    sql: `
      SELECT t.fq AS object, 'no restrictive policy bounds it' AS detail,
             format('SELECT pgvpd_protect(%L, %L%s);', t.fq,
               (SELECT attname FROM pg_attribute a WHERE a.attrelid = t.oid AND a.attnum = t.tcol),
               (SELECT argument FROM for_role)) AS fix
        FROM tab t
       WHERE t.relrowsecurity AND t.exposed AND t.tcol IS NOT NULL
         AND t.oid NOT IN (
           SELECT p.polrelid FROM policy p
            WHERE NOT p.polpermissive AND p.polcmd = '*'
              AND 0 = ANY (p.polroles)
              AND (p.q ~ '${READERS}'
                   OR NOT EXISTS (SELECT FROM seal) AND p.q ~ 'current_setting\\('))`,
  },
  {
    id: "P04",
    name: "policy_always_true",
    severity: "error",
    finds: "a permissive policy whose condition always is true",
    why: "It opens the table: to read with USING, to write rows of other tenants with WITH CHECK.",
    remedy: "Drop it, or give it a condition.",
    sql: `
      SELECT fq AS object,
             concat_ws(' ', name, 'USING ' || nullif(q, ''), 'WITH CHECK ' || nullif(w, ''))
               AS detail,
             format('DROP POLICY %s ON %s;', name, fq) AS fix
        FROM policy
       WHERE applies AND polpermissive AND (${bare("q")} IN ${IS_TRUE} OR ${
      bare("w")
    } IN ${IS_TRUE})`,
  },
  {
    id: "P05",
    name: "policy_empty",
    severity: "info",
    finds: "a permissive policy with neither USING nor WITH CHECK",
    why: "It permits nothing, whatever it was meant for.",
    remedy: "Drop it, or give it a condition.",
    sql: `
      SELECT fq AS object, name || ' permits nothing' AS detail,
             format('DROP POLICY %s ON %s;', name, fq) AS fix
        FROM policy WHERE applies AND polpermissive AND q = '' AND w = ''`,
  },
  {
    id: "P06",
    name: "policy_ignores_tenant",
    severity: "error",
    finds: "a permissive policy that neither names the tenant's column nor reads the context",
    why: "Permissive policies are ORed: whatever it lets through, it lets through to every tenant.",
    remedy: "Add the tenant's condition, or make the policy RESTRICTIVE.",
    sql: `
      SELECT p.fq AS object, p.name || ' does not depend on the tenant' AS detail,
             format('DROP POLICY %s ON %s;', p.name, p.fq) AS fix
        FROM policy p JOIN pg_attribute a ON a.attrelid = p.polrelid AND a.attnum = p.tcol
       WHERE p.applies AND p.polpermissive
         AND strpos(p.q || ' ' || p.w, a.attname::text) = 0
         AND (p.q || ' ' || p.w) !~ '${READERS}'
         AND ${bare("p.q || p.w")} !~ '^(true|false|1=1)*$'`,
  },
  {
    id: "P07",
    name: "multiple_permissive",
    severity: "warning",
    finds: "several permissive policies for reading one table",
    why: "They are ORed: the widest of them decides, and each is evaluated.",
    remedy: "Merge them, or make all but one RESTRICTIVE.",
    sql: `
      SELECT fq AS object, count(*) || ' are ORed: ' || string_agg(name, ', ' ORDER BY name)
               AS detail
        FROM policy WHERE applies AND polpermissive AND polcmd IN ('*', 'r')
       GROUP BY fq HAVING count(*) > 1`,
  },
  {
    id: "P08",
    name: "policy_not_initplan",
    severity: "warning",
    finds: "a policy that calls the context's function outside a sub-SELECT",
    why: "It runs once for each row instead of once for each query: 15 to 120 times slower.",
    remedy: "Write (SELECT f()) instead of f().",
    sql: `
      SELECT fq AS object, name || ' calls the context''s function for each row' AS detail
        FROM policy
       WHERE q ~ '${CONSTANTS}' AND q !~* 'select\\s.*${CONSTANTS}'`,
  },
  {
    id: "P09",
    name: "policy_function_volatility",
    severity: "error",
    finds: "a function in a policy that is IMMUTABLE though it reads the context, or VOLATILE",
    why: "A plan keeps what an IMMUTABLE one said for the tenant before; a VOLATILE one runs for " +
      "each row and keeps indexes unused.",
    remedy: "Make it STABLE.",
    sql: `
      SELECT fn AS object,
             format('%s, and called by policies of %s tables',
                    CASE provolatile WHEN 'i' THEN 'IMMUTABLE' ELSE 'VOLATILE' END,
                    count(DISTINCT fq)) AS detail,
             format('ALTER FUNCTION %s STABLE;', fn) AS fix
        FROM policy_function
       WHERE provolatile = 'v'
          OR provolatile = 'i' AND prosrc ~ 'current_setting|current_tenant_id|pgvpd'
       GROUP BY fn, provolatile`,
  },
  {
    id: "P10",
    name: "policy_function_search_path",
    severity: "error",
    finds: "a function in a policy that looks names up in the caller's search_path",
    why: "A client may put a schema, or pg_temp, in front, and so another function in its place.",
    remedy: "Set its search_path, or say the schema of every function, operator and table in it.",
    sql: `
      SELECT DISTINCT f.fn AS object, 'looks names up in the caller''s search_path' AS detail,
             format('ALTER FUNCTION %s SET search_path = pg_catalog, pg_temp;', f.fn) AS fix
        FROM policy_function f
        JOIN pg_language l ON l.oid = f.prolang AND l.lanname IN ('sql', 'plpgsql')
        -- Without comments, literals and operators that say their schema.
        CROSS JOIN LATERAL regexp_replace(f.prosrc,
          '--[^\\n]*|''[^'']*''|operator\\s*\\([^)]*\\)|->>?|::', ' ', 'gi') AS body
       WHERE f.prosrc <> '' AND NOT coalesce(f.proconfig::text LIKE '%search_path=%', false)
         AND (l.lanname = 'plpgsql'
           OR body ~ '[-=<>~|+*/!@#%^&]'
           OR body ~* '(^|[^\\w."])(?!(select|case|when|then|else|and|or|not|in|any|all|exists|values|coalesce|cast|array|row)\\M)[a-z_]\\w*\\s*\\('
           OR body ~* '\\m(from|join)\\s+[a-z_"][\\w"]*(?![\\w".])')`,
  },
  {
    id: "P11",
    name: "policy_function_parallel_safe",
    severity: "warning",
    finds: "a function in a policy that is PARALLEL SAFE though it depends on its process",
    why: "A parallel worker has another process ID and no sequence values: rows go missing.",
    remedy: "Make it PARALLEL RESTRICTED.",
    sql: `
      SELECT DISTINCT fn AS object, 'PARALLEL SAFE, but depends on its process' AS detail,
             format('ALTER FUNCTION %s PARALLEL RESTRICTED;', fn) AS fix
        FROM policy_function
       WHERE proparallel = 's' AND prosrc ~ 'pg_backend_pid|currval|pgvpd\\.ctx\\('`,
  },
  {
    id: "P12",
    name: "policy_reads_unprotected_table",
    severity: "warning",
    finds: "a policy that reads a table which the application reaches without row-level security",
    why: "Who may write there decides what the policy lets through.",
    remedy: "Protect that table too, or let the application only read it.",
    sql: `
      SELECT DISTINCT p.fq AS object, format('%s reads %s', p.name, t.fq) AS detail,
             format('REVOKE INSERT, UPDATE, DELETE ON %s FROM %s;', t.fq,
                    (SELECT string_agg(name, ', ') FROM app)) AS fix
        FROM policy p
        JOIN pg_depend d ON d.classid = 'pg_policy'::regclass AND d.objid = p.oid
         AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> p.polrelid
        JOIN tab t ON t.oid = d.refobjid
       WHERE t.exposed AND NOT t.relrowsecurity`,
  },
];
