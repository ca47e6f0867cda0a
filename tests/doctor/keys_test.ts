// Promise: every lint about keys finds its fault, its fix ends it, and nothing else is blamed.

import { KEYS } from "../../src/doctor/keys.ts";
import { type LintCase, testLints } from "../support/doctor_bench.ts";

const CASES: readonly LintCase[] = [
  {
    lint: "T08",
    fault: "ALTER TABLE notes ALTER COLUMN tenant_id DROP NOT NULL",
    object: "public.notes",
    sound: "CREATE TABLE bare (tenant_id text)",
  },
  {
    lint: "T09",
    fault: "CREATE TABLE short (tenant_id char(4))",
    object: "public.short",
    sound: "CREATE TABLE short (tenant_id varchar(4)); CREATE TABLE counted (tenant_id int)",
  },
  {
    lint: "T09",
    fault: "CREATE EXTENSION citext; CREATE TABLE loose (tenant_id citext)",
    object: "public.loose",
  },
  {
    lint: "T10",
    fault: "DROP INDEX notes_tenant_id_customer_id_idx",
    object: "public.notes",
    sound: "CREATE TABLE bare (tenant_id text)",
  },
  {
    lint: "T10",
    fault: `DROP INDEX notes_tenant_id_customer_id_idx;
      CREATE INDEX ON notes (tenant_id) WHERE body IS NULL`,
    object: "public.notes",
  },
  {
    lint: "T11",
    fault: "ALTER TABLE customers ADD UNIQUE (email)",
    object: "public.customers",
    unfixable: true, // it makes the right one, but leaves it to the reader to drop the other
    sound: `ALTER TABLE customers ADD UNIQUE (email, tenant_id);
      ALTER TABLE customers ADD token uuid UNIQUE`,
  },
  {
    lint: "T12",
    fault: `ALTER TABLE customers ADD UNIQUE (id);
      ALTER TABLE notes ADD other int REFERENCES customers (id)`,
    object: "public.notes",
    unfixable: true, // likewise
    sound: `CREATE TABLE countries (code text PRIMARY KEY);
      ALTER TABLE notes ADD country text REFERENCES countries`,
  },
  {
    lint: "T13",
    fault: `CREATE INDEX ON notes USING gin (to_tsvector('simple', body))`,
    object: "public.notes",
    sound: "CREATE INDEX ON notes (body); CREATE INDEX ON notes USING hash (body)",
  },
];

testLints(KEYS, CASES);
