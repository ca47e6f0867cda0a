// Promise: every lint about tables finds its fault, its fix ends it, and nothing else is blamed.

import { TABLES } from "../../src/doctor/tables.ts";
import { type LintCase, SEALED, testLints } from "../support/doctor_bench.ts";

const BARE = "CREATE TABLE bare (id int, tenant_id text)";

const CASES: readonly LintCase[] = [
  {
    lint: "T01",
    fault: `${BARE}; GRANT SELECT ON bare TO app_user`,
    object: "public.bare",
    sound: BARE, // the application does not reach it
  },
  {
    lint: "T01",
    fault: 'CREATE TABLE "Odd Table" ("Mandant" int); GRANT INSERT ON "Odd Table" TO PUBLIC',
    object: 'public."Odd Table"',
    tenantColumns: ["Mandant"],
    sound: `CREATE SCHEMA closed; CREATE TABLE closed.bare (tenant_id int);
      GRANT SELECT ON closed.bare TO app_user`,
  },
  {
    lint: "T01", // the column of a table that is protected is known by its name elsewhere too
    fault: `CREATE TABLE one (owner_code text); SELECT pgvpd_protect('one', 'owner_code');
      CREATE TABLE two (owner_code text); GRANT SELECT (owner_code) ON two TO app_user`,
    object: "public.two",
  },
  {
    lint: "T02",
    fault: "CREATE TABLE countries (code text); GRANT SELECT, INSERT ON countries TO app_user",
    object: "public.countries",
    unfixable: true, // it goes on being readable by all
    sound: `CREATE TABLE countries (code text); ${SEALED}`,
  },
  {
    lint: "T03",
    fault: "ALTER TABLE notes NO FORCE ROW LEVEL SECURITY",
    object: "public.notes",
    sound: `CREATE TABLE odd (id int); ALTER TABLE odd ENABLE ROW LEVEL SECURITY; ${SEALED}`,
  },
  {
    lint: "T04",
    fault: `${BARE}; ALTER TABLE bare ENABLE ROW LEVEL SECURITY`,
    object: "public.bare",
    sound: SEALED,
  },
  {
    lint: "T05",
    fault: "ALTER TABLE notes DISABLE ROW LEVEL SECURITY",
    object: "public.notes",
    sound: BARE,
  },
  {
    lint: "T06",
    fault: `CREATE TABLE events (tenant_id text, at int) PARTITION BY RANGE (at);
      SELECT pgvpd_protect('events');
      CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (1) TO (2);
      GRANT SELECT ON events_1 TO app_user`,
    object: "public.events_1",
    sound: `CREATE TABLE events (tenant_id text, at int) PARTITION BY RANGE (at);
      CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (1) TO (2);
      SELECT pgvpd_protect('events'); GRANT SELECT ON events_1 TO app_user;
      CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (2) TO (3)`,
  },
  {
    lint: "T06",
    fault: "CREATE TABLE child () INHERITS (notes); GRANT SELECT ON child TO app_user",
    object: "public.child",
  },
  {
    lint: "T07",
    fault: "GRANT TRUNCATE, TRIGGER ON notes TO app_user",
    object: "public.notes",
    sound: "GRANT TRUNCATE ON notes TO keeper",
  },
  { lint: "T07", fault: "GRANT REFERENCES ON notes TO PUBLIC", object: "public.notes" },
  {
    lint: "T14",
    fault: "CREATE RULE odd AS ON DELETE TO notes DO INSTEAD NOTHING",
    object: "public.notes",
    sound: "CREATE VIEW seen AS SELECT 1", // has a rule as well
  },
  {
    lint: "T15",
    fault: "CREATE PUBLICATION everything FOR TABLE notes",
    object: "public.notes",
    sound: `${BARE}; CREATE PUBLICATION one FOR TABLE bare`,
  },
];

testLints(TABLES, CASES);
