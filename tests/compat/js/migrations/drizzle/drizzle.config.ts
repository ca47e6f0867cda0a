// `drizzle-kit migrate` through pgvpd, as the user of superuser_bypass.

import { defineConfig } from "drizzle-kit";

export default defineConfig({
  dialect: "postgresql",
  schema: "./schema.ts",
  out: process.env.COMPAT_OUT!,
  dbCredentials: { url: process.env.DATABASE_URL! },
});
