// postgres.js, with prepared statements and pipelining as it comes.

import postgres from "postgres";
import { run, versionOf } from "./scenario.mjs";

const on = (sql) => ({
  names: async () => (await sql`SELECT name FROM tenants ORDER BY name`).map(({ name }) => name),
  count: async (tenant) => {
    const rows = await sql`SELECT count(*)::int AS n FROM tenants WHERE tenant_id = ${tenant}`;
    return rows[0].n;
  },
  add: (tenant_id, name) => sql`INSERT INTO tenants ${sql({ tenant_id, name })}`,
  remove: (name) => sql`DELETE FROM tenants WHERE name = ${name}`,
  rows: (text, values = []) => sql.unsafe(text, values),
  prepared: (text, values) => sql.unsafe(text, values, { prepare: true }),
});

const handle = (sql) => ({
  ...on(sql),
  transaction: (work) => sql.begin((tx) => work(on(tx))),
  cancel(text) {
    const query = sql.unsafe(text);
    return { done: query.execute(), cancel: () => query.cancel() };
  },
  end: () => sql.end({ timeout: 5 }),
});

const options = { max: 2, onnotice: () => {} };
await run({
  version: versionOf("postgres"),
  connect: ({ url: _url, ssl, ...fields }) => handle(postgres({ ...fields, ssl, ...options })),
  connectUrl: ({ url, ssl }) => handle(postgres(url, { ssl, ...options })),
});
