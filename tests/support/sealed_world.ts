// A database whose contexts are sealed, beside one of the same tables whose contexts are plain, and
// proxies in front of them.

import { SealKey } from "../../src/auth/seal.ts";
import type { ResolverPlan } from "../../src/context/resolver_plan.ts";
import { type ProxyOptions, WITHOUT_TLS } from "../../src/server.ts";
import { Bench, DATABASE, type Front } from "./wire_bench.ts";
import { type Login, PgClient } from "./wire_clients.ts";
import { type Mode, modeFront } from "./wire_modes.ts";

const sql = (name: string) => Deno.readTextFileSync(new URL(`../../sql/${name}`, import.meta.url));
export const SETUP_SQL = sql("setup.sql");
export const SEALED_SQL = sql("sealed.sql");
export const UNSEALED_SQL = sql("unsealed.sql");
/** The database that is not sealed; that of the bench is. */
export const PLAIN_DATABASE = "plain";

/** Two tenants of two rows and one, a third, a partitioned table and a view. */
const FIXTURE = `
CREATE TABLE notes (tenant_id text NOT NULL, id int, body text, PRIMARY KEY (tenant_id, id));
CREATE TABLE events (tenant_id text NOT NULL, id int, body text) PARTITION BY LIST (tenant_id);
CREATE TABLE events_acme PARTITION OF events FOR VALUES IN ('acme');
CREATE TABLE events_globex PARTITION OF events FOR VALUES IN ('globex');
CREATE INDEX ON events (tenant_id);
INSERT INTO notes VALUES ('acme', 1, 'a1'), ('acme', 2, 'a2'), ('globex', 1, 'GLOBEX SECRET'),
  ('initech', 1, 'INITECH SECRET');
INSERT INTO events SELECT * FROM notes WHERE tenant_id <> 'initech';
CREATE VIEW notes_view WITH (security_invoker = true) AS SELECT * FROM notes;
SELECT pgvpd_protect('notes'), pgvpd_protect('events');
CREATE POLICY planted_later ON notes FOR SELECT USING (body LIKE '%INITECH%');
GRANT SELECT ON notes_view TO app_user;
GRANT SELECT ON notes TO authenticated, trusty;
GRANT EXECUTE ON FUNCTION current_tenant_id() TO authenticated, trusty;
CREATE SCHEMA evil;
GRANT ALL ON SCHEMA evil TO app_user;
ANALYZE notes;
`;

export class SealedWorld implements AsyncDisposable {
  private constructor(readonly bench: Bench, readonly key: SealKey, readonly plain: PgClient) {}

  static async start(): Promise<SealedWorld> {
    const bench = await Bench.start();
    const { admin } = bench;
    await admin.run(`CREATE DATABASE ${PLAIN_DATABASE}`);
    const plain = await PgClient.connect({ ...bench.direct, database: PLAIN_DATABASE });
    for (const client of [admin, plain]) {
      await client.run(SETUP_SQL);
      await client.run(FIXTURE);
    }
    await admin.run(SEALED_SQL);
    const world = new SealedWorld(bench, SealKey.random("k1"), plain);
    await world.put(world.key);
    return world;
  }

  /** Puts a key into the sealed database. */
  async put(key: SealKey): Promise<void> {
    await this.bench.admin.rows("SELECT pgvpd.seal_key_put($1, decode($2, 'hex'))", [
      ...[key.name, key.hex],
    ]);
  }

  /** A proxy that seals, in front of both; without keys, one that does not. */
  front(
    mode: Mode,
    options: Partial<ProxyOptions> = {},
    sealKeys: readonly SealKey[] | null = [this.key],
    resolvers: ResolverPlan | null = null,
  ): Promise<Front> {
    // Nobody's token ends because a machine is slow.
    const patient = { sealTtl: 60_000, ...options };
    return modeFront(this.bench, mode, patient, { ...WITHOUT_TLS, sealKeys, resolvers });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.plain[Symbol.asyncDispose]();
    await this.bench.stop();
  }
}

export function tenant(front: Front, name: string, more: Partial<Login> = {}): Login {
  return { ...front.app(name), database: DATABASE, ...more };
}
