// Attributes, nonces and the arithmetic of proofs.

import { strict as assert } from "node:assert";
import { binaryText, utf8 } from "../../src/auth/bytes.ts";
import {
  AttributeReader,
  channelBindingInput,
  isPrintable,
  messageText,
  randomNonce,
  shown,
  signature,
  xor,
} from "../../src/auth/scram_message.ts";
import { BINDING, scramError } from "./scram_exchange.ts";

Deno.test("AttributeReader reads attributes by name and as they come", () => {
  const reader = new AttributeReader("n=,r=abc=,x=1,Y=");
  assert.equal(reader.read("n"), "");
  assert.equal(reader.read("r"), "abc=");
  assert.deepEqual(reader.readAny(), { name: "x", value: "1" });
  assert.deepEqual(reader.readAny(), { name: "Y", value: "" });
  assert(reader.isAtEnd);
  assert.equal(reader.peek(), "");
});

Deno.test("AttributeReader refuses what is no attribute, or the wrong one", () => {
  const read = (text: string) => new AttributeReader(text).read("r");
  assert.throws(() => read("s=abc"), scramError(/Attribute "r" expected, but found character "s"/));
  assert.throws(() => read(""), scramError(/found the end of the message/));
  assert.throws(() => read("r"), scramError(/Expected character "=" for attribute "r"/));
  assert.throws(() => read("rr=abc"), scramError(/Expected character "="/));
  const readAny = (text: string) => new AttributeReader(text).readAny();
  for (const text of ["", "1=a", ",", "=", "\x80=a", "é=a"]) {
    assert.throws(() => readAny(text), scramError(/Attribute expected/), text);
  }
  assert.throws(() => readAny("a,b=c"), scramError(/Expected character "="/));
  assert.throws(() => new AttributeReader("a").comma(), scramError(/Comma expected/));
});

Deno.test("messageText takes any bytes but zero, and no more than allowed", () => {
  const bytes = Uint8Array.from({ length: 255 }, (_, index) => index + 1);
  assert.equal(messageText(bytes, 255), binaryText(bytes));
  assert.throws(() => messageText(bytes, 254), scramError(/too long/));
  assert.throws(() => messageText(utf8(""), 255), scramError(/empty/));
  assert.throws(() => messageText(utf8("a\0b"), 255), scramError(/does not match input length/));
});

Deno.test("nonces are printable and new", () => {
  const nonces = Array.from({ length: 100 }, randomNonce);
  assert.equal(new Set(nonces).size, 100);
  for (const nonce of nonces) {
    assert.equal(nonce.length, 24);
    assert(isPrintable(nonce));
  }
  for (const text of ["a b", "a,b", "\x7f", "é", "a\n"]) assert(!isPrintable(text), text);
});

Deno.test("shown never shows a byte that a terminal would act on", () => {
  assert.equal(shown("a"), 'character "a"');
  assert.equal(shown("\x1b"), "character 0x1b");
  assert.equal(shown("\xe9"), "character 0xe9");
  assert.equal(shown(" "), "character 0x20");
});

Deno.test("proofs: xor is its own inverse, and the signature covers each message", () => {
  const [one, other] = [Uint8Array.of(1, 2, 255), Uint8Array.of(3, 2, 1)];
  assert.deepEqual([...xor(one, other)], [2, 0, 254]);
  assert.deepEqual(xor(xor(one, other), other), one);
  const right = signature(one, "a", "b", "c").toHex();
  const wrong = [signature(other, "a", "b", "c"), signature(one, "x", "b", "c")];
  wrong.push(signature(one, "a", "x", "c"), signature(one, "a", "b", "x"));
  for (const bytes of wrong) assert.notEqual(bytes.toHex(), right);
});

Deno.test("channelBindingInput is the header and the data behind it", () => {
  const input = channelBindingInput("p=tls-server-end-point,,", BINDING.data);
  assert.equal(binaryText(input), `p=tls-server-end-point,,${binaryText(BINDING.data)}`);
  assert.equal(channelBindingInput("n,,", new Uint8Array()).toBase64(), "biws");
});
