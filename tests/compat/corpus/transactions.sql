CREATE TABLE t (id int PRIMARY KEY, v text)

BEGIN

INSERT INTO t VALUES (1, 'kept')

SELECT * FROM t

COMMIT

BEGIN

INSERT INTO t VALUES (2, 'undone')

ROLLBACK

SELECT * FROM t

BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE

SHOW transaction_isolation

INSERT INTO t VALUES (3, 'read only')

ROLLBACK

START TRANSACTION ISOLATION LEVEL REPEATABLE READ

SHOW transaction_isolation

SET TRANSACTION READ ONLY

SHOW transaction_read_only

END

SHOW transaction_read_only

BEGIN; INSERT INTO t VALUES (4, 'in one'); COMMIT

BEGIN; INSERT INTO t VALUES (5, 'in one, failing'); SELECT 1/0; COMMIT

ROLLBACK

INSERT INTO t VALUES (6, 'implicit'); INSERT INTO t VALUES (6, 'twice')

SELECT id FROM t ORDER BY id

INSERT INTO t VALUES (7, 'a'); BEGIN; INSERT INTO t VALUES (8, 'b'); ROLLBACK

SELECT id FROM t ORDER BY id

BEGIN

SAVEPOINT one

INSERT INTO t VALUES (10, 'ten')

SAVEPOINT two

INSERT INTO t VALUES (11, 'eleven')

ROLLBACK TO one

INSERT INTO t VALUES (12, 'twelve')

RELEASE one

RELEASE two

ROLLBACK TO SAVEPOINT one

ROLLBACK

BEGIN

SAVEPOINT s

SELECT 1/0

SELECT 'ignored'

ROLLBACK TO s

INSERT INTO t VALUES (13, 'after an error')

SAVEPOINT s

SAVEPOINT s

RELEASE s

ROLLBACK TO s

COMMIT

SELECT id FROM t ORDER BY id

BEGIN

SET LOCAL work_mem = '1MB'

SET LOCAL TimeZone = 'Pacific/Auckland'

SHOW TimeZone

COMMIT

SHOW TimeZone

BEGIN

SET TimeZone = 'Pacific/Auckland'

ROLLBACK

SHOW TimeZone

BEGIN

SET application_name = 'within'

COMMIT

SHOW application_name

SET application_name = 'outside'; SELECT current_setting('application_name')

RESET application_name

BEGIN

SELECT 1/0

COMMIT AND CHAIN

SELECT 'in the chain'

ROLLBACK AND CHAIN

SELECT 'still'

COMMIT

COMMIT AND CHAIN

SET default_transaction_read_only = on

INSERT INTO t VALUES (20, 'no')

RESET default_transaction_read_only

SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE

SHOW default_transaction_isolation

RESET default_transaction_isolation

BEGIN

PREPARE TRANSACTION 'p1'

SELECT count(*) FROM pg_prepared_xacts WHERE gid = 'p1'

ROLLBACK PREPARED 'p1'

COMMIT PREPARED 'never'

BEGIN

--@ extended ["30", "bound"]
INSERT INTO t VALUES ($1, $2) RETURNING id

--@ extended ["30", "again"]
INSERT INTO t VALUES ($1, $2)

--@ extended ["31", "ignored"]
INSERT INTO t VALUES ($1, $2)

ROLLBACK

--@ batch
BEGIN
INSERT INTO t VALUES (40, 'pipelined')
COMMIT
SELECT count(*) FROM t WHERE id = 40

--@ batch
BEGIN
INSERT INTO t VALUES (41, 'pipelined')
SELECT 1/0
COMMIT

SELECT 'ignored'

ROLLBACK

SELECT id FROM t ORDER BY id

DO $$ BEGIN INSERT INTO t VALUES (50, 'do'); COMMIT; INSERT INTO t VALUES (51, 'do'); ROLLBACK; END $$

SELECT id FROM t WHERE id >= 50

CREATE PROCEDURE half(n int) LANGUAGE plpgsql AS $$ BEGIN INSERT INTO t VALUES (n, 'half'); COMMIT; INSERT INTO t VALUES (n + 1, 'half'); ROLLBACK; END $$

CALL half(60)

BEGIN; CALL half(70)

ROLLBACK

SELECT id FROM t WHERE id >= 50 ORDER BY id

BEGIN; SELECT txid_current_if_assigned() IS NULL; INSERT INTO t VALUES (80, 'x'); SELECT txid_current_if_assigned() IS NULL; ROLLBACK

BEGIN; SELECT * FROM t WHERE id = 1 FOR UPDATE; SELECT count(*) FROM pg_locks WHERE locktype = 'relation' AND relation = 't'::regclass; COMMIT

BEGIN; SELECT pg_advisory_xact_lock(1), pg_try_advisory_xact_lock(2); COMMIT

SELECT pg_notify('x', 'nobody listens')

SET CONSTRAINTS ALL DEFERRED

BEGIN; DECLARE c CURSOR FOR SELECT id FROM t ORDER BY id; FETCH 2 FROM c; COMMIT

SELECT count(*) FROM pg_cursors
