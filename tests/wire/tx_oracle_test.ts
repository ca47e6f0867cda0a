// Promise: a client cannot tell pgvpd from PostgreSQL. The same random conversations are held with
// the server itself and through pgvpd in every mode, and compared message by message.

import assert from "node:assert/strict";
import { conversation } from "../support/conversations.ts";
import { Random } from "../support/random.ts";
import {
  firstDifference,
  HungUp,
  type Interlude,
  record,
  type Step,
  type Transcript,
} from "../support/recorder.ts";
import { POOL_PASSWORD, txClient, txFront } from "../support/tx_front.ts";
import { Bench, DATABASE, type Front } from "../support/wire_bench.ts";
import { RawClient } from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => {
  bench = await Bench.start();
  await bench.admin.run(
    "CREATE TABLE oracle (id int, name text); GRANT ALL ON oracle TO trusty",
  );
});
Deno.test.afterAll(() => bench.stop());

const CONVERSATIONS = Number(Deno.env.get("ORACLE_CONVERSATIONS") ?? 150);
const SEED = Number(Deno.env.get("ORACLE_SEED") ?? Date.now() % 1_000_000);

const transcripts = new Map<number, Transcript | null>();

async function withServer(seed: number, steps: readonly Step[]): Promise<Transcript | null> {
  let transcript = transcripts.get(seed);
  if (transcript === undefined) transcripts.set(seed, transcript = await recordServer(steps));
  return transcript;
}

/** A server that says nothing for so long waits for data of a COPY. */
const PATIENCE_MS = 2_000;

/** Null when the server hangs up or waits: no data came for a COPY, or something else than data. */
async function recordServer(steps: readonly Step[]): Promise<Transcript | null> {
  await bench.admin.run("DELETE FROM oracle");
  using client = await RawClient.connect(bench.postgres.port);
  await client.login({ user: "trusty", database: DATABASE });
  let waits = false;
  const timer = setTimeout(() => {
    waits = true;
    client.close();
  }, PATIENCE_MS);
  try {
    return await record(client, steps);
  } catch (error) {
    if (waits || error instanceof HungUp) return null;
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** Holds conversations with PostgreSQL and with pgvpd until one differs. */
async function compare(
  connect: () => Promise<RawClient>,
  conversations = CONVERSATIONS,
  interlude?: Interlude,
): Promise<void> {
  for (let number = 0; number < conversations; number++) {
    const seed = SEED + number;
    const steps = conversation(new Random(seed));
    const expected = await withServer(seed, steps);
    if (expected === null) continue;
    await bench.admin.run("DELETE FROM oracle");
    using client = await connect();
    const actual = await record(client, steps, interlude).catch((error) => {
      const said = steps.map(({ text }, index) => `${index}: ${text}`).join("\n");
      throw new Error(`ORACLE_SEED=${seed}: ${error.message}\n${said}`);
    });
    const difference = firstDifference(steps, expected, actual);
    if (difference !== null) throw new Error(`ORACLE_SEED=${seed}\n${difference}`);
  }
}

Deno.test("pool_mode none answers as PostgreSQL does", async () => {
  await using front = await bench.front();
  await compare(async () => {
    const client = await RawClient.connect(front.port);
    await client.login({ user: "trusty.tenant_a", database: DATABASE });
    return client;
  }, CONVERSATIONS / 4);
});

Deno.test("pool_mode session answers as PostgreSQL does", async () => {
  await using front = await txFront(bench, { poolMode: "session", poolPassword: POOL_PASSWORD });
  await compare(() => txClient(front, "tenant_a"));
});

Deno.test("pool_mode transaction answers as PostgreSQL does, on a backend of its own", async () => {
  await using front = await txFront(bench);
  await compare(() => txClient(front, "tenant_a"));
});

/** Another tenant uses the only backend in between, so that it is cleaned. */
function rivalry(front: Front, rival: RawClient): Interlude {
  const random = new Random(SEED);
  return async () => {
    if (!random.chance(0.5)) return;
    const [row] = await rival.query("SELECT count(*) FROM pg_prepared_statements");
    assert.deepEqual(row, ["0"], "the rival sees no statement of anybody");
    assert.ok(front.proxy.connectionsActive >= 1);
  };
}

Deno.test("pool_mode transaction answers as PostgreSQL does, on a backend that others use", async () => {
  await using front = await txFront(bench, { maxPreparedStatements: 3 });
  using rival = await txClient(front, "tenant_b");
  await compare(() => txClient(front, "tenant_a"), CONVERSATIONS, rivalry(front, rival));
});
