-- pgvpd: what an operator installs in the database. PostgreSQL 13 to 18.
--
--   psql -v ON_ERROR_STOP=1 -d your_database -f setup.sql
--
-- Run it as a superuser, or as the database's owner with CREATEROLE (managed PostgreSQL). Running
-- it again is harmless and is also how to upgrade. There are no psql commands in here, so a
-- migration tool may send the whole file. Everything lands in the first schema of the search_path,
-- mostly "public".
--
-- The installer is not made a member of app_user: it grants privileges on what it owns, and that
-- needs no membership (which PostgreSQL 16 would not give a CREATEROLE role by itself anyway).

-- Whose rows may be seen. NULL, and so no row, while the context is unset or empty: RESET and the
-- end of a SET LOCAL leave an empty string behind.
--
-- A string body is parsed with the caller's search_path, so every name and operator says its schema
-- (NULLIF would look up "=" by path). No SET clause and no exception block: either would keep the
-- planner from inlining it.
CREATE OR REPLACE FUNCTION current_tenant_id() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
AS $pgvpd$
  SELECT CASE
    WHEN pg_catalog.length(pg_catalog.current_setting('app.current_tenant_id', true))
         OPERATOR(pg_catalog.>) 0
    THEN pg_catalog.current_setting('app.current_tenant_id', true)
  END
$pgvpd$;
COMMENT ON FUNCTION current_tenant_id() IS
  'pgvpd: the tenant of this connection; NULL, and so no rows, when there is none';
REVOKE ALL ON FUNCTION current_tenant_id() FROM PUBLIC;

-- The condition of the policies: <column> = (SELECT <the tenant, as the column's type>).
--
-- The scalar sub-SELECT becomes an InitPlan: evaluated once per query, not once per row, and an
-- index on the column stays usable. Casts leave the column's length out, because an explicit cast
-- to varchar(4) cuts "acme-evil" down to "acme" without a word.
--
-- A context that is no uuid or no integer gives no rows (but one beyond bigint's range an error).
-- For any other type the cast may raise an error, which is just as closed, and its result must read
-- back as the context: "char" and name cut as well.
CREATE OR REPLACE FUNCTION pgvpd_tenant_condition(
  tenant_column name, column_type regtype, tenant_function regprocedure
) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $pgvpd$
DECLARE
  base_type regtype := column_type;
  domain_of oid;
  tenant text := tenant_function::text;
  operator_name text := 'OPERATOR(pg_catalog.=)';
  wanted text;
BEGIN
  LOOP
    SELECT t.typbasetype INTO domain_of FROM pg_type t WHERE t.oid = base_type AND t.typtype = 'd';
    EXIT WHEN NOT FOUND;
    base_type := domain_of;
  END LOOP;

  IF base_type IN ('text'::regtype, 'varchar'::regtype) THEN
    wanted := tenant;
  ELSIF base_type = 'bpchar'::regtype THEN
    wanted := format('%s::bpchar', tenant);
  ELSIF base_type = 'uuid'::regtype THEN
    wanted := format(
      'CASE WHEN %1$s ~ ''^[0-9A-Fa-f]{8}(-?[0-9A-Fa-f]{4}){3}-?[0-9A-Fa-f]{12}$'' '
      'THEN %1$s::uuid END', tenant);
  ELSIF base_type IN ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype) THEN
    -- Always bigint: a number beyond a smaller column's range equals nothing instead of
    -- overflowing.
    wanted := format('CASE WHEN %1$s ~ ''^-?[0-9]{1,19}$'' THEN %1$s::bigint END', tenant);
  ELSE
    -- An extension's type (citext) has its "=" in a schema of its own.
    SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname) INTO operator_name
      FROM pg_type t
      JOIN pg_opclass c ON c.opcdefault
       AND c.opcintype = CASE t.typtype WHEN 'e' THEN 'anyenum'::regtype ELSE t.oid END
      JOIN pg_am m ON m.oid = c.opcmethod AND m.amname = 'btree'
      JOIN pg_amop s ON s.amopfamily = c.opcfamily AND s.amopstrategy = 3
       AND s.amoplefttype = c.opcintype AND s.amoprighttype = c.opcintype
      JOIN pg_operator o ON o.oid = s.amopopr
      JOIN pg_namespace n ON n.oid = o.oprnamespace
     WHERE t.oid = base_type;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'pgvpd: column % has type %, which cannot hold a tenant',
          quote_ident(tenant_column), column_type
        USING ERRCODE = 'datatype_mismatch',
              HINT = 'Use a text, uuid or integer column for the tenant.';
    END IF;
    wanted := format('CASE WHEN %1$s::%2$s::text = %1$s THEN %1$s::%2$s END',
                     tenant, format_type(base_type, -1));
  END IF;
  RETURN format('%I %s (SELECT %s)', tenant_column, operator_name, wanted);
END
$pgvpd$;
COMMENT ON FUNCTION pgvpd_tenant_condition(name, regtype, regprocedure) IS
  'pgvpd: the condition that pgvpd_protect() puts into the policies of a table';
REVOKE ALL ON FUNCTION pgvpd_tenant_condition(name, regtype, regprocedure) FROM PUBLIC;

-- Refuses what cannot be isolated: silence here would look like protection.
CREATE OR REPLACE FUNCTION pgvpd_refuse_unprotectable(
  target_table text, target oid, tenant_column name, app_role name
) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $pgvpd$
DECLARE
  relation pg_class;
  tenant_role pg_roles;
BEGIN
  SELECT * INTO relation FROM pg_class c WHERE c.oid = target;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'pgvpd: there is no table %', coalesce(target_table, 'NULL')
      USING ERRCODE = 'undefined_table',
            HINT = 'Write schema.table if it is outside the search_path, '
                   'and double quotes around a name with capitals or spaces.';
  END IF;
  IF relation.relkind IN ('v', 'm') THEN
    RAISE EXCEPTION 'pgvpd: % is a view; row-level security is for tables', target::regclass
      USING ERRCODE = 'wrong_object_type',
            HINT = 'Protect the tables that it reads. On PostgreSQL 15 and later also run '
                   'ALTER VIEW … SET (security_invoker = true).';
  ELSIF relation.relkind = 'f' THEN
    RAISE EXCEPTION 'pgvpd: % is a foreign table, which cannot have row-level security',
        target::regclass
      USING ERRCODE = 'wrong_object_type',
            HINT = 'Protect the table on the server that holds it, or keep a local table.';
  ELSIF relation.relkind NOT IN ('r', 'p') THEN
    RAISE EXCEPTION 'pgvpd: % is not a table', target::regclass
      USING ERRCODE = 'wrong_object_type', HINT = 'Name a table or a partitioned table.';
  END IF;
  IF NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = target AND a.attnum > 0
                    AND a.attname = tenant_column AND NOT a.attisdropped) THEN
    RAISE EXCEPTION 'pgvpd: table % has no column %', target::regclass, quote_ident(tenant_column)
      USING ERRCODE = 'undefined_column',
            HINT = 'Name the column that holds the tenant, exactly as it is stored: '
                   'pgvpd_protect(table, column).';
  END IF;

  SELECT * INTO tenant_role FROM pg_roles r WHERE r.rolname = app_role;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'pgvpd: there is no role %', quote_ident(app_role)
      USING ERRCODE = 'undefined_object',
            HINT = 'Create it first; setup.sql creates app_user.';
  END IF;
  IF tenant_role.rolsuper OR tenant_role.rolbypassrls THEN
    RAISE EXCEPTION 'pgvpd: role % is not bound by row-level security', quote_ident(app_role)
      USING ERRCODE = 'invalid_grant_operation',
            HINT = format('Run ALTER ROLE %I NOSUPERUSER NOBYPASSRLS, or use another role.',
                          app_role);
  END IF;
  IF pg_has_role(tenant_role.oid, relation.relowner, 'MEMBER') THEN
    RAISE EXCEPTION 'pgvpd: role % owns % and could switch its protection off',
        quote_ident(app_role), target::regclass
      USING ERRCODE = 'invalid_grant_operation',
            HINT = format('Run ALTER TABLE %s OWNER TO another role.', target::regclass);
  END IF;
END
$pgvpd$;
COMMENT ON FUNCTION pgvpd_refuse_unprotectable(text, oid, name, name) IS
  'pgvpd: raises an error when pgvpd_protect() could not isolate this table for this role';
REVOKE ALL ON FUNCTION pgvpd_refuse_unprotectable(text, oid, name, name) FROM PUBLIC;

-- Row-level security on one table or partition, for every role including its owner.
--
-- Two policies with one condition: the permissive one lets the tenant's rows in, the restrictive
-- one stands in the way of every permissive policy that somebody adds later, because those are
-- ORed. Both are for PUBLIC, so that SET ROLE leads nowhere else. The planner folds the two into
-- one condition.
CREATE OR REPLACE FUNCTION pgvpd_protect_one(target regclass, condition text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $pgvpd$
DECLARE
  old_policy name;
  table_name name := (SELECT c.relname FROM pg_class c WHERE c.oid = target);
BEGIN
  EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', target);
  -- By prefix: the table may have been renamed since.
  FOR old_policy IN
    SELECT p.polname FROM pg_policy p WHERE p.polrelid = target
       AND (starts_with(p.polname::text, 'pgvpd_tenant_isolation_')
            OR starts_with(p.polname::text, 'pgvpd_tenant_boundary_'))
  LOOP
    EXECUTE format('DROP POLICY %I ON %s', old_policy, target);
  END LOOP;
  -- The cast to name cuts at a character's end. A cut name still is unique: it is per table.
  EXECUTE format(
    'CREATE POLICY %I ON %s AS RESTRICTIVE FOR ALL TO PUBLIC USING (%3$s) WITH CHECK (%3$s)',
    ('pgvpd_tenant_boundary_' || table_name)::name, target, condition);
  EXECUTE format(
    'CREATE POLICY %I ON %s AS PERMISSIVE FOR ALL TO PUBLIC USING (%3$s) WITH CHECK (%3$s)',
    ('pgvpd_tenant_isolation_' || table_name)::name, target, condition);
END
$pgvpd$;
COMMENT ON FUNCTION pgvpd_protect_one(regclass, text) IS
  'pgvpd: switches row-level security on for one table or partition and makes its two policies';
REVOKE ALL ON FUNCTION pgvpd_protect_one(regclass, text) FROM PUBLIC;

-- The privileges of the tenants' role. What is there already is not granted again: the table's
-- owner need not own the schema or current_tenant_id().
CREATE OR REPLACE FUNCTION pgvpd_grant_to(
  app_role name, target regclass, tenant_function regprocedure
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $pgvpd$
DECLARE
  table_schema oid := (SELECT c.relnamespace FROM pg_class c WHERE c.oid = target);
  owned_sequence regclass;
BEGIN
  EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %I', target, app_role);
  IF NOT has_schema_privilege(app_role, table_schema, 'USAGE') THEN
    EXECUTE format('GRANT USAGE ON SCHEMA %s TO %I', table_schema::regnamespace, app_role);
  END IF;
  -- A policy runs its functions as whoever runs the query.
  IF NOT has_function_privilege(app_role, tenant_function, 'EXECUTE') THEN
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', tenant_function, app_role);
  END IF;
  FOR owned_sequence IN
    SELECT s.oid FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
     WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
       AND d.refobjid = target AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
  LOOP
    EXECUTE format('GRANT USAGE, SELECT ON SEQUENCE %s TO %I', owned_sequence, app_role);
  END LOOP;
END
$pgvpd$;
COMMENT ON FUNCTION pgvpd_grant_to(name, regclass, regprocedure) IS
  'pgvpd: gives a role what it needs on a protected table and nothing that goes round the policies';
REVOKE ALL ON FUNCTION pgvpd_grant_to(name, regclass, regprocedure) FROM PUBLIC;

-- The functions below call others, and must not find them by a search_path that a tenant could
-- fill. So the schema is written into their bodies while they are made: @schema@ stands for it.
DO $install$
DECLARE
  home text := pg_catalog.quote_ident(pg_catalog.current_schema());
BEGIN
  IF home IS NULL THEN
    RAISE EXCEPTION 'pgvpd: there is no schema to install into'
      USING HINT = 'SET search_path to an existing schema, then run setup.sql again.';
  END IF;
  -- The former two-argument pgvpd_protect() would make every call ambiguous, and a function's
  -- result columns cannot be replaced. What is of this version already stays, with its privileges.
  IF pg_catalog.to_regprocedure(home || '.pgvpd_protect(text,text)') IS NOT NULL THEN
    EXECUTE 'DROP FUNCTION ' || home || '.pgvpd_protect(text, text)';
  END IF;
  IF pg_catalog.pg_get_function_result(pg_catalog.to_regprocedure(home || '.pgvpd_status()'))
     NOT LIKE '%missing text)' THEN
    EXECUTE 'DROP FUNCTION ' || home || '.pgvpd_status()';
  END IF;

  EXECUTE pg_catalog.replace($functions$

-- Everything of one protected table, in one transaction.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_protect_resolved(
  target_table text, target oid, tenant_column name, app_role name, tenant_function regprocedure
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
  part regclass;
  part_kind "char";
  tenant pg_attribute;
BEGIN
  PERFORM @schema@.pgvpd_refuse_unprotectable(target_table, target, tenant_column, app_role);
  -- Until the end of the transaction: no partition may come in between the look and the policies.
  EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', target::regclass);
  SELECT * INTO tenant FROM pg_attribute a WHERE a.attrelid = target AND a.attname = tenant_column;

  FOR part, part_kind IN
    WITH RECURSIVE tree(oid) AS (
      SELECT target
      UNION
      SELECT i.inhrelid FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid
    )
    SELECT c.oid, c.relkind FROM tree JOIN pg_class c ON c.oid = tree.oid
  LOOP
    IF part_kind = 'f' THEN
      RAISE EXCEPTION 'pgvpd: % below % is a foreign table, which cannot have row-level security',
          part, target::regclass
        USING ERRCODE = 'wrong_object_type', HINT = 'Detach it, or keep its data in a local table.';
    END IF;
    PERFORM @schema@.pgvpd_protect_one(
      part, @schema@.pgvpd_tenant_condition(tenant_column, tenant.atttypid, tenant_function));
    -- TRUNCATE, REFERENCES, TRIGGER and MAINTAIN do not ask the policies, so all goes and the root
    -- gets back what does. A partition needs nothing: through the root only the root's count.
    EXECUTE format('REVOKE ALL ON %s FROM PUBLIC, %I', part, app_role);
  END LOOP;
  PERFORM @schema@.pgvpd_grant_to(app_role, target, tenant_function);

  -- REVOKE takes back what the owner granted and passes over the rest.
  IF has_table_privilege(app_role, target, 'TRUNCATE') THEN
    RAISE WARNING 'pgvpd: role % may still TRUNCATE %, which removes every tenant''s rows',
        quote_ident(app_role), target::regclass
      USING HINT = 'Another role than the owner granted it: see \dp, and revoke it as that role.';
  END IF;
  IF NOT tenant.attnotnull THEN
    RAISE WARNING 'pgvpd: column % of % may be NULL, and such rows are seen by no tenant',
        quote_ident(tenant_column), target::regclass
      USING HINT = format('ALTER TABLE %s ALTER COLUMN %I SET NOT NULL;',
                          target::regclass, tenant_column);
  END IF;
  IF NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = target AND i.indisvalid
                    AND i.indpred IS NULL AND i.indkey[0] = tenant.attnum) THEN
    RAISE WARNING 'pgvpd: no index of % begins with column %: every query reads all rows',
        target::regclass, quote_ident(tenant_column)
      USING HINT = format('CREATE INDEX ON %s (%I);', target::regclass, tenant_column);
  END IF;
  RAISE NOTICE 'pgvpd: % is protected by column % for role %',
    target::regclass, quote_ident(tenant_column), quote_ident(app_role);
END
$body$;

-- The caller writes table names as anywhere else, so they are looked up by the caller's
-- search_path: here, in a function without a SET clause. What does the work has a fixed one.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_protect(
  target_table text, tenant_column text DEFAULT 'tenant_id', app_role text DEFAULT 'app_user'
) RETURNS void
LANGUAGE sql
AS $body$
  SELECT @schema@.pgvpd_protect_resolved(
    target_table, pg_catalog.to_regclass(target_table)::pg_catalog.oid,
    tenant_column::pg_catalog.name, app_role::pg_catalog.name,
    '@schema@.current_tenant_id()'::pg_catalog.regprocedure)
$body$;

-- One row for each table; "missing" is NULL where everything is in place. The tenants' roles are
-- those that were given EXECUTE on current_tenant_id(), as pgvpd_protect() does.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_status() RETURNS TABLE (
  table_name text, rls_enabled boolean, rls_forced boolean, policy_count bigint,
  schema_name text, missing text
)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $body$
  WITH RECURSIVE tenant_role AS (
    SELECT r.oid, r.rolname, r.rolsuper OR r.rolbypassrls AS unbound
      FROM pg_proc p CROSS JOIN aclexplode(p.proacl) a JOIN pg_roles r ON r.oid = a.grantee
     WHERE p.oid = '@schema@.current_tenant_id()'::regprocedure AND r.oid <> p.proowner
  ), relation AS (
    SELECT c.oid, c.relname, c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.relowner,
           n.nspname,
           (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid) AS policies,
           EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND NOT p.polpermissive
                      AND p.polcmd = '*' AND 0 = ANY (p.polroles)
                      AND pg_get_expr(p.polqual, p.polrelid) <> 'true') AS bounded
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname <> 'information_schema'
       AND NOT starts_with(n.nspname::text, 'pg_')
  ), below AS (
    SELECT i.inhparent AS root, i.inhrelid AS oid FROM pg_inherits i
    UNION
    SELECT b.root, i.inhrelid FROM below b JOIN pg_inherits i ON i.inhparent = b.oid
  ), fault AS (
    SELECT oid, 1 AS place, 'row-level security is off' AS said
      FROM relation WHERE NOT relrowsecurity
    UNION ALL
    SELECT oid, 2, 'not forced: the owner is not bound'
      FROM relation WHERE relrowsecurity AND NOT relforcerowsecurity
    UNION ALL
    SELECT oid, 3, 'no policy' FROM relation WHERE relrowsecurity AND policies = 0
    UNION ALL
    SELECT r.oid, 4, format('policy %s is permissive and has no restrictive counterpart', p.polname)
      FROM relation r JOIN pg_policy p ON p.polrelid = r.oid AND p.polpermissive
     WHERE NOT r.bounded
    UNION ALL
    SELECT r.oid, 5, format('partition %s is unprotected', below.oid::regclass)
      FROM relation r JOIN below ON below.root = r.oid JOIN relation part ON part.oid = below.oid
     WHERE r.relrowsecurity
       AND NOT (part.relrowsecurity AND part.relforcerowsecurity AND part.bounded)
    UNION ALL
    SELECT r.oid, 6, format('%s is not bound by row-level security', t.rolname)
      FROM relation r CROSS JOIN tenant_role t WHERE t.unbound
    UNION ALL
    SELECT r.oid, 7, format('owned by %s, which could switch the protection off', t.rolname)
      FROM relation r JOIN tenant_role t
        ON NOT t.unbound AND pg_has_role(t.oid, r.relowner, 'MEMBER')
    UNION ALL
    SELECT r.oid, 8, format('%s granted to %s', privilege, t.rolname)
      FROM relation r
      CROSS JOIN unnest(ARRAY['TRUNCATE', 'REFERENCES', 'TRIGGER']) AS privilege
      JOIN tenant_role t ON NOT t.unbound AND NOT pg_has_role(t.oid, r.relowner, 'MEMBER')
       AND has_table_privilege(t.oid, r.oid, privilege)
    UNION ALL
    -- A view reads as its owner, a materialized view has read already.
    SELECT DISTINCT r.oid, 9,
           format('%s shows %s the rows of every tenant', v.oid::regclass, t.rolname)
      FROM relation r
      JOIN pg_depend d ON d.refobjid = r.oid AND d.refclassid = 'pg_class'::regclass
       AND d.classid = 'pg_rewrite'::regclass
      JOIN pg_rewrite w ON w.oid = d.objid
      JOIN pg_class v ON v.oid = w.ev_class
      JOIN pg_roles o ON o.oid = v.relowner
      JOIN tenant_role t ON has_table_privilege(t.oid, v.oid, 'SELECT')
     WHERE v.relkind = 'm' OR v.relkind = 'v' AND (o.rolsuper OR o.rolbypassrls)
       AND NOT coalesce(v.reloptions && ARRAY['security_invoker=true', 'security_invoker=on',
                                              'security_invoker=1', 'security_invoker=yes'], false)
  )
  SELECT r.relname::text, r.relrowsecurity, r.relforcerowsecurity, r.policies, r.nspname::text,
         (SELECT string_agg(f.said, '; ' ORDER BY f.place, f.said) FROM fault f WHERE f.oid = r.oid)
    FROM relation r
   WHERE r.relkind <> 'f'
   ORDER BY r.nspname, r.relname
$body$;
$functions$, '@schema@', home);
END
$install$;
COMMENT ON FUNCTION pgvpd_protect_resolved(text, oid, name, name, regprocedure) IS
  'pgvpd: what pgvpd_protect() does once the table''s name is looked up';
COMMENT ON FUNCTION pgvpd_protect(text, text, text) IS
  'pgvpd: isolates a table, its partitions and its children by tenant, for the role app_role';
COMMENT ON FUNCTION pgvpd_status() IS
  'pgvpd: the protection of every table, and in the column "missing" what it lacks';
REVOKE ALL ON FUNCTION pgvpd_protect_resolved(text, oid, name, name, regprocedure) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgvpd_protect(text, text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgvpd_status() FROM PUBLIC;

-- The role that tenants log in as. It comes last, so that a refusal is the last thing printed and
-- nothing has been granted to a role that is not safe.
DO $install$
DECLARE
  home text := pg_catalog.current_schema();
  callers_path text := pg_catalog.current_setting('search_path');
  wrong text;
  way_out text;
BEGIN
  PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  IF 'app_user' IN (session_user, current_user) THEN
    RAISE EXCEPTION 'pgvpd: setup.sql runs as app_user, which would own what is to bind it'
      USING ERRCODE = 'invalid_role_specification', HINT = 'Run it as the owner of the database.';
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'app_user') THEN
    CREATE ROLE app_user LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOINHERIT
      NOREPLICATION;
    -- A password that stands in a public file would be none.
    RAISE NOTICE 'pgvpd: role app_user has no password yet: run \password app_user in psql, or '
                 'ALTER ROLE app_user PASSWORD ''…''';
  END IF;

  -- Only what is wrong is altered: who may not alter SUPERUSER may not even repeat NOSUPERUSER.
  FOR wrong IN
    SELECT a.attribute FROM pg_roles r CROSS JOIN LATERAL (VALUES
        (r.rolsuper, 'NOSUPERUSER'), (r.rolbypassrls, 'NOBYPASSRLS'),
        (r.rolreplication, 'NOREPLICATION'), (r.rolcreaterole, 'NOCREATEROLE'),
        (r.rolcreatedb, 'NOCREATEDB'), (r.rolinherit, 'NOINHERIT'), (NOT r.rolcanlogin, 'LOGIN')
      ) AS a(is_wrong, attribute)
     WHERE r.rolname = 'app_user' AND a.is_wrong
  LOOP
    BEGIN
      EXECUTE 'ALTER ROLE app_user ' || wrong;
    EXCEPTION WHEN insufficient_privilege THEN
      -- Passing over one of these in silence would leave the tenants a way to every row.
      IF wrong IN ('NOSUPERUSER', 'NOBYPASSRLS', 'NOREPLICATION', 'NOCREATEROLE') THEN
        RAISE EXCEPTION 'pgvpd: role app_user must be %, and % may not change that',
            wrong, current_user
          USING ERRCODE = 'insufficient_privilege',
                HINT = format('Have a superuser run ALTER ROLE app_user %s, '
                              'then run setup.sql again.', wrong);
      END IF;
      RAISE WARNING 'pgvpd: role app_user should be %, and % may not change that',
        wrong, current_user;
    END;
  END LOOP;

  SELECT string_agg(quote_ident(r.rolname), ', ') INTO way_out
    FROM pg_roles r
   WHERE r.rolname <> 'app_user' AND pg_has_role('app_user', r.oid, 'MEMBER')
     AND (r.rolsuper OR r.rolbypassrls OR r.rolname IN (
       'pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files'));
  IF way_out IS NOT NULL THEN
    RAISE EXCEPTION 'pgvpd: app_user may SET ROLE to %, past row-level security', way_out
      USING ERRCODE = 'invalid_role_specification',
            HINT = format('Run REVOKE %s FROM app_user, then run setup.sql again.', way_out);
  END IF;

  EXECUTE format('GRANT EXECUTE ON FUNCTION %I.current_tenant_id() TO app_user', home);
  IF NOT has_schema_privilege('app_user', home, 'USAGE') THEN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO app_user', home);
  END IF;
  IF has_schema_privilege('app_user', home, 'CREATE') THEN
    RAISE WARNING 'pgvpd: app_user may create objects in schema %, which every tenant shares', home
      USING HINT = format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC, app_user;', home);
  END IF;
  RAISE NOTICE 'pgvpd: installed. Next: SELECT pgvpd_protect(''your_table'', ''tenant_id''); '
               'then SELECT * FROM pgvpd_status();';
  PERFORM set_config('search_path', callers_path, true);
END
$install$;
