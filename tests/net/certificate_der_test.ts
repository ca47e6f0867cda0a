// DER: what is not in its one right form is refused, always with a CertificateError.

import { strict as assert } from "node:assert";
import {
  bitString,
  booleanOf,
  CertificateError,
  DerReader,
  objectIdText,
  openWhole,
  pemText,
  smallInteger,
  stringOf,
  timeOf,
} from "../../src/net/certificate_der.ts";
import { Random } from "../support/random.ts";

const hex = (text: string) => Uint8Array.fromHex(text.replaceAll(" ", ""));
const refused = (run: () => unknown) => assert.throws(run, CertificateError);
const bytesOf = (text: string) => new TextEncoder().encode(text);
const element = (tag: number, content: Uint8Array) => ({ tag, content, bytes: content });

Deno.test("der: values follow one another", () => {
  const reader = openWhole(hex("30 07 0101ff 0202 0102"), 0x30);
  assert.equal(reader.tag, 0x01);
  assert.equal(reader.optional(0x02), null);
  assert.deepEqual(reader.next(0x01).content, hex("ff"));
  assert.deepEqual(reader.optional(0x02)?.bytes, hex("0202 0102"));
  assert.equal(reader.tag, null);
  reader.end();
});

Deno.test("der: lengths have one form", () => {
  const long = new Uint8Array(3 + 128);
  long.set(hex("04 81 80"));
  assert.equal(new DerReader(long).next().content.length, 128);
  for (
    const wrong of [
      "",
      "04",
      "04 02 00",
      "04 80 00 00",
      "04 81 01 00",
      "04 82 00 01 00",
      "1f 01 00",
    ]
  ) refused(() => new DerReader(hex(wrong)).next());
  refused(() => new DerReader(hex("04 85 00 00 00 00 01 00")).next());
  refused(() => new DerReader(hex("04 84 ff ff ff ff 00")).next());
  refused(() => new DerReader(hex("04 01 00")).next(0x05));
});

Deno.test("der: nothing may follow", () => {
  refused(() => openWhole(hex("30 00 00"), 0x30));
  refused(() => new DerReader(hex("00")).end());
});

Deno.test("der: object identifiers", () => {
  assert.equal(objectIdText(hex("55 04 03")), "2.5.4.3");
  assert.equal(objectIdText(hex("2a 86 48 86 f7 0d 01 01 0b")), "1.2.840.113549.1.1.11");
  assert.equal(objectIdText(hex("00")), "0.0");
  assert.equal(objectIdText(hex("88 37 03")), "2.999.3");
  for (const wrong of ["", "86", "55 80 03", "55".repeat(65)]) {
    refused(() => objectIdText(hex(wrong)));
  }
});

Deno.test("der: booleans, numbers, bits", () => {
  assert.deepEqual([booleanOf(hex("ff")), booleanOf(hex("00"))], [true, false]);
  for (const wrong of ["", "01", "ffff"]) refused(() => booleanOf(hex(wrong)));
  assert.deepEqual(["00", "7f", "0080", "0100", "7fffffff"].map((one) => smallInteger(hex(one))), [
    0,
    127,
    128,
    256,
    0x7fffffff,
  ]);
  for (const wrong of ["", "80", "ff", "0001", "0080000000"]) {
    refused(() => smallInteger(hex(wrong)));
  }
  assert.deepEqual(bitString(hex("05 a0")), hex("a0"));
  assert.deepEqual(bitString(hex("00")), hex(""));
  for (const wrong of ["", "08 00", "01", "05 a1"]) refused(() => bitString(hex(wrong)));
});

Deno.test("der: dates", () => {
  const utc = (text: string) => timeOf(element(0x17, bytesOf(text))).toISOString();
  const generalized = (text: string) => timeOf(element(0x18, bytesOf(text))).toISOString();
  assert.equal(utc("490101000000Z"), "2049-01-01T00:00:00.000Z");
  assert.equal(utc("500228235959Z"), "1950-02-28T23:59:59.000Z");
  assert.equal(generalized("99991231235959Z"), "9999-12-31T23:59:59.000Z");
  assert.equal(generalized("20240229000000Z"), "2024-02-29T00:00:00.000Z");
  for (const wrong of ["", "4901010000Z", "490101000000", "490101000000+0100", "490230000000Z"]) {
    refused(() => utc(wrong));
  }
  for (
    const wrong of ["490101000000Z", "20230229000000Z", "20240101240000Z", "20240101000000.5Z"]
  ) {
    refused(() => generalized(wrong));
  }
  refused(() => timeOf(element(0x0c, bytesOf("490101000000Z"))));
  refused(() => timeOf(element(0x17, hex("ff"))));
});

Deno.test("der: strings are exact or none", () => {
  assert.equal(stringOf(element(0x0c, bytesOf("\ufeffé\0"))), "\ufeffé\0");
  assert.equal(stringOf(element(0x0c, hex("c3"))), null);
  assert.equal(stringOf(element(0x0c, hex("c080"))), null);
  assert.equal(stringOf(element(0x1e, hex("00e9"))), "é");
  assert.equal(stringOf(element(0x1e, hex("d800"))), null);
  assert.equal(stringOf(element(0x1e, hex("00"))), null);
  for (const tag of [0x13, 0x14, 0x16]) {
    assert.equal(stringOf(element(tag, bytesOf("acme"))), "acme");
    assert.equal(stringOf(element(tag, hex("e9"))), null);
  }
  assert.equal(stringOf(element(0x1c, hex("00000061"))), null);
});

Deno.test("der: garbage ends in a CertificateError", () => {
  const random = new Random(7);
  for (let round = 0; round < 5_000; round++) {
    const bytes = random.bytes(random.integer(0, 40));
    for (const read of [objectIdText, booleanOf, smallInteger, bitString]) {
      try {
        read(bytes);
      } catch (error) {
        assert(error instanceof CertificateError, String(error));
      }
    }
    try {
      const reader = new DerReader(bytes);
      while (!reader.atEnd) timeOf(reader.next());
    } catch (error) {
      assert(error instanceof CertificateError, String(error));
    }
  }
});

Deno.test("der: PEM has lines of 64", () => {
  const lines = pemText("X", new Uint8Array(49)).trimEnd().split("\n");
  assert.deepEqual(lines.map(({ length }) => length), [17, 64, 4, 15]);
  assert.equal(pemText("X", new Uint8Array(48)).split("\n").length, 4);
});
