// Promise: pgvpd listens where it was told, on TCP and in socket directories, and leaves nothing.

import assert from "node:assert/strict";
import { freePort } from "../../src/commands/embedded_postgres.ts";
import { pgvpd, PgvpdProcess, TestDirectory } from "../support/process_pgvpd.ts";
import { APP_PASSWORD, Bench, DATABASE } from "../support/wire_bench.ts";
import { connectPostgresJs, PgClient } from "../support/wire_clients.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await Bench.start()));
Deno.test.afterAll(() => bench.stop());

const upstream = () => ["--upstream-port", String(bench.postgres.port)];
const TENANT = "SELECT current_setting('app.current_tenant_id')";

Deno.test("a port that is taken: one sentence and exit code 1", async () => {
  const { code, out, err } = await pgvpd(["--port", String(bench.postgres.port)]);
  const port = bench.postgres.port;
  assert.equal(
    err,
    `pgvpd: Cannot listen on 127.0.0.1 port ${port}: the address is already in use\n`,
  );
  assert.deepEqual([code, out], [1, ""]);
});

Deno.test("of several addresses one that is taken is fatal, and named", async () => {
  await using directory = await TestDirectory.make();
  const hosts = `${directory.path},127.0.0.2,127.0.0.1`;
  const { code, err } = await pgvpd([
    ...["--listen-host", hosts, "--port", String(bench.postgres.port)],
  ]);
  assert.equal(code, 1);
  assert.deepEqual([...Deno.readDirSync(directory.path)], [], "a socket was left behind");
  assert.match(err, /^pgvpd: Cannot listen on .*127\.0\.0\.1.* the address is already in use\n$/);
});

Deno.test("a host or a directory that is not there: one sentence and exit code 1", async () => {
  for (const host of ["no-such-host.invalid", "/nowhere/at/all"]) {
    const { code, out, err } = await pgvpd(["--listen-host", host, "--port", "4999"]);
    assert.match(err, new RegExp(`^pgvpd: Cannot listen on ${host} port 4999: [^\n]+\n$`));
    assert.deepEqual([code, out], [1, ""]);
  }
});

function hasIpv6(): boolean {
  try {
    Deno.listen({ hostname: "::1", port: 0 }).close();
    return true;
  } catch {
    console.warn("SKIPPED: this machine has no IPv6");
    return false;
  }
}

Deno.test("several addresses, IPv6 where there is some, and a socket at once", async () => {
  await using directory = await TestDirectory.make();
  const port = await freePort();
  const hosts = ["127.0.0.1", "127.0.0.2", ...hasIpv6() ? ["::1"] : []];
  await using process = await PgvpdProcess.serve([
    ...["--listen-host", [...hosts, directory.path].join(", "), "--port", String(port)],
    ...upstream(),
  ]);
  const { listening } = await process.logged("pgvpd is ready");
  const socket = `${directory.path}/.s.PGSQL.${port}`;
  const named = hosts.map((host) => host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`);
  assert.equal(listening, [...named, socket].join(", "));
  for (const host of [...hosts, directory.path]) {
    const login = { host, port, user: "trusty.tenant_a" };
    await using client = await PgClient.connect(login);
    assert.equal(await client.value(TENANT), "tenant_a", host);
  }
});

Deno.test("unix sockets on both sides: mode, stale socket, two clients, removal", async () => {
  await using directory = await TestDirectory.make();
  const path = `${directory.path}/.s.PGSQL.6432`;
  const args = [
    ...["--listen-host", directory.path, "--unix-socket-mode", "0750"],
    ...["--upstream-host", bench.postgres.directory, ...upstream()],
  ];
  {
    await using killed = await PgvpdProcess.serve(args);
    killed.kill("SIGKILL");
    await killed.ended().catch(() => {});
  }
  assert(Deno.lstatSync(path).isSocket, "a killed process leaves its socket");

  await using process = await PgvpdProcess.serve(args);
  assert.equal(Deno.lstatSync(path).mode! & 0o777, 0o750);
  const login = { port: 6432, user: "app_user.tenant_b", password: APP_PASSWORD };
  {
    await using sql = connectPostgresJs({ ...login, path } as typeof login);
    assert.equal(
      (await sql.unsafe("SELECT name FROM tenants ORDER BY name"))[0]?.["name"],
      "Bob Inc",
    );
    const viaPg = { ...login, host: directory.path };
    await using client = await PgClient.connect(viaPg);
    assert.equal(await client.value(TENANT), "tenant_b");
    const over = "SELECT client_addr IS NULL FROM pg_stat_activity WHERE pid = pg_backend_pid()";
    assert.equal(await client.value(over), true, "the upstream connection is over its socket");
  }
  const { peer, database } = await process.logged("client connected");
  assert.deepEqual([peer, database], [`unix:${path}`, DATABASE]);

  const second = await pgvpd(args);
  assert.equal(second.code, 1, "a socket in use is not taken away");
  assert.match(second.err, /^pgvpd: Cannot listen on .*in use\n$/);

  process.kill("SIGTERM");
  assert.equal((await process.ended()).code, 0);
  assert.throws(() => Deno.lstatSync(path), Deno.errors.NotFound);
});

Deno.test("a file in the place of the socket is not removed", async () => {
  await using directory = await TestDirectory.make();
  const path = await directory.write(".s.PGSQL.6432", "precious");
  const { code, err } = await pgvpd(["--listen-host", directory.path]);
  assert.equal(code, 1);
  assert.match(err, /^pgvpd: Cannot listen on [^\n]+\n$/);
  assert.equal(await Deno.readTextFile(path), "precious");
});
