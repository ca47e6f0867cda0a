// whileClientStays: what takes time for a client ends with the client.

import { strict as assert } from "node:assert";
import { PgError } from "../../src/codec/error.ts";
import { Inbox } from "../../src/net/buffers.ts";
import { Deadline } from "../../src/session/deadline.ts";
import { ClientGone } from "../../src/session/endings.ts";
import { whileClientStays } from "../../src/session/presence.ts";
import { memoryPair } from "../support/memory_transport.ts";
import { settle } from "../support/pooled_world.ts";

function begin(inboxSize = 100, ms = 60_000) {
  const [near, far] = memoryPair();
  const deadline = new Deadline(ms, "waiting");
  const wanted = Promise.withResolvers<{ name: string }>();
  const late: unknown[] = [];
  let signal: AbortSignal | undefined;
  const result = whileClientStays(new Inbox(far, inboxSize), deadline, (given) => {
    signal = given;
    return wanted.promise;
  }, (one) => late.push(one));
  result.catch(() => {});
  return { client: near, deadline, wanted, late, signal: signal!, result };
}

const RESULT = { name: "what was wanted" };

Deno.test("whileClientStays gives what was wanted, and keeps what the client says meanwhile", async () => {
  const { client, wanted, late, signal, result, deadline } = begin();
  await client.write(new Uint8Array(10));
  await settle();
  wanted.resolve(RESULT);
  assert.equal(await result, RESULT);
  assert.deepEqual([late, signal.aborted], [[], false]);
  deadline[Symbol.dispose]();
});

Deno.test("whileClientStays ends with the client, and gives back what comes too late", async () => {
  for (const how of ["close", "reset"] as const) {
    const { client, wanted, late, signal, result, deadline } = begin();
    client[how]();
    await assert.rejects(result, ClientGone);
    assert(signal.aborted, how);
    assert.deepEqual(late, []);
    wanted.resolve(RESULT);
    await settle();
    assert.deepEqual(late, [RESULT]);
    deadline[Symbol.dispose]();
  }
});

Deno.test("whileClientStays ends with the deadline", async () => {
  const { wanted, late, signal, result, deadline } = begin(100, 10);
  await assert.rejects(result, (error) => error instanceof PgError && error.sqlState === "08006");
  assert(signal.aborted);
  wanted.resolve(RESULT);
  await settle();
  assert.deepEqual(late, [RESULT]);
  deadline[Symbol.dispose]();
});

Deno.test("whileClientStays rejects as what it waits for, whatever that is", async () => {
  for (const error of [new PgError("53300", "full"), new TypeError("a bug")]) {
    const { wanted, late, result, deadline } = begin();
    wanted.reject(error);
    await assert.rejects(result, (other) => other === error);
    assert.deepEqual(late, []);
    deadline[Symbol.dispose]();
  }
});

Deno.test("whileClientStays waits for a client that has said more than is kept", async () => {
  const { client, wanted, result, deadline } = begin(10);
  await client.write(new Uint8Array(50));
  await settle();
  wanted.resolve(RESULT);
  assert.equal(await result, RESULT);
  deadline[Symbol.dispose]();
});
