CREATE TABLE loads (id int, name text, note text)

--@ copy
COPY loads FROM STDIN
--@ data
1	one	first
2	two	\N
3	tab\there	back\\slash

SELECT * FROM loads ORDER BY id

COPY loads TO STDOUT

COPY (SELECT id, name FROM loads WHERE id < 3 ORDER BY id DESC) TO STDOUT WITH (FORMAT csv, HEADER)

COPY loads (name, id) TO STDOUT WITH (DELIMITER '|', NULL '<null>')

COPY loads TO STDOUT (FORMAT binary)

COPY (SELECT NULL::int, '', ' quoted "text"') TO STDOUT (FORMAT csv, FORCE_QUOTE *)

--@ copy
COPY loads FROM STDIN WITH (FORMAT csv, HEADER true)
--@ data
id,name,note
4,"four, with a comma","a ""quote"""
5,five,

SELECT count(*), max(name) FROM loads

--@ copy
COPY loads FROM STDIN
--@ data
not a number	x	y

--@ copy
COPY loads FROM STDIN
--@ data
6	too few

--@ copy
COPY loads FROM STDIN
--@ data
7	too	many	columns

--@ copyfail
COPY loads FROM STDIN

SELECT count(*) FROM loads

--@ copy
COPY loads FROM STDIN (ON_ERROR ignore, LOG_VERBOSITY verbose)
--@ data
bad	x	y
8	good	y

SELECT id FROM loads WHERE id >= 6

BEGIN

--@ copy
COPY loads (id) FROM STDIN
--@ data
20
21

SELECT count(*) FROM loads WHERE id >= 20

ROLLBACK

SELECT count(*) FROM loads WHERE id >= 20

BEGIN

--@ copy
COPY loads (id) FROM STDIN
--@ data
x

SELECT 'ignored'

ROLLBACK

--@ copy
SELECT 'before'; COPY loads (id) FROM STDIN; SELECT count(*) FROM loads WHERE id = 30
--@ data
30

COPY (SELECT 1) TO STDOUT; COPY (SELECT 2) TO STDOUT

COPY (SELECT 1/0) TO STDOUT

COPY (SELECT n, repeat('x', 50) FROM generate_series(1, 50) n) TO STDOUT

COPY (SELECT 10 / (3 - n) FROM generate_series(1, 5) n) TO STDOUT

COPY nowhere TO STDOUT

COPY loads TO '/tmp/never'

COPY loads FROM '/tmp/never'

COPY loads FROM PROGRAM 'true'

COPY loads TO STDOUT (FORMAT nonsense)

--@ copy
COPY loads (id, name) FROM STDIN WHERE id > 41
--@ data
41	no
42	yes

--@ copy
COPY loads FROM STDIN (DEFAULT '\D', DELIMITER ',')
--@ data
50,\D,x

--@ extended []
COPY (SELECT 'by Execute') TO STDOUT

COPY (INSERT INTO loads (id) VALUES (60) RETURNING id) TO STDOUT

CREATE VIEW viewed AS SELECT * FROM loads; COPY viewed TO STDOUT

COPY (SELECT * FROM viewed ORDER BY id LIMIT 1) TO STDOUT

CREATE TABLE protected (tenant_id text, v int); ALTER TABLE protected ENABLE ROW LEVEL SECURITY; ALTER TABLE protected FORCE ROW LEVEL SECURITY; CREATE POLICY tenant ON protected USING (tenant_id = current_setting('app.current_tenant_id'))

--@ copy
COPY protected FROM STDIN
--@ data
tenant_a	1

INSERT INTO protected VALUES ('tenant_a', 1)

INSERT INTO protected VALUES ('tenant_b', 1)

COPY protected TO STDOUT

SELECT * FROM protected
