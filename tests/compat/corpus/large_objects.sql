SELECT lo_create(424242)

SELECT lo_put(424242, 0, '\x0102030405')

SELECT lo_get(424242)

SELECT lo_get(424242, 1, 3)

SELECT lo_put(424242, 3, '\xffffff'); SELECT lo_get(424242)

SELECT lo_from_bytea(424243, 'hello')

SELECT convert_from(lo_get(424243), 'UTF8')

BEGIN

SELECT lo_open(424242, 393216)

SELECT loread(0, 2)

SELECT lo_lseek(0, 0, 2), lo_tell(0)

SELECT lowrite(0, '\xaa')

SELECT lo_lseek64(0, 1, 0), loread(0, 100)

SELECT lo_truncate(0, 2)

SELECT lo_close(0)

SELECT loread(0, 1)

ROLLBACK

SELECT lo_get(424242)

SELECT lo_open(424242, 131072)

SELECT loread(0, 1)

SELECT lo_create(424242)

SELECT lo_get(999999)

SELECT lo_unlink(424242)

SELECT lo_unlink(424242)

SELECT oid::int, lomowner::regrole FROM pg_largeobject_metadata WHERE oid BETWEEN 424242 AND 424250

COMMENT ON LARGE OBJECT 424243 IS 'greeting'

GRANT SELECT ON LARGE OBJECT 424243 TO PUBLIC

SELECT lo_unlink(424243)

SELECT lo_import('/etc/passwd')

SELECT lo_export(1, '/tmp/never')
