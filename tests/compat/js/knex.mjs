// Knex on node-postgres.

import knex from "knex";
import { run, versionOf } from "./scenario.mjs";

/** Knex's own placeholders. */
function bound(text, values) {
  const bindings = [];
  const sql = text.replaceAll(/\$(\d+)/g, (_, n) => {
    bindings.push(values[Number(n) - 1]);
    return "?";
  });
  return [sql, bindings];
}

const on = (db) => ({
  names: () => db("tenants").orderBy("name").pluck("name"),
  count: async (tenant) => {
    const [row] = await db("tenants").where({ tenant_id: tenant }).count({ n: "*" });
    return Number(row.n);
  },
  add: async (tenant_id, name) => void await db("tenants").insert({ tenant_id, name }),
  remove: (name) => db("tenants").where({ name }).delete(),
  rows: async (text, values = []) => (await db.raw(...bound(text, values))).rows,
});

function handle(connection) {
  const db = knex({ client: "pg", connection, pool: { min: 0, max: 2 } });
  return {
    ...on(db),
    transaction: (work) => db.transaction((tx) => work(on(tx))),
    end: () => db.destroy(),
  };
}

await run({
  version: `${versionOf("knex")} (pg ${versionOf("pg")})`,
  connect: ({ url: _url, ...fields }) => handle(fields),
  connectUrl: ({ url, ssl }) => handle({ connectionString: url, ssl }),
});
