SHOW server_version

SHOW search_path

SHOW client_encoding

SET application_name = 'corpus'

SHOW application_name

RESET application_name

SHOW application_name

SET search_path = public, pg_catalog

SHOW search_path

CREATE SCHEMA other

CREATE SCHEMA AUTHORIZATION CURRENT_USER

RESET search_path

SET client_encoding = 'LATIN1'

SELECT convert_to('ä', 'LATIN1')

SHOW client_encoding

RESET client_encoding

SET client_encoding = 'nonsense'

SET NAMES 'UTF8'

SET standard_conforming_strings = off

SELECT 'a\\b'

RESET standard_conforming_strings

SET escape_string_warning = off

RESET escape_string_warning

SET DateStyle = 'SQL, DMY'; SELECT date '2024-05-06'

SHOW DateStyle

SET DateStyle TO DEFAULT

SET TIME ZONE 'America/New_York'

SELECT timestamptz '2024-07-01 12:00+00'

SET TIME ZONE INTERVAL '+02:00' HOUR TO MINUTE

SELECT timestamptz '2024-07-01 12:00+00'

SET TIME ZONE LOCAL

SELECT set_config('TimeZone', 'Asia/Tokyo', false)

SHOW TimeZone

RESET TimeZone

SELECT set_config('DateStyle', 'ISO, YMD', true), current_setting('DateStyle')

SHOW DateStyle

BEGIN; SET LOCAL application_name = 'local'; SHOW application_name; COMMIT

SHOW application_name

SET extra_float_digits = 0; SELECT 0.1::float8 + 0.2::float8

RESET extra_float_digits

SET lc_messages = 'C'

SET work_mem = '2MB'

SHOW work_mem

SET LOCAL work_mem = '3MB'

SET statement_timeout = '10s'; SHOW statement_timeout

RESET statement_timeout

BEGIN; SET LOCAL statement_timeout = 300; SELECT pg_sleep(60)

ROLLBACK

SET lock_timeout = '1s'; SET idle_in_transaction_session_timeout = '1min'

SELECT name, setting FROM pg_settings WHERE name IN ('work_mem', 'lock_timeout', 'idle_in_transaction_session_timeout') ORDER BY name

RESET ALL

SHOW work_mem

SET app.note = 'mine'

SHOW app.note

RESET app.note

SHOW app.note

SELECT current_setting('app.note')

SELECT current_setting('app.never')

SHOW app.current_tenant_id

RESET app.current_tenant_id

SHOW app.current_tenant_id

RESET ROLE

SELECT current_user

SET ROLE NONE

SELECT current_user

RESET ROLE

SET SESSION AUTHORIZATION DEFAULT

SELECT current_user, session_user

SET ROLE authenticated

SELECT current_user

RESET ROLE

SELECT current_user

BEGIN; SET LOCAL ROLE authenticated; SELECT current_user; COMMIT

SELECT current_user

SET SESSION application_name = 'again'; DISCARD ALL

DISCARD ALL

SHOW application_name

SHOW app.current_tenant_id

SELECT current_user

DISCARD TEMP

DISCARD SEQUENCES

BEGIN; DISCARD ALL

ROLLBACK

SET enable_seqscan = off

SHOW enable_seqscan

SET enable_seqscan TO DEFAULT

SHOW enable_seqscan

SET plpgsql.extra_warnings = 'all'

RESET plpgsql.extra_warnings

SET default_transaction_isolation = 'serializable'; SHOW transaction_isolation

RESET default_transaction_isolation

SELECT count(*) > 300 FROM pg_settings

SHOW ALL LIMIT 1
