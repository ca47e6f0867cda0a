// Lints against a real PostgreSQL: a sound database, and one fault at a time planted into it.

import assert from "node:assert/strict";
import { DoctorDatabase } from "../../src/commands/doctor_database.ts";
import { EmbeddedPostgres } from "../../src/commands/embedded_postgres.ts";
import type { Finding, Lint } from "../../src/doctor/lint.ts";
import { type Query, runLints, type Target, TENANT_COLUMNS } from "../../src/doctor/lints.ts";
import { startServer, testedMajors } from "./sql_database.ts";

/** What `sql/setup.sql` and `pgvpd_protect()` make of two tables that refer to each other. */
export const SOUND = `
${await Deno.readTextFile(new URL("../../sql/setup.sql", import.meta.url))};
REVOKE CREATE ON SCHEMA public FROM PUBLIC; -- as since PostgreSQL 15
CREATE ROLE keeper NOLOGIN;
GRANT ALL ON SCHEMA public TO keeper;
CREATE TABLE customers (
  tenant_id text NOT NULL, id int GENERATED ALWAYS AS IDENTITY, email text,
  PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, email));
CREATE TABLE notes (
  tenant_id text NOT NULL, id serial PRIMARY KEY, customer_id int, body text,
  FOREIGN KEY (tenant_id, customer_id) REFERENCES customers (tenant_id, id));
CREATE INDEX ON notes (tenant_id, customer_id);
ALTER TABLE customers OWNER TO keeper;
ALTER TABLE notes OWNER TO keeper;
SELECT pgvpd_protect('customers'), pgvpd_protect('notes');
`;

/** What sealed.sql installs, as far as lints look at it. */
export const SEALED = `
CREATE ROLE pgvpd_vault NOLOGIN;
CREATE SCHEMA pgvpd AUTHORIZATION pgvpd_vault;
GRANT USAGE ON SCHEMA pgvpd TO PUBLIC;
SET LOCAL ROLE pgvpd_vault;
CREATE TABLE pgvpd.seal_key (kid text PRIMARY KEY, ipad bytea, opad bytea);
ALTER TABLE pgvpd.seal_key ENABLE ROW LEVEL SECURITY;
CREATE FUNCTION pgvpd.ctx(name text) RETURNS text LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
  SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS 'BEGIN RETURN encode(sha256(current_setting(''pgvpd.seal'')::bytea), ''hex''); END';
RESET ROLE;
CREATE OR REPLACE FUNCTION public.current_tenant_id() RETURNS text LANGUAGE sql STABLE
  PARALLEL RESTRICTED AS 'SELECT pgvpd.ctx(''app.current_tenant_id'')';
`;

export const TARGET: Target = { roles: ["app_user"], tenantColumns: TENANT_COLUMNS };

/** A fault and what is found of it. */
export interface LintCase {
  readonly lint: string;
  readonly fault: string;
  /** The object that is blamed. */
  readonly object: string | RegExp;
  /** What looks like the fault and is none; the sound database itself when left out. */
  readonly sound?: string;
  /** The statement that the finding offers does more than this test can do. */
  readonly unfixable?: true;
  readonly severity?: string;
  readonly tenantColumns?: readonly string[];
}

/** One server with the sound database; the connection is an administrator's. */
export class DoctorBench implements AsyncDisposable {
  private constructor(readonly server: EmbeddedPostgres, readonly admin: DoctorDatabase) {}

  static async start(major = testedMajors()[0]!): Promise<DoctorBench> {
    const server = await startServer(major);
    try {
      const { port, superuser: user } = server;
      const login = { host: "127.0.0.1", port, user, database: "postgres" };
      const admin = await DoctorDatabase.connect(null, login);
      await admin.query(SOUND);
      return new DoctorBench(server, admin);
    } catch (error) {
      await server.stop();
      throw error;
    }
  }

  get query(): Query {
    return this.admin.query;
  }

  /** Runs the lints as the doctor does: with a pinned search_path. */
  async lint(lints: readonly Lint[], target = TARGET): Promise<Finding[]> {
    await this.query("SET LOCAL search_path = pg_catalog, pg_temp");
    const findings = await runLints(this.query, target, lints);
    await this.query("SET LOCAL search_path = public");
    return findings;
  }

  /** Undoes whatever `work` has done to the database. */
  async inTransaction<T>(work: () => Promise<T>): Promise<T> {
    await this.query("BEGIN");
    try {
      return await work();
    } finally {
      await this.query("ROLLBACK");
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.admin[Symbol.asyncDispose]();
    await this.server.stop();
  }
}

/** Has every lint find its fault, be silent about what is sound, and be silenced by its own fix. */
export function testLints(lints: readonly Lint[], cases: readonly LintCase[]): void {
  for (const major of testedMajors()) {
    Deno.test(`each finds its fault and nothing else, PostgreSQL ${major}`, async (test) => {
      for (const { id } of lints) {
        assert.ok(cases.some(({ lint }) => lint === id), `${id} has a case`);
      }
      await using bench = await DoctorBench.start(major);
      for (const each of cases) {
        const lint = lints.find(({ id }) => id === each.lint);
        assert.ok(lint, `there is a lint ${each.lint}`);
        await test.step(`${lint.id} ${lint.name}: ${each.fault.trim().slice(0, 60)}`, async () => {
          await bench.inTransaction(() => expectFault(bench, lint, each));
          await bench.inTransaction(() => expectSilence(bench, lint, each));
        });
      }
    });
  }
}

async function expectFault(bench: DoctorBench, lint: Lint, expected: LintCase): Promise<void> {
  const target = { ...TARGET, tenantColumns: expected.tenantColumns ?? TENANT_COLUMNS };
  await bench.query(expected.fault);
  const blamed = ({ object }: Finding) =>
    typeof expected.object === "string" ? object === expected.object : expected.object.test(object);
  const findings = await bench.lint([lint], target);
  const found = findings.filter(blamed);
  assert.equal(found.length, 1, `${expected.object} is found once: ${JSON.stringify(findings)}`);
  const { fix, severity, detail, why } = found[0]!;
  assert.equal(severity, expected.severity ?? lint.severity);
  assert.ok(detail.length > 0 && why.length > 0);
  if (expected.unfixable || !fix.endsWith(";")) return;
  await bench.query(fix);
  const left = (await bench.lint([lint], target)).filter(blamed);
  assert.deepEqual(left, [], `after ${fix}`);
}

async function expectSilence(bench: DoctorBench, lint: Lint, expected: LintCase): Promise<void> {
  if (expected.sound !== undefined) await bench.query(expected.sound);
  assert.deepEqual(await bench.lint([lint]), [], expected.sound ?? "the sound database");
}
