// Promise: every lint about views, sequences and functions finds its fault, its fix ends it, and
// nothing else is blamed.

import { RELATIONS } from "../../src/doctor/relations.ts";
import { type LintCase, SEALED, testLints } from "../support/doctor_bench.ts";

const VIEW = "CREATE VIEW seen AS SELECT * FROM notes; GRANT SELECT ON seen TO app_user;";
const definer = (options: string, body = "SELECT 1::bigint") =>
  `CREATE FUNCTION helper(what text) RETURNS bigint SECURITY DEFINER ${options} AS $$ ${body} $$;`;
const PINNED = "SET search_path = pg_catalog, pg_temp";
const JOINED = "BEGIN EXECUTE 'SELECT ' || what; RETURN 1; END";

const CASES: readonly LintCase[] = [
  {
    lint: "V01",
    fault: VIEW,
    object: "public.seen",
    sound: `${VIEW} ALTER VIEW seen OWNER TO keeper`,
  },
  {
    lint: "V01", // a plain owner is not bound by what is not forced
    fault: `${VIEW} ALTER VIEW seen OWNER TO keeper;
      ALTER TABLE notes NO FORCE ROW LEVEL SECURITY`,
    object: "public.seen",
    sound: "CREATE VIEW seen AS SELECT * FROM notes", // nobody reads it
  },
  {
    lint: "V02",
    fault: "CREATE MATERIALIZED VIEW kept AS SELECT 1; GRANT SELECT ON kept TO app_user",
    object: "public.kept",
    sound: "CREATE MATERIALIZED VIEW kept AS SELECT 1",
  },
  {
    lint: "V03",
    fault: `CREATE EXTENSION file_fdw; CREATE SERVER far FOREIGN DATA WRAPPER file_fdw;
      CREATE FOREIGN TABLE far_notes (x text) SERVER far OPTIONS (filename '/dev/null');
      GRANT SELECT ON far_notes TO app_user`,
    object: "public.far_notes",
    sound: `CREATE EXTENSION file_fdw; CREATE SERVER far FOREIGN DATA WRAPPER file_fdw;
      CREATE FOREIGN TABLE far_notes (x text) SERVER far OPTIONS (filename '/dev/null')`,
  },
  {
    lint: "V04",
    fault: "GRANT UPDATE ON SEQUENCE notes_id_seq TO app_user",
    object: "public.notes_id_seq",
    sound: "GRANT USAGE, SELECT ON SEQUENCE notes_id_seq TO app_user",
  },
  {
    lint: "F01",
    fault: definer(`LANGUAGE sql ${PINNED}`),
    object: "public.helper(text)",
    severity: "error",
    sound: `${definer(`LANGUAGE sql ${PINNED}`)}
      REVOKE EXECUTE ON FUNCTION helper(text) FROM PUBLIC; ${SEALED}`,
  },
  {
    lint: "F01",
    fault: `${definer(`LANGUAGE sql ${PINNED}`)} ALTER FUNCTION helper(text) OWNER TO keeper`,
    object: "public.helper(text)",
    sound: "CREATE FUNCTION helper(what text) RETURNS text LANGUAGE sql AS 'SELECT what'",
  },
  {
    lint: "F01",
    fault: "CREATE PROCEDURE helper() SECURITY DEFINER LANGUAGE sql AS 'SELECT 1'",
    object: "public.helper()",
    severity: "error",
  },
  {
    lint: "F02",
    fault: definer("LANGUAGE sql"),
    object: "public.helper(text)",
    sound: definer(`LANGUAGE sql ${PINNED}`),
  },
  {
    lint: "F02",
    fault: definer("LANGUAGE sql SET search_path = pg_catalog"),
    object: "public.helper(text)",
    sound: definer('LANGUAGE sql SET search_path = public, "pg_temp"'),
  },
  {
    lint: "F03",
    fault: definer(`LANGUAGE plpgsql ${PINNED}`, JOINED),
    object: "public.helper(text)",
    sound: `${definer(`LANGUAGE plpgsql ${PINNED}`, JOINED)}
      REVOKE EXECUTE ON FUNCTION helper(text) FROM PUBLIC`,
  },
  {
    lint: "F04",
    fault: `${SEALED} ALTER FUNCTION pgvpd.ctx(text) OWNER TO keeper`,
    object: "pgvpd.ctx(text)",
    sound: SEALED,
  },
  {
    lint: "F04",
    fault: `${SEALED} ALTER FUNCTION pgvpd.ctx(text) SECURITY INVOKER`,
    object: "pgvpd.ctx(text)",
    unfixable: true, // who has done that has done more: sealed.sql has to be run again
  },
];

testLints(RELATIONS, CASES);
