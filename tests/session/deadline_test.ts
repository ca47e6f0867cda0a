// Deadline: one timer, and the phase in its error.

import { strict as assert } from "node:assert";
import { PgError } from "../../src/codec/error.ts";
import { Deadline } from "../../src/session/deadline.ts";

const NEVER = new Promise<never>(() => {});

Deno.test("Deadline names what was going on when it passed, in seconds", async () => {
  using deadline = new Deadline(10, "waiting for godot");
  deadline.phase = "waiting for lucky";
  await assert.rejects(
    deadline.race(NEVER),
    (error) =>
      error instanceof PgError && error.sqlState === "08006" &&
      error.message === "handshake timed out after 0.01 s while waiting for lucky",
  );
  assert(deadline.signal.aborted);
  await assert.rejects(deadline.race(NEVER), PgError, "and stays passed");
});

Deno.test("Deadline gives the first of the promises", async () => {
  using deadline = new Deadline(60_000, "nothing");
  assert.equal(await deadline.race(NEVER, Promise.resolve(7)), 7);
  await assert.rejects(deadline.race(Promise.reject(new Error("mine"))), /mine/);
  assert(!deadline.signal.aborted);
});

Deno.test("Deadline that nobody waits for passes without a word", async () => {
  using deadline = new Deadline(1, "nothing");
  await new Promise((resolve) => deadline.signal.addEventListener("abort", resolve));
});
