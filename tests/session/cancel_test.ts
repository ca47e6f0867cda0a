// CancelRequest: the packet as it is, and the server's end awaited.

import { strict as assert } from "node:assert";
import { PgError } from "../../src/codec/error.ts";
import { forwardCancel } from "../../src/session/cancel.ts";
import { Deadline } from "../../src/session/deadline.ts";
import { memoryPair } from "../support/memory_transport.ts";
import { cancelRequest } from "../support/messages.ts";
import { ScriptedPeer } from "../support/scripted_peer.ts";

const REQUEST = cancelRequest(4711, new Uint8Array(32).fill(5));

Deno.test("forwardCancel resolves when the server has closed, not before", async () => {
  const [near, far] = memoryPair();
  const server = new ScriptedPeer(far);
  using deadline = new Deadline(60_000, "nothing");
  let resolved = false;
  const done = forwardCancel(REQUEST, () => Promise.resolve(near), deadline)
    .then(() => resolved = true);
  assert.deepEqual(await server.expectBytes(REQUEST.length), REQUEST);
  for (let turn = 0; turn < 50; turn++) await Promise.resolve();
  assert.equal(resolved, false);
  await server.send(new Uint8Array(40)); // whatever it says is nobody's
  far.close();
  await done;
  assert(near.closed);
});

Deno.test("forwardCancel closes its connection when the server never does", async () => {
  const [near] = memoryPair();
  using deadline = new Deadline(20, "nothing");
  await assert.rejects(
    forwardCancel(REQUEST, () => Promise.resolve(near), deadline),
    (error) =>
      error instanceof PgError && error.sqlState === "08006" &&
      error.message.endsWith("while passing on a cancel request"),
  );
  assert(near.closed);
});

Deno.test("forwardCancel closes its connection when writing or reading fails", async () => {
  const [near] = memoryPair();
  near.reset();
  using deadline = new Deadline(60_000, "nothing");
  await assert.rejects(forwardCancel(REQUEST, () => Promise.resolve(near), deadline), /reset/);
  assert(near.closed);
});
