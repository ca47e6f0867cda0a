// SASLprep: the examples of the RFC, PostgreSQL's own test, and the fallback to the bytes as given.

import { strict as assert } from "node:assert";
import { utf8 } from "../../src/auth/bytes.ts";
import { saslprep } from "../../src/auth/saslprep.ts";

function prepared(password: string): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(saslprep(utf8(password)));
}

Deno.test("saslprep: the examples of RFC 4013 section 3 that have a result", () => {
  assert.equal(prepared("I\u00adX"), "IX"); // SOFT HYPHEN mapped to nothing
  assert.equal(prepared("user"), "user"); // no transformation
  assert.equal(prepared("USER"), "USER"); // case preserved
  assert.equal(prepared("\u00aa"), "a"); // output is NFKC
  assert.equal(prepared("\u2168"), "IX"); // output is NFKC
});

Deno.test("saslprep: what the RFC refuses is used as it is, as in 002_saslprep.pl", () => {
  const asGiven = [
    "\u0007", // prohibited
    "\u06271", // bidi
    "foo\u0007bar",
    "foo\u06271bar",
    "foo1\u0627bar",
    "\u00adé\u0085", // a control character: the soft hyphen stays too
    "\u00ad", // nothing would be left
    "\u00ad\u200c\u2060",
    "\u00aa\ue000", // private use
    "\u00aa\ufffd", // inappropriate for plain text
    "\u00aa\u0340", // deprecated
    "\u00aa\u{e0041}", // tag
    "\u00aa\u0221", // unassigned in Unicode 3.2
    "\u00aa😀", // so is U+1F600
    "\u0627\u00aa\u0628", // text to the right inside text to the left
    "\u06270\u0628\u0660", // the last one is not to the left
  ];
  for (const password of asGiven) assert.equal(prepared(password), password);
});

Deno.test("saslprep: text to the left is normalized when it is so at both ends", () => {
  assert.equal(prepared("\u0627\u00ad1\u0628"), "\u06271\u0628");
  assert.equal(prepared("\ufe8d1\ufe8d"), "\u06271\u0627"); // ALEF ISOLATED FORM
});

Deno.test("saslprep: spaces become a space, U+200B among them", () => {
  assert.equal(prepared("a\u00a0b\u3000c\u200bd"), "a b c d");
});

Deno.test("saslprep: composed and decomposed are one password", () => {
  assert.equal(prepared("cafe\u0301"), "caf\u00e9");
  assert.equal(prepared("\u212b"), "\u00c5");
  assert.equal(prepared("ﬁﬂ㎏Ⅷ"), "fiflkgVIII");
});

Deno.test("saslprep: bytes that are no UTF-8 stay as they are", () => {
  const bad = [
    [0xff],
    [0xc3],
    [0x41, 0xe9, 0x42], // Latin-1
    [0xc0, 0xaf], // not the shortest form
    [0xed, 0xa0, 0x80], // a surrogate
    [0xf4, 0x90, 0x80, 0x80], // behind the last code point
    [0xc2, 0xaa, 0xc3], // cut
  ];
  for (const bytes of bad) assert.deepEqual([...saslprep(Uint8Array.from(bytes))], bytes);
});

Deno.test("saslprep: a byte order mark is a character like any other, mapped to nothing", () => {
  assert.equal(prepared("\ufeffé"), "é");
  assert.equal(prepared("é\ufeff"), "é");
});

Deno.test("saslprep: ASCII is not touched, control characters and nothing at all included", () => {
  for (const password of ["", "x", " \t\x01\x7f~"]) {
    const bytes = utf8(password);
    assert.equal(saslprep(bytes), bytes);
  }
});
