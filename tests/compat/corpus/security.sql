CREATE TABLE docs (id int, tenant_id text NOT NULL DEFAULT current_setting('app.current_tenant_id'), body text)

ALTER TABLE docs ENABLE ROW LEVEL SECURITY; ALTER TABLE docs FORCE ROW LEVEL SECURITY

SELECT * FROM docs

INSERT INTO docs (id) VALUES (1)

CREATE POLICY tenant ON docs USING (tenant_id = current_setting('app.current_tenant_id', true))

INSERT INTO docs (id, body) VALUES (1, 'mine') RETURNING *

INSERT INTO docs VALUES (2, 'tenant_b', 'theirs')

SELECT * FROM docs

UPDATE docs SET tenant_id = 'tenant_b'

UPDATE docs SET body = 'changed' WHERE tenant_id = 'tenant_b'

DELETE FROM docs WHERE tenant_id = 'tenant_b'

SELECT count(*) FROM docs WHERE tenant_id <> 'tenant_a'

INSERT INTO docs VALUES (1, 'tenant_b', 'x') ON CONFLICT DO NOTHING

CREATE VIEW invoker WITH (security_invoker = true) AS SELECT * FROM docs

SELECT * FROM invoker

CREATE POLICY readers ON docs FOR SELECT TO authenticated USING (true)

SET ROLE authenticated

SELECT * FROM docs

RESET ROLE

GRANT SELECT ON docs TO authenticated

BEGIN; SET LOCAL ROLE authenticated; SELECT id, tenant_id FROM docs; ROLLBACK

SELECT polname, polcmd FROM pg_policy ORDER BY polname

SELECT row_security_active('docs')

SET row_security = off

SELECT * FROM docs

RESET row_security

CREATE FUNCTION leaky(text) RETURNS bool LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RAISE NOTICE 'saw %', $1; RETURN true; END $$

SELECT id FROM docs WHERE leaky(body)

ALTER TABLE docs DISABLE ROW LEVEL SECURITY

DROP POLICY readers ON docs

DROP POLICY never ON docs

SELECT has_table_privilege('authenticated', 'docs', 'SELECT'), has_table_privilege('docs', 'INSERT')

REVOKE ALL ON docs FROM authenticated

SET ROLE postgres

SET SESSION AUTHORIZATION 'trusty'

RESET SESSION AUTHORIZATION

ALTER ROLE trusty SUPERUSER

ALTER ROLE trusty BYPASSRLS

CREATE POLICY p ON pg_class USING (true)

SELECT current_user
