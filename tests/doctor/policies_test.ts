// Promise: every lint about policies finds its fault, its fix ends it, and nothing else is blamed.

import { POLICIES } from "../../src/doctor/policies.ts";
import { type LintCase, SEALED, testLints } from "../support/doctor_bench.ts";

const BY_HAND = `CREATE TABLE plain (tenant_id text);
  ALTER TABLE plain ENABLE ROW LEVEL SECURITY; GRANT SELECT, INSERT ON plain TO app_user;`;
const policy = (condition: string, as = "PERMISSIVE") =>
  `${BY_HAND} CREATE POLICY own ON plain AS ${as} USING (${condition});`;
const GUC = "current_setting('app.current_tenant_id', true)";
const MEMBERS = `CREATE TABLE members (org text);`;
const WHOSE = `CREATE FUNCTION whose() RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog
  AS $$ SELECT current_setting('app.current_tenant_id', true) $$;`;
const called = (options: string, body = `SELECT ${GUC}`) =>
  `CREATE FUNCTION whose() RETURNS text ${options} AS $$ ${body} $$;
  ${policy("tenant_id = (SELECT whose())")}`;

const CASES: readonly LintCase[] = [
  { lint: "P01", fault: policy(`tenant_id = ${GUC}`), object: "public.plain", severity: "info" },
  {
    lint: "P01",
    fault: `${SEALED} ${policy(`tenant_id = ${GUC}`)}`,
    object: "public.plain",
    sound: SEALED,
  },
  {
    lint: "P02",
    fault: `${SEALED} ${WHOSE} ${policy("tenant_id = whose()")}`,
    object: "public.whose()",
    sound: `${SEALED} ${WHOSE} ${policy("tenant_id = current_tenant_id()")}`,
  },
  {
    lint: "P03",
    fault: policy("tenant_id = (SELECT current_tenant_id())"),
    object: "public.plain",
    sound: policy("tenant_id = (SELECT current_tenant_id())", "RESTRICTIVE"),
  },
  {
    lint: "P03", // a restrictive policy that the client can talk round is none once there is a seal
    fault: `${SEALED} ${policy(`tenant_id = ${GUC}`, "RESTRICTIVE")}`,
    object: "public.plain",
    sound: `${SEALED} ${policy("tenant_id = (SELECT pgvpd.ctx('t'))", "RESTRICTIVE")}`,
  },
  {
    lint: "P03",
    fault: `DROP POLICY pgvpd_tenant_boundary_notes ON notes;
      CREATE POLICY bound ON notes AS RESTRICTIVE FOR SELECT
        USING (tenant_id = (SELECT current_tenant_id()))`,
    object: "public.notes",
  },
  {
    lint: "P04",
    fault: "CREATE POLICY open ON notes USING (true)",
    object: "public.notes",
    sound: "CREATE POLICY open ON notes AS RESTRICTIVE USING (true)",
  },
  {
    lint: "P04",
    fault: "CREATE POLICY open ON notes FOR INSERT WITH CHECK (1 = 1)",
    object: "public.notes",
    sound: "CREATE POLICY open ON notes TO keeper USING (true)",
  },
  {
    lint: "P05",
    fault: "CREATE POLICY nothing ON notes",
    object: "public.notes",
    sound: "CREATE POLICY nothing ON notes AS RESTRICTIVE",
  },
  {
    lint: "P06",
    fault: "CREATE POLICY shared ON notes USING (body LIKE 'public:%')",
    object: "public.notes",
    sound: `CREATE POLICY other ON notes USING (body = (SELECT current_tenant_id()));
      CREATE POLICY bound ON notes AS RESTRICTIVE USING (body LIKE 'public:%')`,
  },
  {
    lint: "P07",
    fault: "CREATE POLICY more ON notes FOR SELECT USING (tenant_id = 'x')",
    object: "public.notes",
    sound: "CREATE POLICY more ON notes FOR UPDATE USING (tenant_id = 'x')",
  },
  {
    lint: "P08",
    fault: policy("tenant_id = current_tenant_id()"),
    object: "public.plain",
    sound: policy("tenant_id = (SELECT current_tenant_id())"),
  },
  { lint: "P09", fault: called("LANGUAGE sql IMMUTABLE"), object: "public.whose()" },
  {
    lint: "P09",
    fault: called("LANGUAGE sql"),
    object: "public.whose()",
    sound: called("LANGUAGE sql IMMUTABLE", "SELECT 'acme'::text"),
  },
  {
    lint: "P10",
    fault: called("LANGUAGE plpgsql STABLE", "BEGIN RETURN 'x'; END"),
    object: "public.whose()",
    sound: called("LANGUAGE plpgsql STABLE SET search_path = public", "BEGIN RETURN 'x'; END"),
  },
  {
    lint: "P10",
    fault: called("LANGUAGE sql STABLE"),
    object: "public.whose()",
    sound: called("LANGUAGE sql STABLE", "SELECT pg_catalog.current_setting('a.b') -- f(x)"),
  },
  {
    lint: "P10",
    fault: called("LANGUAGE sql STABLE", "SELECT m.org FROM members m").replace(/^/, MEMBERS),
    object: "public.whose()",
    sound: called("LANGUAGE sql STABLE", "SELECT m.org FROM public.members m").replace(
      /^/,
      MEMBERS,
    ),
  },
  {
    lint: "P10",
    fault: called("LANGUAGE sql STABLE", "SELECT 'a' WHERE 'a' = 'a'"),
    object: "public.whose()",
    sound: called("LANGUAGE sql STABLE", "SELECT 'a' WHERE 'a' OPERATOR(pg_catalog.=) 'a'"),
  },
  {
    lint: "P11",
    fault: called("LANGUAGE sql STABLE PARALLEL SAFE", "SELECT pg_backend_pid()::text"),
    object: "public.whose()",
    sound: called("LANGUAGE sql STABLE PARALLEL RESTRICTED", "SELECT pg_backend_pid()::text"),
  },
  {
    lint: "P12",
    fault: `${MEMBERS} GRANT SELECT, INSERT ON members TO app_user;
      ${policy("tenant_id IN (SELECT org FROM members)")}`,
    object: "public.plain",
    unfixable: true, // it goes on being readable by all
    sound: `${MEMBERS} ${policy("tenant_id IN (SELECT org FROM members)")}`,
  },
];

testLints(POLICIES, CASES);
