// `prisma migrate` through pgvpd, as the user of superuser_bypass, with the driver adapter.

import { PrismaPg } from "@prisma/adapter-pg";

export default {
  schema: "schema.prisma",
  migrations: { path: "migrations" },
  experimental: { adapter: true },
  engine: "js",
  adapter: async () => new PrismaPg({ connectionString: process.env.DATABASE_URL }),
};
