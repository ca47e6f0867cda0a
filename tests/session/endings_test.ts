// Whoever goes, whenever: both sides are free at once, nobody waits for a timer, nothing spins.

import { strict as assert } from "node:assert";
import {
  AUTHENTICATION_OK,
  CLEARTEXT_PASSWORD,
  errorFields,
  errorResponse,
  message,
  password,
  readyForQuery,
  splitMessages,
  SSL_REQUEST,
  TERMINATE,
} from "../support/messages.ts";
import type { ScriptedPeer } from "../support/scripted_peer.ts";
import {
  GREETING,
  residueOf,
  type ServerScript,
  startSession,
  STARTUP,
  type World,
} from "../support/session_world.ts";

/** Far longer than any test: what ends earlier has not waited for the timer. */
const NEVER_MS = 60_000;

/** A point of the handshake: what both sides have said when somebody goes. */
interface Point {
  readonly server: (server: ScriptedPeer) => Promise<void>;
  readonly client: (client: ScriptedPeer) => Promise<void>;
}

const SAID_NOTHING = async () => {};
const asked = async (server: ScriptedPeer) => {
  await server.expectPacket();
  await server.send(CLEARTEXT_PASSWORD);
};
const greeted = async (server: ScriptedPeer) => {
  await server.expectPacket();
  await server.send(AUTHENTICATION_OK, GREETING);
};
const confirming = async (server: ScriptedPeer) => {
  await greeted(server);
  await server.send(readyForQuery());
  await server.expectAll("PBECS");
};
const starts = (client: ScriptedPeer) => client.send(STARTUP);
const starts_and = (types: string) => async (client: ScriptedPeer) => {
  await starts(client);
  await client.expectAll(types);
};

/** Points before there is a server. */
const EARLY: Record<string, Point["client"]> = {
  "before its first byte": SAID_NOTHING,
  "inside its startup packet": (client) => client.send(STARTUP.subarray(0, 11)),
  "behind an SSLRequest": async (client) => {
    await client.send(SSL_REQUEST);
    await client.expectBytes(1);
  },
};

/** Points at which there is one. */
const LATE: Record<string, Point> = {
  "before the server's first word": {
    server: async (server) => void await server.expectPacket(),
    client: starts,
  },
  "inside the authentication request": {
    server: async (server) => {
      await server.expectPacket();
      await server.send(CLEARTEXT_PASSWORD.subarray(0, 7));
    },
    client: starts,
  },
  "at the password prompt": { server: asked, client: starts_and("R") },
  "inside the password": {
    server: async (server) => {
      await asked(server);
      await server.expectBytes(8);
    },
    client: async (client) => {
      await starts_and("R")(client);
      await client.send(password("secret").subarray(0, 8));
    },
  },
  "while the server checks the password": {
    server: async (server) => {
      await asked(server);
      await server.expect("p");
    },
    client: async (client) => {
      await starts_and("R")(client);
      await client.send(password("secret"));
    },
  },
  "in the greeting": { server: greeted, client: starts_and("RSK") },
  "while the context is confirmed": { server: confirming, client: starts_and("RSK") },
  "inside the confirmation": {
    server: async (server) => {
      await confirming(server);
      await server.send(message("1"), message("2").subarray(0, 3));
    },
    client: starts_and("RSK"),
  },
};

/** Runs both sides up to the point; the server then waits for `then`. */
async function bring(point: Point, then: ServerScript): Promise<World> {
  const { promise: arrived, resolve: arrive } = Promise.withResolvers<void>();
  const world = startSession({
    handshakeMsMax: NEVER_MS,
    servers: [async (server) => {
      await point.server(server);
      arrive();
      await then(server);
    }],
  });
  await point.client(world.client);
  await arrived;
  return world;
}

const expectEndOrReset: ServerScript = async (server) => {
  await server.rest();
};

for (const [when, client] of Object.entries(EARLY)) {
  for (const how of ["closeWrite", "close", "reset"] as const) {
    Deno.test(`Session is over when the client goes (${how}) ${when}`, async () => {
      const world = startSession({ handshakeMsMax: NEVER_MS });
      await client(world.client);
      await world.client.transport[how]();
      await world.over;
      assert.deepEqual(residueOf(world), []);
      assert.equal(world.upstreamSides.length, 0, "nothing was dialled");
      assert.equal(world.log.filter(({ level }) => level !== "debug").length, 0, "no noise");
    });
  }
}

for (const [when, point] of Object.entries(LATE)) {
  for (const how of ["closeWrite", "close", "reset"] as const) {
    Deno.test(`Session frees both sides when the client goes (${how}) ${when}`, async () => {
      const world = await bring(point, expectEndOrReset);
      await world.client.transport[how]();
      await world.over;
      assert.deepEqual(residueOf(world), []);
    });
  }
  for (const how of ["close", "reset"] as const) {
    Deno.test(`Session tells 08006 when the server goes (${how}) ${when}`, async () => {
      const { promise: go, resolve } = Promise.withResolvers<void>();
      const world = await bring(point, async (server) => {
        await go;
        server.transport[how]();
      });
      resolve();
      const said = splitMessages(await world.client.rest());
      const fields = errorFields(said.at(-1)!);
      assert.deepEqual([fields.S, fields.C], ["FATAL", "08006"]);
      assert(!said.some((one) => one[0] === 0x5a), "ReadyForQuery never reached the client");
      await world.client.transport.closeWrite();
      await world.over;
      assert.deepEqual(residueOf(world), []);
    });
  }
}

Deno.test("Session gives up dialling when the client goes", async () => {
  let aborted = false;
  const { promise: dialled, resolve } = Promise.withResolvers<void>();
  const world = startSession({
    handshakeMsMax: NEVER_MS,
    dial: (signal) => {
      resolve();
      return new Promise((_, reject) => {
        signal.addEventListener("abort", () => {
          aborted = true;
          reject(signal.reason);
        });
      });
    },
  });
  await world.client.send(STARTUP);
  await dialled;
  await world.client.transport.closeWrite();
  await world.over;
  assert(aborted);
  assert.deepEqual(residueOf(world), []);
});

Deno.test("Session takes a Terminate at the password prompt for what it is", async () => {
  const world = await bring(LATE["at the password prompt"]!, expectEndOrReset);
  await world.client.send(TERMINATE);
  await world.over;
  assert.deepEqual(residueOf(world), []);
  assert(!world.log.some(({ level }) => level === "warn"));
});

Deno.test("Session passes the server's refusal on at each point, and nothing behind it", async () => {
  for (const [when, point] of Object.entries(LATE)) {
    if (when.startsWith("inside")) continue; // an error cannot stand inside a message
    if (when.startsWith("before the server")) continue; // its first word: tests/session/handshake
    const world = await bring(point, async (server) => {
      await server.send(errorResponse("57P01", "terminating connection"));
      server.transport.close();
    });
    const said = splitMessages(await world.client.rest());
    assert.equal(errorFields(said.at(-1)!).C, "57P01", when);
    assert.equal(said.filter((one) => one[0] === 0x45).length, 1, `${when}: told once`);
    await world.client.transport.closeWrite();
    await world.over;
    assert.deepEqual(residueOf(world), [], when);
  }
});

const SLOW: Record<string, readonly [point: Point | null, phase: string]> = {
  "startup packet": [null, "waiting for the client's startup packet"],
  "first word": [
    LATE["before the server's first word"]!,
    "waiting for the upstream server to authenticate",
  ],
  password: [
    LATE["at the password prompt"]!,
    "waiting for the client to answer the authentication request",
  ],
  greeting: [LATE["in the greeting"]!, "waiting for the upstream server to become ready"],
  context: [LATE["while the context is confirmed"]!, "establishing the session context"],
};

for (const [what, [point, phase]] of Object.entries(SLOW)) {
  Deno.test(`Session names the phase when the ${what} takes too long`, async () => {
    const world = startSession({
      handshakeMsMax: 40,
      servers: [async (server) => {
        await point!.server(server);
        await server.rest();
      }],
    });
    await point?.client(world.client);
    const fields = errorFields(splitMessages(await world.client.rest()).at(-1)!);
    assert.deepEqual([fields.S, fields.C], ["FATAL", "08006"]);
    assert.equal(fields.M, `handshake timed out after 0.04 s while ${phase}`);
    await world.client.transport.closeWrite();
    await world.over;
    assert.deepEqual(residueOf(world), []);
  });
}

Deno.test("Session names the address when connecting takes too long", async () => {
  const world = startSession({
    handshakeMsMax: 40,
    dial: (signal) =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
  });
  await world.client.send(STARTUP);
  const fields = errorFields(await world.client.expect("E"));
  assert.equal(fields.C, "08006");
  assert.match(fields.M!, /while connecting to the upstream server at db\.test:5432$/);
  await world.client.transport.closeWrite();
  await world.over;
});
