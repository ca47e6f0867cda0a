// Promise: drivers and tools work in transaction mode as they are, several clients of two tenants
// on fewer backends, with whatever they do about prepared statements.

import assert from "node:assert/strict";
import postgres from "postgres";
import { POOL_PASSWORD, txFront, txLogin } from "../support/tx_front.ts";
import { Bench, eventually, type Front } from "../support/wire_bench.ts";
import { PgClient, psql, psqlMissing } from "../support/wire_clients.ts";

let bench: Bench;
Deno.test.beforeAll(async () => {
  bench = await Bench.start();
});
Deno.test.afterAll(() => bench.stop());

const ROWS: Record<string, string[]> = {
  tenant_a: ["Alice Corp", "Alice LLC"],
  tenant_b: ["Bob Inc", "Bob Ltd"],
};
const CLIENTS = ["tenant_a", "tenant_b", "tenant_a", "tenant_b", "tenant_a", "tenant_b"];
const TURNS = 15;

/** All of them at once; the backends that served them were no more than `size`, and all shared. */
async function together(
  front: Front,
  work: (tenant: string, number: number) => Promise<Iterable<unknown>>,
): Promise<void> {
  const pids = await Promise.all(CLIENTS.map(async (tenant, number) => {
    return { tenant, pids: new Set(await work(tenant, number)) };
  }));
  const of = (tenant: string) =>
    new Set(pids.filter((each) => each.tenant === tenant).flatMap((each) => [...each.pids]));
  assert.ok(of("tenant_a").intersection(of("tenant_b")).size > 0, "both tenants shared a backend");
  const [stats] = [...front.proxy.poolStats.values()];
  assert.equal(stats!.opened, of("tenant_a").union(of("tenant_b")).size);
}

for (const poolSize of [1, 2]) {
  Deno.test(`npm:pg with named statements, transactions and errors, on ${poolSize}`, async () => {
    await using front = await txFront(bench, { poolSize });
    await together(front, async (tenant, number) => {
      await using client = await PgClient.connect(txLogin(front, tenant));
      const pids: unknown[] = [];
      for (let turn = 0; turn < TURNS; turn++) {
        const sql =
          "SELECT name, pg_backend_pid() AS pid FROM tenants WHERE $1::int = $1 ORDER BY 1";
        const rows = await client.rows(sql, [turn], "names");
        assert.deepEqual(rows.map(({ name }) => name), ROWS[tenant]);
        pids.push(rows[0]!["pid"]);
        const own = await client.rows("SELECT $1::int + $2::int AS sum", [turn, number], "own");
        assert.deepEqual(own, [{ sum: turn + number }]);
        await client.run("BEGIN");
        await assert.rejects(client.rows("SELECT 1 / $1::int", [0], "fails"), { code: "22012" });
        await client.run("ROLLBACK");
      }
      return pids;
    });
  });

  for (const prepare of [true, false]) {
    Deno.test(`npm:postgres with prepare: ${prepare}, pipelined, on ${poolSize}`, async () => {
      await using front = await txFront(bench, { poolSize });
      await together(front, async (tenant) => {
        const { port, user, password = "" } = txLogin(front, tenant);
        const login = { host: "127.0.0.1", database: "pgvpd_test", port, user, password };
        const sql = postgres({
          ...login,
          max: 2,
          prepare,
          fetch_types: true,
          onnotice: () => {},
        });
        const pids: unknown[] = [];
        for (let turn = 0; turn < TURNS; turn++) {
          const answers = await Promise.all(
            Array.from({ length: 4 }, () =>
              sql`SELECT name, pg_backend_pid() AS pid FROM tenants
                   WHERE ${turn}::int = ${turn} ORDER BY 1`),
          );
          for (const rows of answers) {
            assert.deepEqual(rows.map(({ name }) => name), ROWS[tenant]);
            pids.push(rows[0]!["pid"]);
          }
          await sql.begin(async (tx) => {
            const [row] = await tx`SELECT count(*)::int AS count FROM tenants`;
            assert.equal(row!["count"], 2);
          });
          await assert.rejects(sql`SELECT 1 / ${0}::int`, { code: "22012" });
        }
        const names: string[] = [];
        await sql`SELECT name FROM tenants ORDER BY 1`.cursor(1, (rows) => {
          names.push(...rows.map(({ name }) => name));
        });
        assert.deepEqual(names, ROWS[tenant]);
        await sql.end({ timeout: 5 });
        return pids;
      });
    });
  }
}

Deno.test({
  name: "psql: scripts, \\bind, \\parse, FETCH_COUNT and errors",
  ignore: psqlMissing(),
  async fn() {
    await using front = await txFront(bench);
    await together(front, async (tenant) => {
      const script = [
        ...["-c", "SELECT pg_backend_pid()", "-c", "SELECT name FROM tenants ORDER BY 1"],
        ...["-c", "\\set FETCH_COUNT 1", "-c", "SELECT name FROM tenants ORDER BY 1"],
        ...["-c", "BEGIN", "-c", "SELECT count(*) FROM tenants", "-c", "COMMIT"],
      ];
      const { code, out, err } = await psql(txLogin(front, tenant), script);
      assert.deepEqual([code, err], [0, ""]);
      const [pid, ...names] = out.split("\n");
      assert.deepEqual(names, [...ROWS[tenant]!, ...ROWS[tenant]!, "2"]);
      return [Number(pid)];
    });
  },
});

function pgbenchMissing(): boolean {
  try {
    return !new Deno.Command("pgbench", { args: ["--version"] }).outputSync().success;
  } catch {
    console.warn("SKIPPED: pgbench is not installed; apt-get install postgresql-client");
    return true;
  }
}

/** Fails with a division by zero where a row of another tenant is seen. */
const CHECKED = "SELECT 1 / (ascii(min(name)) = :letter AND ascii(max(name)) = :letter AND " +
  "count(*) = 2)::int FROM tenants;";
const SCRIPT = `${CHECKED}\nBEGIN;\n${CHECKED}\nSELECT pg_backend_pid();\nEND;\n`;
const PIPELINE = `\\startpipeline\n${SCRIPT}\\endpipeline\n`;

for (
  const [mode, script] of [
    ...[["simple", SCRIPT], ["extended", SCRIPT], ["prepared", SCRIPT]] as const,
    ...[["extended", PIPELINE], ["prepared", PIPELINE]] as const,
  ]
) {
  const name = script === PIPELINE ? `${mode} pipeline` : mode;
  Deno.test({
    name: `pgbench, ${name}: two tenants on two backends, every row checked`,
    ignore: pgbenchMissing(),
    async fn() {
      await using front = await txFront(bench, { poolSize: 2 });
      const path = await Deno.makeTempFile({ suffix: ".sql" });
      await Deno.writeTextFile(path, script);
      try {
        await overlapping(front, ["tenant_a", "tenant_b"], (tenant) => {
          return pgbench(front, tenant, ["-M", mode, "-f", path]);
        });
      } finally {
        await Deno.remove(path);
      }
      const [stats] = [...front.proxy.poolStats.values()];
      assert.ok(stats!.opened <= 2);
      assert.ok(stats!.checkouts - stats!.sameContext > 20, "the backends changed tenants");
    },
  });
}

const CLIENTS_OF_PGBENCH = 4;

/** The table is locked until every client of every tenant waits for it: their runs overlap. */
async function overlapping(
  front: Front,
  tenants: readonly string[],
  run: (tenant: string) => Promise<void>,
): Promise<void> {
  await bench.admin.run("BEGIN");
  await bench.admin.run("LOCK TABLE tenants IN ACCESS EXCLUSIVE MODE");
  const runs = Promise.all(tenants.map(run));
  try {
    const all = tenants.length * CLIENTS_OF_PGBENCH;
    const arrived = eventually("every client of pgbench waits", () => {
      const [stats] = [...front.proxy.poolStats.values()];
      return stats !== undefined && stats.active + stats.waiting === all;
    }, 30_000);
    await Promise.race([arrived, runs]); // whichever fails says why
  } finally {
    await bench.admin.run("ROLLBACK");
  }
  await runs;
}

async function pgbench(front: Front, tenant: string, args: string[]): Promise<void> {
  // A thread for each client: PQprepare blocks one, and with it whoever would give a backend back.
  const letter = ROWS[tenant]![0]!.charCodeAt(0);
  const command = new Deno.Command("pgbench", {
    args: [
      ...["-n", "-c", `${CLIENTS_OF_PGBENCH}`, "-j", `${CLIENTS_OF_PGBENCH}`],
      ...["-t", "300", "-D", `letter=${letter}`, ...args],
      ...["-h", "127.0.0.1", "-p", `${front.port}`, "-U", `trusty.${tenant}`, "pgvpd_test"],
    ],
    env: { PGPASSWORD: POOL_PASSWORD, LC_ALL: "C" },
  });
  const { code, stdout, stderr } = await command.output();
  const text = new TextDecoder();
  const said = `${text.decode(stdout)}${text.decode(stderr)}`;
  assert.equal(code, 0, said);
  assert.match(said, /number of transactions actually processed: 1200\/1200/);
}
