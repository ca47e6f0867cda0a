// Drizzle on node-postgres.

import { asc, count, eq, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import { integer, pgTable, text } from "drizzle-orm/pg-core";
import pg from "pg";
import { run, versionOf } from "./scenario.mjs";

const tenants = pgTable("tenants", {
  id: integer("id").primaryKey().generatedAlwaysAsIdentity(),
  tenantId: text("tenant_id"),
  name: text("name"),
});

/** SQL with $1 … as Drizzle has it. */
function bound(text, values) {
  const parts = text.split(/\$(\d+)/).map((part, n) =>
    n % 2 === 0 ? sql.raw(part) : sql`${values[Number(part) - 1]}`
  );
  return sql.join(parts);
}

const on = (db) => ({
  names: async () =>
    (await db.select().from(tenants).orderBy(asc(tenants.name))).map(({ name }) => name),
  count: async (tenant) => {
    const rows = await db.select({ n: count() }).from(tenants).where(eq(tenants.tenantId, tenant));
    return rows[0].n;
  },
  add: (tenantId, name) => db.insert(tenants).values({ tenantId, name }),
  remove: (name) => db.delete(tenants).where(eq(tenants.name, name)),
  rows: async (text, values = []) => (await db.execute(bound(text, values))).rows,
});

function handle(options) {
  const pool = new pg.Pool({ max: 2, ...options });
  pool.on("error", () => {});
  const db = drizzle(pool);
  const named = db.select({ name: tenants.name }).from(tenants)
    .where(sql`${sql.placeholder("round")}::int >= 0`).orderBy(asc(tenants.name)).prepare("named");
  return {
    ...on(db),
    prepared: (_text, [round]) => named.execute({ round }),
    transaction: (work) => db.transaction((tx) => work(on(tx))),
    end: () => pool.end(),
  };
}

await run({
  version: `${versionOf("drizzle-orm")} (pg ${versionOf("pg")})`,
  connect: ({ url: _url, ...fields }) => handle(fields),
  connectUrl: ({ url, ssl }) => handle({ connectionString: url, ssl }),
});
