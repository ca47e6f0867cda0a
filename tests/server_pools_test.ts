// ServerPools: what the settings mean for the pools, and what a reload changes.

import assert from "node:assert/strict";
import { resolveSettings } from "../src/config/config.ts";
import { Meters } from "../src/meters.ts";
import { type PoolSettings, ServerPools } from "../src/server_pools.ts";
import { type NamedUpstream, Routes } from "../src/server_routes.ts";
import { WITHOUT_TLS } from "../src/server.ts";
import { AddressLimit } from "../src/session/address_limit.ts";

const UPSTREAM = { host: "127.0.0.1", port: 1, keepAlive: false, tls: WITHOUT_TLS.upstream };
const KEY = { database: "shop", user: "app", startupSettings: [] };
const NEVER = new AbortController().signal;

function settings(flags: Record<string, string> = {}) {
  const secrets = { pool_password: "secret", upstream_password: "none" };
  return resolveSettings({
    environment: {},
    flags: { pool_mode: "session", ...secrets, ...flags },
  }).settings;
}

function poolsWith(settings: PoolSettings, named = new Map<string, NamedUpstream>()): ServerPools {
  const [failures, routes] = [new AddressLimit(30), new Routes(UPSTREAM, named)];
  return new ServerPools("session", settings, UPSTREAM, null, failures, routes, new Meters());
}

Deno.test("the settings are what sessions are served with, and a reload serves the next ones", async () => {
  const pools = poolsWith(settings({ pool_roles: "app" }));
  const before = pools.pooling;
  assert.deepEqual([before.mode, before.method, before.roles], ["session", "scram", ["app"]]);
  const who = { user: "app.acme", role: "app", database: "shop" };
  assert.equal((await before.credentials.find(who, NEVER))?.stored.kind, "cleartext");

  const listed = new Map([["app", null]]);
  pools.reload(settings({ pool_auth: "md5", upstream_user: "login" }), UPSTREAM, listed);
  const after = pools.pooling;
  assert.deepEqual([after.method, after.roles, after.upstreamUser], ["md5", null, "login"]);
  assert.equal(await after.credentials.find(who, NEVER), null, "it is listed without a password");
  assert.equal(after.cancelKeys, before.cancelKeys, "keys that were handed out go on working");
  await pools.close();
});

Deno.test("a pool that cannot connect says why, and nothing of it stays", async () => {
  const pools = poolsWith(settings());
  await assert.rejects(
    pools.pooling.checkout(KEY, "context", NEVER),
    (error: Error & { sqlState?: string }) =>
      error.sqlState === "08001" && /127\.0\.0\.1:1/.test(error.message),
  );
  assert.deepEqual([...pools.stats.values()].map(({ active, waiting }) => active + waiting), [0]);
  await pools.close();
  await assert.rejects(pools.pooling.checkout(KEY, "context", NEVER), /closed|shut/i);
});

Deno.test("the pool of a route connects where the route leads", async () => {
  const options = { ...UPSTREAM, host: "127.0.0.2" };
  const big = { options, database: null, user: null, password: null };
  const pools = poolsWith(settings(), new Map([["big", big]]));
  await assert.rejects(
    pools.pooling.checkout({ ...KEY, upstream: "big#1" }, "context", NEVER),
    /127\.0\.0\.2:1/,
  );
  assert.equal(pools.stats.size, 1);
  await pools.close();
});
