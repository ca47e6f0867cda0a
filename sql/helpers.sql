-- pgvpd: helpers that an operator installs beside setup.sql. PostgreSQL 13 to 18.
--
--   psql -v ON_ERROR_STOP=1 -d your_database -f setup.sql -f helpers.sql        or: pgvpd setup
--
-- It needs setup.sql of the same version, in the same schema. Running it again is harmless and is
-- also how to upgrade. There are no psql commands in here, so a migration tool may send the whole
-- file. Everything lands in the first schema of the search_path.
--
-- What reads the context here reads it through pgvpd_context(), which setup.sql makes and
-- sealed.sql seals, and through nothing else.

DO $install$
DECLARE
  home text := pg_catalog.quote_ident(pg_catalog.current_schema());
  callers_path text := pg_catalog.current_setting('search_path');
  version text;
  app_role text;
  parallel text;
  statement text;
BEGIN
  PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  -- Read and not run: whoever may create functions in this schema may have made it.
  SELECT substring(p.prosrc FROM '''([^'']+)''') INTO version
    FROM pg_proc p WHERE p.oid = to_regprocedure(home || '.pgvpd_version()');
  IF version IS DISTINCT FROM '0.1.0' THEN
    RAISE EXCEPTION 'pgvpd: helpers.sql is of version 0.1.0, and setup.sql %',
        coalesce('of version ' || version, 'has not been run in schema ' || home,
                 'has not been run')
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Run setup.sql of the same version first, with the same search_path.';
  END IF;

  SELECT replace(substring(pg_get_function_arg_default(p.oid, 3)
                   FROM '^''((?:[^'']|'''')*)''::text$'), '''''', '''')
    INTO STRICT app_role
    FROM pg_proc p WHERE p.pronamespace = home::regnamespace AND p.proname = 'pgvpd_protect';
  -- A sealed context belongs to one process, and a parallel worker is another: a function that
  -- reads it may say of itself no more than pgvpd_context() does.
  SELECT CASE p.proparallel WHEN 's' THEN 'SAFE' WHEN 'r' THEN 'RESTRICTED' ELSE 'UNSAFE' END
    INTO STRICT parallel
    FROM pg_proc p WHERE p.oid = to_regprocedure(home || '.pgvpd_context(text)');

  -- setup.sql has dropped the two-argument pgvpd_protect_acl(): it would make calls ambiguous.
  EXECUTE replace(replace(replace(replace($functions$

-- The items of a list: of an array literal, which is what resolvers give ({a,"b, c"}), or of a text
-- with commas (a, b), where spaces around an item and empty items count for nothing.
--
-- What begins with a brace and is no literal of a one-dimensional array is NULL, and so nothing: an
-- error would end every query, also those whose rows are seen for another reason.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_items(list text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
  item constant text :=
    '\s*(?:"(?:[^"\\]|\\.)*"|[^\s{}",\\]|[^\s{}",\\][^{}",\\]*[^\s{}",\\])\s*';
BEGIN
  IF list !~ '^\s*\{' THEN
    RETURN array_remove(string_to_array(
      regexp_replace(btrim(list, E' \t\n\r'), '\s*,\s*', ',', 'g'), ',', ''), NULL);
  ELSIF list ~ ('^\s*\{(?:\s*|' || item || '(?:,' || item || ')*)\}\s*$') THEN
    RETURN list::text[];
  END IF;
  RETURN NULL;
END
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_items(text) IS
  'pgvpd: the items of an array literal or of a list with commas';

-- The same as uuids. What is no uuid is left out: it could match none.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_uuid_items(list text) RETURNS uuid[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
  items text[] := @schema@.pgvpd_items(list);
BEGIN
  IF items IS NULL THEN
    RETURN NULL;
  END IF;
  RETURN ARRAY(
    SELECT CASE WHEN i ~ '^[0-9A-Fa-f]{8}(-?[0-9A-Fa-f]{4}){3}-?[0-9A-Fa-f]{12}$' THEN i::uuid END
      FROM unnest(items) WITH ORDINALITY AS u(i, place)
     WHERE i ~ '^[0-9A-Fa-f]{8}(-?[0-9A-Fa-f]{4}){3}-?[0-9A-Fa-f]{12}$'
     ORDER BY place);
END
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_uuid_items(text) IS
  'pgvpd: the uuids of an array literal or of a list with commas';

-- The next four are inlined: a string body is parsed with the caller's search_path, so every name
-- says its schema. Inside a policy write (SELECT pgvpd_context_array('…')), and it is evaluated
-- once per query and not once per row.

CREATE OR REPLACE FUNCTION @schema@.pgvpd_context_array(var_name text) RETURNS text[]
LANGUAGE sql STABLE PARALLEL @parallel@
AS $body$
  SELECT @schema@.pgvpd_items(@schema@.pgvpd_context(var_name))
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_context_array(text) IS
  'pgvpd: a variable of the context as an array; NULL when it has no value';

CREATE OR REPLACE FUNCTION @schema@.pgvpd_context_uuid_array(var_name text) RETURNS uuid[]
LANGUAGE sql STABLE PARALLEL @parallel@
AS $body$
  SELECT @schema@.pgvpd_uuid_items(@schema@.pgvpd_context(var_name))
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_context_uuid_array(text) IS
  'pgvpd: a variable of the context as an array of uuids; NULL when it has no value';

CREATE OR REPLACE FUNCTION @schema@.pgvpd_context_contains(var_name text, val uuid) RETURNS boolean
LANGUAGE sql STABLE PARALLEL @parallel@
AS $body$
  SELECT coalesce(val OPERATOR(pg_catalog.=)
                  ANY (@schema@.pgvpd_uuid_items(@schema@.pgvpd_context(var_name))), false)
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_context_contains(text, uuid) IS
  'pgvpd: whether a uuid is in a list of the context; false when there is none';

CREATE OR REPLACE FUNCTION @schema@.pgvpd_context_text_contains(var_name text, val text)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL @parallel@
AS $body$
  SELECT coalesce(val OPERATOR(pg_catalog.=)
                  ANY (@schema@.pgvpd_items(@schema@.pgvpd_context(var_name))), false)
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_context_text_contains(text, text) IS
  'pgvpd: whether a text is in a list of the context; false when there is none';

-- <column> = ANY (<the list, as the column's type>), evaluated once per query.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_array_condition(
  tenant_column name, column_type regtype, context_variable text
) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
  base_type regtype := @schema@.pgvpd_base_type(column_type);
  operator_name text := @schema@.pgvpd_equality(tenant_column, column_type);
BEGIN
  -- The cast of the sub-SELECT makes it an array; without one it would be a set of rows.
  IF base_type = 'uuid'::regtype THEN
    RETURN format('%I %s ANY ((SELECT %s.pgvpd_context_uuid_array(%L))::uuid[])',
                  tenant_column, operator_name, @home@, context_variable);
  END IF;
  RETURN format(
    '%I %s ANY ((SELECT array_agg(%s) FROM unnest(%s.pgvpd_context_array(%L)) AS item)::%s)',
    tenant_column, operator_name, @schema@.pgvpd_value('item', column_type), @home@,
    context_variable,
    CASE
      WHEN base_type = 'varchar'::regtype THEN 'text[]'
      WHEN base_type IN ('smallint'::regtype, 'integer'::regtype) THEN 'bigint[]'
      ELSE (SELECT format_type(t.typarray, -1) FROM pg_type t WHERE t.oid = base_type)
    END);
END
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_array_condition(name, regtype, text) IS
  'pgvpd: the condition that a column holds one of the items of a context variable';

-- A condition that an operator wrote, with parentheses around it.
--
-- It must be one expression both between CASE WHEN and THEN and between parentheses, so that one
-- that closes what it has not opened ("true) OR (true") is refused. Inside WHERE there are no
-- aggregates and window functions. What names no column is evaluated once per query.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_acl_when(
  target regclass, condition text, place text, callers_path text
) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
  -- A line break ends a comment that the condition may end with.
  between_words text := E' WHERE CASE WHEN ' || condition || E'\nTHEN true END LIMIT 0';
  in_parentheses text := E' WHERE (' || condition || E'\n) IS TRUE LIMIT 0';
  alone boolean := true;
BEGIN
  BEGIN
    PERFORM @schema@.pgvpd_execute('SELECT' || between_words, callers_path);
  EXCEPTION WHEN undefined_column OR undefined_table THEN
    alone := false;
  END;
  PERFORM @schema@.pgvpd_execute(format('SELECT FROM %s', target) || between_words, callers_path);
  PERFORM @schema@.pgvpd_execute(format('SELECT FROM %s', target) || in_parentheses, callers_path);
  RETURN format(CASE WHEN alone THEN E'(SELECT (%s\n))' ELSE E'(%s\n)' END, condition);
EXCEPTION WHEN OTHERS THEN
  RAISE EXCEPTION 'pgvpd: %: %', place, SQLERRM
    USING ERRCODE = 'invalid_parameter_value',
          HINT = format('It must be one condition on the columns of %s: %s', target, condition);
END
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_acl_when(regclass, text, text, text) IS
  'pgvpd: a condition of pgvpd_protect_acl() in parentheses, or an error that says where it is';

-- One path of pgvpd_protect_acl() as a condition.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_acl_condition(
  target regclass, path jsonb, place text, callers_path text
) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
  known constant text[] := ARRAY['column', 'var', 'type', 'when', 'commands'];
  types constant text[] := ARRAY['text', 'uuid', 'text_array', 'uuid_array'];
  mistake text;
  key text;
  held pg_attribute;
  condition text;
BEGIN
  IF jsonb_typeof(path) <> 'object' THEN
    mistake := format('%s: an object with column, var and type, not %s', place, path);
  ELSE
    SELECT format('%s: there is no key %s; the keys are %s', place, to_json(k),
                  array_to_string(known, ', '))
      INTO mistake FROM jsonb_object_keys(path) AS k WHERE k <> ALL (known) LIMIT 1;
    FOREACH key IN ARRAY ARRAY['column', 'var', 'type', 'when'] LOOP
      EXIT WHEN mistake IS NOT NULL;
      IF NOT path ? key THEN
        CONTINUE WHEN key = 'when';
        mistake := format('%s.%s: it is missing', place, key);
      ELSIF jsonb_typeof(path -> key) <> 'string' OR btrim(path ->> key, E' \t\r\n') = '' THEN
        mistake := format('%s.%s: a text that is not empty, not %s', place, key, path -> key);
      END IF;
    END LOOP;
  END IF;
  IF mistake IS NULL AND path ->> 'type' <> ALL (types) THEN
    mistake := format('%s.type: %s is none of %s', place, path -> 'type',
                      array_to_string(types, ', '));
  END IF;
  IF mistake IS NULL
     AND path ->> 'var' !~ '^[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)+$' THEN
    mistake := format('%s.var: %s is not the name of a context variable', place, path -> 'var');
  END IF;
  IF mistake IS NULL THEN
    SELECT * INTO held FROM pg_attribute a
     WHERE a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped
       AND a.attname = path ->> 'column';
    IF NOT FOUND THEN
      mistake := format('%s.column: table %s has no column %I', place, target, path ->> 'column');
    ELSIF path ->> 'type' IN ('uuid', 'uuid_array')
          AND @schema@.pgvpd_base_type(held.atttypid) <> 'uuid'::regtype THEN
      mistake := format('%s.type: column %I is of type %s, not uuid; write %s', place,
        held.attname, format_type(held.atttypid, held.atttypmod),
        to_json(replace(path ->> 'type', 'uuid', 'text')));
    END IF;
  END IF;
  IF mistake IS NOT NULL THEN
    RAISE EXCEPTION 'pgvpd: %', mistake
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'For instance [{"column": "owner_id", "var": "app.user_id", "type": "uuid"}]';
  END IF;

  condition := CASE
    WHEN path ->> 'type' IN ('text', 'uuid')
    THEN @schema@.pgvpd_condition(held.attname, held.atttypid,
                                  @schema@.pgvpd_reader(path ->> 'var'))
    ELSE @schema@.pgvpd_array_condition(held.attname, held.atttypid, path ->> 'var')
  END;
  IF path ? 'when' THEN
    condition := format('(%s) AND %s', condition,
      @schema@.pgvpd_acl_when(target, path ->> 'when', place || '.when', callers_path));
  END IF;
  RETURN format('(%s)', condition);
END
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_acl_condition(regclass, jsonb, text, text) IS
  'pgvpd: one path of pgvpd_protect_acl() as a condition';

-- For which commands a path counts: all, or those that its "commands" lists.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_acl_commands(path jsonb, place text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
  every constant text[] := ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE'];
  listed text[];
BEGIN
  IF NOT path ? 'commands' THEN
    RETURN every;
  END IF;
  IF jsonb_typeof(path -> 'commands') = 'array' AND path -> 'commands' <> '[]' THEN
    listed := ARRAY(SELECT upper(c) FROM jsonb_array_elements_text(path -> 'commands') AS c);
  END IF;
  IF listed IS NULL OR array_position(listed, NULL) IS NOT NULL OR NOT listed <@ every THEN
    RAISE EXCEPTION 'pgvpd: %.commands: some of select, insert, update, delete in an array, not %',
        place, path -> 'commands'
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'For instance "commands": ["select"]; without it a path counts for all.';
  END IF;
  RETURN listed;
END
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_acl_commands(jsonb, text) IS
  'pgvpd: the commands that a path of pgvpd_protect_acl() counts for';

CREATE OR REPLACE FUNCTION @schema@.pgvpd_protect_acl_resolved(
  target_table text, target oid, paths jsonb, app_role name, callers_path text
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
  every constant text[] := ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE'];
  branches text[] := '{}';
  counts_for text[];
  is_for_all boolean := true;
  conditions text[] := ARRAY['', '', '', ''];
BEGIN
  PERFORM @schema@.pgvpd_refuse_unprotectable(target_table, target, app_role);
  IF jsonb_typeof(paths) IS DISTINCT FROM 'array' OR paths = '[]' THEN
    RAISE EXCEPTION 'pgvpd: paths: an array with at least one path, not %', coalesce(paths, 'null')
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'For instance [{"column": "owner_id", "var": "app.user_id", "type": "uuid"}]';
  END IF;
  FOR n IN 0 .. jsonb_array_length(paths) - 1 LOOP
    branches := branches || @schema@.pgvpd_acl_condition(
      target, paths -> n, format('paths[%s]', n), callers_path);
    counts_for := @schema@.pgvpd_acl_commands(paths -> n, format('paths[%s]', n));
    is_for_all := is_for_all AND every <@ counts_for;
    FOR c IN 1 .. 4 LOOP
      IF every[c] = ANY (counts_for) THEN
        conditions[c] := concat_ws(' OR ', nullif(conditions[c], ''), branches[n + 1]);
      END IF;
    END LOOP;
  END LOOP;
  IF is_for_all THEN
    PERFORM @schema@.pgvpd_apply(target, app_role, 'pgvpd_boundary_acl_', 'pgvpd_acl_',
      ARRAY['ALL'], ARRAY[array_to_string(branches, ' OR ')], callers_path);
  ELSE
    PERFORM @schema@.pgvpd_apply(target, app_role, 'pgvpd_boundary_acl_', 'pgvpd_acl_', every,
      ARRAY(SELECT coalesce(nullif(c, ''), 'false')
              FROM unnest(conditions) WITH ORDINALITY AS u(c, place) ORDER BY place),
      callers_path);
  END IF;
  RAISE NOTICE 'pgvpd: % is protected by % path(s) for role %',
    target::regclass, jsonb_array_length(paths), quote_ident(app_role);
END
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_protect_acl_resolved(text, oid, jsonb, name, text) IS
  'pgvpd: what pgvpd_protect_acl() does once the table''s name is looked up';

-- A row is seen, and may be written, by whom one of the paths leads to it:
--
--   SELECT pgvpd_protect_acl('cases', '[
--     {"column": "creator_id", "var": "app.user_id", "type": "uuid"},
--     {"column": "id", "var": "app.granted_case_ids", "type": "uuid_array",
--      "commands": ["select"]},
--     {"column": "org_id", "var": "app.org_id", "type": "uuid",
--      "when": "pgvpd_context(''app.org_role'') = ''admin''"}
--   ]');
--
-- Together with pgvpd_protect() on the same table both must allow a row.
CREATE OR REPLACE FUNCTION @schema@.pgvpd_protect_acl(
  target_table text, paths jsonb, app_role text DEFAULT @role@
) RETURNS void
LANGUAGE sql
AS $body$
  SELECT @schema@.pgvpd_protect_acl_resolved(
    target_table, pg_catalog.to_regclass(target_table)::pg_catalog.oid, paths,
    app_role::pg_catalog.name, pg_catalog.current_setting('search_path'))
$body$;
COMMENT ON FUNCTION @schema@.pgvpd_protect_acl(text, jsonb, text) IS
  'pgvpd: isolates a table by several paths, each a column and a variable of the context';
$functions$, '@schema@', home), '@home@', quote_literal(home)), '@role@', quote_literal(app_role)),
  '@parallel@', parallel);

  FOR statement IN
    SELECT format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', p.oid::regprocedure)
      FROM pg_proc p
     WHERE p.pronamespace = home::regnamespace AND starts_with(p.proname::text, 'pgvpd_')
       AND NOT starts_with(p.proname::text, 'pgvpd_invalidate')
       AND starts_with(obj_description(p.oid, 'pg_proc'), 'pgvpd:')
    UNION ALL
    -- Every role that may read the context may read it as a list.
    SELECT format('SELECT %s.pgvpd_grant_context_to(%L)', home, r.rolname)
      FROM pg_proc p CROSS JOIN aclexplode(p.proacl) a JOIN pg_roles r ON r.oid = a.grantee
     WHERE p.oid = to_regprocedure(home || '.pgvpd_context(text)') AND r.oid <> p.proowner
  LOOP
    EXECUTE statement;
  END LOOP;
  PERFORM set_config('search_path', callers_path, true);
END
$install$;

-- Tells pgvpd that what a resolver has answered is not true any more, as soon as the transaction
-- commits. Without inputs: all answers of the resolver; '*': of all resolvers.
--
--   SELECT pgvpd_invalidate('org_membership', '0b6a2c0e-…');
--
-- A notification has room for 8000 bytes: with longer inputs all answers of the resolver are meant.
CREATE OR REPLACE FUNCTION pgvpd_invalidate(resolver text, VARIADIC inputs text[] DEFAULT '{}')
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $pgvpd$
DECLARE
  payload text := resolver;
BEGIN
  IF cardinality(inputs) > 0 THEN
    payload := (to_jsonb(ARRAY[resolver]) || to_jsonb(inputs))::text;
    IF octet_length(payload) >= 8000 THEN
      payload := resolver;
    END IF;
  END IF;
  PERFORM pg_notify('pgvpd_invalidate', payload);
END;
$pgvpd$;
COMMENT ON FUNCTION pgvpd_invalidate(text, text[]) IS
  'pgvpd: what this resolver has answered (for these inputs) is not true any more';

-- The same from a trigger: its arguments are the resolver, and the columns that are the resolver's
-- inputs, in the order of its params. With columns it is for rows, without for statements.
--
--   CREATE TRIGGER pgvpd_invalidate AFTER INSERT OR UPDATE OR DELETE ON org_members
--     FOR EACH ROW EXECUTE FUNCTION pgvpd_invalidate_on_change('org_membership', 'user_id');
--   CREATE TRIGGER pgvpd_invalidate_all AFTER TRUNCATE ON org_members
--     FOR EACH STATEMENT EXECUTE FUNCTION pgvpd_invalidate_on_change('org_membership');
--
-- Of an UPDATE both the old and the new row are told. PostgreSQL sends equal notifications of one
-- transaction once.
CREATE OR REPLACE FUNCTION pgvpd_invalidate_on_change() RETURNS trigger
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $pgvpd$
DECLARE
  changed jsonb;
  payload text;
BEGIN
  IF TG_NARGS = 0 THEN
    RAISE EXCEPTION 'pgvpd_invalidate_on_change needs the name of a resolver'
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  IF TG_NARGS = 1 OR TG_LEVEL = 'STATEMENT' THEN
    PERFORM pg_notify('pgvpd_invalidate', TG_ARGV[0]);
    RETURN NULL;
  END IF;
  FOR changed IN
    SELECT r FROM (VALUES
      (CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END),
      (CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END)
    ) AS rows (r) WHERE r IS NOT NULL
  LOOP
    FOR i IN 1 .. TG_NARGS - 1 LOOP
      IF NOT changed ? TG_ARGV[i] THEN
        RAISE EXCEPTION 'table "%" has no column "%"', TG_TABLE_NAME, TG_ARGV[i]
          USING ERRCODE = 'undefined_column';
      END IF;
    END LOOP;
    SELECT jsonb_agg(value ORDER BY place)::text INTO payload FROM (
      SELECT 0 AS place, to_jsonb(TG_ARGV[0]) AS value
      UNION ALL
      SELECT i, COALESCE(to_jsonb(changed ->> TG_ARGV[i]), 'null'::jsonb)
        FROM generate_series(1, TG_NARGS - 1) AS i
    ) AS parts;
    IF octet_length(payload) >= 8000 THEN
      payload := TG_ARGV[0];
    END IF;
    PERFORM pg_notify('pgvpd_invalidate', payload);
  END LOOP;
  RETURN NULL;
END;
$pgvpd$;
COMMENT ON FUNCTION pgvpd_invalidate_on_change() IS
  'pgvpd: a trigger that tells which answers of a resolver are not true any more';
