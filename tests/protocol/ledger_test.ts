// ReplyLedger: it never says that a server owes nothing when it does, whatever a client sends.

import { strict as assert } from "node:assert";
import { OWED_MAX, ReplyLedger } from "../../src/protocol/ledger.ts";
import { Random } from "../support/random.ts";
import { type Letter, LETTERS, type Reply, ServerModel } from "../support/server_model.ts";

const IDLE = "I".charCodeAt(0);
/** The messages that a letter stands for. */
const MESSAGES: Partial<Record<Letter, string>> = {
  ...{ q: "Q", k: "Q", K: "Q", D: "d" },
  ...{ e: "PBDE", r: "PBE", y: "PBE" },
};

/** What does not make a server give up the connection while it reads the data of a COPY. */
const IN_COPY: readonly Letter[] = ["d", "D", "c", "f", "S", "H"];

/** One connection: what the client sends is done at once, and the replies are on their way. */
class Connection {
  readonly ledger = new ReplyLedger();
  readonly server = new ServerModel();
  readonly onTheirWay: Reply[] = [];

  /** A letter: the client sends that. `.`: one reply comes. `!`: somebody cancels. */
  step(what: Letter | "." | "!"): void {
    if (what === ".") return this.#receive(this.onTheirWay.shift()!);
    if (what === "!") {
      this.onTheirWay.push(...this.server.interrupt());
      return;
    }
    for (const type of MESSAGES[what] ?? what) this.ledger.request(type.charCodeAt(0));
    this.onTheirWay.push(...this.server.take(what));
  }

  #receive(reply: Reply): void {
    if (reply === "Z") this.ledger.ready(IDLE);
    else this.ledger.reply(reply.charCodeAt(0));
  }

  /** What is wrong with the ledger; null when nothing is. */
  get fault(): string | null {
    const { ledger, server, onTheirWay } = this;
    if (server.isDead) return null; // the connection is over, whatever is thought of it
    const isAtRest = onTheirWay.length === 0 && server.isAtRest;
    if (ledger.settled && !isAtRest) return "settled, though the server is not done";
    if (!ledger.settled && !ledger.uncertain && isAtRest) return "not settled, though all is done";
    return null;
  }
}

function play(steps: string): Connection {
  const connection = new Connection();
  for (const step of steps) connection.step(step as Letter);
  return connection;
}

/** Every sequence of so many messages, with the replies coming in at every possible time. */
function* everything(depth: number, steps = ""): Generator<string> {
  const { onTheirWay, server } = play(steps);
  if (server.isDead) return;
  if (onTheirWay.length > 0) yield* everything(depth, steps + ".");
  if (steps !== "") yield steps;
  if (depth === 0) return;
  for (const letter of LETTERS) yield* everything(depth - 1, steps + letter);
  if (server.readsCopy) yield* everything(depth - 1, steps + "!");
}

Deno.test("ReplyLedger is right about every short sequence, however it interleaves", () => {
  let count = 0;
  for (const steps of everything(4)) {
    count++;
    assert.equal(play(steps).fault, null, steps);
  }
  assert(count > 80_000, `${count} sequences`);
});

Deno.test("ReplyLedger is right about long sequences", () => {
  let certain = 0;
  for (let seed = 1; seed <= 20_000; seed++) {
    const random = new Random(seed);
    const connection = new Connection();
    const { onTheirWay, server, ledger } = connection;
    let steps = "";
    for (let turn = 0; turn < 60 && !server.isDead && !ledger.uncertain; turn++) {
      const step = onTheirWay.length > 0 && random.chance(0.5)
        ? "."
        : server.readsCopy && random.chance(0.05)
        ? "!"
        : server.readsCopy && random.chance(0.9)
        ? random.pick<Letter>(IN_COPY)
        : random.pick(LETTERS);
      connection.step(step);
      steps += step;
      certain++;
      assert.equal(connection.fault, null, `seed ${seed}: ${steps}`);
    }
  }
  assert(certain > 200_000, `${certain} steps`);
});

Deno.test("ReplyLedger stays certain of what clients do", () => {
  const cases = [
    ...["q.", "qqq...", "eS.", "eSeSqeS....", "reeS..", "reS.eS..", "F.", "eHeHS.", "rHS..", "S."],
    // COPY of psql and of drivers, with its end sent before or behind the server's word.
    ...[
      "k.ddc.",
      "kddc..",
      "k.df..",
      "k.dDddc..",
      "k.dD..ddc",
      "k.dD.d.c",
      "k.c.q.",
      "kddcqq....",
      "K.dc.dc.",
    ],
    ...["KdcdcS....", "k.d!..", "k.SSHdc.", "k.Sdc.q."],
    // libpq: the Sync of the statement is dropped, and another stands behind the data.
    ...["yS.ddcS.", "y.ddcS.", "ySddcS..", "y.dD.cS.", "y.dD.dcS.", "yS.dcS.q."],
    ...["y.fS..", "y.dcyS.dcS.", "ey.dceS.", "y.dDcS..", "ySdcySdcS..."],
  ];
  for (const steps of cases) {
    const { ledger, onTheirWay, server } = play(steps);
    assert.equal(onTheirWay.length, 0, `${steps}: ${onTheirWay} is still on its way`);
    assert(server.isAtRest && !server.isDead, steps);
    assert(ledger.settled, steps);
  }
});

Deno.test("ReplyLedger gives up where it cannot know", () => {
  const cases: [steps: string, why: string][] = [
    ["eq", "an error before it would drop the query"],
    ["eF", "as the query"],
    ["k.q", "a query in the data of a COPY"],
    ["k.e", "a statement there"],
    ["kq.", "the same, before the server's word"],
    ["kDS..", "has the COPY failed before the Sync?"],
    ["k.SD..", "the same, behind the server's word"],
    ["yS.D.", "the same, in an extended query"],
    ["yc", "does that end the COPY, or stand before it?"],
    ["ec", "the same"],
  ];
  for (const [steps, why] of cases) assert(play(steps).ledger.uncertain, `${steps}: ${why}`);
});

Deno.test("ReplyLedger does not take an answer that nobody has asked for", () => {
  const ledger = new ReplyLedger();
  ledger.ready(IDLE);
  assert(ledger.uncertain && !ledger.settled);
  const { ledger: other } = play("q.");
  other.ready(IDLE);
  assert(other.uncertain);
  const { ledger: copying } = play("k.");
  copying.ready(IDLE);
  assert(copying.uncertain, "in the middle of a COPY");
});

Deno.test("ReplyLedger does not take what it does not know", () => {
  const known = new Set("QFSPBDECHdcfX");
  for (let type = 0; type < 256; type++) {
    const ledger = new ReplyLedger();
    ledger.request(type);
    assert.equal(ledger.uncertain, !known.has(String.fromCharCode(type)), `type ${type}`);
  }
  const ledger = new ReplyLedger();
  ledger.reply("W".charCodeAt(0)); // CopyBothResponse: replication
  assert(ledger.uncertain);
});

Deno.test("ReplyLedger counts a long pipeline, and gives up at its bound", () => {
  const ledger = new ReplyLedger();
  const [query, ready] = ["Q".charCodeAt(0), IDLE];
  for (let count = 0; count < 7; count++) ledger.request(query);
  for (let count = 0; count < 5; count++) ledger.ready(ready); // the ring does not begin at zero
  for (let count = 0; count < 10_000; count++) ledger.request(query);
  assert.equal(ledger.owed, 10_002);
  for (let count = 0; count < 10_002; count++) {
    assert(!ledger.settled);
    ledger.ready(ready);
  }
  assert(ledger.settled);
  for (let count = 0; count < OWED_MAX; count++) ledger.request(query);
  assert(!ledger.uncertain);
  ledger.request(query);
  assert(ledger.uncertain);
});
