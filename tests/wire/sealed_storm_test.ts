// Many clients of several tenants on few sealed connections, while keys take each other's place:
// each of them sees its own rows, always, and nothing else, ever.

import { strict as assert } from "node:assert";
import { SealKey } from "../../src/auth/seal.ts";
import { WITHOUT_TLS } from "../../src/server.ts";
import { Random } from "../support/random.ts";
import { SealedWorld, tenant } from "../support/sealed_world.ts";
import { APP_PASSWORD, type Front } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";
import { proxyOptions } from "../support/wire_options.ts";

let world: SealedWorld;
Deno.test.beforeAll(async () => {
  world = await SealedWorld.start();
  await world.bench.admin.run(`INSERT INTO notes SELECT 't' || t, n, 'of t' || t
    FROM generate_series(1, 5) t, generate_series(1, t) n`);
});
Deno.test.afterAll(() => world[Symbol.asyncDispose]());

const SEEN = "SELECT string_agg(DISTINCT tenant_id, ',') AS who, count(*)::int AS rows FROM notes";

/** A client of tenant t1 to t5, which has as many rows as its number. */
async function live(front: Front, number: number, random: Random): Promise<void> {
  await using client = await PgClient.connect(tenant(front, `t${number}`));
  let looks = 0;
  const look = async () => {
    // DISCARD ALL takes statements with names away, as it must.
    const name = random.chance(0.5) ? "" : `look ${++looks}`;
    const [seen] = await client.rows(SEEN, [], name);
    assert.deepEqual(seen, { who: `t${number}`, rows: number });
  };
  for (let step = 0; step < 25; step++) {
    switch (random.integer(0, 5)) {
      case 0:
        await client.run("BEGIN");
        await look();
        await client.run(random.pick(["COMMIT", "ROLLBACK"]));
        break;
      case 1:
        await client.run(random.pick(["RESET ALL", "DISCARD ALL", "SET timezone = 'UTC'"]));
        break;
      case 2:
        await client.run("SELECT set_config('app.current_tenant_id', 't5', true)");
        break;
      case 3:
        await Promise.all([look(), look(), look()]);
        break;
    }
    await look();
  }
}

for (const mode of ["session", "transaction"] as const) {
  Deno.test(`sealed, ${mode}: a storm of tenants on three connections`, async () => {
    const keys = [SealKey.random("k7"), world.key];
    await using front = await world.front(mode, { poolSize: 3 });
    const lives = Array.from(
      { length: 25 },
      (_, client) => live(front, 1 + client % 5, new Random(1_000 + client)),
    );
    const options = { ...proxyOptions(world.bench.postgres.port), poolMode: mode, poolSize: 3 };
    const passwords = { poolPassword: APP_PASSWORD, upstreamPassword: APP_PASSWORD };
    const sealTtl = 60_000;
    // The first key of these is not known yet: the second signs until it is.
    front.proxy.reload({ ...options, ...passwords, sealTtl }, { ...WITHOUT_TLS, sealKeys: keys });
    await world.put(keys[0]!);
    await Promise.all(lives);
    await world.bench.admin.run("SELECT pgvpd.seal_key_keep('k1')");
  });
}
