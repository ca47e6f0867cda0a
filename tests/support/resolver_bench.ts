// Members, organisations and grants in a real PostgreSQL, and proxies whose resolvers look them up.

import { type ProxyOptions, WITHOUT_TLS } from "../../src/server.ts";
import { planOf } from "./resolver_plan.ts";
import { APP_PASSWORD, Bench, type Front } from "./wire_bench.ts";
import { type Login, PgClient, type Row } from "./wire_clients.ts";

/** Every way to serve a client. */
export const MODES = ["none", "session", "transaction"] as const;
export type Mode = typeof MODES[number];

const SETUP = new URL("../../sql/setup.sql", import.meta.url);
const HELPERS = new URL("../../sql/helpers.sql", import.meta.url);

/** No client's role may read the tables of members, but in the databases of `open` ones. */
const FIXTURE = `
CREATE ROLE resolver LOGIN NOINHERIT PASSWORD '${APP_PASSWORD}';
CREATE ROLE auditor NOLOGIN;
CREATE ROLE member NOLOGIN;
CREATE ROLE lead NOLOGIN;
GRANT auditor TO resolver, trusty;
GRANT member, lead TO trusty, app_user;
CREATE TABLE org_members (user_id text, org_id int, role text, session_role text);
INSERT INTO org_members VALUES
  ('alice', 1, 'admin', 'lead'), ('bob', 2, 'reader', 'member'),
  ('twice', 1, 'admin', 'lead'), ('twice', 2, 'reader', 'member'), ('norole', 1, 'reader', NULL);
CREATE TABLE orgs (org_id int, region text);
INSERT INTO orgs VALUES (1, 'eu'), (2, NULL);
CREATE TABLE regions (region text, shard text);
INSERT INTO regions VALUES ('eu', 'shard "1", it''s');
CREATE TABLE grants (user_id text, case_id text);
INSERT INTO grants VALUES ('alice', 'a'), ('alice', 'b c'), ('alice', NULL), ('alice', '"q"');
GRANT SELECT ON org_members, orgs, regions, grants TO resolver;
CREATE TABLE secrets (word text);
INSERT INTO secrets VALUES ('seen by auditors');
GRANT SELECT ON secrets TO auditor;
GRANT SELECT ON tenants TO member, lead;
CREATE TABLE open_members AS SELECT * FROM org_members;
GRANT SELECT ON open_members TO trusty, member, lead;
`;

export const MEMBERSHIP = `
[[resolver]]
name = "org_membership"
query = "SELECT org_id, role FROM org_members WHERE user_id = $1"
params = ["app.current_tenant_id"]
inject = { "app.org_id" = "org_id", "app.org_role" = "role" }
`;

/** The bench with the tables, and the SQL kit. */
export async function startResolverBench(): Promise<Bench> {
  const bench = await Bench.start({ hba: ["host all resolver 127.0.0.1/32 trust"] });
  try {
    await bench.admin.run(FIXTURE);
    // With a role of its own, so that the bench's stay as they are.
    await bench.admin.run("SET pgvpd.app_role = 'kit_user'");
    for (const file of [SETUP, HELPERS]) await bench.admin.run(await Deno.readTextFile(file));
    return bench;
  } catch (error) {
    await bench.stop();
    throw error;
  }
}

/** A proxy with resolvers that run as a role of their own. */
export function resolverFront(
  bench: Bench,
  mode: Mode,
  toml: string,
  overrides: Partial<ProxyOptions> = {},
): Promise<Front> {
  const options = {
    poolMode: mode,
    poolPassword: APP_PASSWORD,
    upstreamPassword: APP_PASSWORD,
    resolverUser: "resolver",
    resolverPassword: APP_PASSWORD,
    ...overrides,
  };
  const plan = planOf(toml, options.contextVariables);
  return bench.front(options, { ...WITHOUT_TLS, resolvers: plan });
}

/** Log in with an identity; "trusty" needs no password in any mode but pgvpd's own. */
export function as(front: Front, identity: string): Login {
  return { port: front.port, user: `trusty.${identity}`, password: APP_PASSWORD };
}

/** The values of some variables for a client that logs in for it. */
export async function seenBy(login: Login, ...variables: string[]): Promise<Row> {
  await using client = await PgClient.connect(login);
  return await valuesOf(client, ...variables);
}

/** The values of some variables, by name. */
export async function valuesOf(client: PgClient, ...variables: string[]): Promise<Row> {
  const columns = variables.map((name) => `current_setting('${name}', true) AS "${name}"`);
  return (await client.rows(`SELECT ${columns.join(", ")}`))[0]!;
}
