SELEC 1

SELECT * FROM nowhere

SELECT nothing FROM (SELECT 1 AS something) AS s

SELECT 1 +

SELECT 'unterminated

SELECT unknown_function(1, 'x')

SELECT 1/0

SELECT 1 UNION SELECT 'a'

SELECT sum(1) OVER () FROM generate_series(1, 2) GROUP BY 1 HAVING nonsense

CREATE TABLE limits (id int PRIMARY KEY, u text UNIQUE, c int CHECK (c > 0), n text NOT NULL DEFAULT 'x', e int4range, EXCLUDE USING gist (e WITH &&))

INSERT INTO limits VALUES (1, 'a', 1)

INSERT INTO limits VALUES (1, 'b', 1)

INSERT INTO limits VALUES (2, 'a', 1)

INSERT INTO limits VALUES (3, 'c', -1)

INSERT INTO limits VALUES (4, 'd', 1, NULL)

CREATE TABLE child (limit_id int REFERENCES limits DEFERRABLE INITIALLY DEFERRED)

BEGIN

INSERT INTO child VALUES (99)

COMMIT

DELETE FROM limits WHERE false; SELECT 1/0; SELECT 'never'

SELECT 1; SELECT 1/0; SELECT 'never'

SELECT 'before'

CREATE TABLE limits (id int)

DROP TABLE never_was

DROP TABLE IF EXISTS never_was

CREATE TABLE IF NOT EXISTS limits (id int)

ALTER TABLE limits ADD COLUMN id int

SELECT * FROM limits WHERE id = 'x'

SELECT array[1,2][5], (array[1,2])[5]

SELECT cast('x' AS nonsense)

SELECT count(*, 1)

SELECT * FROM limits LIMIT -1

INSERT INTO limits (id) VALUES (1, 2)

INSERT INTO limits (id, id) VALUES (1, 2)

UPDATE limits SET nowhere = 1

SELECT set_config('nonsense', 'x', false)

SET nonsense = 1

SET work_mem = 'lots'

SET TimeZone = 'Nowhere/Land'

SET client_min_messages = nonsense

SHOW nonsense

RESET nonsense

SELECT pg_read_file('/etc/passwd')

CREATE ROLE another

CREATE DATABASE another

ALTER SYSTEM SET work_mem = '1MB'

DROP TABLE pg_class

SELECT * FROM pg_authid

CREATE EXTENSION no_such_extension

DO $$ BEGIN RAISE EXCEPTION 'mine' USING ERRCODE = 'XY123', DETAIL = 'details', HINT = 'a hint', COLUMN = 'c', TABLE = 't', SCHEMA = 's', CONSTRAINT = 'k', DATATYPE = 'd'; END $$

DO $$ BEGIN RAISE NOTICE 'one %', 1; RAISE WARNING 'two'; RAISE INFO 'three'; RAISE LOG 'four'; RAISE DEBUG 'five'; END $$

SET client_min_messages = debug1

DO $$ BEGIN RAISE DEBUG 'now it is heard'; END $$

SET client_min_messages = error

DO $$ BEGIN RAISE WARNING 'now it is not'; END $$

RESET client_min_messages

--@ extended ["0"]
SELECT 1 / $1::int

--@ extended ["x"]
SELECT $1::int

--@ extended []
SELECT $1::int

--@ extended ["1", "2"]
SELECT $1::int

--@ extended []
SELECT 1; SELECT 2

--@ extended []
SELEC

--@ extended ["1"]
SELECT $1

SELECT $1::int

--@ extended []
SELECT 'the connection is in order'

COMMIT

ROLLBACK

BEGIN

BEGIN

SELECT 1/0

SELECT 1

COMMIT

SAVEPOINT nowhere

ROLLBACK TO nowhere

RELEASE nowhere

BEGIN

ROLLBACK TO nowhere

ROLLBACK

BEGIN; VACUUM

ROLLBACK

SELECT 1; VACUUM

FETCH 1 FROM nothing

CLOSE nothing

DEALLOCATE nothing

EXECUTE nothing

--@ run nothing []

--@ close nothing

NOTIFY ""

LISTEN "a name that is much too long for what an identifier may be in PostgreSQL"

UNLISTEN *

SELECT pg_advisory_unlock(4711)

SELECT pg_terminate_backend(0)

SELECT lo_get(4711)

GRANT SELECT ON limits TO nobody_there

SET ROLE nobody_there

SET SESSION AUTHORIZATION postgres

SELECT 'still in order'
