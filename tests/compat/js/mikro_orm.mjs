// MikroORM, with an entity without decorators.

import { EntitySchema, MikroORM } from "@mikro-orm/postgresql";
import { run, versionOf } from "./scenario.mjs";

const Tenant = new EntitySchema({
  name: "Tenant",
  tableName: "tenants",
  properties: {
    id: { type: "int", primary: true, autoincrement: true },
    tenantId: { type: "text", fieldName: "tenant_id" },
    name: { type: "text" },
  },
});

/** MikroORM's own placeholders. */
function bound(text, values) {
  const bindings = [];
  const sql = text.replaceAll(/\$(\d+)/g, (_, n) => {
    bindings.push(values[Number(n) - 1]);
    return "?";
  });
  return [sql, bindings];
}

/** A fork for each use, as an application has one for each request. */
const on = (fork) => ({
  names: async () =>
    (await fork().find("Tenant", {}, { orderBy: { name: "ASC" } })).map(({ name }) => name),
  count: (tenantId) => fork().count("Tenant", { tenantId }),
  add: (tenantId, name) => fork().insert("Tenant", { tenantId, name }),
  remove: (name) => fork().nativeDelete("Tenant", { name }),
  rows: (text, values = []) => fork().execute(...bound(text, values)),
});

/**
 * Each tenant's ORM has a contextName of its own: within transactional(), MikroORM gives every
 * EntityManager of the same name that transaction's, whichever ORM it was forked from.
 */
async function handle(options) {
  const orm = await MikroORM.init({
    entities: [Tenant],
    contextName: options.user ?? options.clientUrl,
    discovery: { warnWhenNoEntities: false },
    pool: { min: 0, max: 2 },
    ...options,
  });
  return {
    ...on(() => orm.em.fork()),
    transaction: (work) => orm.em.fork().transactional((em) => work(on(() => em))),
    end: () => orm.close(),
  };
}

const tls = (ssl) => ssl === false ? {} : { driverOptions: { ssl } };
await run({
  version: versionOf("@mikro-orm/postgresql"),
  connect: ({ host, port, user, password, database, ssl }) =>
    handle({ host, port, user, password, dbName: database, ...tls(ssl) }),
  connectUrl: ({ url, ssl }) => handle({ clientUrl: url, ...tls(ssl) }),
});
