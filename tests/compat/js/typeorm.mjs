// TypeORM, with an entity without decorators.

import { DataSource, EntitySchema } from "typeorm";
import { run, versionOf } from "./scenario.mjs";

const Tenant = new EntitySchema({
  name: "Tenant",
  tableName: "tenants",
  columns: {
    id: { type: "int", primary: true, generated: "identity", generatedIdentity: "ALWAYS" },
    tenantId: { type: "text", name: "tenant_id" },
    name: { type: "text" },
  },
});

const on = (manager) => ({
  names: async () =>
    (await manager.find(Tenant, { order: { name: "ASC" } })).map(({ name }) => name),
  count: (tenantId) => manager.countBy(Tenant, { tenantId }),
  add: (tenantId, name) => manager.insert(Tenant, { tenantId, name }),
  remove: (name) => manager.delete(Tenant, { name }),
  rows: (text, values = []) => manager.query(text, values),
});

async function handle(options) {
  const source = new DataSource({
    type: "postgres",
    entities: [Tenant],
    installExtensions: false,
    extra: { max: 2 },
    ...options,
  });
  await source.initialize();
  return {
    ...on(source.manager),
    transaction: (work) => source.transaction((manager) => work(on(manager))),
    end: () => source.destroy(),
  };
}

await run({
  version: `${versionOf("typeorm")} (pg ${versionOf("pg")})`,
  connect: ({ url: _url, user, ...fields }) => handle({ ...fields, username: user }),
  connectUrl: ({ url, ssl }) => handle({ url, ssl }),
});
