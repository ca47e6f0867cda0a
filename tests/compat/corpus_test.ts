// Promise: SQL of every kind is answered through pgvpd as by PostgreSQL, message by message, in
// every mode, in transaction mode with another tenant on the connection whenever it is free. What
// is answered otherwise is on a list, each with its reason; docs/compatibility.md has it, too.

import assert from "node:assert/strict";
import { POOL_PASSWORD, txClient, txFront } from "../support/tx_front.ts";
import { Bench, eventually, type Front } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";
import { type Mode, MODES } from "../support/wire_modes.ts";
import { sumOf } from "../support/wire_pool.ts";
import { RawClient } from "../support/wire_raw_client.ts";
import { type Answer, CORPUS, type CorpusFile, readCorpus, say } from "./corpus.ts";
import { DIFFERENCES } from "./differences.ts";

const TENANT = "tenant_a";
const KEPT = "client keeps its server connection";

/** Databases that are emptied after each file. */
class Place {
  private constructor(readonly database: string, readonly admin: PgClient) {}

  static async make(name: string): Promise<Place> {
    const database = `${CORPUS}${name}`;
    await bench.admin.run(`CREATE DATABASE ${database} LOCALE 'C' TEMPLATE template0`);
    return new Place(database, await PgClient.connect({ ...bench.direct, database }));
  }

  async use<Value>(work: () => Promise<Value>): Promise<Value> {
    await this.admin.run("GRANT CREATE ON SCHEMA public TO trusty");
    try {
      return await work();
    } finally {
      await eventually("nobody is there any more", async () => {
        const others = "SELECT count(*)::int FROM pg_stat_activity " +
          "WHERE datname = current_database() AND usename = 'trusty'";
        return await this.admin.value(others) === 0;
      });
      await this.admin.run("DROP OWNED BY trusty CASCADE");
    }
  }
}

let bench: Bench;
const places = new Map<Mode | "direct", Place>();
Deno.test.beforeAll(async () => {
  bench = await Bench.start({ settings: ["max_prepared_transactions = 4"] });
  for (const name of ["direct", ...MODES] as const) places.set(name, await Place.make(name));
});
Deno.test.afterAll(async () => {
  for (const { admin } of places.values()) await admin[Symbol.asyncDispose]();
  await bench.stop();
});

const direct = new Map<string, Promise<Answer[]>>();

/** What PostgreSQL itself answers, to a client that has the context as pgvpd would set it. */
function answersOfPostgres({ name, blocks }: CorpusFile): Promise<Answer[]> {
  const known = direct.get(name);
  if (known !== undefined) return known;
  const place = places.get("direct")!;
  const answers = place.use(async () => {
    using client = await RawClient.connect(bench.postgres.port);
    const options = `-c app.current_tenant_id=${TENANT} -c role=trusty`;
    await client.login({ user: "trusty", database: place.database, options });
    return await say(client, blocks);
  });
  direct.set(name, answers);
  return answers;
}

async function answersThrough(mode: Mode, { blocks }: CorpusFile): Promise<Answer[]> {
  const { database } = places.get(mode)!;
  if (mode === "none") {
    await using front = await bench.front();
    using client = await RawClient.connect(front.port);
    await client.login({ user: `trusty.${TENANT}`, database });
    return await say(client, blocks);
  }
  await using front = await txFront(bench, { poolMode: mode, poolPassword: POOL_PASSWORD });
  using client = await txClient(front, TENANT, { database });
  if (mode === "session") return await say(client, blocks);
  using rival = await txClient(front, "tenant_b", { database });
  return await say(client, blocks, () => interlude(front, rival));
}

/** The other tenant uses the only connection, as long as the first does not keep it. */
async function interlude(front: Front, rival: RawClient): Promise<void> {
  const isKept = () => front.entries(KEPT).length > 0;
  await eventually("it is kept or given back", () => isKept() || sumOf(front, "active") === 0);
  if (isKept()) return;
  assert.deepEqual(
    await rival.query("SELECT current_setting('app.current_tenant_id')"),
    [["tenant_b"]],
  );
}

/** Blocks that are answered otherwise, with both answers. */
function differing(file: CorpusFile, expected: Answer[], actual: Answer[]): Map<string, string> {
  const found = new Map<string, string>();
  file.blocks.forEach(({ text }, index) => {
    const [theirs = [], ours = []] = [expected[index], actual[index]];
    if (theirs.join("\n") === ours.join("\n")) return;
    found.set(text, `PostgreSQL:\n  ${theirs.join("\n  ")}\npgvpd:\n  ${ours.join("\n  ")}`);
  });
  return found;
}

for (const mode of MODES) {
  for (const file of readCorpus()) {
    Deno.test(`${file.name}: pool_mode ${mode} answers as PostgreSQL does`, async () => {
      const expected = await answersOfPostgres(file);
      assert.equal(expected.length, file.blocks.length, "the server has answered everything");
      const found = differing(
        file,
        expected,
        await places.get(mode)!.use(() => answersThrough(mode, file)),
      );
      const known = DIFFERENCES.filter((each) =>
        each.file === file.name && each.modes.includes(mode)
      );
      for (const { block } of known) {
        assert.equal(file.blocks.filter(({ text }) => text === block).length, 1, block);
        assert.ok(found.delete(block), `answered as by PostgreSQL, take it off the list: ${block}`);
      }
      const told = [...found].map(([block, both]) => `${block}\n${both}`).join("\n\n");
      assert.equal(found.size, 0, told);
    });
  }
}

Deno.test("the corpus is large, and its blocks are not all errors", async () => {
  const files = readCorpus();
  let [blocks, errors] = [0, 0];
  for (const file of files) {
    const answers = await answersOfPostgres(file);
    blocks += answers.length;
    errors += answers.filter((lines) => lines.some((line) => line.startsWith("E "))).length;
  }
  assert.ok(blocks > 400, `${blocks} blocks`);
  assert.ok(errors > 50 && errors < blocks / 3, `${errors} of ${blocks} are errors`);
});
