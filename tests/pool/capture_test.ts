// Capture: a body in whatever pieces, and what follows from it.

import { strict as assert } from "node:assert";
import { BackendMessage } from "../../src/codec/codes.ts";
import { Tally } from "../../src/meters.ts";
import { Capture, NO_PARAMETERS } from "../../src/pool/capture.ts";
import { cstring, join } from "../support/messages.ts";

/** Feeds a body in pieces of `size` bytes, each somewhere in a larger buffer. */
function feed(capture: Capture, type: number, body: Uint8Array, size = body.length): void {
  capture.begin(type, body.length);
  for (let at = 0; at < body.length && capture.active; at += size) {
    const piece = body.subarray(at, at + size);
    const buffer = join(new Uint8Array(3), piece, new Uint8Array(2));
    const remaining = body.length - at - piece.length;
    capture.take(buffer, 3, 3 + piece.length, remaining);
  }
}

Deno.test("capture: a parameter in any pieces", () => {
  const body = join(cstring("search_path"), cstring("Ünïcode, public"));
  for (let size = 1; size <= body.length; size++) {
    const capture = new Capture(new Map());
    feed(capture, BackendMessage.ParameterStatus, body, size);
    assert.deepEqual([...capture.parameters], [["search_path", "Ünïcode, public"]]);
    assert.ok(!capture.active && !capture.contextLost);
  }
});

Deno.test("capture: the last value counts, and the first hundred names", () => {
  const capture = new Capture(new Map());
  for (let index = 0; index < 150; index++) {
    feed(capture, BackendMessage.ParameterStatus, join(cstring(`p${index}`), cstring("1")));
  }
  assert.equal(capture.parameters.size, 100);
  feed(capture, BackendMessage.ParameterStatus, join(cstring("p99"), cstring("2")));
  feed(capture, BackendMessage.ParameterStatus, join(cstring("p100"), cstring("2")));
  assert.equal(capture.parameters.get("p99"), "2");
  assert.equal(capture.parameters.get("p100"), undefined);
});

Deno.test("capture: an error is counted by its class, in any pieces, where somebody counts", () => {
  const fields = ["SERROR", "VERROR", "C42P01", "Mrelation does not exist", ""];
  const body = join(...fields.map(cstring));
  const errors = new Tally();
  for (let size = 1; size <= body.length; size++) {
    feed(new Capture(NO_PARAMETERS, errors), BackendMessage.ErrorResponse, body, size);
  }
  feed(new Capture(NO_PARAMETERS), BackendMessage.ErrorResponse, body);
  assert.deepEqual([...errors], [["42", body.length]]);
});

Deno.test("capture: what is too long, empty or malformed is passed over", () => {
  const capture = new Capture(new Map());
  for (const size of [-1, 0, 8 * 1024 + 1]) {
    capture.begin(BackendMessage.ParameterStatus, size);
    assert.ok(!capture.active, `${size} bytes`);
  }
  for (const body of [new Uint8Array([65]), cstring("only a name"), new Uint8Array([65, 0, 66])]) {
    feed(capture, BackendMessage.ParameterStatus, body);
    assert.ok(!capture.active);
  }
  assert.equal(capture.parameters.size, 0);
  const long = join(cstring("path"), cstring("x".repeat(8_000)));
  feed(capture, BackendMessage.ParameterStatus, long, 1_000);
  assert.equal(capture.parameters.get("path")?.length, 8_000);
});

Deno.test("capture: a completion that undoes the context, and one that does not", () => {
  for (
    const [tag, isLost] of [["RESET", true], ["DISCARD ALL", true], ["SELECT", false]] as const
  ) {
    const capture = new Capture(new Map());
    feed(capture, BackendMessage.CommandComplete, cstring(tag), 1);
    assert.equal(capture.contextLost, isLost, tag);
    assert.equal(capture.parameters.size, 0);
  }
});
