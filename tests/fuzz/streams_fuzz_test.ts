// Fuzzing what a server may say: the framer on broken streams, and the context's confirmation.

import { strict as assert } from "node:assert";
import { PgError } from "../../src/codec/error.ts";
import { ANSWERS, Framer } from "../../src/codec/framer.ts";
import { ContextConfirmation, SessionContext } from "../../src/context/context.ts";
import { contextReplies, contextRow } from "../support/context_message.ts";
import { fuzz, FUZZ_MS, FuzzFailure, mutated } from "../support/fuzz.ts";
import { errorResponse, join, message, readyForQuery, splitMessages } from "../support/messages.ts";
import { latin1Text } from "../support/naive_startup.ts";
import { type Random, randomPieces } from "../support/random.ts";

function randomStream(random: Random): Uint8Array {
  const messages = Array.from(
    { length: random.integer(1, 8) },
    () =>
      random.chance(0.4)
        ? readyForQuery(random.pick(["I", "T", "E"]))
        : message(random.pick(["D", "C", "Z", "1"]), random.bytes(random.integer(0, 60))),
  );
  const stream = join(...messages);
  return random.chance(0.5) ? mutated(stream, random) : stream;
}

interface Facts {
  readonly counted: number;
  readonly lost: boolean;
  readonly atBoundary: boolean;
}

/** The same facts, found message by message. */
function naiveFacts(bytes: Uint8Array): Facts {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let counted = 0;
  for (let at = 0;;) {
    if (at === bytes.length) return { counted, lost: false, atBoundary: true };
    if (bytes.length - at < 5) return { counted, lost: false, atBoundary: false };
    if (bytes[at] === 0x5a) counted++;
    const length = view.getInt32(at + 1);
    if (length < 4) return { counted, lost: true, atBoundary: false };
    at += 1 + length;
    if (at > bytes.length) return { counted, lost: false, atBoundary: false };
  }
}

function checkFramer(random: Random, newFramer: () => Framer): void {
  const stream = randomStream(random);
  const expected = naiveFacts(stream);
  for (const pieces of [[stream], randomPieces(stream, random, random.integer(1, 50))]) {
    const framer = newFramer();
    for (const piece of pieces) framer.walk(piece, 0, piece.length);
    const { counted, lost, atBoundary } = framer;
    assert.deepEqual({ counted, lost, atBoundary }, expected, `${pieces.length} pieces: ${stream}`);
  }
}

const VALUES = ["acme", "", "app"];
const CONTEXT = new SessionContext(
  [{ name: "app.tenant", value: "acme" }, { name: "app.org", value: "" }],
  "app",
);
const EARLIER = [null, "", "acme", "app", "none", "globex"];

function randomReplies(random: Random): Uint8Array[] {
  const values = random.chance(0.8) ? VALUES : VALUES.with(random.integer(0, 2), "globex");
  const before = () => random.chance(0.8) ? null : random.pick(EARLIER);
  let replies = splitMessages(contextReplies(values, contextRow(values, before)));
  const place = () => random.integer(0, replies.length - 1);
  const notice = errorResponse("01000", "x", "WARNING", "N");
  if (random.chance(0.1)) replies = replies.toSpliced(place(), 1);
  if (random.chance(0.1)) replies = replies.toSpliced(place(), 0, random.pick(replies));
  if (random.chance(0.1)) replies = replies.toSpliced(place(), 0, notice);
  if (random.chance(0.1)) replies = replies.with(place(), random.pick(replies));
  if (random.chance(0.1)) replies = replies.with(replies.length - 1, readyForQuery("T"));
  if (random.chance(0.3)) {
    const at = place();
    const [type, body] = [latin1Text(replies[at]!.subarray(0, 1)), replies[at]!.subarray(5)];
    replies = replies.with(at, message(type, mutated(body, random)));
  }
  return replies;
}

/** May the context be called confirmed? Compared as text, reply by reply, with all that may be. */
function naiveConfirmed(replies: readonly Uint8Array[]): boolean {
  const read = replies.filter((one) => !"NAS".includes(latin1Text(one.subarray(0, 1))));
  const types = read.map((one) => latin1Text(one.subarray(0, 1))).join("");
  if (types !== "12DC3Z" || read[5]![5] !== 0x49) return false;
  const cell = (value: string) => `0000${value.length.toString(16).padStart(4, "0")}${hex(value)}`;
  const nothing = "(ffffffff|8.......|[9a-f].......|00000000)"; // any negative length is NULL
  const cells = VALUES.map((value, index) => {
    const before = [nothing, cell(value), ...(index === 2 ? [cell("none")] : [])].join("|");
    return `(${before})${cell(value)}`;
  });
  const row = Array.from(read[2]!.subarray(5), (byte) => byte.toString(16).padStart(2, "0"));
  return new RegExp(`^0006${cells.join("")}$`).test(row.join(""));
}

function hex(text: string): string {
  return Array.from(text, (one) => one.charCodeAt(0).toString(16).padStart(2, "0")).join("");
}

type Confirm = (replies: readonly Uint8Array[]) => boolean;

const realConfirm: Confirm = (replies) => {
  const confirmation = new ContextConfirmation(CONTEXT);
  const became = replies.map((one) => confirmation.step(one[0]!, one, 5, one.length));
  return became.at(-1) === "confirmed";
};

function checkConfirmation(random: Random, confirm: Confirm): void {
  const replies = randomReplies(random);
  let confirmed = false;
  try {
    confirmed = confirm(replies);
  } catch (error) {
    assert(error instanceof PgError, String(error));
  }
  const last = latin1Text(replies.at(-1)!.subarray(0, 1));
  const expected = naiveConfirmed(replies) && last === "Z";
  assert.equal(
    confirmed,
    expected,
    replies.map(latin1Text).map((one) => JSON.stringify(one)).join(),
  );
}

Deno.test("fuzz: Framer finds the facts of broken streams, however they are cut", () => {
  fuzz((random) => checkFramer(random, () => new Framer(ANSWERS)), FUZZ_MS / 4);
});

Deno.test("fuzz: ContextConfirmation confirms what is confirmed and nothing else", () => {
  fuzz((random) => checkConfirmation(random, realConfirm), FUZZ_MS / 4);
});

Deno.test("fuzz: the alarm works: a careless framer and a credulous confirmation are caught", () => {
  class Careless extends Framer {
    override walk(bytes: Uint8Array, start: number, end: number): void {
      if (end - start !== 4) super.walk(bytes, start, end);
    }
  }
  const careless = () =>
    fuzz((random) => checkFramer(random, () => new Careless(ANSWERS)), 30_000, 1);
  assert.throws(careless, FuzzFailure);
  const credulous: Confirm = (replies) => replies.some((one) => one[0] === 0x5a);
  assert.throws(
    () => fuzz((random) => checkConfirmation(random, credulous), 30_000, 1),
    FuzzFailure,
  );
});
