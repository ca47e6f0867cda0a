// node-postgres: a Pool for each tenant.

import pg from "pg";
import { run, versionOf } from "./scenario.mjs";

function handle(pool) {
  const on = (client) => ({
    names: async () =>
      (await client.query("SELECT name FROM tenants ORDER BY name")).rows.map(({ name }) => name),
    count: async (tenant) => {
      const sql = "SELECT count(*)::int AS n FROM tenants WHERE tenant_id = $1";
      return (await client.query(sql, [tenant])).rows[0].n;
    },
    add: (tenant, name) =>
      client.query("INSERT INTO tenants (tenant_id, name) VALUES ($1, $2)", [tenant, name]),
    remove: (name) => client.query("DELETE FROM tenants WHERE name = $1", [name]),
    rows: async (text, values = []) => (await client.query(text, values)).rows,
    prepared: async (text, values) => (await client.query({ name: "by name", text, values })).rows,
  });
  return {
    ...on(pool),
    async transaction(work) {
      const client = await pool.connect();
      try {
        await client.query("BEGIN");
        await work(on(client));
        await client.query("COMMIT");
      } catch (error) {
        await client.query("ROLLBACK");
        throw error;
      } finally {
        client.release();
      }
    },
    /** The way node-postgres has: a second client sends the first one's key. */
    cancel(sql) {
      const query = new pg.Query(sql);
      let busy;
      const done = pool.connect().then((client) =>
        new Promise((resolve, reject) => {
          busy = client;
          query.on("end", resolve);
          query.on("error", reject);
          client.query(query);
        }).finally(() => client.release())
      );
      const cancel = () => {
        const { host, port, user, password, database, ssl } = pool.options;
        new pg.Client({ host, port, user, password, database, ssl }).cancel(busy, query);
      };
      return { done, cancel };
    },
    end: () => pool.end(),
  };
}

function pooled(options) {
  const pool = new pg.Pool({ max: 2, ...options });
  pool.on("error", () => {});
  return handle(pool);
}

await run({
  version: versionOf("pg"),
  connect: ({ url: _url, ...fields }) => pooled(fields),
  connectUrl: ({ url, ssl }) => pooled({ connectionString: url, ssl }),
});
