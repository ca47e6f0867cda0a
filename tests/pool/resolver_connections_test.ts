// Connections of resolvers: one question at a time on each, and nobody waits for a dead one.

import assert from "node:assert/strict";
import { ResolverConnections } from "../../src/pool/resolver_connections.ts";
import { StatementFailed } from "../../src/pool/statements.ts";
import { failure } from "../support/failure.ts";
import { type Answer, ResolverServer } from "../support/resolver_server.ts";

const QUERY = { sql: "SELECT $1", inputs: ["x"], rowsMax: 0, runAs: null, timeout: 5_000 };
const ONE: Answer = { columns: ["a"], rows: [["1"]] };
const never = new AbortController().signal;

function open(server: ResolverServer, size = 2) {
  return new ResolverConnections({
    connect: server.connect,
    credentials: { user: "resolver", password: null },
    size,
  });
}

Deno.test("a connection is opened as the resolvers' role, and used again", async () => {
  const server = new ResolverServer(() => ONE);
  const connections = open(server);
  for (let turn = 0; turn < 3; turn++) {
    const { columns, rows } = await connections.run("shop", QUERY, never);
    assert.deepEqual([columns, rows], [["a"], [["1"]]]);
  }
  assert.deepEqual(server.users, ["resolver"]);
  await connections.run("other", QUERY, never);
  assert.equal(server.users.length, 2, "another database has its own");
  assert.deepEqual(server.asked[0]!.inputs, ["x"]);
  await connections.close();
});

Deno.test("what the server refuses is told, and the connection is used again", async () => {
  const answers: Answer[] = [{ sqlState: "42P01", error: "no such table" }, ONE];
  const server = new ResolverServer(() => answers.shift()!);
  const connections = open(server, 1);
  const error = await failure(connections.run("shop", QUERY, never));
  assert(error instanceof StatementFailed);
  assert.equal(error.sqlState, "42P01");
  assert.deepEqual((await connections.run("shop", QUERY, never)).rows, [["1"]]);
  assert.equal(server.peers.length, 1);
  await connections.close();
});

Deno.test("as many at once as there may be connections, the others wait", async () => {
  const waiting: ((answer: Answer) => void)[] = [];
  const server = new ResolverServer(() => new Promise((resolve) => waiting.push(resolve)));
  const connections = open(server, 2);
  const all = [1, 2, 3].map(() => connections.run("shop", QUERY, never));
  while (waiting.length < 2) await new Promise((resolve) => setTimeout(resolve, 0));
  assert.equal(server.peers.length, 2);
  for (let done = 0; done < 3; done++) {
    while (waiting.length === 0) await new Promise((resolve) => setTimeout(resolve, 0));
    waiting.shift()!(ONE);
  }
  await Promise.all(all);
  assert.equal(server.peers.length, 2);
  await connections.close();
});

Deno.test("who goes away ends the query, and its connection is nobody's", async () => {
  const server = new ResolverServer(() => null);
  const connections = open(server, 1);
  const gone = new AbortController();
  const asking = failure(connections.run("shop", QUERY, gone.signal));
  while (server.asked.length === 0) await new Promise((resolve) => setTimeout(resolve, 0));
  gone.abort(new Error("gone"));
  assert.equal((await asking).message, "gone");
  server.answer = () => ONE;
  assert.deepEqual((await connections.run("shop", QUERY, never)).rows, [["1"]]);
  assert.equal(server.peers.length, 2);
  assert.equal((await failure(connections.run("shop", QUERY, gone.signal))).message, "gone");
  await connections.close();
});

Deno.test("a server that does not keep to the time it was given is not waited for", async () => {
  const server = new ResolverServer(() => null);
  const connections = open(server, 1);
  const error = await failure(connections.run("shop", { ...QUERY, timeout: 1 }, never));
  assert(error instanceof StatementFailed);
  assert.equal(error.sqlState, "57014");
  await connections.close();
});

Deno.test("a connection that dies is replaced, three times at most", async () => {
  let deaths = 1;
  const server: ResolverServer = new ResolverServer(() => {
    if (deaths-- <= 0) return ONE;
    server.peers.at(-1)!.transport.close();
    return null;
  });
  const connections = open(server, 1);
  assert.deepEqual((await connections.run("shop", QUERY, never)).rows, [["1"]]);
  assert.equal(server.peers.length, 2);
  deaths = 10;
  const error = await failure(connections.run("shop", QUERY, never));
  assert.equal((error as { sqlState?: string }).sqlState, "08006");
  assert.equal(deaths, 7);
  await connections.close();
});

Deno.test("databases that cannot be reached, however many, take nobody's place", async () => {
  const server = new ResolverServer(() => ONE);
  let isDown = true;
  const connections = new ResolverConnections({
    connect: () => isDown ? Promise.reject(new Error("down")) : server.connect(),
    credentials: { user: "resolver", password: null },
    size: 1,
  });
  const bogus = Array.from({ length: 150 }, (_, index) => `bogus ${index}`);
  for (const place of bogus) {
    const error = await failure(connections.run(place, QUERY, never)) as { sqlState?: string };
    assert.equal(error.sqlState, "08001");
  }
  isDown = false;
  assert.deepEqual((await connections.run("shop", QUERY, never)).rows, [["1"]]);
  await connections.close();
});
