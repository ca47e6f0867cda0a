// Promise: on SIGTERM and SIGINT clients finish what they began, and everybody is told.

import assert from "node:assert/strict";
import { PgvpdProcess } from "../support/process_pgvpd.ts";
import { Bench, DATABASE, eventually } from "../support/wire_bench.ts";
import {
  errorFields,
  message,
  RawClient,
  type RawMessage,
  SSL_REQUEST,
  startup,
} from "../support/wire_raw_client.ts";

const CLIENTS = 1_000;
const AT_ONCE = 50;

let bench: Bench;
Deno.test.beforeAll(async () => {
  bench = await Bench.start();
  await bench.admin.run(`ALTER SYSTEM SET max_connections = ${CLIENTS + 100}`);
  await bench.postgres.halt();
  await bench.postgres.boot();
  await bench.reconnectAdmin();
});
Deno.test.afterAll(() => bench.stop());

const serve = (...args: string[]) =>
  PgvpdProcess.serve(["--port", "0", "--upstream-port", String(bench.postgres.port), ...args]);

/** As many clients as there are to be, fewer where descriptors are short. */
async function clientCount(): Promise<number> {
  if (Deno.build.os !== "linux") return CLIENTS;
  const limits = await Deno.readTextFile("/proc/self/limits");
  const files = Number(/^Max open files +(\d+)/m.exec(limits)?.[1] ?? Infinity);
  const count = Math.min(CLIENTS, Math.floor((files - 200) / 2)); // pgvpd needs two for each
  if (count < CLIENTS) console.warn(`ONLY ${count} CLIENTS: ulimit -n is ${files}`);
  return count;
}

class Crowd implements Disposable {
  readonly clients: RawClient[] = [];

  static async connect(port: number, count: number): Promise<Crowd> {
    const crowd = new Crowd();
    const login = async (n: number) => {
      const client = await RawClient.connect(port);
      crowd.clients.push(client);
      await client.login({ user: `trusty.tenant_${n % 2 ? "a" : "b"}`, database: DATABASE });
    };
    try {
      for (let begun = 0; begun < count; begun += AT_ONCE) {
        const size = Math.min(AT_ONCE, count - begun);
        await Promise.all(Array.from({ length: size }, (_, n) => login(begun + n)));
      }
      return crowd;
    } catch (error) {
      crowd[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    for (const client of this.clients) client.close();
  }
}

/** The client must be told 57P01, and be disconnected then. */
async function farewell(client: RawClient, reply?: RawMessage | null): Promise<void> {
  const last = reply ?? await client.next();
  assert.equal(last?.type, "E", "the client was told why");
  const { S, C, M } = errorFields(last.body);
  assert.deepEqual([S, C], ["FATAL", "57P01"], M);
  assert(await client.ended(), "nothing comes behind it");
}

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  Deno.test(`${signal} with many clients: transactions end, all are told, exit code 0`, async () => {
    const count = signal === "SIGTERM" ? await clientCount() : 60;
    await using process = await serve("--shutdown-timeout", "60s");
    using crowd = await Crowd.connect(process.port, count);
    const working = crowd.clients.filter((_, n) => n % 10 === 0);
    const idle = crowd.clients.filter((_, n) => n % 10 !== 0);
    await Promise.all(working.map((client) => client.query("BEGIN")));

    process.kill(signal);
    const stopping = await process.logged(
      "stopping: no new clients; waiting for those that are here",
    );
    assert.deepEqual([stopping["signal"], stopping["clients"]], [signal, count]);
    await Promise.all(idle.map((client) => farewell(client)));
    await assert.rejects(RawClient.connect(process.port), Deno.errors.ConnectionRefused);
    assert.equal(process.entries("pgvpd has stopped").length, 0, "it waits for the others");

    await Promise.all(working.map(async (client) => {
      assert.deepEqual(await client.query("SELECT count(*) FROM tenants"), [["2"]]);
      await client.query("COMMIT");
      await farewell(client);
    }));
    const { code, err } = await process.ended();
    assert.deepEqual([code, err], [0, ""]);
    const [stopped] = process.entries("pgvpd has stopped");
    // The connection that was refused by the kernel is none.
    assert.equal(stopped!["connections_total"], count);
    assert.equal(process.entries("client disconnected").length, count);
    await bench.noBackends();
  });
}

Deno.test("who does not finish within shutdown_timeout is told, and closed", async () => {
  await using process = await serve("--shutdown-timeout", "300ms");
  using crowd = await Crowd.connect(process.port, 3);
  const [open, busy, idle] = crowd.clients;
  await open!.query("BEGIN");
  await busy!.send(message("Q", new TextEncoder().encode("SELECT pg_sleep(60), 'busy'\0")));
  await bench.running("'busy'");
  process.kill("SIGTERM");
  await Promise.all([farewell(open!), farewell(busy!), farewell(idle!)]);
  assert.equal((await process.ended()).code, 0);
  const reasons = process.entries("client disconnected").map((entry) => entry["ended_by"]);
  assert.deepEqual(reasons, ["pgvpd", "pgvpd", "pgvpd"]);
  await bench.noBackends(); // the query was cancelled: PostgreSQL itself would not have noticed
});

Deno.test("a second signal ends at once", async () => {
  for (const [first, second] of [["SIGTERM", "SIGTERM"], ["SIGTERM", "SIGINT"]] as const) {
    await using process = await serve("--shutdown-timeout", "1h");
    using crowd = await Crowd.connect(process.port, 1);
    const [client] = crowd.clients;
    await client!.query("BEGIN");
    process.kill(first);
    await process.logged("stopping: no new clients; waiting for those that are here");
    process.kill(second);
    const { code } = await process.ended();
    assert.equal(code, 0);
    assert.equal(process.entries("second signal: ending at once")[0]?.["signal"], second);
    assert(await client!.ended(), "the connection is closed");
  }
  await bench.noBackends();
});

Deno.test("a client in the middle of the handshake is told 57P01", async () => {
  await using process = await serve();
  const { port } = process;
  using silent = await RawClient.connect(port);
  using asked = await RawClient.connect(port);
  await asked.send(SSL_REQUEST);
  assert.equal(await asked.nextByte(), "N");
  using authenticating = await RawClient.connect(port);
  const user = { user: "app_user.tenant_a", database: DATABASE };
  await authenticating.send(startup(user));
  assert.equal((await authenticating.next())?.type, "R", "the server asks for a password");
  using established = await RawClient.connect(port);
  await established.login({ user: "trusty.tenant_a", database: DATABASE });
  process.kill("SIGTERM");
  for (const client of [silent, asked, authenticating, established]) await farewell(client);
  assert.equal((await process.ended()).code, 0);
  assert.equal(process.entries("client let go").length, 3);
  await eventually("no backend is left", async () => await bench.backends() === 0);
});

Deno.test("a signal with nobody connected ends it at once", async () => {
  await using process = await serve("--shutdown-timeout", "1h");
  process.kill("SIGTERM");
  assert.equal((await process.ended()).code, 0);
});
