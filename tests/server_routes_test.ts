// Routes: by name, with an identity of their own, and kept for those who began on them.

import { strict as assert } from "node:assert";
import { PgError } from "../src/codec/error.ts";
import { type NamedUpstream, Routes } from "../src/server_routes.ts";

const TLS = { mode: "disable", direct: false, authorities: null, identity: null } as const;
const MAIN = { host: "db1", port: 5432, tls: TLS, keepAlive: true };

function upstream(host: string, more: Partial<NamedUpstream> = {}): NamedUpstream {
  const login = { database: null, user: null, password: null };
  return { options: { host, port: 5432, tls: TLS }, ...login, ...more };
}

function gone(act: () => unknown): void {
  assert.throws(act, (error) => error instanceof PgError && error.sqlState === "08001");
}

Deno.test("a name stands for its upstream, none for that of all", () => {
  const routes = new Routes(MAIN, new Map([["big", upstream("db2", { database: "acme" })]]));
  const { id, address, database } = routes.routeOf(null);
  assert.deepEqual([id, address, database], [null, "db1:5432", null]);
  const big = routes.routeOf("big");
  assert.deepEqual([big.address, big.database], ["db2:5432", "acme"]);
  assert.equal(routes.upstreamOf(big.id!).options.host, "db2");
  gone(() => routes.routeOf("small"));
  gone(() => routes.upstreamOf("small#1"));
  assert(routes.isBranched);
  assert(!new Routes(MAIN, new Map()).isBranched);
});

Deno.test("new credentials are for who began with the old ones, too: it is the same place", () => {
  const routes = new Routes(MAIN, new Map([["a", upstream("x", { password: "old" })]]));
  const a = routes.routeOf("a");
  const tls = { ...TLS, mode: "require" } as const;
  const options = { host: "x", port: 5432, tls };
  routes.update(MAIN, new Map([["a", upstream("x", { password: "new", options })]]));
  assert.equal(routes.routeOf("a"), a);
  const { password, options: { tls: { mode } } } = routes.upstreamOf(a.id!);
  assert.deepEqual([password, mode], ["new", "require"]);
});

Deno.test("a cancel request of an old session goes out as connections do now", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const here = { ...MAIN, host: "127.0.0.1", port };
  const options = { host: "127.0.0.1", port, tls: TLS };
  const before = new Map([["a", upstream("", { options })]]);
  const routes = new Routes(here, before);
  const old = [routes.routeOf(null), routes.routeOf("a")];
  const tls = { ...TLS, mode: "require" } as const;
  routes.update({ ...here, tls }, new Map([["a", upstream("", { options: { ...options, tls } })]]));
  for (const route of old) {
    const dialled = route.dial(new AbortController().signal).catch(() => {});
    using accepted = await listener.accept();
    const packet = new Uint8Array(8);
    assert.equal(await accepted.read(packet), 8, "it asks for TLS first");
    assert.equal(new DataView(packet.buffer).getInt32(4), 80877103);
    await accepted.write(new TextEncoder().encode("N"));
    await dialled;
  }
});

Deno.test("what is defined anew is another route, what stays as it was is the same", () => {
  const routes = new Routes(MAIN, new Map([["a", upstream("x")], ["b", upstream("y")]]));
  const [a, b] = [routes.routeOf("a"), routes.routeOf("b")];
  for (const changed of [upstream("z"), upstream("x", { database: "d" })]) {
    routes.update(MAIN, new Map([["a", changed], ["b", upstream("y")]]));
    assert.equal(routes.routeOf("b"), b);
    assert.notEqual(routes.routeOf("a").id, a.id);
    assert.deepEqual([routes.isCurrent(a.id!), routes.isCurrent(b.id!)], [false, true]);
    assert.equal(routes.upstreamOf(a.id!).options.host, "x", "who began there goes on there");
  }
  routes.update({ ...MAIN, host: "db9" }, new Map());
  assert.equal(routes.routeOf(null).address, "db9:5432");
  gone(() => routes.routeOf("a"));
});

Deno.test("of routes that are named no more only so many are kept", () => {
  const routes = new Routes(MAIN, new Map([["a", upstream("h0")]]));
  const first = routes.routeOf("a").id!;
  for (let count = 1; count <= 1_001; count++) {
    routes.update(MAIN, new Map([["a", upstream(`h${count}`)]]));
  }
  gone(() => routes.upstreamOf(first));
  assert.equal(routes.upstreamOf(routes.routeOf("a").id!).options.host, "h1001");
});
