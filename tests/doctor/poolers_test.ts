// Promise: each of the five probes notices what it is for, a plain server stands all of them, and
// nothing is left behind.

import assert from "node:assert/strict";
import { DoctorDatabase } from "../../src/commands/doctor_database.ts";
import { type Connect, PROBE_COUNT, probePoolers } from "../../src/doctor/poolers.ts";
import { DoctorBench } from "../support/doctor_bench.ts";

let bench: DoctorBench;
Deno.test.beforeAll(async () => void (bench = await DoctorBench.start()));
Deno.test.afterAll(() => bench[Symbol.asyncDispose]());

/** Connections of the administrator's, all of which end. */
async function withConnections<T>(work: (open: () => Promise<DoctorDatabase>) => Promise<T>) {
  await using all = new AsyncDisposableStack();
  const { port, superuser: user } = bench.server;
  const login = { host: "127.0.0.1", port, user, database: "postgres" };
  return await work(async () => all.use(await DoctorDatabase.connect(null, login)));
}

Deno.test("PostgreSQL itself stands them all, and is left as it was", async () => {
  await withConnections(async (open) => {
    const opened: DoctorDatabase[] = [];
    const connect: Connect = async () => {
      opened.push(await open());
      return opened.at(-1)!.query;
    };
    assert.deepEqual(await probePoolers(connect, "here"), []);
    for (const { query } of opened) {
      const left = await query("SELECT name FROM pg_prepared_statements WHERE from_sql");
      assert.deepEqual(left, []);
    }
  });
  const locks = await bench.query("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'");
  assert.deepEqual(locks, []);
});

/**
 * A transaction pooler as it is at worst: any statement outside a transaction runs on whichever
 * server connection was given back last.
 */
function transactionPooler(servers: readonly DoctorDatabase[]): Connect {
  const free = [...servers];
  return () => {
    let own: DoctorDatabase | null = null;
    return Promise.resolve(async (text, parameters) => {
      own ??= free.pop()!;
      if (/^BEGIN/.test(text)) return await own.query(text, parameters);
      const isInTransaction = (await own.query("SELECT 1 WHERE now() <> statement_timestamp()"))
        .length > 0;
      try {
        return await own.query(text, parameters);
      } finally {
        if (!isInTransaction || /^ROLLBACK/.test(text)) {
          free.push(own);
          own = null;
        }
      }
    });
  };
}

Deno.test("a transaction pooler fails every one of them", async () => {
  await withConnections(async (open) => {
    const servers = [await open(), await open()];
    const findings = await probePoolers(transactionPooler(servers), "pooler:6543");
    assert.equal(findings.length, 1);
    const { lint, severity, object, detail } = findings[0]!;
    assert.deepEqual([lint, severity, object], ["E05", "error", "pooler:6543"]);
    assert.equal(detail.split("; ").length, PROBE_COUNT, detail);
  });
});

Deno.test("a session pooler is noticed by the age of its connections alone", async () => {
  await withConnections(async (open) => {
    const servers = [await open(), await open(), await open()];
    const connect = () => Promise.resolve(servers.pop()!.query);
    const [finding] = await probePoolers(connect, "pooler:5432");
    assert.equal(finding!.severity, "warning");
    assert.equal(finding!.detail, "a server process is older than its connection");
  });
});
