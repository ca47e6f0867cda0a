// Bytes as text and back, strict base64, and comparisons.

import { strict as assert } from "node:assert";
import {
  binaryBytes,
  binaryText,
  hmacSha256,
  parseBase64,
  sameBytes,
  sha256,
  utf8,
} from "../../src/auth/bytes.ts";

Deno.test("binaryText and binaryBytes lose nothing", () => {
  const every = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  assert.equal(binaryText(every).length, 256);
  assert.deepEqual(binaryBytes(binaryText(every)), every);
});

Deno.test("parseBase64 takes padded base64 and nothing else", () => {
  const right: [string, number[]][] = [["", []], ["AA==", [0]], ["AAA=", [0, 0]], ["+/+/", [
    251,
    255,
    191,
  ]]];
  for (const [text, bytes] of right) assert.deepEqual([...parseBase64(text)!], bytes);
  for (
    const text of [
      "A",
      "AA",
      "AAA",
      "AA=",
      "AA= =",
      " AA==",
      "AA==\n",
      "AB==",
      "-_-_",
      "AA==AA==",
      "é",
    ]
  ) {
    assert.equal(parseBase64(text), null, JSON.stringify(text));
  }
});

Deno.test("hmacSha256 is that of RFC 4231, test case 2, in one part or two", () => {
  const expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
  const key = utf8("Jefe");
  assert.equal(hmacSha256(key, utf8("what do ya want for nothing?")).toHex(), expected);
  assert.equal(hmacSha256(key, utf8("what do ya want "), utf8("for nothing?")).toHex(), expected);
});

Deno.test("sha256 is that of FIPS 180-2", () => {
  const expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  assert.equal(sha256(utf8("abc")).toHex(), expected);
});

Deno.test("sameBytes compares bytes of any two sizes", () => {
  assert(sameBytes(utf8("secret"), utf8("secret")));
  assert(sameBytes(utf8(""), utf8("")));
  for (const other of ["", "secre", "secret ", "Secret", "secreu"]) {
    assert(!sameBytes(utf8("secret"), utf8(other)), other);
  }
});
