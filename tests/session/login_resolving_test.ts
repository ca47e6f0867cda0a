// During a relayed login: resolvers ask on the client's own connection, one after the other,
// between the greeting and the context, and the client hears nothing of it.

import assert from "node:assert/strict";
import { resolveSettings } from "../../src/config/config.ts";
import { Resolvers } from "../../src/session/resolving.ts";
import { contextReplies, readContextMessage, requestedValues } from "../support/context_message.ts";
import {
  AUTHENTICATION_OK,
  errorFields,
  errorResponse,
  join,
  messageTypes,
  parameterStatus,
  query,
  readyForQuery,
  startupPairs,
  TERMINATE,
} from "../support/messages.ts";
import { planOf } from "../support/resolver_plan.ts";
import {
  type Answer,
  readAsked,
  REQUEST_TYPES,
  resolverReplies,
} from "../support/resolver_server.ts";
import {
  GREETING,
  recordingLog,
  residueOf,
  type ServerScript,
  startSession,
  STARTUP,
  untilTheEnd,
  type WorldOptions,
} from "../support/session_world.ts";

const TOML = `
[[resolver]]
name = "first"
query = "SELECT $1 AS x"
params = ["app.current_tenant_id"]
inject = { "app.x" = "x" }
[[resolver]]
name = "beside"
query = "SELECT 2 AS r"
inject = { role = "r" }
[[resolver]]
name = "second"
query = "SELECT $1 AS y"
params = ["app.x"]
inject = { "app.y" = "y" }
`;
const ANSWERS: Record<string, Answer> = {
  "SELECT $1 AS x": { columns: ["x"], rows: [["X"]] },
  "SELECT 2 AS r": { columns: ["r"], rows: [["lead"]] },
  "SELECT $1 AS y": { columns: ["y"], rows: [["Y"]] },
};

function resolvers(): Resolvers {
  const { settings } = resolveSettings({ environment: {}, flags: {} });
  const connect = () => Promise.reject(new Error("no connections"));
  return new Resolvers(planOf(TOML), settings, connect, { log: recordingLog([]) });
}

/** Greets, answers resolvers until the context comes, and confirms that. */
function serve(asked: string[], values: string[], noise = new Uint8Array(0)): ServerScript {
  return async (server) => {
    const packet = await server.expectPacket();
    const names = startupPairs(packet).map(([name]) => name);
    assert(names.includes("app.current_tenant_id"));
    assert(!names.includes("role"), "a role that is still to be resolved is no reset value");
    await server.send(AUTHENTICATION_OK, GREETING, readyForQuery());
    for (let turn = 0; turn < 3; turn++) {
      const { sql } = readAsked(await server.expectAll(REQUEST_TYPES));
      asked.push(sql);
      await server.send(join(noise, resolverReplies(ANSWERS[sql]!), noise.subarray(0, 0)));
    }
    const request = readContextMessage(join(...await server.expectAll("PBECS")));
    values.push(...requestedValues(request));
    await server.send(contextReplies(requestedValues(request)));
    await server.expect("Q");
    await server.send(readyForQuery());
    await server.expect("X");
    server.transport.close();
  };
}

async function logIn(options: WorldOptions): Promise<void> {
  const world = startSession({ resolvers: resolvers(), ...options });
  const { client } = world;
  await client.send(STARTUP);
  await client.expectAll("RSKZ");
  await client.send(query("SELECT 1"));
  await client.expect("Z");
  await client.send(TERMINATE);
  await world.over;
  assert.deepEqual(residueOf(world), []);
}

Deno.test("they ask in turn, the context has their answers, and the client hears a usual greeting", async () => {
  const noises = [new Uint8Array(0), parameterStatus("client_encoding", "UTF8")];
  for (const cut of [() => 1_000_000, () => 29]) {
    for (const noise of noises) {
      const asked: string[] = [];
      const values: string[] = [];
      await logIn({ servers: [serve(asked, values, noise)], wire: { cut } });
      assert.deepEqual(asked, ["SELECT $1 AS x", "SELECT 2 AS r", "SELECT $1 AS y"]);
      assert.deepEqual(values, ["acme", "X", "Y", "lead"]);
    }
  }
});

/** A server that greets and then does something else than answer. */
function greet(then: ServerScript): ServerScript {
  return async (server) => {
    await server.expectPacket();
    await server.send(AUTHENTICATION_OK, GREETING, readyForQuery());
    await server.expectAll(REQUEST_TYPES);
    await then(server);
    await untilTheEnd(server);
  };
}

Deno.test("whatever goes wrong then ends the login, with 28000 or the truth about the server", async () => {
  const cases: [then: ServerScript, sqlState: string, words: RegExp][] = [
    [
      (server) => server.send(resolverReplies({ sqlState: "42501", error: "server's words" })),
      "28000",
      /"first" failed$/,
    ],
    [(server) => Promise.resolve(server.transport.close()), "08006", /closed the connection/],
    [(server) => server.send(readyForQuery()), "08P01", /not those to a resolver/],
  ];
  for (const [then, sqlState, words] of cases) {
    const world = startSession({ resolvers: resolvers(), servers: [greet(then)] });
    await world.client.send(STARTUP);
    await world.client.expectAll("RSK");
    const fields = errorFields(await world.client.expect("E"));
    assert.deepEqual([fields["S"], fields["C"]], ["FATAL", sqlState]);
    assert.match(fields["M"]!, words);
    assert(!JSON.stringify(fields).includes("server's words"));
    world.client.transport.close();
    await world.over;
    assert.deepEqual(residueOf(world), []);
  }
});

Deno.test("a client that leaves meanwhile frees the server's side, one that speaks waits", async () => {
  const world = startSession({ resolvers: resolvers(), servers: [greet(() => Promise.resolve())] });
  await world.client.send(STARTUP);
  await world.client.expectAll("RSK");
  await world.client.send(query("SELECT 'early'"));
  world.client.transport.close();
  await world.over;
  assert.deepEqual(residueOf(world), []);
});

Deno.test("what the server says by itself meanwhile is passed on, its last word too", async () => {
  const { settings } = resolveSettings({ environment: {}, flags: {} });
  // With connections of their own nothing is asked here; these never open.
  const own = new Resolvers(
    planOf(TOML),
    { ...settings, resolverUser: "resolver" },
    (signal) =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
    { log: recordingLog([]) },
  );
  const server: ServerScript = async (peer) => {
    await peer.expectPacket();
    await peer.send(AUTHENTICATION_OK, GREETING, readyForQuery());
    await peer.send(parameterStatus("TimeZone", "UTC"), errorResponse("57P01", "shutting down"));
    peer.transport.close();
  };
  const world = startSession({ resolvers: own, servers: [server] });
  await world.client.send(STARTUP);
  const heard = join(...await world.client.expectAll("RSKSE"));
  assert.equal(messageTypes(heard), "RSKSE");
  world.client.transport.close();
  await world.over;
  await own.close();
});
