NOTIFY nobody

SELECT pg_notify('nobody', 'a payload')

LISTEN news

SELECT pg_listening_channels()

NOTIFY news

NOTIFY news, 'with a payload'

NOTIFY other, 'not heard'

SELECT pg_notify('news', 'by function')

BEGIN; NOTIFY news, 'once'; NOTIFY news, 'once'; NOTIFY news, 'twice'; COMMIT

BEGIN; NOTIFY news, 'rolled back'; ROLLBACK

BEGIN

NOTIFY news, 'at commit'

SELECT 'nothing yet'

COMMIT

BEGIN; SAVEPOINT s; NOTIFY news, 'undone'; ROLLBACK TO s; NOTIFY news, 'done'; COMMIT

LISTEN "Mixed Case"

NOTIFY "Mixed Case", 'quoted'

LISTEN news

NOTIFY news, 'heard once'

--@ extended []
NOTIFY news, 'by Execute'

--@ extended ["news", "bound"]
SELECT pg_notify($1, $2)

DO $$ BEGIN PERFORM pg_notify('news', 'from DO'); END $$

SELECT pg_notify('news', repeat('x', 8000))

SELECT pg_notify('', 'x')

UNLISTEN "Mixed Case"

NOTIFY "Mixed Case", 'not any more'

SELECT pg_listening_channels()

UNLISTEN *

NOTIFY news, 'nobody'

SELECT count(*) FROM pg_listening_channels()

BEGIN; LISTEN later; ROLLBACK

SELECT count(*) FROM pg_listening_channels()
