// The tables of cases that tests/wire/setup_sql_test.ts walks through.

/** A column's type, two tenants, and contexts that fit neither and raise no error. */
export const COLUMN_TYPES: readonly [
  type: string,
  one: string,
  other: string,
  nobody: readonly string[],
][] = [
  ["text", "acme", "umbrella", ["ACME", "acme ", "' OR true --"]],
  ["varchar(4)", "acme", "umbr", ["acme-evil"]],
  ["char(6)", "acme", "umbrel", ["umbrella"]],
  ["name", "a".repeat(63), "umbrella", ["a".repeat(64)]],
  ['"char"', "a", "u", ["acme"]],
  [
    "uuid",
    "018f0000-0000-7000-8000-00000000000a",
    "018f0000-0000-7000-8000-00000000000b",
    ["acme", "018f0000-0000-7000-8000-00000000000", "018f0000-0000-7000-8000-00000000000a0"],
  ],
  ["smallint", "7", "8", ["acme", "7 ", "7 OR true", "65543", "7.0"]],
  ["integer", "7", "2147483647", ["acme", "4294967303", "0x7"]],
  ["bigint", "7", "9223372036854775807", ["acme", "18446744073709551623", "7\n"]],
  ["numeric(5,0)", "7", "8", []],
  ["bit(4)", "1010", "0101", ["10101"]],
  ["tenant_enum", "acme", "umbrella", []],
  ["tenant_domain", "7", "8", ["acme"]],
];

/** Arguments of pgvpd_protect() that it must refuse: SQLSTATE, and words of message and hint. */
export const REFUSALS: {
  readonly setup: string;
  readonly calls: readonly [call: string, sqlState: string, words: RegExp][];
} = {
  setup: `
    CREATE TABLE plain (tenant_id text, document json, place point);
    CREATE TABLE "Capital" (tenant_id text);
    CREATE VIEW a_view AS SELECT * FROM plain;
    CREATE MATERIALIZED VIEW a_matview AS SELECT * FROM plain;
    CREATE SEQUENCE a_sequence;
    CREATE FOREIGN DATA WRAPPER nowhere;
    CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
    CREATE FOREIGN TABLE a_foreign (tenant_id text) SERVER nowhere;
    CREATE TABLE parted (tenant_id text, year int) PARTITION BY LIST (year);
    CREATE FOREIGN TABLE far PARTITION OF parted FOR VALUES IN (1) SERVER nowhere;
    CREATE ROLE almighty SUPERUSER;
    CREATE ROLE bypasser BYPASSRLS;
    CREATE ROLE owner_role;
    CREATE ROLE owner_member IN ROLE owner_role;
    CREATE TABLE owned (tenant_id text);
    ALTER TABLE owned OWNER TO owner_role`,
  calls: [
    ["'nope'", "42P01", /there is no table nope\n.*search_path/],
    ["'Capital'", "42P01", /there is no table Capital\n.*double quotes/],
    ["'nowhere.plain'", "42P01", /there is no table nowhere\.plain/],
    ["NULL", "42P01", /there is no table NULL/],
    ["'plain', 'tenant'", "42703", /public\.plain has no column tenant\n.*exactly as/],
    ["'plain', NULL", "42703", /has no column/],
    ["'plain', 'ctid'", "42703", /has no column ctid/],
    ["'plain', 'document'", "42804", /has type json.*\n.*text, uuid or integer/],
    ["'plain', 'place'", "42804", /has type point/],
    ["'a_view'", "42809", /a_view is a view.*\n.*security_invoker/],
    ["'a_matview'", "42809", /a_matview is a view/],
    ["'a_sequence'", "42809", /a_sequence is not a table/],
    ["'a_foreign'", "42809", /a_foreign is a foreign table.*\n.*local table/],
    ["'parted'", "42809", /far below public\.parted is a foreign table.*\nDetach/],
    ["'plain', app_role => 'nobody'", "42704", /there is no role nobody\n/],
    ["'plain', app_role => 'public'", "42704", /there is no role public\n/],
    ["'plain', app_role => NULL", "42704", /there is no role/],
    ["'plain', app_role => 'almighty'", "0LP01", /almighty is not bound.*\n.*NOSUPERUSER/],
    ["'plain', app_role => 'bypasser'", "0LP01", /bypasser is not bound/],
    ["'owned', app_role => 'owner_role'", "0LP01", /owner_role owns public\.owned.*\n.*OWNER TO/],
    ["'owned', app_role => 'owner_member'", "0LP01", /owner_member owns public\.owned/],
  ],
};

/** Damage done to the protected table "notes", and what pgvpd_status() then says of it. */
export const FAULTS: readonly [damage: string, words: RegExp][] = [
  ["ALTER TABLE notes DISABLE ROW LEVEL SECURITY", /^row-level security is off$/],
  ["ALTER TABLE notes NO FORCE ROW LEVEL SECURITY", /^not forced: the owner is not bound$/],
  [
    `DROP POLICY pgvpd_tenant_boundary_notes ON notes;
     DROP POLICY pgvpd_tenant_isolation_notes ON notes`,
    /^no policy$/,
  ],
  [
    "DROP POLICY pgvpd_tenant_boundary_notes ON notes",
    /^policy pgvpd_tenant_isolation_notes is permissive and has no restrictive counterpart$/,
  ],
  [
    `ALTER POLICY pgvpd_tenant_boundary_notes ON notes TO app_user;
     CREATE POLICY wide ON notes USING (true)`,
    /policy wide is permissive and has no restrictive counterpart$/,
  ],
  ["ALTER POLICY pgvpd_tenant_boundary_notes ON notes USING (true)", /no restrictive counterpart/],
  ["CREATE TABLE heir () INHERITS (notes)", /^partition public\.heir is unprotected$/],
  ["ALTER ROLE app_user BYPASSRLS", /^app_user is not bound by row-level security$/],
  ["ALTER TABLE notes OWNER TO app_user", /^owned by app_user, which could switch/],
  ["GRANT TRUNCATE ON notes TO app_user", /^TRUNCATE granted to app_user$/],
  [
    "GRANT TRIGGER, REFERENCES ON notes TO PUBLIC",
    /^REFERENCES granted to app_user; TRIGGER granted to app_user$/,
  ],
  [
    "CREATE VIEW every AS SELECT * FROM notes; GRANT SELECT ON every TO app_user",
    /^public\.every shows app_user the rows of every tenant$/,
  ],
  [
    `CREATE VIEW bound AS SELECT * FROM notes; GRANT SELECT ON bound TO app_user;
     ALTER VIEW bound OWNER TO outsider`,
    /^nothing$/,
  ],
  [
    "CREATE MATERIALIZED VIEW kept AS SELECT * FROM notes; GRANT SELECT ON kept TO PUBLIC",
    /^public\.kept shows app_user the rows of every tenant$/,
  ],
];

/** An older installation: other signatures and result columns, one permissive policy. */
export const FORMER_VERSION = `
    CREATE FUNCTION current_tenant_id() RETURNS text LANGUAGE plpgsql STABLE
      AS $$ BEGIN RETURN current_setting('app.current_tenant_id', true); END $$;
    CREATE FUNCTION pgvpd_protect(target_table text, tenant_column text DEFAULT 'tenant_id')
      RETURNS void LANGUAGE plpgsql AS $$ BEGIN END $$;
    CREATE FUNCTION pgvpd_status() RETURNS TABLE (table_name text, rls_enabled boolean,
      rls_forced boolean, policy_count bigint) LANGUAGE sql AS $$ SELECT '', true, true, 0::int8 $$;
    CREATE TABLE notes (tenant_id text NOT NULL); INSERT INTO notes VALUES ('acme'), ('umbrella');
    CREATE POLICY pgvpd_tenant_isolation_notes ON notes USING (tenant_id = current_tenant_id())`;
