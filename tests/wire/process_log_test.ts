// Promise: the log tells who came and how it ended, in whole lines, and never a secret.

import assert from "node:assert/strict";
import { RECORDS_PER_WINDOW_MAX } from "../../src/log_flood.ts";
import { type LogLine, PgvpdProcess } from "../support/process_pgvpd.ts";
import { APP_PASSWORD, Bench, DATABASE, failure } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";
import { RawClient } from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await Bench.start()));
Deno.test.afterAll(() => bench.stop());

const args = (...more: string[]) => [
  ...["--port", "0", "--upstream-port", String(bench.postgres.port), ...more],
];
const READY = / INFO {2}pgvpd is ready listening=127\.0\.0\.1:(\d+) /;

async function stop(process: PgvpdProcess): Promise<void> {
  process.kill("SIGTERM");
  assert.equal((await process.ended()).code, 0);
}

/** The records of each connection, by its id. */
function byConnection(log: readonly LogLine[]): Map<unknown, LogLine[]> {
  return Map.groupBy(
    log.filter(({ logger }) => logger === "pgvpd.session"),
    (line) => line["connection"],
  );
}

Deno.test("text on a pipe: a line for each record, and no colour codes", async () => {
  await using process = await PgvpdProcess.spawn(args());
  await process.until("it is ready", () => READY.test(process.out));
  const port = Number(READY.exec(process.out)![1]);
  {
    await using _client = await PgClient.connect({ port, user: "trusty.tenant_a" });
  }
  await process.until("the client has left", () => /client disconnected .*\n/.test(process.out));
  await stop(process);
  assert(!process.out.includes("\x1b"), process.out);
  for (const line of process.out.trimEnd().split("\n")) {
    assert.match(line, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO |WARN |ERROR) [a-z]/);
  }
  assert.match(process.out, / client connected connection=1 peer=127\.0\.0\.1:\d+ role=trusty /);
});

Deno.test("connect and disconnect records carry everything, and an id that is the same", async () => {
  await using process = await PgvpdProcess.serve(args("--log-level", "debug"));
  const peers: string[] = [];
  for (const tenant of ["tenant_a", "tenant_b"]) {
    using client = await RawClient.connect(process.port);
    peers.push(`127.0.0.1:${client.connection.localAddr.port}`);
    await client.login({ user: `trusty.${tenant}`, database: DATABASE });
    await client.query("SELECT repeat('x', 10000)");
  }
  await process.logged("client disconnected", 2);
  await stop(process);

  const connections = byConnection(process.log);
  assert.deepEqual([...connections.keys()], [1, 2]);
  for (const [id, records] of connections) {
    const messages = records.map(({ message }) => message);
    const known = [
      "client accepted",
      "client identified",
      "client connected",
      "client disconnected",
    ];
    assert.deepEqual(messages, known);
    const [, , connected, disconnected] = records;
    for (const record of [connected!, disconnected!]) {
      const { peer, role, database, tenant } = record;
      const expected = [
        peers[Number(id) - 1],
        "trusty",
        DATABASE,
        id === 1 ? "tenant_a" : "tenant_b",
      ];
      assert.deepEqual([peer, role, database, tenant], expected);
    }
    assert.equal(typeof disconnected!["ms"], "number");
    assert.equal(disconnected!["ended_by"], "client");
    const [received, sent] = [disconnected!["bytes_in"], disconnected!["bytes_out"]];
    assert.equal(received, 1 + 4 + "SELECT repeat('x', 10000)".length + 1);
    assert(Number(sent) > 10_000 && Number(sent) < 10_200, `${sent} bytes`);
  }
});

Deno.test("a client that is let go has the reason in its record", async () => {
  await using process = await PgvpdProcess.serve(args());
  using client = await RawClient.connect(process.port);
  await client.login({ user: "trusty.tenant_a", database: DATABASE });
  await stop(process);
  const { ended_by, reason } = process.entries("client disconnected")[0]!;
  assert.equal(ended_by, "pgvpd");
  assert.match(String(reason), /shutting down/);
});

Deno.test("context values beyond the tenant appear only at debug", async () => {
  for (const level of ["info", "debug"]) {
    await using process = await PgvpdProcess.serve(
      args("--log-level", level, "--context", "app.list_id,app.user_id"),
    );
    const login = { port: process.port, user: "trusty.list1:private9" };
    {
      await using _client = await PgClient.connect(login);
    }
    await failure(
      PgClient.connect({ ...login, user: "app_user.list1:private9", password: "wrong" }),
    );
    await failure(PgClient.connect({ ...login, user: "nobody.list1:private9" }));
    await failure(PgClient.connect({ ...login, user: "trusty.list1:private9:x" }));
    await failure(PgClient.connect({ ...login, database: "none" }));
    await process.logged("client disconnected");
    await stop(process);
    const telling = process.log.filter((line) => JSON.stringify(line).includes("private9"));
    assert(telling.every((line) => line.level === "DEBUG"), JSON.stringify(telling));
    assert.equal(telling.length, level === "debug" ? 4 : 0);
    assert.equal(process.entries("client connected")[0]!["tenant"], "list1");
  }
});

Deno.test("no password is in the log, whatever the method, the level and the outcome", async () => {
  await using process = await PgvpdProcess.serve(args("--log-level", "debug"));
  for (const role of ["app_user", "mixed_user", "clear_user", "md5_user"]) {
    const login = { port: process.port, user: `${role}.tenant_a` };
    const right = { ...login, password: APP_PASSWORD };
    if (role === "md5_user") await failure(PgClient.connect(right)); // the name is salt there
    else {
      await using client = await PgClient.connect(right);
      await client.run(`ALTER ROLE CURRENT_USER PASSWORD '${APP_PASSWORD}'`);
    }
    await failure(PgClient.connect({ ...login, password: `wrong ${APP_PASSWORD}` }));
  }
  await process.logged("client disconnected", 3);
  await process.logged("upstream refused the login", 5);
  await stop(process);
  assert(!process.out.includes(APP_PASSWORD) && !process.err.includes(APP_PASSWORD), process.out);
});

Deno.test("a flood of refused clients is a few lines and a count", async () => {
  const REFUSED = 200;
  await using process = await PgvpdProcess.serve(args());
  for (let turn = 0; turn < REFUSED / 20; turn++) {
    await Promise.all(Array.from({ length: 20 }, async () => {
      using client = await RawClient.connect(process.port);
      assert.equal((await client.refused({ user: "nobody" })).code, "28000");
    }));
  }
  await stop(process);
  const written = process.entries("client refused").length;
  assert(written >= RECORDS_PER_WINDOW_MAX && written < REFUSED / 2, `${written} lines`);
  const summaries = process.entries("records left out in the last seconds");
  const leftOut = summaries.reduce((sum, { count }) => sum + Number(count), 0);
  assert.equal(written + leftOut, REFUSED, "every refusal is a line, or counted");
  assert.equal(summaries[0]!["text"], "client refused");
});

Deno.test("nobody forges a line of the log with a name", async () => {
  const evil = "a\n2026-01-01T00:00:00,000Z INFO  pgvpd is ready\r\x1b[2J\u2028x";
  for (const format of ["text", "json"]) {
    await using process = await PgvpdProcess.spawn(args("--log-format", format));
    const port = () => /"?listening"?[=:]"?127\.0\.0\.1:(\d+)/.exec(process.out)?.[1];
    await process.until("it is ready", () => port() !== undefined);
    for (const parameters of [{ user: `trusty.${evil}` }, { user: evil, database: evil }]) {
      using client = await RawClient.connect(Number(port()));
      if (parameters.user === evil) await client.refused(parameters);
      else await client.login({ ...parameters, database: DATABASE });
    }
    await process.until("the client has left", () => /client disconnected.*\n/.test(process.out));
    await stop(process);
    const lines = process.out.trimEnd().split("\n");
    assert.equal(lines.length, 6, process.out);
    for (const line of lines) assert.match(line, /^[^\p{Cc}\u2028]+$/u);
    if (format === "json") {
      const connected = lines.map((line) => JSON.parse(line)).find((line) => line.tenant);
      assert.equal(connected.tenant, evil);
    } else assert.equal(lines.filter((line) => /^\S+ INFO {2}pgvpd is ready/.test(line)).length, 1);
  }
});
