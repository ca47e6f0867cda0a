// Prisma with the driver adapter for node-postgres.

import { PrismaPg } from "@prisma/adapter-pg";
import prisma from "@prisma/client"; // CommonJS: named imports work on Node alone
import { run, versionOf } from "./scenario.mjs";

const on = (db) => ({
  names: async () =>
    (await db.tenants.findMany({ orderBy: { name: "asc" } })).map(({ name }) => name),
  count: (tenant_id) => db.tenants.count({ where: { tenant_id } }),
  add: (tenant_id, name) => db.tenants.create({ data: { tenant_id, name } }),
  remove: (name) => db.tenants.deleteMany({ where: { name } }),
  rows: (text, values = []) =>
    text.startsWith("CREATE") ? db.$executeRawUnsafe(text) : db.$queryRawUnsafe(text, ...values),
});

function handle(options) {
  const { PrismaClient } = prisma;
  const db = new PrismaClient({ adapter: new PrismaPg({ max: 2, ...options }) });
  return {
    ...on(db),
    transaction: (work) =>
      db.$transaction((tx) => work(on(tx)), { maxWait: 20_000, timeout: 30_000 }),
    end: () => db.$disconnect(),
  };
}

await run({
  version: `${versionOf("@prisma/client")} (pg ${versionOf("pg")})`,
  connect: ({ url: _url, ...fields }) => handle(fields),
  connectUrl: ({ url, ssl }) => handle({ connectionString: url, ssl }),
});
