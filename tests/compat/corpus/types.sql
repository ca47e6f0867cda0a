SELECT 1::int2, 2::int4, 3::int8, -9223372036854775808::int8

SELECT 1.5::float4, 0.1::float8 + 0.2::float8, 'NaN'::float8, '-Infinity'::float4, 1e308::float8

SELECT 12345678901234567890.123456789::numeric, 'NaN'::numeric, 1.50::numeric(5,2), 0.000000000000000000001::numeric

SELECT true, false, null::bool, 'yes'::bool, 'off'::bool

SELECT 'text'::text, 'ab'::char(5), 'abc'::varchar(2), 'x'::"char", 'a name'::name

SELECT ''::text, ' '::text, E'tab\tline\nquote\'backslash\\', $$dollar 'quoted'$$, U&'\00e4\+01F600'

SELECT '\xdeadbeef'::bytea, ''::bytea, 'a\\b'::bytea, decode('AAEC', 'base64')

SET bytea_output = escape

SELECT '\xdeadbeef00'::bytea

RESET bytea_output

SELECT date '2024-02-29', date 'infinity', date '0044-03-15 BC', '2024-02-29'::date + 366

SELECT timestamp '2024-02-29 12:34:56.789', timestamptz '2024-02-29 12:34:56.789+05:30', time '24:00', timetz '12:00-03'

SELECT interval '1 year 2 months 3 days 04:05:06.7', interval '-1 day', justify_interval('40 days 30 hours')

SET IntervalStyle = iso_8601

SELECT interval '1 year 2 months 3 days 04:05:06.7'

SET IntervalStyle = sql_standard; SELECT interval '1 day -2 hours'

RESET IntervalStyle

SET DateStyle = 'German, DMY'

SELECT date '2024-02-29', timestamp '2024-02-29 12:00', '01.02.2024'::date

RESET DateStyle

SET TimeZone = 'Asia/Kathmandu'

SELECT timestamptz '2024-02-29 12:00+00', current_setting('TimeZone')

RESET TimeZone

SELECT extract(epoch FROM timestamptz '2024-01-01 00:00+00'), date_trunc('month', timestamp '2024-05-17'), age(date '2024-03-01', date '2023-01-31')

SELECT '{1,2,NULL,4}'::int[], ARRAY['a', 'b c', '', NULL, 'NULL', '{"x"}'], '{}'::text[], ARRAY[[1,2],[3,4]], '[2:3]={7,8}'::int[]

SELECT array_agg(n ORDER BY n DESC), array_length(array_agg(n), 1) FROM generate_series(1, 5) n

SELECT unnest(ARRAY[3,1,2]) AS n ORDER BY n

SELECT '{"a": [1, 2.0, null, "x"], "b": {"c": true}}'::json, '{"b": 1, "a": [1, 2.0], "a": 3}'::jsonb

SELECT '{"a": {"b": [10, 20]}}'::jsonb -> 'a' -> 'b' ->> 1, '{"a": 1}'::jsonb @> '{"a": 1}', '[1,2]'::jsonb || '3', jsonb_path_query_array('[1,2,3]', '$[*] ? (@ > 1)')

SELECT jsonb_set('{"a": 1}', '{b}', '"ä"'), jsonb_pretty('{"a": [1]}'), to_jsonb(row(1, 'x'))

SELECT uuid '00112233-4455-6677-8899-aabbccddeeff', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid

SELECT inet '192.168.0.1/24', cidr '10.0.0.0/8', macaddr '08:00:2b:01:02:03', inet '::1', inet '192.168.1.5' << cidr '192.168.0.0/16'

SELECT B'1010', B'1010'::bit(6), B'101'::varbit, B'1100' & B'1010'

SELECT point '(1,2)', box '((0,0),(1,1))', circle '<(0,0),2>', path '[(0,0),(1,1)]', polygon '((0,0),(1,0),(0,1))', line '{1,-1,0}', lseg '[(0,0),(1,1)]'

SELECT int4range(1, 5), '[2024-01-01,2024-02-01)'::daterange, 'empty'::int8range, numrange(NULL, 2.5), int4multirange(int4range(1,3), int4range(5,7))

SELECT 'a fat cat sat'::tsvector, to_tsquery('simple', 'fat & !dog'), to_tsvector('simple', 'The Cat') @@ to_tsquery('simple', 'cat')

SELECT '1 2 3'::int2vector, '1 2'::oidvector, 'pg_class'::regclass, 'int4'::regtype, 'now'::regproc, '0/16B3748'::pg_lsn

SELECT '<a>x</a>'::text, xmlcomment('no') IS NOT NULL

SELECT row(1, 'two', NULL), row(), (row(1, 2)).f2

SELECT money '12.34', '(1,2)'::point <-> '(4,6)'::point, 7 / 2, -7 / 2, 7 % -3, 2 ^ 10, |/ 2

CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')

SELECT 'happy'::mood, 'sad'::mood < 'ok'::mood, enum_range(NULL::mood)

SELECT 'angry'::mood

CREATE TYPE pair AS (a int, b text); CREATE DOMAIN positive AS int CHECK (VALUE > 0)

SELECT row(1, 'x, "y"')::pair, '(2,)'::pair, (row(3, 'z')::pair).b, 5::positive, ARRAY[row(1, 'p')::pair]

SELECT (-1)::positive

CREATE TABLE everything (b bool, i int, t text, j jsonb, a int[], m mood, p pair, d positive, n numeric(6,2), v varchar(3))

INSERT INTO everything VALUES (true, 1, 'one', '{"k": 1}', '{1}', 'ok', (1, 'x'), 1, 1.005, 'abc') RETURNING *

INSERT INTO everything (v) VALUES ('toolong')

INSERT INTO everything (n) VALUES (123456)

INSERT INTO everything (i) VALUES ('one')

SELECT * FROM everything

--@ extended ["42", "text", "{1,2}", "{\"a\": 1}", null]
SELECT $1::int, $2::text, $3::int[], $4::jsonb, $5::date

--@ extended ["sad"]
SELECT $1::mood

--@ extended ["nothing"]
SELECT $1::mood

SELECT 99999999999::int4

SELECT 'abc'::int

SELECT '2024-02-30'::date

SELECT '{1,2'::int[]

SELECT '{"a":'::jsonb

SELECT 1::numeric / 3, round(2.5), round(-2.5), trunc(2.9), round(2.567, 2), sqrt(2::numeric)

SELECT E'\u00e9', length('größer'), octet_length('größer'), upper('straße'), reverse('abc'), repeat('xy', 3), lpad('7', 3, '0')

SELECT format('%s %I %L %%', 'a', 'Weird Name', 'it''s'), quote_ident('SELECT'), quote_literal(NULL), quote_nullable(NULL), concat_ws('-', 1, NULL, 'x')

SELECT regexp_replace('abc123', '\d', '#', 'g'), regexp_matches('foobar', '(o+)(b)'), 'abc' LIKE 'a%', 'abc' ~* 'B', substring('hello' FROM '(l+)')

SELECT to_char(1234567.891, 'FM9,999,999.00'), to_char(timestamp '2024-05-06 07:08:09', 'YYYY-MM-DD HH24:MI:SS'), to_number('1,234.5', '9G999D9'), to_date('06 May 2024', 'DD Mon YYYY')

SELECT coalesce(NULL, 2), nullif(1, 1), greatest(1, NULL, 3), least(2, 1), CASE WHEN NULL THEN 1 ELSE 2 END

SELECT NULL = NULL, NULL IS NULL, 1 IS DISTINCT FROM NULL, (1, NULL) IS NULL, 1 IN (2, NULL)
