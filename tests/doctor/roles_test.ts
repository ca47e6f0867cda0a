// Promise: every lint about roles finds its fault, its fix ends it, and nothing else is blamed.

import { ROLES } from "../../src/doctor/roles.ts";
import { type LintCase, SEALED, testLints } from "../support/doctor_bench.ts";

const CASES: readonly LintCase[] = [
  {
    lint: "R01",
    fault: "ALTER ROLE app_user BYPASSRLS",
    object: "app_user",
    sound: "CREATE ROLE service BYPASSRLS",
  },
  { lint: "R01", fault: "ALTER ROLE app_user SUPERUSER CREATEROLE", object: "app_user" },
  { lint: "R01", fault: "ALTER ROLE app_user CREATEDB REPLICATION", object: "app_user" },
  {
    lint: "R01",
    fault: "CREATE ROLE service BYPASSRLS; GRANT service TO app_user",
    object: "service",
  },
  {
    lint: "R01",
    fault: `CREATE ROLE middle; CREATE ROLE "Odd role" SUPERUSER;
      GRANT "Odd role" TO middle; GRANT middle TO app_user`,
    object: '"Odd role"',
  },
  { lint: "R02", fault: "ALTER TABLE notes OWNER TO app_user", object: "app_user" },
  {
    lint: "R02",
    fault: "GRANT keeper TO app_user",
    object: "keeper",
    sound: "CREATE TABLE mine (id int); ALTER TABLE mine OWNER TO app_user",
  },
  { lint: "R03", fault: "GRANT pg_read_server_files TO app_user", object: "pg_read_server_files" },
  {
    lint: "R03",
    fault: "CREATE ROLE middle; GRANT pg_monitor TO middle; GRANT middle TO app_user",
    object: "pg_monitor",
    sound: "CREATE ROLE middle; GRANT middle TO app_user",
  },
  {
    lint: "R04",
    fault: "CREATE ROLE other; GRANT other TO app_user WITH ADMIN OPTION",
    object: "app_user",
    sound: "CREATE ROLE other; GRANT other TO app_user",
  },
  {
    lint: "R05",
    fault: "ALTER ROLE app_user SET search_path = pg_temp, public",
    object: "app_user",
    sound: "ALTER ROLE keeper SET search_path = public",
  },
  {
    lint: "R05",
    fault: "ALTER ROLE app_user IN DATABASE postgres SET row_security = off",
    object: "app_user",
  },
  {
    lint: "R06",
    fault: "ALTER ROLE app_user INHERIT; CREATE ROLE other; GRANT other TO app_user",
    object: "app_user",
    sound: "CREATE ROLE other; GRANT other TO app_user",
  },
  {
    lint: "R07",
    fault: `${SEALED}; ALTER ROLE pgvpd_vault LOGIN`,
    object: "pgvpd_vault",
    sound: SEALED,
  },
  { lint: "R07", fault: `${SEALED}; GRANT pgvpd_vault TO keeper`, object: "pgvpd_vault" },
];

testLints(ROLES, CASES);
