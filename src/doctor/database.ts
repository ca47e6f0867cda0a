// Lints about the database and the server as a whole.

import type { Lint } from "./lint.ts";

/** The first minor of each major without the known holes below; majors that are not here have ended. */
export const FIXED_MINORS: Readonly<Record<number, number>> = {
  14: 24,
  15: 19,
  16: 15,
  17: 11,
  18: 6,
};

const FIXED = Object.entries(FIXED_MINORS).map(([major, minor]) => `(${major}, ${minor})`).join();

export const DATABASE: readonly Lint[] = [
  {
    id: "D01",
    name: "schema_create",
    severity: "error",
    finds: "a schema in which the application may create objects",
    why: "What one tenant creates there others use by mistake (CVE-2018-1058).",
    remedy: "Revoke CREATE.",
    sql: `
      SELECT n.name AS object, r.name || ' may create objects in it' AS detail,
             CASE WHEN n.nspowner = r.oid
               THEN format('ALTER SCHEMA %s OWNER TO %I;', n.name, current_user)
               ELSE format('REVOKE CREATE ON SCHEMA %s FROM PUBLIC, %s;', n.name, r.name) END AS fix
        FROM ns n CROSS JOIN app r WHERE has_schema_privilege(r.oid, n.oid, 'CREATE')`,
  },
  {
    id: "D02",
    name: "database_create_or_temp",
    severity: "info",
    finds: "CREATE (an error) or TEMP on the database, held by the application",
    why: "New schemas are everybody's. Temporary objects hide real tables from whoever uses the " +
      "connection next; pgvpd discards them between contexts, other poolers do not.",
    remedy: "Revoke them.",
    sql: `
      SELECT current_database()::text AS object,
             r.name || ' has ' || array_to_string(p.held, ' and ') AS detail,
             format('REVOKE %s ON DATABASE %I FROM PUBLIC, %s;', array_to_string(p.held, ', '),
                    current_database(), r.name) AS fix,
             CASE WHEN 'CREATE' = ANY (p.held) THEN 'error' END AS severity
        FROM app r CROSS JOIN LATERAL (
          SELECT array_agg(x) AS held FROM unnest(ARRAY['CREATE', 'TEMP']) AS x
           WHERE has_database_privilege(r.oid, current_database(), x)) AS p
       WHERE r.direct AND cardinality(p.held) > 0`,
  },
  {
    id: "D03",
    name: "default_privileges",
    severity: "warning",
    finds: "default privileges that grant new tables to the application",
    why: "A new table is open to every tenant until somebody protects it.",
    remedy: "Grant when the table is protected; pgvpd_protect() does.",
    sql: `
      SELECT coalesce(n.nspname, '*') AS object,
             format('new tables of %s are granted to %s', d.defaclrole::regrole, x.grantee)
               AS detail,
             format('ALTER DEFAULT PRIVILEGES FOR ROLE %s%s REVOKE ALL ON TABLES FROM %s;',
                    d.defaclrole::regrole, ' IN SCHEMA ' || quote_ident(n.nspname), x.grantee)
               AS fix
        FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
        CROSS JOIN LATERAL (
          SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
                   AS grantee
            FROM aclexplode(d.defaclacl) a
           WHERE a.grantee = 0 OR a.grantee IN (SELECT oid FROM role)) AS x
       WHERE d.defaclobjtype = 'r'`,
  },
  {
    id: "D04",
    name: "large_objects",
    severity: "warning",
    finds: "large objects that belong to a role of the application",
    why: "Large objects have an owner and no tenant: every tenant of that role reads them.",
    remedy: "Keep the data in a bytea column of a protected table.",
    sql: `
      SELECT 'large objects' AS object,
             format('%s belong to %s', count(*), r.name) AS detail
        FROM pg_largeobject_metadata l JOIN app r ON r.oid = l.lomowner GROUP BY r.name`,
  },
  {
    id: "D05",
    name: "escape_extension",
    severity: "error",
    finds: "an extension that lets SQL reach files, the network or another connection",
    why: "Through it a client leaves the session that row-level security binds.",
    remedy: "Drop it, or silence this with the reason why the application cannot call it.",
    sql: `
      SELECT extname::text AS object, 'reaches out of the session' AS detail,
             format('DROP EXTENSION %I;', extname) AS fix
        FROM pg_extension
       WHERE extname IN ('dblink', 'postgres_fdw', 'file_fdw', 'adminpack', 'plpythonu',
         'plpython3u', 'plperlu', 'pltclu', 'http', 'pg_net', 'pg_cron', 'lo', 'pageinspect',
         'pg_buffercache', 'xml2', 'refint')`,
  },
  {
    id: "D06",
    name: "server_version",
    severity: "error",
    finds: "a server that lacks a security release which isolation depends on",
    why: "CVE-2026-14680 lets any SQL user run code; CVE-2024-10976, CVE-2025-8713, " +
      "CVE-2023-39418 and CVE-2023-2455 lead round row-level security on older ones.",
    remedy: "Update PostgreSQL.",
    sql: `
      SELECT 'PostgreSQL ' || current_setting('server_version') AS object,
             CASE WHEN f.minor IS NULL THEN 'this major is no longer maintained'
               ELSE format('below %s.%s', f.major, f.minor) END AS detail
        FROM (SELECT current_setting('server_version_num')::int AS num) AS v
        LEFT JOIN (VALUES ${FIXED}) AS f (major, minor) ON f.major = v.num / 10000
       WHERE v.num / 10000 <= 18 AND (f.minor IS NULL OR v.num % 10000 < f.minor)`,
  },
  {
    id: "D07",
    name: "foreign_server_usable",
    severity: "error",
    finds: "USAGE on a foreign server, held by the application",
    why: "A client makes connections of its own through it.",
    remedy: "Revoke it.",
    sql: `
      SELECT s.srvname::text AS object, r.name || ' has USAGE' AS detail,
             format('REVOKE USAGE ON FOREIGN SERVER %I FROM PUBLIC, %s;', s.srvname, r.name) AS fix
        FROM pg_foreign_server s CROSS JOIN app r
       WHERE has_server_privilege(r.oid, s.oid, 'USAGE')`,
  },
  {
    id: "D08",
    name: "seal_key",
    severity: "critical",
    finds: "the seal's key within somebody's reach",
    why: "With the key every context can be forged.",
    remedy: "Run sealed.sql again, then make a new key.",
    sql: `
      SELECT 'pgvpd.seal_key' AS object, p.problem AS detail, p.fix
        FROM seal k CROSS JOIN LATERAL (
          SELECT 'row-level security is off: members of pg_read_all_data read it' AS problem,
                 'ALTER TABLE pgvpd.seal_key ENABLE ROW LEVEL SECURITY;' AS fix
           WHERE NOT k.relrowsecurity
          UNION ALL
          SELECT r.name || ' reads it',
                 format('REVOKE ALL ON pgvpd.seal_key FROM PUBLIC, %s;', r.name)
            FROM app r WHERE has_any_column_privilege(r.oid, k.oid, 'SELECT')
          UNION ALL
          SELECT format('publication %I carries it to subscribers', t.pubname),
                 format('ALTER PUBLICATION %I DROP TABLE pgvpd.seal_key;', t.pubname)
            FROM pg_publication_tables t
           WHERE t.schemaname = 'pgvpd' AND t.tablename = 'seal_key') AS p`,
  },
  {
    id: "D09",
    name: "untrusted_language",
    severity: "error",
    finds: "a procedural language beside SQL and PL/pgSQL that the application may use",
    why: "Every further language is a further way out (CVE-2024-10979 was one).",
    remedy: "Revoke it.",
    sql: `
      SELECT l.lanname::text AS object, 'usable by ' || r.name AS detail,
             format('REVOKE USAGE ON LANGUAGE %I FROM PUBLIC, %s;', l.lanname, r.name) AS fix
        FROM pg_language l CROSS JOIN app r
       WHERE l.lanname NOT IN ('internal', 'c', 'sql', 'plpgsql')
         AND has_language_privilege(r.oid, l.oid, 'USAGE')`,
  },
  {
    id: "D10",
    name: "shared_role_sees_activity",
    severity: "info",
    finds: "a role that all tenants share, on a server with track_activities",
    why: "Sessions of one role read each other's SQL in pg_stat_activity, and may end each other.",
    remedy: "Use bound parameters for what is secret; a superuser may set track_activities = off " +
      "for the role.",
    sql: `
      SELECT name AS object, 'track_activities is on' AS detail,
             format('ALTER ROLE %s SET track_activities = off;', name) AS fix
        FROM app r
       WHERE r.direct AND current_setting('track_activities') = 'on'
         AND NOT EXISTS (SELECT FROM pg_db_role_setting s
                          WHERE s.setrole = r.oid
                            AND s.setconfig @> ARRAY['track_activities=off'])`,
  },
];
