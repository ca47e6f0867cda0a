// The ledger against a real server: what it believes after random messages, and what is true.

import assert from "node:assert/strict";
import { ReplyLedger } from "../../src/protocol/ledger.ts";
import { Random } from "../support/random.ts";
import { type Letter, LETTERS, ServerModel } from "../support/server_model.ts";
import { Bench, eventually } from "../support/wire_bench.ts";
import { concat, cstring, int16, int32, message, RawClient } from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => void (bench = await Bench.start()));
Deno.test.afterAll(() => bench.stop());

const UTF8 = new TextEncoder();
const query = (sql: string) => message("Q", cstring(sql));
const statement = (sql: string) => [
  message("P", cstring(""), cstring(sql), int16(0)),
  message("B", cstring(""), cstring(""), int16(0), int16(0), int16(0)),
  message("E", cstring(""), int32(0)),
];
const COPY = "COPY copied FROM STDIN";
const BACKEND_PID_FUNCTION = 2026;

const MESSAGES: Record<Letter, readonly Uint8Array[]> = {
  q: [query("SELECT 1")],
  k: [query(COPY)],
  K: [query(`${COPY}; ${COPY}`)],
  F: [message("F", int32(BACKEND_PID_FUNCTION), int16(0), int16(0), int16(0))],
  e: statement("SELECT 1"),
  r: statement("SELECT 1 / (random() * 0)::int"),
  y: statement(COPY),
  S: [message("S")],
  H: [message("H")],
  d: [message("d", UTF8.encode("1\n"))],
  D: [message("d", UTF8.encode("x\n"))],
  c: [message("c")],
  f: [message("f", cstring("enough"))],
};
const IN_COPY: readonly Letter[] = ["d", "D", "c", "f", "S", "H"];
const IN_BATCH: readonly Letter[] = ["e", "r", "y", "S", "H"];

/** A connection to the server whose traffic a ledger follows, as it is sent and as it comes. */
class Followed implements Disposable {
  readonly ledger = new ReplyLedger();
  readonly model = new ServerModel();
  /** Replies that matter, as the model has them and as they came. */
  expected = "";
  received = "";
  done: Promise<void> = Promise.resolve();

  private constructor(readonly client: RawClient) {}

  static async connect(): Promise<Followed> {
    const client = await RawClient.connect(bench.postgres.port);
    await client.login({ user: "trusty", database: "pgvpd_test" });
    await client.query("CREATE TEMP TABLE copied (a int)");
    const followed = new Followed(client);
    followed.done = followed.#read().catch(() => {}); // closed while it waited
    return followed;
  }

  async send(letters: readonly Letter[]): Promise<void> {
    const messages = letters.flatMap((letter) => MESSAGES[letter]);
    for (const bytes of messages) this.ledger.request(bytes[0]!);
    for (const letter of letters) this.expected += this.model.take(letter).join("");
    await this.client.send(concat(messages));
  }

  /** Everything that the model expects has come. */
  async quiet(what: string): Promise<void> {
    await eventually(
      `${what}: ${this.expected} came, not ${this.received}`,
      () => this.received.length >= this.expected.length,
    );
    assert.equal(this.received, this.expected, what);
  }

  [Symbol.dispose](): void {
    this.client.close();
  }

  async #read(): Promise<void> {
    for (let next = await this.client.next(); next !== null; next = await this.client.next()) {
      const { type, body } = next;
      if (type === "Z") this.ledger.ready(body[0]!);
      else this.ledger.reply(type.charCodeAt(0));
      if ("GEZ".includes(type)) this.received += type;
    }
  }
}

/** What clients mostly do: no query in the middle of a batch, nothing else than data in a COPY. */
function letters(random: Random, model: ServerModel): Letter[] {
  const ahead = model.clone();
  return Array.from({ length: random.integer(1, 6) }, () => {
    const inBatch = !ahead.isAtRest && random.chance(0.95);
    const letter = random.pick<Letter>(ahead.readsCopy ? IN_COPY : inBatch ? IN_BATCH : LETTERS);
    ahead.take(letter);
    return letter;
  });
}

/** Random traffic; returns at how many quiet points the ledger was settled, and open. */
async function follow(seed: number): Promise<[settled: number, open: number]> {
  const random = new Random(seed);
  using followed = await Followed.connect();
  const { ledger, model } = followed;
  let story = `seed ${seed}: `;
  let settled = 0, open = 0;
  for (let round = 0; round < 6; round++) {
    for (let writes = random.integer(1, 3); writes > 0; writes--) {
      const chosen = letters(random, model);
      story += chosen.join("") + " ";
      await followed.send(chosen);
      if (ledger.uncertain) return [settled, open];
      if (random.chance(0.3)) await followed.quiet(story);
    }
    await followed.quiet(story);
    if (ledger.uncertain) return [settled, open];
    assert.equal(ledger.settled, model.isAtRest, story);
    if (ledger.settled) settled++;
    else open++;
  }
  // The server itself says that the model was right: it answers what ends everything, and no more.
  await followed.send(model.readsCopy ? ["f", "S", "q"] : ["S", "q"]);
  await followed.quiet(story);
  await followed.client.send(message("X"));
  await followed.done;
  assert.equal(followed.received, followed.expected, story);
  return [settled, open];
}

Deno.test("ReplyLedger is settled exactly when a real server owes nothing", async () => {
  const first = Number(Deno.env.get("SEED") ?? 1);
  let settled = 0, open = 0;
  for (let seed = first; seed < first + 80; seed++) {
    const points = await follow(seed);
    settled += points[0];
    open += points[1];
  }
  assert(settled > 30 && open > 30, `${settled} quiet points were settled, ${open} were not`);
});
