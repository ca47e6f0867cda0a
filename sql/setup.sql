-- pgvpd: what an operator installs in the database. PostgreSQL 13 to 18.
--
--   psql -v ON_ERROR_STOP=1 -d your_database -f setup.sql        or: pgvpd setup
--
-- Run it as a superuser, or as the database's owner with CREATEROLE (managed PostgreSQL). Running
-- it again is harmless and is also how to upgrade. There are no psql commands in here, so a
-- migration tool may send the whole file. Everything lands in the first schema of the search_path,
-- mostly "public".
--
-- Two things may be said before it runs; what was said once stays for the next time:
--
--   SET pgvpd.app_role = 'tenant_user';          -- the role that tenants log in as: app_user
--   SET pgvpd.tenant_variable = 'app.org_id';    -- what current_tenant_id() reads
--
-- The contract with sql/sealed.sql: current_tenant_id() and pgvpd_context() alone read the context,
-- and everything else goes through these two. So sealing replaces two bodies and nothing more. Once
-- they are sealed this file leaves both as they are.
--
-- The installer is not made a member of app_user: it grants privileges on what it owns, and that
-- needs no membership (which PostgreSQL 16 would not give a CREATEROLE role by itself anyway).

DO $install$
DECLARE
  home text := pg_catalog.quote_ident(pg_catalog.current_schema());
  callers_path text := pg_catalog.current_setting('search_path');
  app_role text;
  variable text;
  sealed int;
  former text;
  grants text[];
  statement text;
BEGIN
  IF home IS NULL THEN
    RAISE EXCEPTION 'pgvpd: there is no schema to install into'
      USING HINT = 'SET search_path to an existing schema, then run setup.sql again.';
  END IF;
  PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

  -- What was said now, or what an earlier run was told, or what mostly is right.
  SELECT replace(substring(pg_get_function_arg_default(p.oid, 3)
                   FROM '^''((?:[^'']|'''')*)''::text$'), '''''', '''')
    INTO former
    FROM pg_proc p WHERE p.pronamespace = home::regnamespace AND p.proname = 'pgvpd_protect'
   ORDER BY p.pronargs DESC LIMIT 1;
  app_role := coalesce(nullif(current_setting('pgvpd.app_role', true), ''), former, 'app_user');
  SELECT substring(p.prosrc FROM 'current_setting\(''([^'']+)''') INTO former
    FROM pg_proc p WHERE p.oid = to_regprocedure(home || '.current_tenant_id()');
  variable := coalesce(nullif(current_setting('pgvpd.tenant_variable', true), ''), former,
                       'app.current_tenant_id');
  IF variable !~ '^[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)+$' THEN
    RAISE EXCEPTION 'pgvpd: % is not the name of a context variable', quote_literal(variable)
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Two or more words of letters, digits and _ with dots between them: app.org_id';
  END IF;

  SELECT count(*) INTO sealed FROM pg_proc p
   WHERE p.oid IN (to_regprocedure(home || '.current_tenant_id()'),
                   to_regprocedure(home || '.pgvpd_context(text)'))
     AND strpos(p.prosrc, 'pgvpd.ctx(') > 0;
  IF sealed = 1 THEN
    RAISE EXCEPTION 'pgvpd: one of current_tenant_id() and pgvpd_context() is sealed, one is not'
      USING HINT = 'Run unsealed.sql, then setup.sql, then sealed.sql.';
  END IF;

  -- Former signatures would make calls ambiguous, and a function's result columns cannot be
  -- replaced. Who might call a function that is made anew may call the new one.
  grants := ARRAY(
    SELECT format('GRANT EXECUTE ON FUNCTION %s.%I TO %I', home, p.proname, r.rolname)
      FROM pg_proc p CROSS JOIN aclexplode(p.proacl) a JOIN pg_roles r ON r.oid = a.grantee
     WHERE p.pronamespace = home::regnamespace AND r.oid <> p.proowner
       AND p.proname IN ('pgvpd_protect', 'pgvpd_status'));
  FOREACH former IN ARRAY ARRAY[
    'pgvpd_protect(text,text)', 'pgvpd_protect(text,text,text)', 'pgvpd_protect_acl(text,jsonb)',
    'pgvpd_protect_resolved(text,oid,name,name,regprocedure)', 'pgvpd_protect_one(regclass,text)',
    'pgvpd_tenant_condition(name,regtype,regprocedure)',
    'pgvpd_refuse_unprotectable(text,oid,name,name)', 'pgvpd_grant_to(name,regclass,regprocedure)'
  ] LOOP
    IF to_regprocedure(home || '.' || former) IS NOT NULL THEN
      EXECUTE format('DROP FUNCTION %s.%s', home, former);
    END IF;
  END LOOP;
  IF pg_get_function_result(to_regprocedure(home || '.pgvpd_status()')) NOT LIKE '%missing text)'
  THEN
    EXECUTE format('DROP FUNCTION %s.pgvpd_status()', home);
  END IF;

  IF sealed = 0 THEN
    EXECUTE replace(replace($readers$

-- Whose rows may be seen. NULL, and so no row, while the context is unset or empty: RESET and the
-- end of a SET LOCAL leave an empty string behind.
--
-- A string body is parsed with the caller's search_path, so every name and operator says its schema
-- (NULLIF would look up "=" by path). No SET clause and no exception block: either would keep the
-- planner from inlining it.
CREATE OR REPLACE FUNCTION @schema@.current_tenant_id() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
AS $body$
  SELECT CASE
    WHEN pg_catalog.length(pg_catalog.current_setting(@variable@, true))
         OPERATOR(pg_catalog.>) 0
    THEN pg_catalog.current_setting(@variable@, true)
  END
$body$;

-- The same for any variable of the context.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_context(var_name text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
AS $body$
  SELECT CASE
    WHEN pg_catalog.length(pg_catalog.current_setting(var_name, true)) OPERATOR(pg_catalog.>) 0
    THEN pg_catalog.current_setting(var_name, true)
  END
$body$;
$readers$, '@schema@', home), '@variable@', quote_literal(variable));
  END IF;

  -- The functions call each other, and must not find each other by a search_path that a tenant
  -- could fill. So the schema is written into their bodies while they are made: @schema@ stands for
  -- it, @home@ for its name as a literal, @role@ for the name of the tenants' role.
  EXECUTE replace(replace(replace($functions$

CREATE OR REPLACE FUNCTION @schema@.pgvpd_version() RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $body$ SELECT '0.1.0'::pg_catalog.text $body$;
COMMENT ON FUNCTION @schema@.pgvpd_version() IS
  'pgvpd: the version of these functions';

COMMENT ON FUNCTION @schema@.current_tenant_id() IS
  'pgvpd: the tenant of this connection; NULL, and so no rows, when there is none';
COMMENT ON FUNCTION @schema@.pgvpd_context(text) IS
  'pgvpd: a variable of this connection''s context; NULL, and so no rows, when it has no value';

-- What is below the domains.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_base_type(column_type regtype) RETURNS regtype
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $body$
  WITH RECURSIVE below(oid, depth) AS (
    SELECT column_type::oid, 0
    UNION ALL
    SELECT t.typbasetype, b.depth + 1
      FROM below b JOIN pg_type t ON t.oid = b.oid AND t.typtype = 'd'
  )
  SELECT oid::regtype FROM below ORDER BY depth DESC LIMIT 1
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_base_type(regtype) IS
  'pgvpd: the type that a domain is made of; any other type as it is';

-- A text as a value of a column's type, as an expression. Casts leave the column's length out,
-- because an explicit cast to varchar(4) cuts "acme-evil" down to "acme" without a word.
--
-- A text that is no uuid or no integer becomes NULL (but one beyond bigint's range an error). For
-- any other type the cast may raise an error, which is just as closed, and its result must read
-- back as the text: "char" and name cut as well.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_value(expression text, column_type regtype) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
  base_type regtype := @schema@.pgvpd_base_type(column_type);
BEGIN
  IF base_type IN ('text'::regtype, 'varchar'::regtype) THEN
    RETURN expression;
  ELSIF base_type = 'bpchar'::regtype THEN
    RETURN format('%s::bpchar', expression);
  ELSIF base_type = 'uuid'::regtype THEN
    RETURN format(
      'CASE WHEN %1$s ~ ''^[0-9A-Fa-f]{8}(-?[0-9A-Fa-f]{4}){3}-?[0-9A-Fa-f]{12}$'' '
      'THEN %1$s::uuid END', expression);
  ELSIF base_type IN ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype) THEN
    -- Always bigint: a number beyond a smaller column's range equals nothing instead of
    -- overflowing.
    RETURN format('CASE WHEN %1$s ~ ''^-?[0-9]{1,19}$'' THEN %1$s::bigint END', expression);
  END IF;
  RETURN format('CASE WHEN %1$s::%2$s::text = %1$s THEN %1$s::%2$s END',
                expression, format_type(base_type, -1));
END
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_value(text, regtype) IS
  'pgvpd: an expression that makes a value of this type of a text, or NULL';

-- The "=" of a column's type with its schema: an extension's type (citext) has its own.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_equality(tenant_column name, column_type regtype)
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
  base_type regtype := @schema@.pgvpd_base_type(column_type);
  operator_name text;
BEGIN
  IF base_type = 'varchar'::regtype THEN
    RETURN 'OPERATOR(pg_catalog.=)'; -- that of text
  END IF;
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
  RETURN operator_name;
END
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_equality(name, regtype) IS
  'pgvpd: the operator that compares values of this type';

-- <column> = (SELECT <the text, as the column's type>).
--
-- The scalar sub-SELECT becomes an InitPlan: evaluated once per query, not once per row, and an
-- index on the column stays usable.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_condition(
  tenant_column name, column_type regtype, expression text
) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $body$
  SELECT format('%I %s (SELECT %s)', tenant_column,
                @schema@.pgvpd_equality(tenant_column, column_type),
                @schema@.pgvpd_value(expression, column_type))
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_condition(name, regtype, text) IS
  'pgvpd: the condition that a column holds what an expression of type text says';

-- Refuses what cannot be isolated: silence here would look like protection.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_refuse_unprotectable(
  target_table text, target oid, app_role name
) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $body$
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

  SELECT * INTO tenant_role FROM pg_roles r WHERE r.rolname = app_role;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'pgvpd: there is no role %', quote_ident(app_role)
      USING ERRCODE = 'undefined_object',
            HINT = 'Create it first; setup.sql creates ' || @role@ || '.';
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
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_refuse_unprotectable(text, oid, name) IS
  'pgvpd: raises an error when this table could not be isolated for this role';

-- A table with its partitions, their partitions, and its inheritance children.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_tree(target oid)
RETURNS TABLE (part regclass, kind "char")
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $body$
  WITH RECURSIVE tree(oid) AS (
    SELECT target
    UNION
    SELECT i.inhrelid FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid
  )
  SELECT c.oid::regclass, c.relkind FROM tree JOIN pg_class c ON c.oid = tree.oid
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_tree(oid) IS
  'pgvpd: a table and everything below it';

-- Runs a statement with the search_path of the person who wrote a part of it.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_execute(statement text, callers_path text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
  PERFORM set_config('search_path', -- until the end of this function
    concat_ws(', ', 'pg_catalog', nullif(btrim(callers_path), ''), @home@, 'pg_temp'), true);
  EXECUTE statement;
END
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_execute(text, text) IS
  'pgvpd: runs a statement with another search_path';

CREATE OR REPLACE FUNCTION @schema@.pgvpd_drop_policies(target regclass, prefixes text[])
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
  old_policy name;
BEGIN
  -- By prefix: the table may have been renamed since.
  FOR old_policy IN
    SELECT p.polname FROM pg_policy p
     WHERE p.polrelid = target
       AND EXISTS (SELECT FROM unnest(prefixes) AS prefix
                    WHERE starts_with(p.polname::text, prefix))
  LOOP
    EXECUTE format('DROP POLICY %I ON %s', old_policy, target);
  END LOOP;
END
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_drop_policies(regclass, text[]) IS
  'pgvpd: drops the policies of a table whose names begin with one of these';

-- Row-level security on a table and everything below it, for every role including the owner.
--
-- Two policies with one condition, for all commands or for each: the permissive one lets rows in,
-- the restrictive one stands in the way of every permissive policy that somebody adds later,
-- because those are ORed. Both are for PUBLIC, so that SET ROLE leads nowhere else. The planner
-- folds the two into one condition. Their names begin with "boundary" and "opening".
CREATE OR REPLACE FUNCTION @schema@.pgvpd_apply(
  target oid, app_role name, boundary text, opening text, commands text[], conditions text[],
  callers_path text
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
  part regclass;
  part_kind "char";
  part_name text;
  clauses text;
BEGIN
  -- Until the end of the transaction: no partition may come in between the look and the policies.
  EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', target::regclass);
  FOR part, part_kind IN SELECT * FROM @schema@.pgvpd_tree(target) LOOP
    IF part_kind = 'f' THEN
      RAISE EXCEPTION 'pgvpd: % below % is a foreign table, which cannot have row-level security',
          part, target::regclass
        USING ERRCODE = 'wrong_object_type', HINT = 'Detach it, or keep its data in a local table.';
    END IF;
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', part);
    PERFORM @schema@.pgvpd_drop_policies(part, ARRAY[boundary, opening]);
    SELECT c.relname INTO part_name FROM pg_class c WHERE c.oid = part;
    FOR n IN 1 .. cardinality(commands) LOOP
      clauses := concat(
        CASE WHEN commands[n] <> 'INSERT' THEN format(' USING (%s)', conditions[n]) END,
        CASE WHEN commands[n] IN ('ALL', 'INSERT', 'UPDATE')
             THEN format(' WITH CHECK (%s)', conditions[n]) END);
      -- The cast to name cuts at a character's end. A cut name still is unique: it is per table.
      PERFORM @schema@.pgvpd_execute(
        format('CREATE POLICY %I ON %s AS RESTRICTIVE FOR %s TO PUBLIC %s',
               concat(boundary, lower(nullif(commands[n], 'ALL')) || '_', part_name)::name,
               part, commands[n], clauses), callers_path);
      CONTINUE WHEN conditions[n] = 'false';
      PERFORM @schema@.pgvpd_execute(
        format('CREATE POLICY %I ON %s AS PERMISSIVE FOR %s TO PUBLIC %s',
               concat(opening, lower(nullif(commands[n], 'ALL')) || '_', part_name)::name,
               part, commands[n], clauses), callers_path);
    END LOOP;
    -- TRUNCATE, REFERENCES, TRIGGER and MAINTAIN do not ask the policies, so all goes and the root
    -- gets back what does. A partition needs nothing: through the root only the root's count.
    EXECUTE format('REVOKE ALL ON %s FROM PUBLIC, %I', part, app_role);
  END LOOP;
  PERFORM @schema@.pgvpd_grant_to(app_role, target);

  -- REVOKE takes back what the owner granted and passes over the rest.
  IF has_table_privilege(app_role, target, 'TRUNCATE') THEN
    RAISE WARNING 'pgvpd: role % may still TRUNCATE %, which removes every tenant''s rows',
        quote_ident(app_role), target::regclass
      USING HINT = 'Another role than the owner granted it: see \dp, and revoke it as that role.';
  END IF;
  FOR part IN
    SELECT v FROM @schema@.pgvpd_open_views(target) AS v
     WHERE has_table_privilege(app_role, v, 'SELECT')
  LOOP
    RAISE WARNING 'pgvpd: % shows % the rows of every tenant: it reads % past the policies',
        part, quote_ident(app_role), target::regclass
      USING HINT = format('REVOKE SELECT ON %s FROM PUBLIC, %I; or, for a view on PostgreSQL 15 '
                          'and later, ALTER VIEW %1$s SET (security_invoker = true);',
                          part, app_role);
  END LOOP;
END
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_apply(oid, name, text, text, text[], text[], text) IS
  'pgvpd: row-level security, policies and privileges for a table and everything below it';

-- The functions that policies may call to know the context.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_readers() RETURNS SETOF oid
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $body$
  SELECT p.oid FROM pg_proc p
   WHERE p.pronamespace = @home@::regnamespace
     AND (p.proname IN ('current_tenant_id', 'pgvpd_items', 'pgvpd_uuid_items')
          OR starts_with(p.proname::text, 'pgvpd_context'))
     AND starts_with(obj_description(p.oid, 'pg_proc'), 'pgvpd:')
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_readers() IS
  'pgvpd: the functions that policies may call to know the context';

-- The roles that tenants' sessions have: those that may ask for the context, those aside who own
-- the kit or were given it to protect tables of theirs.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_tenant_roles() RETURNS SETOF name
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $body$
  SELECT r.rolname
    FROM pg_proc p CROSS JOIN aclexplode(p.proacl) a JOIN pg_roles r ON r.oid = a.grantee
   WHERE p.oid = to_regprocedure(@home@ || '.current_tenant_id()') AND r.oid <> p.proowner
     AND NOT EXISTS (
       SELECT FROM pg_proc q CROSS JOIN aclexplode(q.proacl) b
        WHERE q.pronamespace = p.pronamespace AND q.proname = 'pgvpd_protect'
          AND b.grantee = r.oid)
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_tenant_roles() IS
  'pgvpd: the roles that were given current_tenant_id()';

-- What a tenants' role needs to know its context. What is there already is not granted again: the
-- table's owner need not own these functions.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_grant_context_to(app_role name) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
  reader regprocedure;
BEGIN
  -- A policy runs its functions as whoever runs the query, and their bodies name this schema.
  IF NOT has_schema_privilege(app_role, @home@::regnamespace, 'USAGE') THEN
    EXECUTE format('GRANT USAGE ON SCHEMA %s TO %I', @home@, app_role);
  END IF;
  FOR reader IN SELECT * FROM @schema@.pgvpd_readers() LOOP
    IF NOT has_function_privilege(app_role, reader, 'EXECUTE') THEN
      EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', reader, app_role);
    END IF;
  END LOOP;
END
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_grant_context_to(name) IS
  'pgvpd: gives a role what it needs to know its context';

-- The privileges of the tenants' role on one table.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_grant_to(app_role name, target regclass) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
  relation pg_class;
  owned_sequence regclass;
BEGIN
  SELECT * INTO relation FROM pg_class c WHERE c.oid = target;
  EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %I', target, app_role);
  IF NOT has_schema_privilege(app_role, relation.relnamespace, 'USAGE') THEN
    EXECUTE format('GRANT USAGE ON SCHEMA %s TO %I', relation.relnamespace::regnamespace, app_role);
  END IF;
  PERFORM @schema@.pgvpd_grant_context_to(app_role);
  FOR owned_sequence IN
    SELECT s.oid FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
     WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
       AND d.refobjid = target AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
  LOOP
    EXECUTE format('GRANT USAGE, SELECT ON SEQUENCE %s TO %I', owned_sequence, app_role);
  END LOOP;
  -- And of columns that are added later.
  IF pg_has_role(relation.relowner, 'USAGE') THEN
    EXECUTE format(
      'ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %s GRANT USAGE, SELECT ON SEQUENCES TO %I',
      pg_get_userbyid(relation.relowner), relation.relnamespace::regnamespace, app_role);
  END IF;
END
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_grant_to(name, regclass) IS
  'pgvpd: gives a role what it needs on a protected table and nothing that goes round the policies';

-- A view reads as its owner, a materialized view has read already; a view of such a view shows the
-- same.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_open_views(target oid) RETURNS SETOF regclass
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $body$
  WITH RECURSIVE open(view) AS (
    SELECT v.oid
      FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid
      JOIN pg_class v ON v.oid = w.ev_class JOIN pg_roles o ON o.oid = v.relowner
     WHERE d.refobjid = target
       AND d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_rewrite'::regclass
       AND (v.relkind = 'm' OR v.relkind = 'v' AND (o.rolsuper OR o.rolbypassrls)
            AND NOT coalesce(v.reloptions && ARRAY[
              'security_invoker=true', 'security_invoker=on', 'security_invoker=1',
              'security_invoker=yes'], false))
    UNION
    SELECT v.oid
      FROM open JOIN pg_depend d ON d.refobjid = open.view
       AND d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_rewrite'::regclass
      JOIN pg_rewrite w ON w.oid = d.objid
      JOIN pg_class v ON v.oid = w.ev_class AND v.relkind IN ('v', 'm')
  )
  SELECT view::regclass FROM open
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_open_views(oid) IS
  'pgvpd: the views that read a table past its policies';

-- What policies compare a column with: the tenant, or another variable of the context.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_reader(context_variable text) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
  IF context_variable IS NULL THEN
    RETURN @home@ || '.current_tenant_id()';
  END IF;
  IF context_variable !~ '^[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)+$' THEN
    RAISE EXCEPTION 'pgvpd: % is not the name of a context variable',
        quote_literal(context_variable)
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Two or more words of letters, digits and _ with dots between them: app.org_id';
  END IF;
  RETURN format('%s.pgvpd_context(%L)', @home@, context_variable);
END
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_reader(text) IS
  'pgvpd: the call that reads a context variable; NULL: the tenant';

-- INSERTs that leave the column out get the tenant.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_set_default(
  target regclass, tenant_column name, expression text
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
  former text;
BEGIN
  SELECT pg_get_expr(d.adbin, d.adrelid) INTO former
    FROM pg_attribute a JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
   WHERE a.attrelid = target AND a.attname = tenant_column;
  IF former IS NOT NULL AND former !~ '(current_tenant_id|pgvpd_context)\(' THEN
    RAISE EXCEPTION 'pgvpd: column % of % already has the default %',
        quote_ident(tenant_column), target, former
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Leave column_default out, or drop the default that is there.';
  END IF;
  EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT %s',
                 target, tenant_column, expression);
END
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_set_default(regclass, name, text) IS
  'pgvpd: makes the tenant the default of a column that has no other';

-- Everything of one protected table, in one transaction.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_protect_resolved(
  target_table text, target oid, tenant_column name, app_role name, context_variable text,
  column_default boolean
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
  reader text := @schema@.pgvpd_reader(context_variable);
  tenant pg_attribute;
BEGIN
  PERFORM @schema@.pgvpd_refuse_unprotectable(target_table, target, app_role);
  SELECT * INTO tenant FROM pg_attribute a
   WHERE a.attrelid = target AND a.attnum > 0 AND a.attname = tenant_column AND NOT a.attisdropped;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'pgvpd: table % has no column %', target::regclass, quote_ident(tenant_column)
      USING ERRCODE = 'undefined_column',
            HINT = 'Name the column that holds the tenant, exactly as it is stored: '
                   'pgvpd_protect(table, column).';
  END IF;
  PERFORM @schema@.pgvpd_apply(
    target, app_role, 'pgvpd_tenant_boundary_', 'pgvpd_tenant_isolation_', ARRAY['ALL'],
    ARRAY[@schema@.pgvpd_condition(tenant_column, tenant.atttypid, reader)], NULL);
  IF column_default THEN
    PERFORM @schema@.pgvpd_set_default(
      target, tenant_column, @schema@.pgvpd_value(reader, tenant.atttypid));
  END IF;

  IF EXISTS (SELECT FROM pg_collation c WHERE c.oid = tenant.attcollation
                AND NOT c.collisdeterministic)
     OR @schema@.pgvpd_base_type(tenant.atttypid)::text ~ '(^|\.)(citext|character)$' THEN
    RAISE WARNING 'pgvpd: column % of %, of type %, takes different tenants for one: those that '
                  'differ in case, accents or trailing spaces only',
        quote_ident(tenant_column), target::regclass,
        format_type(tenant.atttypid, tenant.atttypmod)
      USING HINT = 'Use text with a deterministic collation, uuid or an integer.';
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
COMMENT ON FUNCTION
  @schema@.pgvpd_protect_resolved(text, oid, name, name, text, boolean) IS
  'pgvpd: what pgvpd_protect() does once the table''s name is looked up';

-- The caller writes table names as anywhere else, so they are looked up by the caller's
-- search_path: here, in a function without a SET clause. What does the work has a fixed one.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_protect(
  target_table text, tenant_column text DEFAULT 'tenant_id', app_role text DEFAULT @role@,
  context_variable text DEFAULT NULL, column_default boolean DEFAULT false
) RETURNS void
LANGUAGE sql
AS $body$
  SELECT @schema@.pgvpd_protect_resolved(
    target_table, pg_catalog.to_regclass(target_table)::pg_catalog.oid,
    tenant_column::pg_catalog.name, app_role::pg_catalog.name, context_variable, column_default)
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_protect(text, text, text, text, boolean) IS
  'pgvpd: isolates a table, its partitions and its children by tenant, for the role app_role';

-- Every table of a schema that has the column.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_protect_all(
  target_schema text DEFAULT 'public', tenant_column text DEFAULT 'tenant_id',
  app_role text DEFAULT @role@, context_variable text DEFAULT NULL,
  column_default boolean DEFAULT false
) RETURNS TABLE (table_name text, outcome text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
  each record;
BEGIN
  IF NOT EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = target_schema) THEN
    RAISE EXCEPTION 'pgvpd: there is no schema %', coalesce(quote_ident(target_schema), 'NULL')
      USING ERRCODE = 'invalid_schema_name', HINT = 'Write its name exactly as it is stored.';
  END IF;
  FOR each IN
    SELECT c.oid, c.oid::regclass::text AS name, c.relkind,
           EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
                      AND NOT a.attisdropped AND a.attname = tenant_column) AS has_column,
           (SELECT i.inhparent::regclass FROM pg_inherits i WHERE i.inhrelid = c.oid
             ORDER BY i.inhseqno LIMIT 1) AS parent
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = target_schema AND c.relkind IN ('r', 'p', 'f')
     ORDER BY c.relname
  LOOP
    table_name := each.name;
    IF each.parent IS NOT NULL THEN
      outcome := format('goes with %s', each.parent);
    ELSIF NOT each.has_column THEN
      outcome := format('left as it is: no column %I', tenant_column);
    ELSIF each.relkind = 'f' THEN
      outcome := 'not protected: a foreign table cannot have row-level security';
      RAISE WARNING 'pgvpd: % is a foreign table, which cannot have row-level security', table_name
        USING HINT = format('REVOKE ALL ON %s FROM PUBLIC, %I;', table_name, app_role);
    ELSE
      PERFORM @schema@.pgvpd_protect_resolved(
        table_name, each.oid, tenant_column::name, app_role::name, context_variable,
        column_default);
      outcome := 'protected';
    END IF;
    RETURN NEXT;
  END LOOP;
END
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_protect_all(text, text, text, text, boolean) IS
  'pgvpd: isolates every table of a schema that has the column, and tells what it did';

-- Takes away what pgvpd_protect() and pgvpd_protect_acl() made, the tenants' privileges included:
-- without policies they would see every row.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_unprotect_resolved(
  target_table text, target oid, keep_privileges boolean
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
  relation pg_class;
  parent regclass;
  part regclass;
  tenant_column name;
  tenant_role name;
BEGIN
  SELECT * INTO relation FROM pg_class c WHERE c.oid = target AND c.relkind IN ('r', 'p');
  IF NOT FOUND THEN
    RAISE EXCEPTION 'pgvpd: there is no table %', coalesce(target_table, 'NULL')
      USING ERRCODE = 'undefined_table',
            HINT = 'Write schema.table if it is outside the search_path, '
                   'and double quotes around a name with capitals or spaces.';
  END IF;
  SELECT i.inhparent INTO parent FROM pg_inherits i
    JOIN pg_policy p ON p.polrelid = i.inhparent AND starts_with(p.polname::text, 'pgvpd_')
   WHERE i.inhrelid = target LIMIT 1;
  IF parent IS NOT NULL THEN
    RAISE EXCEPTION 'pgvpd: % is a part of %, which is protected', target::regclass, parent
      USING ERRCODE = 'object_in_use',
            HINT = format('Take the protection from %s, or detach the part first.', parent);
  END IF;
  IF NOT EXISTS (SELECT FROM pg_policy p JOIN @schema@.pgvpd_tree(target) t ON t.part = p.polrelid
                  WHERE starts_with(p.polname::text, 'pgvpd_')) THEN
    RAISE NOTICE 'pgvpd: % was not protected, nothing has changed', target::regclass;
    RETURN;
  END IF;

  EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', target::regclass);
  FOR part IN SELECT t.part FROM @schema@.pgvpd_tree(target) t WHERE t.kind IN ('r', 'p') LOOP
    PERFORM @schema@.pgvpd_drop_policies(part, ARRAY[
      'pgvpd_tenant_boundary_', 'pgvpd_tenant_isolation_', 'pgvpd_boundary_acl_', 'pgvpd_acl_']);
    IF NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = part) THEN
      EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY',
                     part);
    END IF;
    FOR tenant_column IN
      SELECT a.attname
        FROM pg_attribute a JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
       WHERE a.attrelid = part
         AND pg_get_expr(d.adbin, d.adrelid) ~ '(current_tenant_id|pgvpd_context)\('
    LOOP
      EXECUTE format('ALTER TABLE %s ALTER COLUMN %I DROP DEFAULT', part, tenant_column);
    END LOOP;
    CONTINUE WHEN keep_privileges;
    FOR tenant_role IN SELECT * FROM @schema@.pgvpd_tenant_roles() LOOP
      EXECUTE format('REVOKE ALL ON %s FROM %I', part, tenant_role);
    END LOOP;
  END LOOP;

  IF keep_privileges THEN
    RAISE WARNING 'pgvpd: % is not protected any more, and tenants see all of its rows',
        target::regclass
      USING HINT = 'Their roles have kept the privileges; without keep_privileges they lose them.';
  ELSE
    RAISE NOTICE 'pgvpd: % is not protected any more, and tenants may not use it at all',
      target::regclass;
  END IF;
END
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_unprotect_resolved(text, oid, boolean) IS
  'pgvpd: what pgvpd_unprotect() does once the table''s name is looked up';

CREATE OR REPLACE FUNCTION @schema@.pgvpd_unprotect(
  target_table text, keep_privileges boolean DEFAULT false
) RETURNS void
LANGUAGE sql
AS $body$
  SELECT @schema@.pgvpd_unprotect_resolved(
    target_table, pg_catalog.to_regclass(target_table)::pg_catalog.oid, keep_privileges)
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_unprotect(text, boolean) IS
  'pgvpd: takes the protection away, and with it the privileges of the tenants'' roles';

-- One row for each table; "missing" is NULL where everything is in place.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_status() RETURNS TABLE (
  table_name text, rls_enabled boolean, rls_forced boolean, policy_count bigint,
  schema_name text, missing text
)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $body$
  WITH RECURSIVE tenant_role AS (
    SELECT r.oid, r.rolname, r.rolsuper OR r.rolbypassrls AS unbound
      FROM @schema@.pgvpd_tenant_roles() AS t(name) JOIN pg_roles r ON r.rolname = t.name
  ), relation AS (
    SELECT c.oid, c.relname, c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.relowner,
           n.nspname,
           (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid) AS policies,
           -- Restrictive policies for everybody that say something, for all commands or each.
           (SELECT coalesce(bool_or(p.polcmd = '*') OR count(DISTINCT p.polcmd) = 4, false)
              FROM pg_policy p
             WHERE p.polrelid = c.oid AND NOT p.polpermissive AND 0 = ANY (p.polroles)
               AND pg_get_expr(p.polqual, p.polrelid) IS DISTINCT FROM 'true'
               AND pg_get_expr(p.polwithcheck, p.polrelid) IS DISTINCT FROM 'true') AS bounded
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
    SELECT r.oid, 9, format('%s shows %s the rows of every tenant', v.view, t.rolname)
      FROM relation r CROSS JOIN LATERAL @schema@.pgvpd_open_views(r.oid) AS v(view)
      JOIN tenant_role t ON has_table_privilege(t.oid, v.view, 'SELECT')
  )
  SELECT r.relname::text, r.relrowsecurity, r.relforcerowsecurity, r.policies, r.nspname::text,
         (SELECT string_agg(f.said, '; ' ORDER BY f.place, f.said) FROM fault f WHERE f.oid = r.oid)
    FROM relation r
   WHERE r.relkind <> 'f'
   ORDER BY r.nspname, r.relname
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_status() IS
  'pgvpd: the protection of every table, and in the column "missing" what it lacks';
$functions$, '@schema@', home), '@home@', quote_literal(home)), '@role@', quote_literal(app_role));

  -- Nobody but the installer, and whom it is granted to.
  FOR statement IN
    SELECT format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', p.oid::regprocedure)
      FROM pg_proc p
     WHERE p.pronamespace = home::regnamespace
       AND (p.proname = 'current_tenant_id' OR starts_with(p.proname::text, 'pgvpd_'))
       AND NOT starts_with(p.proname::text, 'pgvpd_invalidate') -- of helpers.sql, for everybody
       AND starts_with(obj_description(p.oid, 'pg_proc'), 'pgvpd:')
    UNION ALL SELECT unnest(grants)
  LOOP
    EXECUTE statement;
  END LOOP;
  PERFORM set_config('search_path', callers_path, true);
END
$install$;

-- The role that tenants log in as. It comes last, so that a refusal is the last thing printed and
-- nothing has been granted to a role that is not safe.
DO $install$
DECLARE
  home text := pg_catalog.quote_ident(pg_catalog.current_schema());
  callers_path text := pg_catalog.current_setting('search_path');
  app_role name;
  untrusted text;
  wrong text;
  way_out text;
BEGIN
  PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  SELECT replace(substring(pg_get_function_arg_default(p.oid, 3)
                   FROM '^''((?:[^'']|'''')*)''::text$'), '''''', '''')
    INTO STRICT app_role
    FROM pg_proc p WHERE p.pronamespace = home::regnamespace AND p.proname = 'pgvpd_protect';
  IF app_role IN (session_user, current_user) THEN
    RAISE EXCEPTION 'pgvpd: setup.sql runs as %, which would own what is to bind it',
        quote_ident(app_role)
      USING ERRCODE = 'invalid_role_specification', HINT = 'Run it as the owner of the database.';
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = app_role) THEN
    EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOINHERIT '
                   'NOREPLICATION', app_role);
    -- A password that stands in a public file would be none.
    RAISE NOTICE 'pgvpd: role % has no password yet: run \password % in psql',
      quote_ident(app_role), quote_ident(app_role);
  END IF;

  -- Only what is wrong is altered: who may not alter SUPERUSER may not even repeat NOSUPERUSER.
  FOR wrong IN
    SELECT a.attribute FROM pg_roles r CROSS JOIN LATERAL (VALUES
        (r.rolsuper, 'NOSUPERUSER'), (r.rolbypassrls, 'NOBYPASSRLS'),
        (r.rolreplication, 'NOREPLICATION'), (r.rolcreaterole, 'NOCREATEROLE'),
        (r.rolcreatedb, 'NOCREATEDB'), (r.rolinherit, 'NOINHERIT'), (NOT r.rolcanlogin, 'LOGIN')
      ) AS a(is_wrong, attribute)
     WHERE r.rolname = app_role AND a.is_wrong
  LOOP
    BEGIN
      EXECUTE format('ALTER ROLE %I %s', app_role, wrong);
    EXCEPTION WHEN insufficient_privilege THEN
      -- Passing over one of these in silence would leave the tenants a way to every row.
      IF wrong IN ('NOSUPERUSER', 'NOBYPASSRLS', 'NOREPLICATION', 'NOCREATEROLE') THEN
        RAISE EXCEPTION 'pgvpd: role % must be %, and % may not change that',
            quote_ident(app_role), wrong, current_user
          USING ERRCODE = 'insufficient_privilege',
                HINT = format('Have a superuser run ALTER ROLE %I %s, '
                              'then run setup.sql again.', app_role, wrong);
      END IF;
      RAISE WARNING 'pgvpd: role % should be %, and % may not change that',
        quote_ident(app_role), wrong, current_user;
    END;
  END LOOP;

  SELECT string_agg(quote_ident(r.rolname), ', ') INTO way_out
    FROM pg_roles r
   WHERE r.rolname <> app_role AND pg_has_role(app_role, r.oid, 'MEMBER')
     AND (r.rolsuper OR r.rolbypassrls OR r.rolname IN (
       'pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files'));
  IF way_out IS NOT NULL THEN
    RAISE EXCEPTION 'pgvpd: % may SET ROLE to %, past row-level security',
        quote_ident(app_role), way_out
      USING ERRCODE = 'invalid_role_specification',
            HINT = format('Run REVOKE %s FROM %I, then run setup.sql again.', way_out, app_role);
  END IF;

  -- A function that somebody else made under one of these names is replaced, and still is his.
  SELECT format('%s owns %s', o.rolname, p.oid::regprocedure) INTO untrusted
    FROM pg_proc p JOIN pg_roles o ON o.oid = p.proowner
   WHERE p.pronamespace = home::regnamespace
     AND (p.proname = 'current_tenant_id' OR starts_with(p.proname::text, 'pgvpd_'))
     AND NOT o.rolsuper AND o.rolname <> current_user
     AND o.oid <> (SELECT d.datdba FROM pg_database d WHERE d.datname = current_database())
   ORDER BY p.oid LIMIT 1;
  IF untrusted IS NOT NULL THEN
    RAISE EXCEPTION 'pgvpd: %, and is neither a superuser nor the owner of the database', untrusted
      USING ERRCODE = 'invalid_object_definition',
            HINT = 'Drop it, or ALTER FUNCTION … OWNER TO the owner of the database, then run '
                   'setup.sql again.';
  END IF;

  -- The functions of helpers.sql too, when they are here already: their schema is the same.
  EXECUTE format('SELECT %s.pgvpd_grant_context_to(%L)', home, app_role);
  IF has_schema_privilege(app_role, home::regnamespace, 'CREATE') THEN
    RAISE WARNING 'pgvpd: % may create objects in schema %, which every tenant shares',
        quote_ident(app_role), home
      USING HINT = format('REVOKE CREATE ON SCHEMA %s FROM PUBLIC, %I;', home, app_role);
  END IF;
  RAISE NOTICE 'pgvpd: installed. Next: SELECT pgvpd_protect(''your_table'', ''tenant_id''); '
               'then SELECT * FROM pgvpd_status();';
  PERFORM set_config('search_path', callers_path, true);
END
$install$;
