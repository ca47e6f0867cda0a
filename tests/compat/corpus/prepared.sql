CREATE TABLE things (id int PRIMARY KEY, name text)

--@ parse by_id
SELECT name FROM things WHERE id = $1

--@ run by_id ["1"]

--@ parse insert_one
INSERT INTO things VALUES ($1, $2) RETURNING id, name

--@ run insert_one ["1", "one"]

--@ run insert_one ["2", null]

--@ run insert_one ["1", "again"]

--@ run by_id ["1"]

--@ run by_id ["2"]

--@ run by_id ["x"]

--@ run by_id []

--@ run by_id ["1", "2"]

--@ parse by_id
SELECT 'already there'

--@ run by_id ["1"]

--@ close by_id

--@ run by_id ["1"]

--@ parse by_id
SELECT id FROM things WHERE name = $1

--@ run by_id ["one"]

--@ parse wrong
SELEC

--@ run wrong []

--@ parse nowhere
SELECT * FROM nowhere

--@ parse types
SELECT $1::int + $2, $3::text[], $4::timestamptz AT TIME ZONE 'UTC'

--@ run types ["1", "2", "{a,b}", "2024-01-01 00:00+00"]

--@ parse nothing
CREATE TABLE made (n int)

--@ run nothing []

--@ run nothing []

--@ parse empty

--@ run empty []

--@ parse many
SELECT n FROM generate_series(1, 10) n

--@ portions many 4

--@ portions many 100

--@ run many []

--@ parse volatile
SELECT count(*) FROM made

INSERT INTO made VALUES (1)

--@ run volatile []

ALTER TABLE made ADD COLUMN m int

--@ run volatile []

--@ parse star
SELECT * FROM made

--@ run star []

ALTER TABLE made ADD COLUMN k int

--@ run star []
-- with a column more than when it was parsed

--@ close star

--@ close star

--@ parse star
SELECT * FROM made

--@ run star []

DROP TABLE made

--@ run volatile []

BEGIN

--@ parse in_tx
SELECT $1::text || '!'

--@ run in_tx ["hey"]

ROLLBACK

--@ run in_tx ["still there"]

BEGIN

--@ run in_tx ["within"]

--@ extended ["0"]
SELECT 1 / $1::int

--@ run in_tx ["ignored"]

--@ close in_tx

ROLLBACK

--@ extended ["unnamed"]
SELECT $1::text

--@ extended ["a", "b"]
SELECT $1::text, $2::text

--@ extended []

--@ batch
SELECT 1
SELECT 'a', 'b'
SET application_name = 'batched'
SHOW application_name
RESET application_name

--@ parse setter
SET TimeZone = 'Europe/Paris'

--@ run setter []

SHOW TimeZone

RESET TimeZone

--@ parse sleeper
SELECT pg_sleep($1)

--@ run sleeper ["0"]

--@ parse cols
SELECT 1::int2 AS a, 'x'::varchar(5) AS b, ARRAY[1.5] AS c, NULL AS d

--@ run cols []

PREPARE by_sql (int) AS SELECT $1 * 2 AS twice

EXECUTE by_sql (21)

EXECUTE by_sql ('x')

EXECUTE by_sql

SELECT name, statement, parameter_types, from_sql FROM pg_prepared_statements WHERE from_sql ORDER BY name

--@ run by_sql ["4"]

PREPARE by_sql AS SELECT 1

DEALLOCATE by_sql

EXECUTE by_sql (1)

--@ run insert_one ["3", "three"]

DEALLOCATE insert_one

--@ run insert_one ["4", "four"]

--@ parse again
SELECT 1

DEALLOCATE ALL

--@ run again []

--@ run in_tx ["gone"]

SELECT count(*) FROM pg_prepared_statements

--@ parse again
SELECT 'made anew'

--@ run again []

DISCARD PLANS

--@ run again []

DISCARD ALL

--@ run again []
