// Sequelize 6.

import { DataTypes, QueryTypes, Sequelize } from "sequelize";
import { run, versionOf } from "./scenario.mjs";

function on(sequelize, Tenant, transaction) {
  const within = transaction === undefined ? {} : { transaction };
  return {
    names: async () =>
      (await Tenant.findAll({ order: ["name"], ...within })).map(({ name }) => name),
    count: (tenant_id) => Tenant.count({ where: { tenant_id }, ...within }),
    add: (tenant_id, name) => Tenant.create({ tenant_id, name }, within),
    remove: (name) => Tenant.destroy({ where: { name }, ...within }),
    rows: async (text, bind = []) => {
      const options = bind.length === 0 ? within : { bind, ...within };
      if (text.startsWith("CREATE")) return await sequelize.query(text, options);
      return await sequelize.query(text, { type: QueryTypes.SELECT, ...options });
    },
  };
}

async function handle(make) {
  const sequelize = make({ dialect: "postgres", logging: false, pool: { max: 2, idle: 10_000 } });
  const Tenant = sequelize.define("tenant", {
    id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
    tenant_id: DataTypes.TEXT,
    name: DataTypes.TEXT,
  }, { tableName: "tenants", timestamps: false });
  await sequelize.authenticate();
  return {
    ...on(sequelize, Tenant),
    transaction: (work) => sequelize.transaction((tx) => work(on(sequelize, Tenant, tx))),
    end: () => sequelize.close(),
  };
}

// No URL: Sequelize 6 decodes user and password before it looks for the colon between them, so that
// `%3A` ends the user name. With one value, which needs no colon, a URL works.
const tls = (ssl) => ssl === false ? {} : { dialectOptions: { ssl } };
await run({
  version: `${versionOf("sequelize")} (pg ${versionOf("pg")})`,
  connect: ({ database, user, password, host, port, ssl }) =>
    handle((options) =>
      new Sequelize(database, user, password, { host, port, ...options, ...tls(ssl) })
    ),
});
