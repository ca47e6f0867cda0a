// CancelKeys: a key means one session, for as long as it lives, and cannot be guessed.

import { strict as assert } from "node:assert";
import {
  CANCEL_KEY_SIZE,
  CANCEL_KEY_SIZE_3_2,
  CancelKeys,
  type CancelTarget,
} from "../../src/session/cancel_keys.ts";
import { cancelRequest } from "../support/messages.ts";

const target = (): CancelTarget => ({ cancel: () => Promise.resolve() });

for (const size of [CANCEL_KEY_SIZE, CANCEL_KEY_SIZE_3_2]) {
  Deno.test(`CancelKeys finds whom a key of ${size} bytes was issued to, and nobody else`, () => {
    const keys = new CancelKeys();
    const sessions = Array.from({ length: 100 }, target);
    const issued = sessions.map((session) => keys.issue(size, session));
    issued.forEach(({ processId, secret }, index) => {
      assert.equal(secret.length, size);
      assert.equal(keys.find(cancelRequest(processId, secret)), sessions[index]);
      const other = issued[(index + 1) % issued.length]!;
      assert.equal(keys.find(cancelRequest(other.processId, secret)), null);
      for (let bit = 0; bit < 8 * size; bit++) {
        const wrong = secret.slice();
        wrong[bit >> 3]! ^= 1 << (bit & 7);
        assert.equal(keys.find(cancelRequest(processId, wrong)), null);
      }
      for (const cut of [secret.subarray(1), secret.subarray(0, -1), new Uint8Array()]) {
        assert.equal(keys.find(cancelRequest(processId, cut)), null);
      }
      const longer = Uint8Array.from([...secret, 0]);
      assert.equal(keys.find(cancelRequest(processId, longer)), null);
    });
  });
}

Deno.test("CancelKeys issues process IDs that no server has, each once", () => {
  const keys = new CancelKeys();
  const ids = Array.from({ length: 1_000 }, () => keys.issue(4, target()).processId);
  assert.equal(new Set(ids).size, ids.length);
  for (const id of ids) assert(id > 2 ** 22 && id < 2 ** 31, `${id}`);
});

Deno.test("CancelKeys forgets a key that is disposed of, once and for all", () => {
  const keys = new CancelKeys();
  const [one, other] = [target(), target()];
  const key = keys.issue(4, one);
  const kept = keys.issue(4, other);
  key[Symbol.dispose]();
  key[Symbol.dispose]();
  assert.equal(keys.find(cancelRequest(key.processId, key.secret)), null);
  assert.equal(keys.find(cancelRequest(kept.processId, kept.secret)), other);
});

Deno.test("CancelKeys tells the keys of two servers apart that have one process ID", () => {
  const keys = new CancelKeys();
  const [one, other] = [target(), target()];
  const [first, second] = [
    cancelRequest(4711, Uint8Array.of(1, 2, 3, 4)),
    cancelRequest(4711, new Uint8Array(32).fill(9)),
  ];
  using _kept = keys.adopt(second, other);
  {
    using _key = keys.adopt(first, one);
    assert.equal(keys.find(first), one);
    assert.equal(keys.find(second), other);
  }
  assert.equal(keys.find(first), null);
  assert.equal(keys.find(second), other);
});

Deno.test("CancelKeys keeps the bytes it has adopted, whatever becomes of the packet", () => {
  const keys = new CancelKeys();
  const one = target();
  const packet = cancelRequest(4711, Uint8Array.of(1, 2, 3, 4));
  using _key = keys.adopt(packet, one);
  const copy = packet.slice();
  packet.fill(0);
  assert.equal(keys.find(copy), one);
});
