CREATE TEMPORARY TABLE scratch (n int)

INSERT INTO scratch VALUES (1), (2)

SELECT sum(n) FROM scratch

SELECT relpersistence FROM pg_class WHERE relname = 'scratch'

BEGIN; CREATE TEMP TABLE short (n int) ON COMMIT DROP; INSERT INTO short VALUES (1); COMMIT

SELECT * FROM short

CREATE TEMP TABLE emptied (n int) ON COMMIT DELETE ROWS

INSERT INTO emptied VALUES (1)

SELECT count(*) FROM emptied

CREATE TEMP SEQUENCE counter

SELECT nextval('counter'), currval('counter'), lastval()

CREATE TEMP VIEW seen AS SELECT n * 2 AS twice FROM scratch

SELECT * FROM seen ORDER BY 1

CREATE FUNCTION pg_temp.helper() RETURNS text LANGUAGE sql AS 'SELECT ''helped'''

SELECT pg_temp.helper()

CREATE TABLE scratch (other text)

SELECT * FROM scratch

DROP TABLE scratch CASCADE

SELECT * FROM scratch

SELECT pg_advisory_lock(7), pg_try_advisory_lock(8)

SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()

SELECT pg_advisory_unlock(7), pg_advisory_unlock(7)

SELECT pg_advisory_unlock_all()

SELECT setseed(0.5)

BEGIN; SELECT setseed(0.25); SELECT random(), random(); COMMIT

CREATE SEQUENCE s; SELECT currval('s')

SELECT nextval('s')

SELECT currval('s')

SELECT lastval()

SET SESSION statement_timeout = 0

LOAD 'plpgsql'

DISCARD ALL

SELECT lastval()

SELECT count(*) FROM pg_class WHERE relpersistence = 't' AND relnamespace = pg_my_temp_schema()
