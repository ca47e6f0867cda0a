-- pgvpd: takes sql/sealed.sql out again. The context is what the session variables say from then
-- on, and any SQL that a client can run may change them. PostgreSQL 13 to 18.
--
--   psql -v ON_ERROR_STOP=1 -d your_database -f unsealed.sql
--
-- Run it as who ran sealed.sql, and take seal_key_file out of pgvpd's configuration behind it:
-- between the two, policies trust what pgvpd sets anyway. Then run setup.sql again, if it has been
-- upgraded meanwhile. Fails, and changes nothing, when a policy or a view calls pgvpd.ctx() itself.

DO $uninstall$
DECLARE
  me text := pg_catalog.current_setting('role');
  is_able boolean := (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user);
  who name := current_user;
  before text;
  callers_path text := pg_catalog.current_setting('search_path');
BEGIN
  IF pg_catalog.to_regclass('pgvpd.unsealed_function') IS NULL THEN
    RAISE NOTICE 'pgvpd: the context is not sealed in this database';
    RETURN;
  END IF;
  PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  -- They were right when they were made.
  PERFORM pg_catalog.set_config('check_function_bodies', 'off', true);
  -- Before 16 there is one membership, and it may have been given on purpose.
  is_able := is_able OR current_setting('server_version_num')::int < 160000
                        AND pg_has_role('pgvpd_vault', 'MEMBER');
  IF NOT is_able THEN
    EXECUTE format('GRANT pgvpd_vault TO %I', who);
  END IF;
  SET ROLE pgvpd_vault;
  FOR before IN
    SELECT u.statement FROM pgvpd.unsealed_function u WHERE to_regprocedure(u.signature) IS NOT NULL
  LOOP
    PERFORM pg_catalog.set_config('role', me, false);
    EXECUTE before;
    SET ROLE pgvpd_vault;
  END LOOP;
  DROP FUNCTION pgvpd.ctx(text);
  DROP FUNCTION pgvpd.seal_key_put(text, bytea);
  DROP FUNCTION pgvpd.seal_key_keep(text[]);
  DROP TABLE pgvpd.seal_key, pgvpd.unsealed_function;
  DROP SCHEMA pgvpd;
  PERFORM pg_catalog.set_config('role', me, false);
  BEGIN
    DROP ROLE pgvpd_vault;
  EXCEPTION WHEN dependent_objects_still_exist OR insufficient_privilege THEN
    -- Another database of this server is sealed.
    IF NOT is_able THEN
      EXECUTE format('REVOKE pgvpd_vault FROM %I', who);
    END IF;
  END;
  PERFORM pg_catalog.set_config('search_path', callers_path, true);
  RAISE NOTICE 'pgvpd: the context is not sealed any more; take seal_key_file out of the '
               'configuration of pgvpd';
END
$uninstall$;
