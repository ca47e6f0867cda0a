// Knex on node-postgres.

import knex from "knex";
import { run, versionOf } from "./scenario.mjs";

const TIMEOUT_MS = 3_000;

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

/** Knex cancels with pg_cancel_backend() and the number that it was told at the login. */
function cancelling(db) {
  return {
    cancelIsSilent: true, // it reports its own timeout
    cancel: (sql) => ({ done: db.raw(sql).timeout(TIMEOUT_MS, { cancel: true }), cancel() {} }),
  };
}

function handle(connection) {
  const db = knex({ client: "pg", connection, pool: { min: 0, max: 2 } });
  return {
    ...on(db),
    transaction: (work) => db.transaction((tx) => work(on(tx))),
    ...(process.env.COMPAT_MODE === "none" ? cancelling(db) : {}),
    end: () => db.destroy(),
  };
}

await run({
  version: `${versionOf("knex")} (pg ${versionOf("pg")})`,
  connect: ({ url: _url, ...fields }) => handle(fields),
  connectUrl: ({ url, ssl }) => handle({ connectionString: url, ssl }),
});
