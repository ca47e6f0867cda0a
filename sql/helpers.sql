-- pgvpd: helpers that an operator installs beside setup.sql. PostgreSQL 13 to 18.
--
--   psql -v ON_ERROR_STOP=1 -d your_database -f helpers.sql
--
-- Running it again is harmless and is also how to upgrade. There are no psql commands in here, so a
-- migration tool may send the whole file. Everything lands in the first schema of the search_path.

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
