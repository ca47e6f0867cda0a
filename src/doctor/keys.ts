// Lints about the tenant's column, and about the indexes and keys that should begin with it.

import type { Lint } from "./lint.ts";

export const KEYS: readonly Lint[] = [
  {
    id: "T08",
    name: "tenant_column_nullable",
    severity: "warning",
    finds: "a tenant's column that may be NULL",
    why: "A row without a tenant is nobody's: no tenant sees it, and no tenant deletes it.",
    remedy: "Make the column NOT NULL.",
    sql: `
      SELECT t.fq AS object, t.tname || ' may be NULL' AS detail,
             format('ALTER TABLE %s ALTER COLUMN %s SET NOT NULL;', t.fq, t.tname) AS fix
        FROM tab t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = t.tcol
       WHERE t.relrowsecurity AND NOT a.attnotnull`,
  },
  {
    id: "T09",
    name: "tenant_column_fuzzy_equality",
    severity: "error",
    finds: "a tenant's column whose equality is not that of bytes",
    why: "With citext, char(n) or a nondeterministic collation tenant acme also reads ACME's rows.",
    remedy: "Use text, uuid or an integer.",
    sql: `
      SELECT t.fq AS object,
             concat_ws(' ', t.tname, 'is', format_type(a.atttypid, a.atttypmod),
                       'COLLATE ' || c.collname) AS detail,
             format('ALTER TABLE %s ALTER COLUMN %s TYPE text COLLATE "C";', t.fq, t.tname) AS fix
        FROM tab t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = t.tcol
        LEFT JOIN pg_collation c ON c.oid = a.attcollation AND NOT c.collisdeterministic
       WHERE a.atttypid = 'bpchar'::regtype OR c.oid IS NOT NULL
          OR a.atttypid IN (SELECT oid FROM pg_type WHERE typname = 'citext')`,
  },
  {
    id: "T10",
    name: "index_without_tenant_prefix",
    severity: "warning",
    finds: "a protected table without an index that begins with the tenant's column",
    why: "Every query of a tenant walks through the rows of all tenants.",
    remedy: "Make one.",
    sql: `
      SELECT t.fq AS object, 'no index begins with ' || t.tname AS detail,
             format('CREATE INDEX ON %s (%s);', t.fq, t.tname) AS fix
        FROM tab t
       WHERE t.relrowsecurity AND t.tcol IS NOT NULL
         AND NOT EXISTS (SELECT FROM pg_index i
                          WHERE i.indrelid = t.oid AND i.indkey[0] = t.tcol AND i.indpred IS NULL)`,
  },
  {
    id: "T11",
    name: "unique_without_tenant",
    severity: "warning",
    finds: "a unique or exclusion constraint on a protected table that leaves the tenant out",
    why: "'duplicate key' tells one tenant that another has this value, and keeps it from him.",
    remedy: "Begin it with the tenant's column.",
    sql: `
      SELECT t.fq AS object, i.indexrelid::regclass::text || ' is unique across tenants' AS detail,
             CASE WHEN i.indisunique AND i.indexprs IS NULL AND i.indpred IS NULL THEN
               format('CREATE UNIQUE INDEX ON %s (%s, %s);', t.fq, t.tname,
                 (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.place)
                    FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
                    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.attnum
                   WHERE k.place <= i.indnkeyatts)) END AS fix
        FROM tab t JOIN pg_index i ON i.indrelid = t.oid AND (i.indisunique OR i.indisexclusion)
       WHERE t.relrowsecurity AND t.tcol IS NOT NULL AND t.tcol <> ALL (i.indkey::int2[])
         -- A made-up key that the client does not choose tells nothing.
         AND NOT EXISTS (SELECT FROM pg_attribute a
                          WHERE a.attrelid = t.oid AND a.attnum = i.indkey[0]
                            AND (a.attidentity <> '' OR a.atttypid = 'uuid'::regtype
                                 OR pg_get_serial_sequence(t.fq, a.attname) IS NOT NULL))`,
  },
  {
    id: "T12",
    name: "fk_without_tenant",
    severity: "warning",
    finds: "a foreign key between tenants' tables that leaves the tenant out",
    why: "Foreign keys are checked past row-level security: a row may refer to another tenant's.",
    remedy: "Let it be (tenant, id) on both sides.",
    sql: `
      SELECT t.fq AS object,
             quote_ident(c.conname) || ' may refer to another tenant''s row of ' || f.fq AS detail,
             format('ALTER TABLE %s ADD FOREIGN KEY (%s, %s) REFERENCES %s (%s, %s);',
                    t.fq, t.tname, own.columns, f.fq, f.tname, other.columns) AS fix
        FROM tab t
        JOIN pg_constraint c ON c.conrelid = t.oid AND c.contype = 'f' AND c.conparentid = 0
        JOIN tab f ON f.oid = c.confrelid
        CROSS JOIN LATERAL (
          SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.place) AS columns
            FROM unnest(c.conkey) WITH ORDINALITY AS k (attnum, place)
            JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.attnum) AS own
        CROSS JOIN LATERAL (
          SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.place) AS columns
            FROM unnest(c.confkey) WITH ORDINALITY AS k (attnum, place)
            JOIN pg_attribute a ON a.attrelid = f.oid AND a.attnum = k.attnum) AS other
       WHERE t.tcol IS NOT NULL AND f.tcol IS NOT NULL
         AND NOT (t.tcol = ANY (c.conkey) AND f.tcol = ANY (c.confkey))`,
  },
  {
    id: "T13",
    name: "index_not_leakproof",
    severity: "info",
    finds: "an index on a protected table whose operators are not LEAKPROOF",
    why: "PostgreSQL does not search it with a tenant's condition: the policy has to come first.",
    remedy: "Put the tenant's column first, with btree_gin or btree_gist where it needs that.",
    sql: `
      SELECT t.fq AS object,
             format('%s (%s): %s', i.indexrelid::regclass, m.amname,
                    string_agg(DISTINCT o.oprname, ' ')) AS detail
        FROM tab t JOIN pg_index i ON i.indrelid = t.oid
        JOIN pg_class ic ON ic.oid = i.indexrelid
        JOIN pg_am m ON m.oid = ic.relam
        CROSS JOIN unnest(i.indclass::oid[]) AS k (opclass)
        JOIN pg_opclass c ON c.oid = k.opclass
        JOIN pg_amop s ON s.amopfamily = c.opcfamily AND s.amoppurpose = 's'
         AND s.amoplefttype = c.opcintype
         AND (m.amname NOT IN ('btree', 'hash')
              OR s.amopstrategy = CASE m.amname WHEN 'btree' THEN 3 ELSE 1 END)
        JOIN pg_operator o ON o.oid = s.amopopr
        JOIN pg_proc p ON p.oid = o.oprcode
       WHERE t.relrowsecurity AND NOT p.proleakproof
         AND i.indkey[0] IS DISTINCT FROM t.tcol
       GROUP BY t.fq, i.indexrelid, m.amname`,
  },
];
