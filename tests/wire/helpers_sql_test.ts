// sql/helpers.sql: a trigger tells what the resolver was asked with, however the row is made.

import assert from "node:assert/strict";
import { SqlClient, startServer, testedMajors } from "../support/sql_database.ts";
import { PgClient } from "../support/wire_clients.ts";
import { eventually } from "../support/wire_bench.ts";

const sqlFile = (name: string) => Deno.readTextFile(new URL(`../../sql/${name}`, import.meta.url));
const SETUP = await sqlFile("setup.sql");
const HELPERS = await sqlFile("helpers.sql");

const TABLE = `
CREATE SCHEMA evil;
CREATE TABLE members (id uuid, "Org id" int, note text, since date);
CREATE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE ON members
  FOR EACH ROW EXECUTE FUNCTION pgvpd_invalidate_on_change('org', 'id', 'Org id', 'note');
CREATE TRIGGER tell_all AFTER TRUNCATE ON members
  FOR EACH STATEMENT EXECUTE FUNCTION pgvpd_invalidate_on_change('org', 'id');
`;
const ID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";

for (const major of testedMajors()) {
  Deno.test(`PostgreSQL ${major}: functions and triggers notify pgvpd_invalidate`, async () => {
    await using server = await startServer(major);
    await using admin = new SqlClient(server.port, "postgres", "postgres");
    await admin.run(SETUP);
    await admin.run(HELPERS);
    await admin.run(HELPERS); // again is harmless
    await admin.run(TABLE);
    await admin.run("SET search_path = evil, public");
    await using ear = await PgClient.connect({
      ...{ port: server.port, user: "postgres", database: "postgres" },
    });
    await ear.run("LISTEN pgvpd_invalidate");
    const told = async (sql: string) => {
      ear.notifications.length = 0;
      await admin.run(`${sql}; NOTIFY pgvpd_invalidate, 'end'`);
      await eventually("it is told", () => ear.notifications.includes("end"));
      return ear.notifications.slice(0, -1).map((one) =>
        one.startsWith("[") ? JSON.parse(one) : one
      );
    };
    assert.deepEqual(await told("SELECT pgvpd_invalidate('org')"), ["org"]);
    assert.deepEqual(await told("SELECT pgvpd_invalidate('*')"), ["*"]);
    assert.deepEqual(await told(`SELECT pgvpd_invalidate('org', 'a"b''\\c', NULL, 'ü')`), [
      ["org", `a"b'\\c`, null, "ü"],
    ]);
    assert.deepEqual(await told("SELECT pgvpd_invalidate('org', repeat('x', 8000))"), ["org"]);

    const row = (org: number, note: string | null) => ["org", ID, `${org}`, note];
    assert.deepEqual(await told(`INSERT INTO members VALUES ('${ID}', 1, 'it''s "x"')`), [
      row(1, `it's "x"`),
    ]);
    assert.deepEqual(await told(`UPDATE members SET "Org id" = 2, note = NULL`), [
      row(1, `it's "x"`),
      row(2, null),
    ]);
    assert.deepEqual(await told("UPDATE members SET since = '2026-01-01'"), [row(2, null)]);
    assert.deepEqual(await told("UPDATE members SET note = repeat('x', 9000)"), [
      row(2, null),
      "org",
    ]);
    assert.deepEqual(await told("DELETE FROM members"), ["org"]);
    assert.deepEqual(await told("TRUNCATE members"), ["org"]);
    assert.deepEqual(await told(`BEGIN; INSERT INTO members VALUES ('${ID}', 3); ROLLBACK`), []);
  });

  Deno.test(`PostgreSQL ${major}: a trigger that cannot work says so`, async () => {
    await using server = await startServer(major);
    await using admin = new SqlClient(server.port, "postgres", "postgres");
    await admin.run(SETUP);
    await admin.run(HELPERS);
    await admin.run("CREATE TABLE t (a int)");
    const trigger = (args: string) =>
      admin.run(`DROP TRIGGER IF EXISTS x ON t; CREATE TRIGGER x AFTER INSERT ON t
        FOR EACH ROW EXECUTE FUNCTION pgvpd_invalidate_on_change(${args})`);
    await trigger("");
    await admin.refused("INSERT INTO t VALUES (1)", "22023", /name of a resolver/);
    await trigger("'org', 'b'");
    await admin.refused("INSERT INTO t VALUES (1)", "42703", /no column "b"/);
    await trigger("'org', 'a'");
    await admin.run("INSERT INTO t VALUES (1)");
  });
}
