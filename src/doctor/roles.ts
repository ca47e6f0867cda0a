// Lints about roles: who tenants log in as, what that role may become, and who owns the seal's key.

import type { Lint } from "./lint.ts";

export const ROLES: readonly Lint[] = [
  {
    id: "R01",
    name: "role_privileged",
    severity: "critical",
    finds: "a role of the application that is SUPERUSER, BYPASSRLS, CREATEROLE or REPLICATION",
    why: "Row-level security does not bind SUPERUSER and BYPASSRLS; the others lead past it.",
    remedy: "Let tenants log in as a role that has none of these and reaches none that has.",
    sql: `
      SELECT name AS object,
             via || ' is ' || array_to_string(wrong, ', ') AS detail,
             CASE WHEN direct
               THEN format('ALTER ROLE %s NO%s;', name, array_to_string(wrong, ' NO'))
               ELSE format('REVOKE %s FROM %s;', name, parent) END AS fix
        FROM (SELECT quote_ident(r.rolname) AS name, r.via, r.direct, r.parent,
                array_remove(ARRAY[
                  CASE WHEN r.rolsuper THEN 'SUPERUSER' END,
                  CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END,
                  CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END,
                  CASE WHEN r.rolreplication THEN 'REPLICATION' END,
                  CASE WHEN r.direct AND r.rolcreatedb THEN 'CREATEDB' END], NULL) AS wrong
                FROM role r) AS r
       WHERE cardinality(wrong) > 0`,
  },
  {
    id: "R02",
    name: "role_reaches_owner",
    severity: "critical",
    finds: "a role of the application that owns, or may become the owner of, a tenants' table",
    why: "The owner of a table may switch its row-level security off.",
    remedy: "Give the tables to a role that nobody logs in as.",
    sql: `
      SELECT r.name AS object,
             format('owns %s tables with a tenant column (%s)', count(*), min(t.fq)) AS detail,
             CASE WHEN NOT r.direct THEN format('REVOKE %s FROM %s;', r.name, r.parent)
               WHEN count(*) = 1
               THEN format('ALTER TABLE %s OWNER TO %I;', min(t.fq), current_user)
               ELSE format('REASSIGN OWNED BY %s TO %I;', r.name, current_user) END AS fix
        FROM app r JOIN tab t ON t.relowner = r.oid AND t.tcol IS NOT NULL
       GROUP BY r.name, r.direct, r.parent`,
  },
  {
    id: "R03",
    name: "role_reaches_predefined",
    severity: "critical",
    finds: "a predefined or provider's role of wide powers within the application's reach",
    why: "Such a role reads or writes every table or file, or ends other tenants' sessions.",
    remedy: "Revoke it.",
    sql: `
      SELECT quote_ident(r.rolname) AS object, r.via AS detail,
             CASE WHEN NOT r.direct
               THEN format('REVOKE %I FROM %s;', r.rolname, r.parent) END AS fix
        FROM role r
       WHERE r.rolname IN ('pg_read_all_data', 'pg_write_all_data', 'pg_read_server_files',
         'pg_write_server_files', 'pg_execute_server_program', 'pg_database_owner', 'pg_maintain',
         'pg_create_subscription', 'pg_signal_backend', 'pg_monitor', 'pg_read_all_stats',
         'pg_read_all_settings', 'pg_stat_scan_tables', 'rds_superuser', 'rds_replication',
         'cloudsqlsuperuser', 'azure_pg_admin', 'neon_superuser', 'supabase_admin')`,
  },
  {
    id: "R04",
    name: "role_admin_option",
    severity: "error",
    finds: "ADMIN OPTION on some role, held by the application",
    why: "Whoever holds it grants the role to anybody, and so to himself.",
    remedy: "Revoke it.",
    sql: `
      SELECT quote_ident(r.rolname) AS object,
             'holds ADMIN OPTION on ' || quote_ident(g.rolname) AS detail,
             format('REVOKE ADMIN OPTION FOR %I FROM %I;', g.rolname, r.rolname) AS fix
        FROM role r JOIN pg_auth_members m ON m.member = r.oid AND m.admin_option
        JOIN pg_roles g ON g.oid = m.roleid`,
  },
  {
    id: "R05",
    name: "role_settings_changed",
    severity: "warning",
    finds: "settings stored for a login of the application with ALTER ROLE … SET",
    why: "A role may store settings for itself: one tenant's are every tenant's from then on.",
    remedy: "Reset them, and have pgvpd send what is needed.",
    sql: `
      SELECT quote_ident(r.rolname) AS object, array_to_string(s.setconfig, ', ') AS detail,
             format('ALTER ROLE %I%s RESET ALL;', r.rolname,
                    (SELECT format(' IN DATABASE %I', d.datname) FROM pg_database d
                      WHERE d.oid = s.setdatabase)) AS fix
        FROM role r JOIN pg_db_role_setting s ON s.setrole = r.oid
       WHERE r.rolcanlogin AND s.setdatabase IN (
         0, (SELECT oid FROM pg_database WHERE datname = current_database()))`,
  },
  {
    id: "R06",
    name: "login_inherits",
    severity: "warning",
    finds: "a login that inherits the privileges of the roles it is a member of",
    why: "RESET ROLE leads back to the login, which then still has their privileges.",
    remedy: "Make it NOINHERIT.",
    sql: `
      SELECT quote_ident(r.rolname) AS object,
             'inherits from ' || string_agg(m.roleid::regrole::text, ', ') AS detail,
             format('ALTER ROLE %I NOINHERIT;', r.rolname) ||
               CASE WHEN current_setting('server_version_num')::int >= 160000
                 THEN string_agg(format(' GRANT %s TO %I WITH INHERIT FALSE;',
                                        m.roleid::regrole, r.rolname), '')
                 ELSE '' END AS fix
        FROM role r JOIN pg_auth_members m ON m.member = r.oid
       WHERE r.direct AND r.rolcanlogin
         AND coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, r.rolinherit)
       GROUP BY r.rolname`,
  },
  {
    id: "R07",
    name: "vault_membership",
    severity: "critical",
    finds: "an owner of the seal's key who can log in or has members",
    why: "The owner reads the key, and with the key every context can be forged.",
    remedy: "Nobody logs in as the owner of pgvpd.seal_key or is a member of it.",
    sql: `
      SELECT quote_ident(g.rolname) AS object,
             concat_ws('; ', CASE WHEN g.rolcanlogin THEN 'can log in' END,
                       'members: ' || m.names) AS detail,
             concat_ws(' ', CASE WHEN g.rolcanlogin
                              THEN format('ALTER ROLE %I NOLOGIN;', g.rolname) END,
                       m.statements) AS fix
        FROM seal k JOIN pg_roles g ON g.oid = k.relowner
        CROSS JOIN LATERAL (
          SELECT string_agg(m.member::regrole::text, ', ') AS names,
                 string_agg(format('REVOKE %I FROM %s;', g.rolname, m.member::regrole), ' ')
                   AS statements
            FROM member m WHERE m.roleid = g.oid) AS m
       WHERE g.rolcanlogin OR m.names IS NOT NULL`,
  },
];
