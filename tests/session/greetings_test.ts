// Promise: what a server has said of itself is said to the next client like the last, while it is
// fresh.

import assert from "node:assert/strict";
import { Greetings } from "../../src/session/greetings.ts";

const said = (value: string) => new Map([["server_version", value]]);

Deno.test("what was learned is found, for clients that are alike and for no others", () => {
  const greetings = new Greetings(() => 0);
  assert.equal(greetings.find("a"), null);
  greetings.learn("a", said("18"));
  assert.deepEqual(greetings.find("a"), said("18"));
  assert.equal(greetings.find("b"), null);
  greetings.learn("a", said("19"));
  assert.deepEqual(greetings.find("a"), said("19"));
});

Deno.test("it is a copy: what the backend says later is not said to others", () => {
  const greetings = new Greetings(() => 0);
  const parameters = said("18");
  greetings.learn("a", parameters);
  parameters.set("application_name", "of one client");
  assert.deepEqual(greetings.find("a"), said("18"));
});

Deno.test("after a minute it must be learned again", () => {
  let now = 0;
  const greetings = new Greetings(() => now);
  greetings.learn("a", said("18"));
  now = 60_000;
  assert.deepEqual(greetings.find("a"), said("18"), "asking does not make it old");
  now = 60_001;
  assert.equal(greetings.find("a"), null, "nor young");
  greetings.learn("a", said("19"));
  assert.deepEqual(greetings.find("a"), said("19"));
});

Deno.test("a thousand are remembered: the one that was not asked for longest is forgotten", () => {
  const greetings = new Greetings(() => 0);
  for (let number = 0; number < 1_000; number++) greetings.learn(String(number), said("18"));
  assert.notEqual(greetings.find("0"), null);
  greetings.learn("one more", said("18"));
  assert.equal(greetings.find("1"), null);
  for (const key of ["0", "2", "999", "one more"]) assert.notEqual(greetings.find(key), null, key);
});
