// Whether PostgreSQL answers is asked once for all who want to know, and not believed for long.

import assert from "node:assert/strict";
import { Readiness } from "../src/server_readiness.ts";
import { memoryPair } from "./support/memory_transport.ts";

/** A server that gives one answer, or none and ends. */
function serverThatSays(answer: string | null) {
  let asked = 0;
  const connect = async () => {
    asked++;
    const [near, far] = memoryPair();
    void far.read(new Uint8Array(8)).then(async () => {
      if (answer !== null) await far.write(new TextEncoder().encode(answer));
      await far.closeWrite();
    });
    return await Promise.resolve({ transport: near, hasAnswered: false });
  };
  return { connect, asked: () => asked };
}

Deno.test("yes and no to TLS are answers; anything else, and silence, is none", async () => {
  for (const [answer, isUp] of [["S", true], ["N", true], ["E", false], [null, false]] as const) {
    assert.equal(await new Readiness(serverThatSays(answer).connect).isUp(), isUp, `${answer}`);
  }
});

Deno.test("a connection that has agreed on TLS has been answered", async () => {
  const [near] = memoryPair();
  const readiness = new Readiness(() => Promise.resolve({ transport: near, hasAnswered: true }));
  assert.equal(await readiness.isUp(), true);
  assert(near.closed);
});

Deno.test("all who ask at once hear one answer, and it is asked again when it is old", async () => {
  const server = serverThatSays("N");
  let now = 0;
  const readiness = new Readiness(server.connect, () => now);
  assert.deepEqual(await Promise.all([readiness.isUp(), readiness.isUp()]), [true, true]);
  now += 1_999;
  await readiness.isUp();
  assert.equal(server.asked(), 1);
  now += 1;
  await readiness.isUp();
  assert.equal(server.asked(), 2);
});

Deno.test("a server that cannot be reached is not up, and nobody is thrown at", async () => {
  const readiness = new Readiness(() => Promise.reject(new Error("refused")));
  assert.equal(await readiness.isUp(), false);
});
