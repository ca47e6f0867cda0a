// Building messages: lengths are patched, room is made, mistakes of ours are assertions.

import { strict as assert } from "node:assert";
import { AssertionError } from "../../src/assert.ts";
import { MessageWriter } from "../../src/codec/writer.ts";
import { join, message, packet, text } from "../support/messages.ts";

Deno.test("MessageWriter writes every kind of field, and the length", () => {
  const bytes = new MessageWriter().begin(0x54).byte(1).int16(0x0203).int32(-2)
    .cstring("é").raw(Uint8Array.of(0, 9)).end().take();
  const body = Uint8Array.of(1, 2, 3, 0xff, 0xff, 0xff, 0xfe, 0xc3, 0xa9, 0, 0, 9);
  assert.deepEqual(bytes, message("T", body));
});

Deno.test("MessageWriter writes several messages into one area, and packets without a type", () => {
  const writer = new MessageWriter(1).begin(0x53).end().beginPacket().int32(7).end();
  assert.deepEqual(writer.take(), join(message("S"), packet(7)));
});

Deno.test("MessageWriter grows from any capacity to any size", () => {
  for (const size of [0, 1, 255, 256, 257, 100_000]) {
    const filling = new Uint8Array(size).fill(0x78);
    assert.deepEqual(
      new MessageWriter(1).begin(0x64).raw(filling).end().take(),
      message("d", filling),
    );
  }
});

Deno.test("MessageWriter gives away what it has written, not its own area", () => {
  const writer = new MessageWriter().begin(0x53).end();
  const first = writer.take();
  first[0] = 0;
  assert.deepEqual(writer.take(), message("S"));
});

Deno.test("MessageWriter refuses a NUL inside a string: it would start another field", () => {
  assert.throws(() => new MessageWriter().cstring("a\0b"), AssertionError);
  assert.throws(() => new MessageWriter().cstringBytes(text("\0")), AssertionError);
});

Deno.test("MessageWriter refuses a message inside a message, and half of one", () => {
  assert.throws(() => new MessageWriter().begin(1).begin(2), AssertionError);
  assert.throws(() => new MessageWriter().end(), AssertionError);
  assert.throws(() => new MessageWriter().begin(1).take(), AssertionError);
});
