// The console with real clients: psql's way, and the queries of PgBouncer's exporters.

import assert from "node:assert/strict";
import { AdminConsole } from "../../src/admin/console.ts";
import { parseUserlist } from "../../src/auth/userlist.ts";
import type { OperatorConsole } from "../../src/control.ts";
import type { ProxyOptions } from "../../src/server.ts";
import type { Act } from "../../src/server_control.ts";
import { WITHOUT_TLS } from "../../src/server.ts";
import type { LoginRecord } from "../../src/session/records.ts";
import { APP_PASSWORD, Bench, eventually, failure, type Front } from "../support/wire_bench.ts";
import { type Login, PgClient, psqlCommand, psqlMissing } from "../support/wire_clients.ts";
import { controlOf } from "../support/wire_control.ts";
import { connectTenant, MODES } from "../support/wire_modes.ts";

const TOKEN = "the token of operators";

let bench: Bench;
Deno.test.beforeAll(async () => {
  bench = await Bench.start();
});
Deno.test.afterAll(async () => await bench.stop());

async function frontWith(more: Partial<ProxyOptions> = {}, users = "") {
  const [acts, logins]: [Act[], LoginRecord[]] = [[], []];
  let terminal: OperatorConsole | null = null;
  const front = await bench.front(
    {
      ...{ poolMode: "transaction", poolPassword: APP_PASSWORD, upstreamPassword: APP_PASSWORD },
      ...{ adminUsers: ["root", "listed"], adminToken: TOKEN, ...more },
    },
    { ...WITHOUT_TLS, users: users === "" ? null : parseUserlist(new TextEncoder().encode(users)) },
    { console: () => terminal, observer: { loginEnded: (record) => void logins.push(record) } },
  );
  terminal = new AdminConsole(controlOf(front, acts));
  return { front, acts, logins };
}

function operator({ port }: Front, more: Partial<Login> = {}): Login {
  return { port, user: "root", password: TOKEN, database: "pgvpd", ...more };
}

for (const poolMode of MODES) {
  Deno.test(`${poolMode}: an operator looks, pauses and resumes, and kills`, async () => {
    const { front, acts } = await frontWith({ poolMode });
    await using _front = front;
    await using root = await PgClient.connect(operator(front));
    await using client = await connectTenant(front, "tenant_a");
    const [shown] = (await root.rows("SHOW CLIENTS")).filter(({ tenant }) => tenant !== null);
    assert.deepEqual([shown!["user"], shown!["tenant"]], ["app_user", "tenant_a"]);
    await root.run("PAUSE tenant_a");
    const asked = client.value("SELECT 3");
    const waiting = async () => (await root.rows("SHOW TENANTS")).map((row) => row["cl_waiting"]);
    await eventually("it is held", async () => (await waiting())[0] === "1");
    await root.run("RESUME tenant_a;");
    assert.equal(await asked, 3);
    assert.match((await failure(root.run("RESUME tenant_a"))).message, /not paused/);
    await root.run(`KILL_CLIENT ${shown!["ptr"]}`);
    await eventually("it is let go", () => client.lost !== null);
    assert.deepEqual(acts.map(({ act, by }) => [act, by.name, by.via]), [
      ["tenant.pause", "root", "console"],
      ["tenant.resume", "root", "console"],
      ["tenant.resume", "root", "console"],
      ["client.disconnect", "root", "console"],
    ]);
  });
}

Deno.test("what an exporter asks for is there, by name, and numbers are numbers", async () => {
  const { front } = await frontWith();
  await using _front = front;
  await using client = await connectTenant(front, "tenant_a");
  await client.value("SELECT 1");
  await using exporter = await PgClient.connect(operator(front));
  const queries = ["SHOW VERSION", "SHOW STATS;", "SHOW POOLS;", "SHOW DATABASES;", "SHOW LISTS;"];
  for (const query of [...queries, "SHOW SERVERS;"]) {
    const rows = await exporter.rows(query);
    assert(rows.length > 0, query);
  }
  assert.match(String((await exporter.rows("SHOW VERSION"))[0]!["version"]), /\d+\.\d+\.\d+/);
  const [pool] = await exporter.rows("SHOW POOLS");
  assert.deepEqual([pool!["database"], pool!["user"]], ["pgvpd_test", "app_user"]);
  assert.equal(pool!["pool_mode"], "transaction");
  for (const name of ["cl_active", "cl_waiting", "sv_active", "sv_idle", "maxwait"]) {
    assert.match(String(pool![name]), /^\d+$/, name);
  }
  assert.deepEqual(await exporter.rows(";"), []);
});

Deno.test("the password is that of the file, else the token; whoever has none is not let in", async () => {
  const { front, logins } = await frontWith({}, '"listed" "another one"\n"other" "x"\n');
  await using _front = front;
  await using root = await PgClient.connect(operator(front));
  await using listed = await PgClient.connect(
    operator(front, { user: "listed", password: "another one" }),
  );
  await Promise.all([root.run("SHOW VERSION"), listed.run("SHOW VERSION")]);
  const wrong: Partial<Login>[] = [
    { password: "wrong" },
    { user: "listed", password: TOKEN },
    { user: "other", password: TOKEN },
    { user: "other", password: "x" },
  ];
  for (const login of wrong) await failure(PgClient.connect(operator(front, login)));
  await eventually("all of them were told", () => logins.length === 6);
  assert.deepEqual(
    logins.slice(0, 3).map((
      { user, method, result, context, database },
    ) => [user, method, result, context, database]),
    [
      ["root", "scram", "accepted", null, "pgvpd"],
      ["listed", "scram", "accepted", null, "pgvpd"],
      ["root", "scram", "refused", null, "pgvpd"],
    ],
  );
});

Deno.test("without users there is no console, whatever is known", async () => {
  const { front } = await frontWith({ adminUsers: null });
  await using _front = front;
  await failure(PgClient.connect(operator(front)));
});

Deno.test("a shutdown ends operators too, and says so", async () => {
  const { front } = await frontWith();
  await using root = await PgClient.connect(operator(front));
  await root.run("SHOW VERSION");
  await front.proxy.stop(10_000);
  await eventually("it is let go", () => root.lost !== null);
  assert.equal((root.lost as Error & { code?: string }).code, "57P01");
});

Deno.test("psql: tables, help, errors, and nothing else", { ignore: psqlMissing() }, async () => {
  const { front } = await frontWith();
  await using _front = front;
  const psql = async (command: string) => {
    const { code, stdout, stderr } = await psqlCommand(operator(front), ["-c", command]).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { code, out: text(stdout), err: text(stderr) };
  };
  assert.match((await psql("SHOW VERSION")).out, /^PgBouncer [\d.]+ \(pgvpd test\)\n$/);
  assert.match((await psql("SHOW HELP")).err, /NOTICE:.*Console usage[\s\S]*KILL_CLIENT/);
  const wrong = await psql("SELECT 1");
  assert.equal(wrong.code, 1);
  assert.match(wrong.err, /ERROR:.*invalid command 'SELECT 1', use SHOW HELP;/);
});
