// A table that a migration of Drizzle Kit makes, protected from the beginning.

import { sql } from "drizzle-orm";
import { integer, pgPolicy, pgTable, text } from "drizzle-orm/pg-core";

export const invoices = pgTable("invoices", {
  id: integer("id").primaryKey().generatedAlwaysAsIdentity(),
  tenantId: text("tenant_id").notNull()
    .default(sql`current_setting('app.current_tenant_id', true)`),
  amount: integer("amount").notNull(),
}, () => [
  pgPolicy("tenant", { using: sql`tenant_id = current_setting('app.current_tenant_id', true)` }),
]);
