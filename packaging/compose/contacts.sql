-- What the compose example shows: one table, two tenants.

CREATE TABLE contacts (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id text NOT NULL DEFAULT current_tenant_id(),
  name text NOT NULL
);
CREATE INDEX ON contacts (tenant_id);
INSERT INTO contacts (tenant_id, name) VALUES
  ('acme', 'Alice Archer'), ('acme', 'Amir Aziz'), ('globex', 'Gina Gold');

SELECT pgvpd_protect('contacts');
ALTER ROLE app_user PASSWORD 'compose';
