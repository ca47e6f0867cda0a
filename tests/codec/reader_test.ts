// Reading one body: every field accepts its bytes and refuses to leave the body.

import { strict as assert } from "node:assert";
import { PgError } from "../../src/codec/error.ts";
import { MessageReader, readInt32 } from "../../src/codec/reader.ts";

const refused = (error: unknown) =>
  error instanceof PgError && error.sqlState === "08P01" &&
  error.message === "invalid message format";

Deno.test("MessageReader reads every kind of field", () => {
  const bytes = Uint8Array.of(
    9,
    1,
    0xff,
    0xfe,
    0xff,
    0xff,
    0xff,
    0xfe,
    0x61,
    0xc3,
    0xa9,
    0,
    7,
    8,
    9,
  );
  const reader = new MessageReader(bytes, 1, 14);
  assert.equal(reader.byte(), 1);
  assert.equal(reader.int16(), 0xfffe);
  assert.equal(reader.int32(), -2);
  assert.equal(reader.cstring(), "aé");
  assert.deepEqual(reader.window(2), Uint8Array.of(7, 8));
  assert.equal(reader.remaining, 0);
  reader.expectEnd();
});

Deno.test("MessageReader refuses a field that does not fit, though the buffer goes on", () => {
  const bytes = new Uint8Array(64);
  const over = (size: number, read: (reader: MessageReader) => unknown) =>
    assert.throws(() => read(new MessageReader(bytes, 10, 10 + size)), refused);
  over(0, (reader) => reader.byte());
  over(1, (reader) => reader.int16());
  over(3, (reader) => reader.int32());
  over(4, (reader) => reader.window(5));
  over(4, (reader) => reader.window(-1));
  over(1, (reader) => reader.expectEnd());
});

Deno.test("MessageReader refuses a string whose NUL is missing or lies behind the body", () => {
  const bytes = Uint8Array.of(0x61, 0x62, 0x63, 0);
  assert.throws(() => new MessageReader(bytes, 0, 3).cstring(), refused);
  assert.throws(() => new MessageReader(bytes.subarray(0, 3), 0, 3).cstringBytes(), refused);
  assert.equal(new MessageReader(bytes, 0, 4).cstring(), "abc");
  assert.equal(new MessageReader(bytes, 3, 4).cstring(), "");
});

Deno.test("MessageReader gives windows into the message, not copies", () => {
  const bytes = Uint8Array.of(1, 2, 3, 0);
  const window = new MessageReader(bytes, 0, 4).cstringBytes();
  bytes[0] = 9;
  assert.equal(window[0], 9);
});

Deno.test("MessageReader does not move when it refuses", () => {
  const reader = new MessageReader(Uint8Array.of(1, 2, 3), 0, 3);
  assert.throws(() => reader.int32(), refused);
  assert.equal(reader.remaining, 3);
  assert.equal(reader.byte(), 1);
});

Deno.test("readInt32 knows both signs", () => {
  assert.equal(readInt32(Uint8Array.of(0, 0, 1, 2, 3, 4), 2), 0x01020304);
  assert.equal(readInt32(Uint8Array.of(0x80, 0, 0, 0), 0), -(2 ** 31));
});
