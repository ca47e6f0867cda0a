// Framer: the same facts however a conversation is cut, and no guess once it is lost.

import { strict as assert } from "node:assert";
import { ANSWERS, Framer, REQUESTS_ANSWERED } from "../../src/codec/framer.ts";
import {
  BACKEND_KEY_DATA,
  commandComplete,
  dataRow,
  errorResponse,
  join,
  message,
  parameterStatus,
  query,
  readyForQuery,
  splitMessages,
  TERMINATE,
  text,
} from "../support/messages.ts";
import { Random, randomPieces, singleBytes } from "../support/random.ts";

const FROM_BACKEND = join(
  parameterStatus("server_version", "18.4"),
  BACKEND_KEY_DATA,
  readyForQuery(),
  message("T", new Uint8Array(70).fill(0x5a)),
  dataRow([text("Z".repeat(300)), null, new Uint8Array(0)]),
  commandComplete("SELECT 1"),
  readyForQuery("T"),
  message("1"),
  message("2"),
  errorResponse("22012", "division by zero", "ERROR"),
  readyForQuery("E"),
);
const FROM_FRONTEND = join(
  query("SELECT 1"),
  message("P", new Uint8Array(40).fill(0x51)),
  message("B", text("Z")),
  message("E"),
  message("S"),
  message("F", new Uint8Array(9)),
  message("d", new Uint8Array(3_000).fill(0x53)),
  TERMINATE,
);

interface Facts {
  type: number;
  lost: boolean;
  counted: number;
  transactionStatus: number;
  bodyRemaining: number;
  atBoundary: boolean;
}

function factsOf(framer: Framer): Facts {
  const { type, lost, counted, transactionStatus, bodyRemaining, atBoundary } = framer;
  return { type, lost, counted, transactionStatus, bodyRemaining, atBoundary };
}

function walk(table: Uint8Array, pieces: readonly Uint8Array[]): Facts {
  const framer = new Framer(table);
  for (const piece of pieces) framer.walk(piece, 0, piece.length);
  return factsOf(framer);
}

Deno.test("Framer counts answers and knows the last transaction status", () => {
  assert.deepEqual(walk(ANSWERS, [FROM_BACKEND]), {
    type: 0x5a,
    lost: false,
    counted: 3,
    transactionStatus: 0x45,
    bodyRemaining: 0,
    atBoundary: true,
  });
});

Deno.test("Framer counts the requests that are answered, and no others", () => {
  const facts = walk(REQUESTS_ANSWERED, [FROM_FRONTEND]);
  assert.equal(facts.counted, 3);
  assert.equal(facts.type, 0x58);
  assert(facts.atBoundary);
});

Deno.test("Framer comes to the same end however a conversation is cut", () => {
  for (const [table, stream] of [[ANSWERS, FROM_BACKEND], [REQUESTS_ANSWERED, FROM_FRONTEND]]) {
    const whole = walk(table!, [stream!]);
    assert.deepEqual(walk(table!, singleBytes(stream!)), whole);
    for (let seed = 1; seed <= 300; seed++) {
      const pieces = randomPieces(stream!, new Random(seed), 1 + seed % 60);
      assert.deepEqual(walk(table!, pieces), whole, `seed ${seed}`);
    }
  }
});

Deno.test("Framer is at a boundary exactly between two messages", () => {
  const boundaries = new Set([0]);
  let at = 0;
  for (const one of splitMessages(FROM_BACKEND)) boundaries.add(at += one.length);
  const framer = new Framer(ANSWERS);
  for (let offset = 0; offset < FROM_BACKEND.length; offset++) {
    assert.equal(framer.atBoundary, boundaries.has(offset), `at byte ${offset}`);
    framer.walk(FROM_BACKEND, offset, offset + 1);
  }
  assert(framer.atBoundary);
});

Deno.test("Framer walks a window and nothing around it", () => {
  const around = join(text("garbage"), readyForQuery("T"), text("garbage"));
  const framer = new Framer(ANSWERS);
  framer.walk(around, 7, 13);
  assert.deepEqual([framer.counted, framer.transactionStatus, framer.atBoundary], [1, 0x54, true]);
  framer.walk(around, 3, 3);
  assert(framer.atBoundary);
});

Deno.test("Framer says it is lost at a length below four, and stays so", () => {
  for (const length of [0, 1, 2, 3, -1, -(2 ** 31)]) {
    const bytes = new Uint8Array(5);
    bytes[0] = 0x44;
    new DataView(bytes.buffer).setInt32(1, length);
    for (const pieces of [[bytes], singleBytes(bytes)]) {
      const facts = walk(ANSWERS, [...pieces, readyForQuery()]);
      assert.equal(facts.lost, true, `length ${length}`);
      assert.equal(facts.atBoundary, false);
      assert.equal(facts.counted, 0, "nothing is counted behind it");
    }
  }
});

Deno.test("Framer knows messages of two gigabytes by their header alone", () => {
  const framer = new Framer(ANSWERS);
  framer.walk(Uint8Array.of(0x44, 0x7f, 0xff, 0xff, 0xff), 0, 5);
  assert.equal(framer.bodyRemaining, 2 ** 31 - 5);
  assert(!framer.lost);
});
