// Receive buffers: no byte is lost between handshake and relay, and memory follows the flow.

import { strict as assert } from "node:assert";
import { AssertionError } from "../../src/assert.ts";
import {
  Flow,
  FLOWING_BUFFER_SIZE,
  Inbox,
  joined,
  keep,
  WAITING_BUFFER_SIZE,
} from "../../src/net/buffers.ts";
import { memoryPair } from "../support/memory_transport.ts";
import { join } from "../support/messages.ts";
import { Random } from "../support/random.ts";

Deno.test("Inbox gives what came, in order, however it is filled and taken", async () => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = new Random(seed);
    const sent = random.bytes(20_000);
    const [near, far] = memoryPair({ cut: () => random.integer(1, 3_000), capacity: 5_000 });
    const inbox = new Inbox(far, 4_096);
    const sending = near.write(sent).then(() => near.closeWrite());
    const taken: Uint8Array[] = [];
    while (!inbox.ended || inbox.length > 0) {
      if (!inbox.full && !inbox.ended && random.chance(0.6)) await inbox.fill();
      const size = random.integer(0, inbox.length);
      taken.push(inbox.bytes.slice(inbox.start, inbox.start + size));
      inbox.take(size);
      assert(0 <= inbox.start && inbox.start <= inbox.end && inbox.end <= inbox.bytes.length);
      assert(inbox.bytes.length <= 4_096, "it never grows beyond its maximum");
    }
    await sending;
    assert.deepEqual(join(...taken), sent, `seed ${seed}`);
  }
});

Deno.test("Inbox has one read under way, however often it is asked", async () => {
  const [near, far] = memoryPair();
  const inbox = new Inbox(far, 1_000);
  const first = inbox.fill();
  assert.equal(inbox.fill(), first);
  assert(inbox.reading);
  await near.write(Uint8Array.of(1, 2));
  assert.equal(await first, 2);
  assert.equal(far.reads, 1);
  assert(!inbox.reading);
});

Deno.test("Inbox is full at its maximum, and asking for more is a mistake of ours", async () => {
  const [near, far] = memoryPair();
  const inbox = new Inbox(far, 2_048);
  await near.write(new Uint8Array(5_000));
  while (!inbox.full) await inbox.fill();
  assert.equal(inbox.length, 2_048);
  assert.throws(() => inbox.fill(), AssertionError);
  inbox.take(1);
  assert.equal(await inbox.fill(), 1);
  assert.throws(() => inbox.take(2_049), AssertionError);
});

Deno.test("Inbox tells the end of the stream, and a break", async () => {
  const [near, far] = memoryPair();
  const inbox = new Inbox(far, 1_000);
  await near.write(Uint8Array.of(1));
  await near.closeWrite();
  assert.equal(await inbox.fill(), 1);
  assert.equal(await inbox.fill(), null);
  assert(inbox.ended);
  const [, broken] = memoryPair();
  broken.reset();
  await assert.rejects(new Inbox(broken, 1_000).fill(), /reset/);
});

Deno.test("Flow begins with the inbox and a read under way, then it hands out buffers", async () => {
  const [near, far] = memoryPair();
  const inbox = new Inbox(far, 1_000);
  await near.write(Uint8Array.of(1, 2, 3));
  await inbox.fill();
  inbox.take(1);
  const pending = inbox.fill();
  const flow = new Flow(inbox);
  assert.deepEqual(await flow.rest(), Uint8Array.of(2, 3));
  await near.write(Uint8Array.of(4));
  assert.deepEqual(await flow.rest(), Uint8Array.of(4));
  await pending;
  assert.equal(await flow.rest(), null);
  assert(!flow.ended);
  await near.write(Uint8Array.of(5));
  const buffer = flow.buffer();
  assert.deepEqual(flow.filled(buffer, (await far.read(buffer))!), Uint8Array.of(5));
});

Deno.test("Flow ends where the inbox ended", async () => {
  const [near, far] = memoryPair();
  const inbox = new Inbox(far, 1_000);
  await near.write(Uint8Array.of(1));
  await near.closeWrite();
  while (await inbox.fill() !== null);
  const flow = new Flow(inbox);
  assert.deepEqual(await flow.rest(), Uint8Array.of(1));
  assert.equal(await flow.rest(), null);
  assert(flow.ended);
});

Deno.test("Flow hands out a small buffer, a large one while it is filled, then a small one", () => {
  const [, far] = memoryPair();
  const flow = new Flow(new Inbox(far, 1_000));
  const sizes: number[] = [];
  const next = (size: number) => {
    const buffer = flow.buffer();
    sizes.push(buffer.length);
    assert.equal(flow.filled(buffer, size).length, size);
  };
  next(10);
  next(WAITING_BUFFER_SIZE);
  next(FLOWING_BUFFER_SIZE);
  next(10);
  next(10);
  const [small, large] = [WAITING_BUFFER_SIZE, FLOWING_BUFFER_SIZE];
  assert.deepEqual(sizes, [small, small, large, large, small]);
});

Deno.test("joined() puts what was kept in front; keep() closes the gap and says where it ends", () => {
  const bytes = (text: string) => new TextEncoder().encode(text);
  assert.deepEqual(joined(bytes("ab"), bytes("cd")), bytes("abcd"));
  assert.deepEqual(joined(bytes(""), bytes("cd")), bytes("cd"));
  const moved = bytes("abXXcdYef");
  let kept = keep(moved, 0, 0, 2);
  kept = keep(moved, kept, 4, 6);
  kept = keep(moved, kept, 7, 7);
  kept = keep(moved, kept, 7, 9);
  assert.deepEqual(moved.subarray(0, kept), bytes("abcdef"));
});
