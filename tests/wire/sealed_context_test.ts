// The sealed context through the proxy: it is there, it lasts, it changes with the tenant, and if
// it cannot be proved nobody is served.

import { strict as assert } from "node:assert";
import { SealKey } from "../../src/auth/seal.ts";
import { WITHOUT_TLS } from "../../src/server.ts";
import { PLAIN_DATABASE, SealedWorld, tenant } from "../support/sealed_world.ts";
import { eventually, failure } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";
import { MODES } from "../support/wire_modes.ts";
import { proxyOptions } from "../support/wire_options.ts";

let world: SealedWorld;
Deno.test.beforeAll(async () => void (world = await SealedWorld.start()));
Deno.test.afterAll(() => world[Symbol.asyncDispose]());

const OWN = "SELECT string_agg(body, ',' ORDER BY id) FROM notes";
const TOKEN = "SELECT current_setting('pgvpd.seal')";
const PID = "SELECT pg_backend_pid()";
/** Short enough to be waited for; what must be seen under it is asked for again and again. */
const SHORT = 1_000;

/** It sees its own rows, perhaps not at once: a token of a second may have ended on its way. */
async function seesItsRows(client: PgClient): Promise<void> {
  await eventually("own rows are seen", async () => await client.value(OWN) === "a1,a2");
}

/** When its token has ended, by the server's clock. */
async function outlive(client: PgClient, token: unknown): Promise<void> {
  const endsAt = Number(String(token).slice(64, 74));
  await eventually("the token has ended", async () => {
    const sql = "SELECT extract(epoch FROM clock_timestamp())::float8";
    return Number(await world.bench.admin.value(sql)) > endsAt;
  });
  assert.equal(client.lost, null);
}

for (const mode of MODES) {
  Deno.test(`sealed, ${mode}: every value arrives, whatever is in it`, async () => {
    await using front = await world.front(mode, {
      ...{ contextVariables: ["app.current_tenant_id", "App.Name"], valueSeparator: "|" },
    });
    for (const [id, name] of [["acme", "x"], ["größe", `O'Brien "\\" {,}`], ["日本", "😀\t"]]) {
      await using client = await PgClient.connect(tenant(front, `${id}|${name}`));
      assert.equal(await client.value("SELECT current_tenant_id()"), id);
      assert.equal(await client.value("SELECT pgvpd.ctx('app.name')"), name);
      assert.equal(await client.value("SELECT pgvpd_context('APP.Name')"), name);
      assert.match(String(await client.value(TOKEN)), /^[\x20-\x7e]+$/);
    }
  });

  Deno.test(`sealed, ${mode}: a bypass user goes as it is`, async () => {
    await using front = await world.front(mode);
    await using client = await PgClient.connect(front.bypass);
    assert.equal(await client.value("SELECT count(*)::int FROM notes"), 4);
    assert.equal(await client.value("SELECT current_setting('pgvpd.seal', true)"), null);
  });

  Deno.test(`sealed, ${mode}: a session outlives its tokens, and loses nothing of its own`, async () => {
    await using front = await world.front(mode, { sealTtl: SHORT, sessionState: "pin" });
    await using client = await PgClient.connect(tenant(front, "acme"));
    await client.run("LISTEN news; CREATE TEMP TABLE mine AS SELECT 1 AS one");
    const pid = await client.value(PID);
    const named = (): Promise<unknown> =>
      client.rows("SELECT $1::int + one AS two FROM mine", [1], "named");
    await named();
    const before = await client.value(TOKEN);
    await outlive(client, before);
    await world.bench.admin.run("NOTIFY news, 'of today'");
    await seesItsRows(client);
    assert.notEqual(await client.value(TOKEN), before);
    assert.deepEqual(await named(), [{ two: 2 }]);
    await eventually("told the news", () => client.notifications.length === 1);
    assert.equal(await client.value(PID), pid);
  });

  Deno.test(`sealed, ${mode}: a token does not end in a transaction`, async () => {
    await using front = await world.front(mode, { sealTtl: SHORT });
    await using client = await PgClient.connect(tenant(front, "acme"));
    await eventually("a transaction has begun under a good token", async () => {
      await client.run("BEGIN");
      if (await client.value(OWN) === "a1,a2") return true;
      await client.run("ROLLBACK");
      return false;
    });
    const token = await client.value(TOKEN);
    await outlive(client, token);
    assert.equal(await client.value(OWN), "a1,a2");
    assert.equal(await client.value(TOKEN), token);
    await client.run("COMMIT");
    await seesItsRows(client);
    assert.notEqual(await client.value(TOKEN), token);
  });

  Deno.test(`sealed, ${mode}: what the client resets comes back`, async () => {
    await using front = await world.front(mode);
    await using client = await PgClient.connect(tenant(front, "acme"));
    for (
      const sql of ["RESET ALL", "DISCARD ALL", "RESET pgvpd.seal", "RESET SESSION AUTHORIZATION"]
    ) {
      await client.run(sql);
      assert.equal(await client.value(OWN), "a1,a2", sql);
    }
    await client.run("BEGIN");
    await client.run("RESET ALL");
    await client.run("ROLLBACK");
    assert.equal(await client.value(OWN), "a1,a2", "rolled back");
  });

  Deno.test(`sealed, ${mode}: a database that is not sealed, or knows no such key, serves nobody`, async () => {
    await using front = await world.front(mode);
    const login = tenant(front, "acme", { database: PLAIN_DATABASE });
    const unsealed = await failure(PgClient.connect(login));
    assert.equal(unsealed.code, "3F000");
    assert.match(unsealed.message, /could not seal the session context/);
    await using wrong = await world.front(mode, {}, [SealKey.random("k1")]);
    const unbelieved = await failure(PgClient.connect(tenant(wrong, "acme")));
    assert.equal(unbelieved.code, "42501");
    assert.match(unbelieved.message, /does not believe the token/);
  });

  Deno.test(`sealed, ${mode}: keys take each other's place under a session`, async () => {
    const next = SealKey.random("k2");
    await using front = await world.front(mode, { sealTtl: SHORT }, [next, world.key]);
    await using client = await PgClient.connect(tenant(front, "acme"));
    assert.equal(String(await client.value(TOKEN)).slice(74, 76), "k1", "k2 is not known yet");
    await world.put(next);
    await outlive(client, await client.value(TOKEN));
    await seesItsRows(client);
    assert.equal(String(await client.value(TOKEN)).slice(74, 76), "k2");
    const options = { ...proxyOptions(world.bench.postgres.port), poolMode: mode, sealTtl: SHORT };
    const third = SealKey.random("k3");
    await world.put(third);
    front.proxy.reload(
      { ...options, poolPassword: "testpass", upstreamPassword: "testpass" },
      { ...WITHOUT_TLS, sealKeys: [third, next] },
    );
    await outlive(client, await client.value(TOKEN));
    await seesItsRows(client);
    assert.equal(String(await client.value(TOKEN)).slice(74, 76), "k3");
    await world.bench.admin.run("SELECT pgvpd.seal_key_keep('k1')");
  });

  Deno.test(`sealed, ${mode}: a session whose keys are gone ends, and says why`, async () => {
    const only = SealKey.random("k5");
    await world.put(only);
    await using patient = await world.front(mode, { sealTtl: 600_000 }, [only]);
    await using blind = await PgClient.connect(tenant(patient, "acme"));
    await using front = await world.front(mode, { sealTtl: SHORT }, [only]);
    await using client = await PgClient.connect(tenant(front, "acme"));
    const token = await client.value(TOKEN);
    await world.bench.admin.run("SELECT pgvpd.seal_key_keep('k1')");
    assert.equal(await blind.value(OWN), null, "it sees nothing as long as nobody notices");
    await outlive(client, token);
    const error = await failure(client.rows(OWN));
    assert.match(error.message, /does not believe the token/);
  });

  Deno.test(`sealed, ${mode}: a token in the start-up packet is refused`, async () => {
    await using front = await world.front(mode);
    const error = await failure(
      PgClient.connect(tenant(front, "acme", { options: "-c pgvpd.seal=x" })),
    );
    assert.equal(error.code, "42501");
    assert.match(error.message, /"pgvpd.seal" cannot be set by the client/);
  });
}

for (const mode of ["session", "transaction"] as const) {
  Deno.test(`sealed, ${mode}: on one connection each tenant has its own token`, async () => {
    await using front = await world.front(mode, { poolSize: 1 });
    const served = new Set<unknown>();
    for (const [id, rows] of [["acme", "a1,a2"], ["globex", "GLOBEX SECRET"], ["acme", "a1,a2"]]) {
      await using client = await PgClient.connect(tenant(front, id!));
      served.add(await client.value(PID));
      assert.equal(await client.value(OWN), rows);
      assert(String(await client.value(TOKEN)).endsWith(`{"app.current_tenant_id":"${id}"}`));
    }
    assert.equal(served.size, 1, "they were served on one connection");
  });

  // What docs/sealed.md says of the risk that is left.
  Deno.test(`sealed, ${mode}: a token that was kept is good where it was made, until it ends`, async () => {
    for (const [sealTtl, rows] of [[60_000, "GLOBEX SECRET"], [SHORT, null]] as const) {
      await using front = await world.front(mode, { poolSize: 1, sealTtl });
      let kept: unknown;
      let pid: unknown;
      {
        await using globex = await PgClient.connect(tenant(front, "globex"));
        kept = await globex.value(TOKEN);
        pid = await globex.value(PID);
      }
      await using acme = await PgClient.connect(tenant(front, "acme"));
      assert.equal(await acme.value(PID), pid, "one connection");
      if (sealTtl === SHORT) await outlive(acme, kept);
      await acme.run("BEGIN"); // nothing is renewed in between
      await acme.rows("SELECT set_config('pgvpd.seal', $1, false)", [kept]);
      assert.equal(await acme.value(OWN), rows);
    }
  });
}

Deno.test("sealed, transaction: clients of one tenant share a token while it is good", async () => {
  await using front = await world.front("transaction", { poolSize: 1 });
  await using one = await PgClient.connect(tenant(front, "acme"));
  await using two = await PgClient.connect(tenant(front, "acme"));
  const token = await one.value(TOKEN);
  assert.equal(await two.value(TOKEN), token);
  assert.equal(await one.value(TOKEN), token);
});

Deno.test("sealed: pools that are sealed while they run seal what they have", async () => {
  for (const mode of ["session", "transaction"] as const) {
    await using front = await world.front(mode, { poolSize: 1, poolMinIdle: 1 }, null);
    await using client = await PgClient.connect(tenant(front, "acme"));
    assert.equal(await client.value(OWN), null, "what is not sealed sees nothing");
    const options = { ...proxyOptions(world.bench.postgres.port), poolMode: mode };
    front.proxy.reload(
      { ...options, poolPassword: "testpass", upstreamPassword: "testpass" },
      { ...WITHOUT_TLS, sealKeys: [world.key] },
    );
    assert.equal(await client.value(OWN), "a1,a2");
  }
});
