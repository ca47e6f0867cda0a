// Kysely on node-postgres.

import { CompiledQuery, Kysely, PostgresDialect } from "kysely";
import pg from "pg";
import { run, versionOf } from "./scenario.mjs";

const on = (db) => ({
  names: async () =>
    (await db.selectFrom("tenants").select("name").orderBy("name").execute())
      .map(({ name }) => name),
  count: async (tenant) => {
    const row = await db.selectFrom("tenants").select((e) => e.fn.countAll().as("n"))
      .where("tenant_id", "=", tenant).executeTakeFirstOrThrow();
    return Number(row.n);
  },
  add: (tenant_id, name) => db.insertInto("tenants").values({ tenant_id, name }).execute(),
  remove: (name) => db.deleteFrom("tenants").where("name", "=", name).execute(),
  rows: async (text, values = []) =>
    (await db.executeQuery(CompiledQuery.raw(text, [...values]))).rows,
});

function handle(options) {
  const pool = new pg.Pool({ max: 2, ...options });
  pool.on("error", () => {});
  const db = new Kysely({ dialect: new PostgresDialect({ pool }) });
  return {
    ...on(db),
    transaction: (work) => db.transaction().execute((tx) => work(on(tx))),
    end: () => db.destroy(),
  };
}

await run({
  version: `${versionOf("kysely")} (pg ${versionOf("pg")})`,
  connect: ({ url: _url, ...fields }) => handle(fields),
  connectUrl: ({ url, ssl }) => handle({ connectionString: url, ssl }),
});
