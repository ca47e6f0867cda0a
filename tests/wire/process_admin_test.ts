// The admin API of a running pgvpd: what the first one's test suite asked of it, and the audit log.

import assert from "node:assert/strict";
import { PgvpdProcess, TestDirectory } from "../support/process_pgvpd.ts";
import { parseExposition, sampleOf } from "../support/exposition.ts";
import { Bench, eventually, failure } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";

let bench: Bench;
Deno.test.beforeAll(async () => {
  bench = await Bench.start();
});
Deno.test.afterAll(async () => await bench.stop());

function adminUrl(process: PgvpdProcess): string {
  const ready = process.log.find(({ message }) => message === "pgvpd is ready");
  return `http://${ready!["admin"]}`;
}

function serve(...more: string[]): Promise<PgvpdProcess> {
  const upstream = ["--port", "0", "--upstream-port", `${bench.postgres.port}`];
  return PgvpdProcess.serve([...upstream, "--admin-port", "0", ...more]);
}

async function metricsOf(process: PgvpdProcess) {
  return parseExposition(await (await fetch(`${adminUrl(process)}/metrics`)).text());
}

Deno.test("suite 4: health, metrics and status, and a connection counts", async () => {
  await using process = await serve();
  const url = adminUrl(process);
  const health = await (await fetch(`${url}/health`)).json();
  assert.deepEqual(health, { status: "ok" });
  const ready = await fetch(`${url}/ready`);
  assert.deepEqual([ready.status, (await ready.json()).upstream], [200, true]);
  const before = await metricsOf(process);
  assert.equal(sampleOf(before, "pgvpd_connections_total", {}), 0);
  assert.equal(sampleOf(before, "pgvpd_pool_checkouts_total", {}), 0);
  const status = await (await fetch(`${url}/status`)).json();
  assert.equal(status.connections_total, 0);
  assert.deepEqual(status.pool.buckets, []);
  {
    await using client = await PgClient.connect({ port: process.port, user: "trusty.tenant_a" });
    await client.run("SELECT 1; SELECT 1/0").catch(() => {});
    await client.run("BEGIN");
    await client.run("COMMIT");
    const { pool_mode: _, ...tenant } = await (await fetch(`${url}/tenants/tenant_a`)).json();
    assert.deepEqual([tenant.connections, tenant.queries, tenant.transactions], [1, 3, 2]);
    assert.equal(tenant.clients[0].role, "trusty");
  }
  await eventually(
    "it has gone",
    async () => sampleOf(await metricsOf(process), "pgvpd_connections_active", {}) === 0,
  );
  const after = await metricsOf(process);
  assert.equal(sampleOf(after, "pgvpd_connections_total", {}), 1);
  assert.equal(sampleOf(after, "pgvpd_tenant_queries_total", { tenant: "tenant_a" }), 3);
  assert.equal(sampleOf(after, "pgvpd_query_seconds_count", {}), 3);
  assert.equal(sampleOf(after, "pgvpd_errors_total", { origin: "server", class: "22" }), 1);
  assert.equal(sampleOf(after, "pgvpd_logins_total", { result: "accepted" }), 1);
  const context = { phase: "context" };
  assert.equal(sampleOf(after, "pgvpd_login_phase_seconds_count", context), 1);
});

Deno.test("a server that is gone makes it not ready, and a drain too", async () => {
  const upstream = ["--port", "0", "--upstream-port", "1", "--admin-port", "0"];
  await using process = await PgvpdProcess.serve(upstream);
  const response = await fetch(`${adminUrl(process)}/ready`);
  assert.equal(response.status, 503);
  const { listening, upstream: isUp, draining } = await response.json();
  assert.deepEqual([listening, isUp, draining], [true, false, false]);
  const url = adminUrl(process);
  assert.equal((await (await fetch(`${url}/drain`, { method: "POST" })).json()).done, true);
  assert.equal((await process.ended()).code, 0);
});

Deno.test("during a drain it still answers, and says that it is not ready", async () => {
  await using process = await serve();
  const url = adminUrl(process);
  await using client = await PgClient.connect({ port: process.port, user: "trusty.tenant_a" });
  await client.run("BEGIN");
  process.kill("SIGTERM");
  await process.logged("stopping: no new clients; waiting for those that are here");
  const ready = await fetch(`${url}/ready`);
  assert.deepEqual([ready.status, (await ready.json()).draining], [503, true]);
  await client.run("COMMIT").catch(() => {});
  assert.equal((await process.ended()).code, 0);
});

Deno.test("a signal behind a drain ends no transaction, the second one does", async () => {
  await using process = await serve();
  await using client = await PgClient.connect({ port: process.port, user: "trusty.tenant_a" });
  await client.run("BEGIN");
  for (let count = 0; count < 2; count++) {
    await (await fetch(`${adminUrl(process)}/drain`, { method: "POST" })).body?.cancel();
  }
  process.kill("SIGTERM");
  await (await fetch(`${adminUrl(process)}/health`)).body?.cancel();
  await client.run("SELECT 1");
  process.kill("SIGTERM");
  assert.equal((await process.ended()).code, 0);
  assert.equal(process.entries("second signal: ending at once").length, 1);
});

Deno.test("a port that is taken is fatal, and said in a sentence", async () => {
  await using process = await serve();
  const port = new URL(adminUrl(process)).port;
  const args = ["--port", "0", "--upstream-port", "1", "--admin-port", port];
  await using other = await PgvpdProcess.spawn(args);
  const { code, err } = await other.ended();
  assert.equal(code, 1);
  assert.match(err, /Cannot listen on admin_host 127\.0\.0\.1 admin_port \d+/);
});

Deno.test("the log level changes without a restart, and a bad reload says what is wrong", async () => {
  await using directory = await TestDirectory.make();
  const conf = `port = 0\nupstream_port = ${bench.postgres.port}\nadmin_port = 0\n`;
  const path = await directory.write("pgvpd.conf", conf);
  await using process = await PgvpdProcess.serve(["-c", path]);
  const post = async (route: string, body?: string) => {
    const init = { method: "POST", ...(body === undefined ? {} : { body }) };
    const response = await fetch(adminUrl(process) + route, init);
    return { status: response.status, json: await response.json() };
  };
  await post("/log-level", '{"level":"debug"}');
  await (await PgClient.connect({ port: process.port, user: "trusty.a" }))[Symbol.asyncDispose]();
  await process.logged("client accepted");
  await directory.write("pgvpd.conf", `${conf}max_client_connections = 7\n`);
  assert.deepEqual(await post("/reload"), { status: 200, json: { problems: [], changes: 1 } });
  await directory.write("pgvpd.conf", `${conf}max_client_connections = many\n`);
  const { status, json } = await post("/reload");
  assert.equal(status, 409);
  assert.match(json.problems[0], /pgvpd\.conf:4: invalid value "many"/);
  await process.logged("act of an operator", 3);
});

Deno.test("the audit log has logins, refusals and acts, in a new file after SIGHUP, and no secret", async () => {
  await using directory = await TestDirectory.make();
  const file = `${directory.path}/audit.jsonl`;
  const token = "the token of this test";
  const args = ["--audit-log", "file", "--audit-file", file, "--admin-token", token];
  await using process = await serve(...args, "--tenant-deny", "evil");
  const read = async (path = file) =>
    (await Deno.readTextFile(path)).trimEnd().split("\n")
      .map((line) => JSON.parse(line));
  const connect = (user: string, password = "testpass") =>
    PgClient.connect({ port: process.port, user, password });
  await (await connect("app_user.tenant_a"))[Symbol.asyncDispose]();
  await failure(connect("app_user.tenant_a", "wrong"));
  await failure(connect("trusty.evil"));
  const headers = { authorization: `Bearer ${token}` };
  await (await fetch(`${adminUrl(process)}/tenants/evil/pause`, { method: "POST", headers }))
    .text();
  await eventually("all of it is recorded", async () => (await read()).length === 4);
  const [accepted, wrong, denied, act] = await read();
  assert.deepEqual(
    [accepted.event, accepted.result, accepted.user, accepted.tenant, accepted.method],
    ["login", "accepted", "app_user.tenant_a", "tenant_a", "scram"],
  );
  assert.deepEqual(accepted.context, { "app.current_tenant_id": "tenant_a", role: "app_user" });
  assert.match(accepted.peer, /^127\.0\.0\.1:\d+$/);
  assert(Number.isInteger(accepted.ms) && accepted.tls === false);
  assert.deepEqual([wrong.result, wrong.sqlstate, wrong.method], ["refused", "28P01", "scram"]);
  assert.deepEqual([denied.result, denied.sqlstate, denied.tenant], ["refused", "28000", "evil"]);
  assert.deepEqual([act.event, act.act, act.target, act.via], [
    "act",
    "tenant.pause",
    "evil",
    "http",
  ]);
  await Deno.rename(file, `${file}.1`);
  process.kill("SIGHUP");
  await process.logged("configuration reloaded");
  await (await connect("app_user.tenant_b"))[Symbol.asyncDispose]();
  await eventually(
    "it goes on in a new file",
    async () =>
      (await read().catch(() => [])).some(({ tenant }: { tenant?: string }) =>
        tenant === "tenant_b"
      ),
  );
  const text = await Deno.readTextFile(file) + await Deno.readTextFile(`${file}.1`);
  for (const secret of ["testpass", "wrong", token]) assert(!text.includes(secret));
  assert(!process.out.includes(token));
});

Deno.test("an audit log that cannot be begun is fatal", async () => {
  const args = ["--port", "0", "--audit-log", "file", "--audit-file", "/nowhere/audit"];
  await using process = await PgvpdProcess.spawn(args);
  const { code, err } = await process.ended();
  assert.equal(code, 1);
  assert.match(err, /Cannot write audit_file "\/nowhere\/audit"/);
});

Deno.test("a reload takes no token away from an API that stays where others reach it", async () => {
  await using directory = await TestDirectory.make();
  const settings = (admin: string) =>
    `port = 0\nupstream_port = ${bench.postgres.port}\nadmin_port = 0\n${admin}`;
  const path = await directory.write(
    "pgvpd.conf",
    settings("admin_host = 0.0.0.0\nadmin_token = the token of this test\n"),
  );
  await using process = await PgvpdProcess.serve(["-c", path]);
  const port = new URL(adminUrl(process)).port;
  const status = async () => {
    const response = await fetch(`http://127.0.0.1:${port}/status`);
    await response.body?.cancel();
    return response.status;
  };
  assert.equal(await status(), 401);
  await directory.write("pgvpd.conf", settings("admin_host = 127.0.0.1\n"));
  process.kill("SIGHUP");
  await process.logged("configuration reloaded");
  assert.equal(await status(), 401);
});
