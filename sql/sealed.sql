-- pgvpd: the sealed context, a proof that a session variable alone is not. PostgreSQL 13 to 18.
--
--   psql -v ON_ERROR_STOP=1 -d your_database -f sealed.sql
--
-- Run it behind setup.sql and helpers.sql, with the same search_path, as a superuser or as the
-- database's owner with CREATEROLE. Running it again is harmless and is also how to upgrade. Those
-- two leave what it has replaced alone. There are no psql commands in here. What it replaces is
-- kept, and sql/unsealed.sql puts it back.
--
-- Anybody may SET pgvpd.seal, but only a token that pgvpd has made for this very connection counts:
--
--   [ 1..64] HMAC-SHA-256 in lower-case hex, over "pid:port:" and everything from [65] on
--   [65..74] when it ends, in seconds since 1970: compared with now(), when the transaction began
--   [75..76] which key: two of them may be in force while one takes the other's place
--   [77..  ] the context as a JSON object in ASCII, its names in lower case
--
-- pid is pg_backend_pid(), port is coalesce(inet_client_port(), 0): those of another connection
-- are others, so a token that is stolen is worth nothing anywhere else.

-- The role that owns the key and the verifier. Nobody logs in as it or is a member of it.
DO $install$
DECLARE
  home text := pg_catalog.quote_ident(pg_catalog.current_schema());
  me pg_catalog.pg_roles;
  callers_path text := pg_catalog.current_setting('search_path');
BEGIN
  PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  IF pg_catalog.to_regprocedure(home || '.current_tenant_id()') IS NULL THEN
    RAISE EXCEPTION 'pgvpd: there is no function current_tenant_id() in schema %', home
      USING ERRCODE = 'undefined_function',
            HINT = 'Run setup.sql first, with the same search_path.';
  END IF;
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'pgvpd_vault') THEN
    CREATE ROLE pgvpd_vault NOLOGIN NOINHERIT NOCREATEDB NOCREATEROLE;
  END IF;
  IF EXISTS (SELECT FROM pg_catalog.pg_roles
              WHERE rolname = 'pgvpd_vault' AND (rolcanlogin OR rolsuper OR rolbypassrls)) THEN
    RAISE EXCEPTION 'pgvpd: role pgvpd_vault can log in, or is more than a role that owns the key'
      USING ERRCODE = 'invalid_role_specification',
            HINT = 'Run ALTER ROLE pgvpd_vault NOLOGIN NOSUPERUSER NOBYPASSRLS.';
  END IF;
  -- Who is no superuser becomes a member until the end of this file.
  SELECT * INTO me FROM pg_catalog.pg_roles WHERE rolname = current_user;
  PERFORM pg_catalog.set_config('pgvpd.install_role', pg_catalog.current_setting('role'), false);
  PERFORM pg_catalog.set_config('pgvpd.install_member', 'no', false);
  -- Before 16 there is one membership, and it may have been given on purpose.
  IF NOT (me.rolsuper OR pg_catalog.current_setting('server_version_num')::int < 160000
                         AND pg_catalog.pg_has_role('pgvpd_vault', 'MEMBER')) THEN
    BEGIN
      EXECUTE pg_catalog.format('GRANT pgvpd_vault TO %I', me.rolname);
    EXCEPTION WHEN insufficient_privilege THEN
      RAISE EXCEPTION 'pgvpd: role pgvpd_vault is there already, and % may not use it', me.rolname
        USING ERRCODE = 'insufficient_privilege',
              HINT = pg_catalog.format('Have who made it, or a superuser, run '
                                       'GRANT pgvpd_vault TO %I WITH ADMIN OPTION.', me.rolname);
    END;
    PERFORM pg_catalog.set_config('pgvpd.install_member', me.rolname::pg_catalog.text, false);
  END IF;
  PERFORM pg_catalog.set_config('search_path', callers_path, true);
END
$install$;

CREATE SCHEMA IF NOT EXISTS pgvpd AUTHORIZATION pgvpd_vault;
DO $install$
BEGIN
  IF (SELECT pg_catalog.pg_get_userbyid(nspowner) FROM pg_catalog.pg_namespace
       WHERE nspname = 'pgvpd') <> 'pgvpd_vault' THEN
    RAISE EXCEPTION 'pgvpd: schema pgvpd belongs to another role than pgvpd_vault'
      USING ERRCODE = 'invalid_schema_definition', HINT = 'Find out whose it is, and rename it.';
  END IF;
END
$install$;

SET ROLE pgvpd_vault;
REVOKE ALL ON SCHEMA pgvpd FROM PUBLIC;
GRANT USAGE ON SCHEMA pgvpd TO PUBLIC;

-- The keys, as HMAC needs them: padded to a block of 64 bytes, XORed with 0x36 and with 0x5c.
CREATE TABLE IF NOT EXISTS pgvpd.seal_key (
  kid text PRIMARY KEY CHECK (kid ~ '^[0-9a-z]{2}$'),
  ipad bytea NOT NULL CHECK (octet_length(ipad) = 64),
  opad bytea NOT NULL CHECK (octet_length(opad) = 64)
);
-- With row-level security that has no policy and is not forced only the owner, that is the
-- verifier, reads it; a member of pg_read_all_data reads nothing.
ALTER TABLE pgvpd.seal_key ENABLE ROW LEVEL SECURITY;
REVOKE ALL ON pgvpd.seal_key FROM PUBLIC;

-- What makes the functions what they were before, for sql/unsealed.sql.
CREATE TABLE IF NOT EXISTS pgvpd.unsealed_function (
  signature text PRIMARY KEY,
  statement text NOT NULL
);
ALTER TABLE pgvpd.unsealed_function ENABLE ROW LEVEL SECURITY;
REVOKE ALL ON pgvpd.unsealed_function FROM PUBLIC;

-- Puts a key of 32 bytes in. Call it as pgvpd_vault, with a bound parameter: a literal would stand
-- in pg_stat_activity and in the server's log.
CREATE OR REPLACE FUNCTION pgvpd.seal_key_put(kid text, key bytea) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $pgvpd$
DECLARE
  inner_pad bytea := decode(repeat('36', 64), 'hex');
  outer_pad bytea := decode(repeat('5c', 64), 'hex');
BEGIN
  IF octet_length(key) IS DISTINCT FROM 32 THEN
    RAISE EXCEPTION 'pgvpd: a seal key has 32 bytes' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  FOR at IN 0 .. 31 LOOP
    inner_pad := set_byte(inner_pad, at, get_byte(key, at) # 54);
    outer_pad := set_byte(outer_pad, at, get_byte(key, at) # 92);
  END LOOP;
  INSERT INTO pgvpd.seal_key AS k VALUES (seal_key_put.kid, inner_pad, outer_pad)
    ON CONFLICT ON CONSTRAINT seal_key_pkey
    DO UPDATE SET ipad = excluded.ipad, opad = excluded.opad;
END
$pgvpd$;
COMMENT ON FUNCTION pgvpd.seal_key_put(text, bytea) IS
  'pgvpd: puts a key of 32 bytes into pgvpd.seal_key, in the place of one with the same name';
REVOKE ALL ON FUNCTION pgvpd.seal_key_put(text, bytea) FROM PUBLIC;

-- Takes every key out but these. Call it as pgvpd_vault.
CREATE OR REPLACE FUNCTION pgvpd.seal_key_keep(VARIADIC kids text[]) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $pgvpd$ DELETE FROM pgvpd.seal_key WHERE kid <> ALL (kids) $pgvpd$;
COMMENT ON FUNCTION pgvpd.seal_key_keep(text[]) IS
  'pgvpd: takes every key out of pgvpd.seal_key but these';
REVOKE ALL ON FUNCTION pgvpd.seal_key_keep(text[]) FROM PUBLIC;

-- One variable of the context, by its name in lower case; NULL unless pgvpd has sealed it for this
-- connection, and it has not ended. Each of these rules is there because an attack has worked on a
-- variant without it:
--
--  * SECURITY DEFINER with pg_temp last: a temporary object must not be taken for a catalog's.
--  * The key comes out of a table into a variable and is used in a simple expression alone: it
--    never is a constant of a plan, which debug_print_plan would show to the client.
--  * STABLE: the plan of an IMMUTABLE one would keep the tenant before.
--  * PARALLEL RESTRICTED: a worker has another process ID, and would lose rows without a word.
--  * Nothing of the token is read, cast or parsed before the MAC over all of it has been found
--    right; nothing depends on a setting of the session (bytea_output, DateStyle, TimeZone, …).
--  * It ends by the start of the transaction: a context does not go away in the middle of one.
--  * Few function calls: each of them costs, once per transaction, more than both hashes.
CREATE OR REPLACE FUNCTION pgvpd.ctx(name text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER COST 100
SET search_path = pg_catalog, pg_temp
AS $pgvpd$
DECLARE
  token text := current_setting('pgvpd.seal', true);
  inner_pad bytea;
  outer_pad bytea;
BEGIN
  SELECT k.ipad, k.opad INTO inner_pad, outer_pad
    FROM pgvpd.seal_key k WHERE k.kid = substr(token, 75, 2);
  RETURN CASE
    WHEN encode(sha256(outer_pad || sha256(inner_pad || convert_to(concat(
           pg_backend_pid(), ':', coalesce(inet_client_port(), 0), ':', substr(token, 65)),
           'UTF8'))), 'hex') = substr(token, 1, 64)
    THEN CASE
      WHEN substr(token, 65, 10)::float8 > date_part('epoch', now())
      THEN substr(token, 77)::json ->> name
    END
  END;
END
$pgvpd$;
COMMENT ON FUNCTION pgvpd.ctx(text) IS
  'pgvpd: a variable of the context; NULL unless pgvpd has sealed it for this connection';
GRANT EXECUTE ON FUNCTION pgvpd.ctx(text) TO PUBLIC;

-- Back to who ran this.
DO $install$
BEGIN
  PERFORM pg_catalog.set_config(
    'role', pg_catalog.current_setting('pgvpd.install_role'), false);
END
$install$;

-- From here on the functions that policies use read nothing but what is sealed. An SQL body is
-- parsed with the caller's search_path: every name says its schema, so that it can be inlined.
DO $install$
DECLARE
  home oid := pg_catalog.current_schema()::pg_catalog.regnamespace;
  me text := pg_catalog.current_setting('role');
  reader record;
  body text;
  callers_path text := pg_catalog.current_setting('search_path');
BEGIN
  PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  FOR reader IN
    SELECT p.oid, p.proname, p.prosrc, p.proparallel, p.oid::pg_catalog.regprocedure AS signature,
           pg_catalog.pg_get_function_arguments(p.oid) AS arguments,
           pg_catalog.strpos(p.prosrc, 'pgvpd.ctx(') > 0 AS is_sealed
      FROM pg_catalog.pg_proc p
     WHERE p.pronamespace = home
       AND (p.proname = 'current_tenant_id' AND p.pronargs = 0
            OR pg_catalog.starts_with(p.proname::pg_catalog.text, 'pgvpd_context'))
  LOOP
    body := CASE
      -- Names are compared without case; of a name that is known this is done once, by the planner.
      WHEN reader.proname = 'pgvpd_context'
      THEN 'pgvpd.ctx(pg_catalog.lower($1 COLLATE pg_catalog."C"))'
      WHEN reader.proname = 'current_tenant_id' THEN pg_catalog.format('pgvpd.ctx(%L)',
        pg_catalog.lower(coalesce(
          pg_catalog.substring(reader.prosrc, $r$(?:pgvpd\.ctx|current_setting)\('([^']+)'$r$),
          'app.current_tenant_id') COLLATE pg_catalog."C"))
    END;
    IF NOT reader.is_sealed AND (body IS NOT NULL OR reader.proparallel = 's') THEN
      SET ROLE pgvpd_vault;
      INSERT INTO pgvpd.unsealed_function VALUES (reader.signature, CASE
          WHEN body IS NULL
          THEN pg_catalog.format('ALTER FUNCTION %s PARALLEL SAFE', reader.signature)
          ELSE pg_catalog.pg_get_functiondef(reader.oid) END)
        ON CONFLICT (signature) DO UPDATE SET statement = excluded.statement;
      PERFORM pg_catalog.set_config('role', me, false);
    END IF;
    IF body IS NOT NULL THEN
      EXECUTE pg_catalog.format(
        'CREATE OR REPLACE FUNCTION %s.%I(%s) RETURNS pg_catalog.text '
        'LANGUAGE sql STABLE PARALLEL RESTRICTED AS %L',
        home::pg_catalog.regnamespace, reader.proname, reader.arguments, 'SELECT ' || body);
    ELSIF reader.proparallel = 's' THEN
      -- It calls pgvpd_context(), which a worker must not.
      EXECUTE pg_catalog.format('ALTER FUNCTION %s PARALLEL RESTRICTED', reader.signature);
    END IF;
  END LOOP;

  IF pg_catalog.current_setting('pgvpd.install_member') <> 'no' THEN
    EXECUTE pg_catalog.format(
      'REVOKE pgvpd_vault FROM %I', pg_catalog.current_setting('pgvpd.install_member'));
  END IF;
  PERFORM pg_catalog.set_config('search_path', callers_path, true);
  RAISE NOTICE 'pgvpd: the context is sealed from now on: without a token of pgvpd no row is seen. '
               'Next: pgvpd seal-key new, and seal_key_file in pgvpd''s configuration.';
END
$install$;
