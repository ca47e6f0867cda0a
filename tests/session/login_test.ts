// The login, relayed: every method, any number of rounds, any size, cut anywhere.

import { strict as assert } from "node:assert";
import { contextReplies, readContextMessage, requestedValues } from "../support/context_message.ts";
import {
  authentication,
  AUTHENTICATION_OK,
  CLEARTEXT_PASSWORD,
  cstring,
  errorFields,
  errorResponse,
  join,
  message,
  parameterStatus,
  password,
  query,
  readyForQuery,
  sasl,
  startup,
  startupPairs,
  TERMINATE,
  text,
} from "../support/messages.ts";
import { Random } from "../support/random.ts";
import {
  confirmContext,
  GREETING,
  residueOf,
  type ServerScript,
  startSession,
  STARTUP,
  untilTheEnd,
  type World,
  type WorldOptions,
} from "../support/session_world.ts";

/** One round: what the server asks, and what the client answers (null: nothing). */
type Round = readonly [ask: Uint8Array, answer: Uint8Array | null];

/** How the streams are cut: whole, byte by byte, at seeded random places. */
const CUTS: Record<string, () => NonNullable<WorldOptions["wire"]>> = {
  whole: () => ({}),
  "byte by byte": () => {
    let reads = 0; // not all of 60 KB, which takes seconds, but every header and what follows
    return { cut: () => reads++ % 500 < 480 ? 1 : 8_000 };
  },
  "at random": () => {
    const random = new Random(20261123);
    return { cut: () => random.chance(0.5) ? random.integer(1, 9) : random.integer(1, 5_000) };
  },
};

function serve(rounds: readonly Round[]): ServerScript {
  return async (server) => {
    await server.expectPacket();
    for (const [ask, answer] of rounds) {
      await server.send(ask);
      if (answer !== null) assert.deepEqual(await server.expect("p"), answer);
    }
    await server.send(AUTHENTICATION_OK, GREETING, readyForQuery());
    await confirmContext(server);
    assert.deepEqual(await server.expect("Q"), query("SELECT 1"));
    await server.send(readyForQuery());
    await server.expect("X");
    await server.expectEnd();
    server.transport.close();
  };
}

async function logIn(world: World, rounds: readonly Round[]): Promise<void> {
  const { client } = world;
  await client.send(STARTUP);
  for (const [ask, answer] of rounds) {
    assert.deepEqual(await client.expect("R"), ask);
    if (answer !== null) await client.send(answer);
  }
  await client.expectAll("RSKZ");
  await client.send(query("SELECT 1"));
  await client.expect("Z");
  await client.send(TERMINATE);
  await client.transport.closeWrite();
  await client.expectEnd();
  await world.over;
  assert.deepEqual(residueOf(world), []);
}

const SIXTY_KB = new Uint8Array(60_000).fill(0x61);
const HUNDRED_KB = new Uint8Array(100_000).fill(0x62);

const METHODS: Record<string, readonly Round[]> = {
  trust: [],
  cleartext: [[CLEARTEXT_PASSWORD, password("secret")]],
  MD5: [[authentication(5, text("salt")), password("md5" + "0".repeat(32))]],
  "SCRAM in three rounds": [
    [sasl("SCRAM-SHA-256"), message("p", cstring("SCRAM-SHA-256"), text("n,,n=,r=abc"))],
    [authentication(11, text("r=abcdef,s=c2FsdA==,i=4096")), message("p", text("c=biws,p=x"))],
    [authentication(12, text("v=cnNlcg==")), null],
  ],
  "GSSAPI in many rounds": [
    [authentication(7), message("p", text("token 0"))],
    ...Array.from({ length: 9 }, (_, index): Round => [
      authentication(8, text(`challenge ${index}`)),
      message("p", text(`token ${index + 1}`)),
    ]),
  ],
  "a method of a later version": [[authentication(4711, text("?")), message("p", text("!"))]],
  "an empty answer": [[authentication(11), message("p")]],
  "GSSContinue as last step": [
    [authentication(7), message("p", text("token"))],
    [authentication(8, text("done")), null],
  ],
  "60 KB both ways": [[authentication(8, SIXTY_KB), message("p", SIXTY_KB)]],
  "100 KB from the server": [[authentication(8, HUNDRED_KB), message("p", text("ok"))]],
};

for (const [method, rounds] of Object.entries(METHODS)) {
  for (const [cut, wire] of Object.entries(CUTS)) {
    Deno.test(`LoginRelay relays ${method}, cut ${cut}`, async () => {
      await logIn(startSession({ servers: [serve(rounds)], wire: wire() }), rounds);
    });
  }
}

for (const [cut, wire] of Object.entries(CUTS)) {
  Deno.test(`LoginRelay strips SCRAM-SHA-256-PLUS from the list, cut ${cut}`, async () => {
    const answer = message("p", cstring("SCRAM-SHA-256"), text("n,,"));
    const world = startSession({
      servers: [serve([[sasl("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"), answer]])],
      wire: wire(),
    });
    await logIn(world, [[sasl("SCRAM-SHA-256"), answer]]);
  });
}

Deno.test("LoginRelay forwards NegotiateProtocolVersion, notices and early settings", async () => {
  const early = join(message("v", new Uint8Array(8)), parameterStatus("a", "b"));
  const notice = errorResponse("01000", "hello", "NOTICE", "N");
  const world = startSession({
    servers: [async (server) => {
      const packet = await server.expectPacket();
      assert.deepEqual(packet.subarray(4, 8), Uint8Array.of(0, 3, 0, 99), "the version is kept");
      await server.send(early, AUTHENTICATION_OK, notice, GREETING, readyForQuery());
      await confirmContext(server);
      await untilTheEnd(server);
    }],
  });
  await world.client.send(startup({ user: "app.acme", "_pq_.x": "1" }, 0x3_0063));
  await world.client.expectAll("vSRNSKZ");
  world.client.transport.close();
  await world.over;
});

Deno.test("LoginRelay sends the client's parameters in order, user rewritten, context last", async () => {
  let sent: [string, string][] = [];
  const world = startSession({
    contextVariables: ["app.tenant", "app.org"],
    setRole: "App-User",
    servers: [async (server) => {
      sent = startupPairs(await server.expectPacket());
      server.transport.close();
    }],
  });
  await world.client.send(
    startup([["client_encoding", "UTF8"], ["user", "app.acme:"], ["options", "-c x.y=1"]]),
  );
  await world.client.expect("E");
  world.client.transport.close();
  await world.over;
  assert.deepEqual(sent, [
    ["client_encoding", "UTF8"],
    ["user", "app"],
    ["options", "-c x.y=1"],
    ["app.tenant", "acme"],
    ["app.org", ""],
    ["role", "App-User"],
  ]);
});

Deno.test("LoginRelay gives a query pipelined behind the startup packet to nobody before the context is confirmed", async () => {
  const seen: string[] = [];
  const world = startSession({
    servers: [async (server) => {
      await server.expectPacket();
      await server.send(AUTHENTICATION_OK, GREETING, readyForQuery());
      const request = await server.expectAll("PBECS");
      seen.push("context asked for");
      await new Promise((resolve) => setTimeout(resolve, 30)); // time for a mistake
      assert.equal(server.unread, 0, "the client's query came before the confirmation");
      await server.send(contextReplies(requestedValues(readContextMessage(join(...request)))));
      seen.push("context confirmed");
      await server.expect("Q");
      seen.push("query");
      await untilTheEnd(server);
    }],
  });
  await world.client.send(join(STARTUP, query("SELECT 1")));
  await world.client.expectAll("RSKZ");
  await world.client.transport.closeWrite();
  await world.over;
  assert.deepEqual(seen, ["context asked for", "context confirmed", "query"]);
});

for (
  const [what, early] of Object.entries({
    "a Query": query("SELECT 1"),
    "a Sync": message("S"),
    "a second startup packet": STARTUP,
    "a CopyData": message("d"),
  })
) {
  Deno.test(`LoginRelay refuses ${what} in place of the password`, async () => {
    const world = startSession({
      servers: [async (server) => {
        await server.expectPacket();
        await server.send(CLEARTEXT_PASSWORD);
        await server.expectEnd(); // nothing of it came through
      }],
    });
    await world.client.send(STARTUP);
    await world.client.expect("R");
    await world.client.send(early);
    const fields = errorFields(await world.client.expect("E"));
    assert.equal(fields.C, "08P01");
    await world.client.expectEnd();
    await world.client.transport.closeWrite();
    await world.over;
    assert.deepEqual(residueOf(world), []);
  });
}

for (const user of ["app.acme", "postgres"]) {
  Deno.test(`LoginRelay refuses a second startup packet behind trust (${user})`, async () => {
    const world = startSession({
      servers: [async (server) => {
        await server.expectPacket();
        await server.send(AUTHENTICATION_OK, GREETING, readyForQuery());
        if (user !== "postgres") await confirmContext(server);
        await server.expectEnd();
      }],
    });
    await world.client.send(join(startup({ user }), startup({ user: "app.globex" })));
    const said = new TextDecoder().decode(await world.client.rest());
    assert(said.includes("C08P01") && said.includes("second startup packet"), said);
    assert(!said.includes("Z\0\0\0\x05I"), "ReadyForQuery never reaches the client");
    await world.client.transport.closeWrite();
    await world.over;
    assert.deepEqual(residueOf(world), []);
  });
}

for (const length of [0, 3, -1, 65_536, 2 ** 31 - 1]) {
  Deno.test(`LoginRelay refuses a password message of length ${length} from its header`, async () => {
    const world = startSession({
      servers: [async (server) => {
        await server.expectPacket();
        await server.send(CLEARTEXT_PASSWORD);
        await server.expectEnd();
      }],
    });
    await world.client.send(STARTUP);
    await world.client.expect("R");
    const header = new Uint8Array(5);
    header[0] = 0x70;
    new DataView(header.buffer).setInt32(1, length);
    await world.client.send(header);
    assert.equal(errorFields(await world.client.expect("E")).C, "08P01");
    await world.client.transport.closeWrite();
    await world.over;
    assert.deepEqual(residueOf(world), []);
  });
}

Deno.test("LoginRelay keeps a query pipelined behind the password until the client may speak", async () => {
  const rounds: Round[] = [[CLEARTEXT_PASSWORD, password("secret")]];
  const world = startSession({ servers: [serve(rounds)], wire: { cut: () => 3 } });
  await world.client.send(STARTUP);
  await world.client.expect("R");
  await world.client.send(join(password("secret"), query("SELECT 1"), TERMINATE));
  await world.client.expectAll("RSKZZ");
  await world.client.transport.closeWrite();
  await world.over;
});
