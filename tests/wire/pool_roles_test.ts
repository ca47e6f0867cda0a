// Promise: nobody is served through a pool whom row-level security does not bind, wherever the role
// comes from; what may be used and what not is told to those alone who have logged in.

import assert from "node:assert/strict";
import type { ProxyOptions } from "../../src/server.ts";
import { APP_PASSWORD, Bench, DATABASE, eventually, failure } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";
import { loginAs, POOL_PASSWORD, POOLED, servedBy, WHO } from "../support/wire_logins.ts";

let bench: Bench;
Deno.test.beforeAll(async () => {
  bench = await Bench.start();
  await bench.admin.run(`
    CREATE ROLE boss SUPERUSER LOGIN PASSWORD '${APP_PASSWORD}';
    CREATE ROLE passer BYPASSRLS LOGIN PASSWORD '${APP_PASSWORD}';
    CREATE ROLE carrier LOGIN PASSWORD '${APP_PASSWORD}';
    GRANT boss, passer, app_user TO carrier;
    CREATE ROLE rising LOGIN PASSWORD '${APP_PASSWORD}';
    GRANT SELECT ON tenants TO rising;
  `);
});
Deno.test.afterAll(() => bench.stop());

const EXEMPT: readonly [
  what: string,
  user: string,
  options: Partial<ProxyOptions>,
  from: RegExp,
][] = [
  ["a superuser in the user name", "boss.tenant_a", {}, /upstream_user, or the user name/],
  ["BYPASSRLS in the user name", "passer.tenant_a", {}, /upstream_user, or the user name/],
  ["a superuser as set_role", WHO.user, { setRole: "boss", upstreamUser: "carrier" }, /set_role/],
  ["BYPASSRLS as set_role", WHO.user, { setRole: "passer", upstreamUser: "carrier" }, /set_role/],
  ["a superuser by way of upstream_user", "boss.a", { upstreamUser: "carrier" }, /user name/],
  ["BYPASSRLS by way of upstream_user", "passer.a", { upstreamUser: "carrier" }, /user name/],
  ["a superuser as upstream_user", WHO.user, { upstreamUser: "boss" }, /upstream_user/],
  ["BYPASSRLS as upstream_user", WHO.user, { upstreamUser: "passer" }, /upstream_user/],
];

for (const [what, user, options, from] of EXEMPT) {
  Deno.test(`refused: ${what}`, async () => {
    await using front = await bench.front({ ...POOLED, ...options });
    const error = await failure(
      PgClient.connect(loginAs(front, POOL_PASSWORD, user)),
    ) as Error & { code: string; detail: string; hint: string };
    assert.equal(error.code, "28000");
    assert.match(error.message, /^role ".*" is not subject to row-level security$/);
    assert.match(error.detail, from);
    assert.match(error.hint, /NOBYPASSRLS, or name it in pool_roles/);
    const stranger = await failure(PgClient.connect(loginAs(front, "wrong", user)));
    assert.equal(stranger.code, "28P01", "a stranger is not told");
  });
}

Deno.test("a refusal costs no slot: the same pool serves the next role at once", async () => {
  await using front = await bench.front({ ...POOLED, upstreamUser: "carrier" });
  const pid = await servedBy(loginAs(front, POOL_PASSWORD));
  for (let round = 0; round < 3; round++) {
    const error = await failure(PgClient.connect(loginAs(front, POOL_PASSWORD, "boss.tenant_a")));
    assert.equal(error.code, "28000");
    assert.equal(await servedBy(loginAs(front, POOL_PASSWORD)), pid);
  }
});

Deno.test("pool_roles lets in whom it names, exempt or not, and nobody else", async () => {
  await using front = await bench.front({ ...POOLED, poolRoles: ["app_user", "passer"] });
  await servedBy(loginAs(front, POOL_PASSWORD));
  {
    const passer = loginAs(front, POOL_PASSWORD, "passer.tenant_a");
    await using client = await PgClient.connect(passer);
    assert.equal(
      await client.value("SELECT rolbypassrls FROM pg_roles WHERE rolname = current_user"),
      true,
    );
  }
  const trusty = await failure(PgClient.connect(loginAs(front, POOL_PASSWORD, "trusty.tenant_a")));
  assert.deepEqual([trusty.code, trusty.message], [
    "28000",
    'role "trusty" is not available through the pool',
  ]);
  const stranger = await failure(PgClient.connect(loginAs(front, "wrong", "trusty.tenant_a")));
  assert.equal(stranger.code, "28P01", "a stranger is not told");
});

Deno.test("pool_roles counts for set_role too", async () => {
  await using front = await bench.front({
    ...POOLED,
    poolRoles: ["app_user"],
    setRole: "authenticated",
  });
  const error = await failure(PgClient.connect(loginAs(front, POOL_PASSWORD)));
  assert.equal(error.message, 'role "authenticated" is not available through the pool');
});

Deno.test("pool_databases lets in whom it names; a stranger is not told", async () => {
  await using front = await bench.front({ ...POOLED, poolDatabases: [DATABASE] });
  await servedBy(loginAs(front, POOL_PASSWORD));
  const elsewhere = { ...loginAs(front, POOL_PASSWORD), database: "postgres" };
  const error = await failure(PgClient.connect(elsewhere));
  assert.deepEqual([error.code, error.message], [
    "28000",
    'database "postgres" is not available through the pool',
  ]);
  const stranger = await failure(PgClient.connect({ ...elsewhere, password: "wrong" }));
  assert.equal(stranger.code, "28P01");
});

Deno.test("without a database the user's own name is taken, and told as PostgreSQL tells it", async () => {
  await using front = await bench.front(POOLED);
  await using client = await PgClient.connect({
    ...loginAs(front, POOL_PASSWORD, "trusty.tenant_a"),
    database: "trusty",
  });
  assert.equal(await client.value("SELECT current_database()"), "trusty");
  const error = await failure(
    PgClient.connect({ ...loginAs(front, POOL_PASSWORD), database: "nowhere" }),
  );
  assert.equal(error.code, "3D000");
});

Deno.test("a role that does not exist when it is asked for is not remembered as harmless", async () => {
  await using front = await bench.front({ ...POOLED, upstreamUser: "carrier" });
  const late = loginAs(front, POOL_PASSWORD, "late.tenant_a");
  const pid = await servedBy(loginAs(front, POOL_PASSWORD));
  assert.notEqual((await failure(PgClient.connect(late))).code, "28P01");
  await bench.admin.run("CREATE ROLE late SUPERUSER; GRANT late TO carrier");
  const error = await failure(PgClient.connect(late));
  assert.equal(error.code, "28000", error.message);
  assert.equal(await servedBy(loginAs(front, POOL_PASSWORD)), pid, "the backend was the same");
});

// The limit that docs/authentication.md names: a role is proved once for each connection.
Deno.test("a role that is raised later is found out by the next connection, not by those there are", async () => {
  await using front = await bench.front(POOLED);
  const login = loginAs(front, POOL_PASSWORD, "rising.tenant_a");
  const pid = await servedBy(login);
  try {
    await bench.admin.run("ALTER ROLE rising BYPASSRLS");
    {
      await using client = await PgClient.connect(login);
      assert.equal(await client.value("SELECT pg_backend_pid()"), pid);
    }
    await bench.admin.rows("SELECT pg_terminate_backend($1)", [pid]);
    await eventually(
      "the next connection finds it out",
      async () =>
        (await failure(
          PgClient.connect(login).then((client) => {
            client[Symbol.asyncDispose]();
            throw new Error("still served");
          }),
        )).code === "28000",
    );
  } finally {
    await bench.admin.run("ALTER ROLE rising NOBYPASSRLS");
  }
  await eventually("it is served again", () => servedBy(login).then(() => true, () => false));
});
