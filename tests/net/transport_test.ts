// writeAll(): what a transport takes in pieces arrives whole and in order.

import { strict as assert } from "node:assert";
import { type Transport, writeAll } from "../../src/net/transport.ts";

/** Takes at most three bytes of each write. */
class Sipping implements Transport {
  readonly peer = "sipping";
  readonly taken: number[] = [];
  read = () => Promise.resolve(null);
  closeWrite = () => Promise.resolve();
  close = () => {};
  write(bytes: Uint8Array): Promise<number> {
    if (this.taken.length > 6) return Promise.reject(new Error("broken"));
    const part = bytes.subarray(0, 3);
    this.taken.push(...part);
    return Promise.resolve(part.length);
  }
}

Deno.test("writeAll() writes the rest of what was taken in part", async () => {
  const transport = new Sipping();
  await writeAll(transport, Uint8Array.of(1, 2, 3, 4, 5, 6, 7));
  assert.deepEqual(transport.taken, [1, 2, 3, 4, 5, 6, 7]);
});

Deno.test("writeAll() rejects when the transport breaks in the middle", async () => {
  await assert.rejects(writeAll(new Sipping(), new Uint8Array(20)), /broken/);
});
