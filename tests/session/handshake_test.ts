// The handshake around the login: encryption requests, bypass, refusals, the second attempt.

import { strict as assert } from "node:assert";
import { PgError } from "../../src/codec/error.ts";
import {
  AUTHENTICATION_OK,
  cancelRequest,
  errorFields,
  errorResponse,
  GSSENC_REQUEST,
  join,
  readyForQuery,
  SSL_REQUEST,
  startup,
  startupPairs,
} from "../support/messages.ts";
import type { ScriptedPeer } from "../support/scripted_peer.ts";
import {
  GREETING,
  residueOf,
  type ServerScript,
  serveTrust,
  startSession,
  STARTUP,
  untilTheEnd,
  type World,
} from "../support/session_world.ts";

async function leave(world: World): Promise<void> {
  await world.client.transport.closeWrite();
  await world.over;
  assert.deepEqual(residueOf(world), []);
}

async function expectError(client: ScriptedPeer): Promise<Record<string, string>> {
  const fields = errorFields(await client.expect("E"));
  await client.expectEnd();
  return fields;
}

/** A server whose first word is this refusal. */
function refuse(sqlState: string, primary: string): ServerScript {
  return async (server) => {
    await server.expectPacket();
    await server.send(errorResponse(sqlState, primary));
    server.transport.close();
  };
}

Deno.test("handshake answers N to both encryption requests, then goes on", async () => {
  for (const requests of [[SSL_REQUEST, GSSENC_REQUEST], [GSSENC_REQUEST, SSL_REQUEST]]) {
    const world = startSession({ wire: { cut: () => 1 } });
    for (const request of requests) {
      await world.client.send(request);
      assert.deepEqual(await world.client.expectBytes(1), Uint8Array.of(0x4e));
    }
    await world.client.send(STARTUP);
    await world.client.expectAll("RSKZ");
    await leave(world);
  }
});

Deno.test("handshake refuses bytes behind an SSLRequest before it dials", async () => {
  const world = startSession();
  await world.client.send(join(SSL_REQUEST, STARTUP));
  assert.equal((await expectError(world.client)).C, "08P01");
  await leave(world);
  assert.equal(world.upstreamSides.length, 0);
});

const REFUSED: Record<string, readonly [parameters: Record<string, string>, sqlState: string]> = {
  "no user": [{ database: "shop" }, "08004"],
  "an empty user": [{ user: "" }, "08004"],
  "a user without a tenant": [{ user: "app_user" }, "28000"],
  "another tenant in options": [
    { user: "app.acme", options: "-c app.current_tenant_id=globex" },
    "42501",
  ],
  "a role": [{ user: "app.acme", ROLE: "postgres" }, "42501"],
  replication: [{ user: "app.acme", replication: "database" }, "0A000"],
};

for (const [what, [parameters, sqlState]] of Object.entries(REFUSED)) {
  Deno.test(`handshake refuses ${what} before it dials`, async () => {
    const world = startSession();
    await world.client.send(startup(parameters));
    const fields = await expectError(world.client);
    assert.deepEqual([fields.S, fields.C], ["FATAL", sqlState]);
    await leave(world);
    assert.equal(world.upstreamSides.length, 0);
  });
}

Deno.test("handshake passes a bypass user's packet on byte for byte and sets nothing", async () => {
  const packet = startup([["user", "postgres"], ["replication", "1"], ["role", "x"], [
    "options",
    "-c a.b=",
  ]], 0x3_0002);
  const world = startSession({
    servers: [async (server) => {
      assert.deepEqual(await server.expectPacket(), packet);
      await server.send(AUTHENTICATION_OK, GREETING, readyForQuery());
      assert.equal(await server.next(), null, "nobody but the client speaks to this server");
      server.transport.close();
    }],
  });
  await world.client.send(packet);
  await world.client.expectAll("RSKZ");
  assert.equal(world.session.facts?.tenant, null);
  await leave(world);
});

Deno.test("handshake connects once more without the context's parameters, and warns", async () => {
  for (const sqlState of ["08P01", "0A000", "22023", "42704"]) {
    const packets: [string, string][][] = [];
    const second = serveTrust();
    const world = startSession({
      servers: [
        async (server) => {
          packets.push(startupPairs(await server.expectPacket()));
          await server.send(errorResponse(sqlState, "unsupported startup parameter: app.x"));
          server.transport.close();
        },
        second,
      ],
    });
    await world.client.send(STARTUP);
    await world.client.expectAll("RSKZ");
    await leave(world);
    assert.equal(world.upstreamSides.length, 2);
    assert.deepEqual(packets[0]!.slice(-2), [["app.current_tenant_id", "acme"], ["role", "app"]]);
    const warnings = world.log.filter(({ level }) => level === "warn");
    assert.equal(warnings.length, 1);
    assert.equal(warnings[0]!.fields["sqlstate"], sqlState);
  }
});

Deno.test("handshake's second attempt has the client's own parameters and no others", async () => {
  let pairs: [string, string][] = [];
  const world = startSession({
    servers: [refuse("08P01", "unsupported"), async (server) => {
      pairs = startupPairs(await server.expectPacket());
      server.transport.close();
    }],
  });
  await world.client.send(STARTUP);
  assert.equal((await expectError(world.client)).C, "08006");
  await leave(world);
  const expected = [["user", "app"], ["database", "shop"], ["application_name", "test"]];
  assert.deepEqual(pairs, expected);
});

Deno.test("handshake tries twice and not a third time", async () => {
  const world = startSession({ servers: [refuse("08P01", "unsupported startup parameter")] });
  await world.client.send(STARTUP);
  assert.equal((await expectError(world.client)).M, "unsupported startup parameter");
  await leave(world);
  assert.equal(world.upstreamSides.length, 2);
});

for (const sqlState of ["28P01", "28000", "3D000", "53300", "57P03"]) {
  Deno.test(`handshake passes the server's ${sqlState} on and does not try again`, async () => {
    const world = startSession({ servers: [refuse(sqlState, "no")] });
    await world.client.send(STARTUP);
    assert.deepEqual(await expectError(world.client), {
      S: "FATAL",
      V: "FATAL",
      C: sqlState,
      M: "no",
    });
    await leave(world);
    assert.equal(world.upstreamSides.length, 1);
  });
}

Deno.test("handshake does not try again when the server has spoken to the client", async () => {
  const world = startSession({
    servers: [async (server) => {
      await server.expectPacket();
      await server.send(AUTHENTICATION_OK, errorResponse("22023", "late"));
      server.transport.close();
    }],
  });
  await world.client.send(STARTUP);
  await world.client.expect("R");
  assert.equal((await expectError(world.client)).M, "late");
  await leave(world);
  assert.equal(world.upstreamSides.length, 1);
});

Deno.test("handshake never tries again for a bypass user", async () => {
  const world = startSession({ servers: [refuse("08P01", "no")] });
  await world.client.send(startup({ user: "postgres" }));
  assert.equal((await expectError(world.client)).C, "08P01");
  await leave(world);
  assert.equal(world.upstreamSides.length, 1);
});

Deno.test("handshake passes on why it could not connect, and calls anything else a bug", async () => {
  const refusal = new PgError("08001", "could not connect to db.test:5432", {
    hint: "Look there.",
  });
  const world = startSession({ dial: () => Promise.reject(refusal) });
  await world.client.send(STARTUP);
  const fields = await expectError(world.client);
  assert.equal(fields.C, "08001");
  assert.equal(fields.M, refusal.message);
  assert.equal(fields.H, "Look there.");
  await leave(world);

  const broken = startSession({ dial: () => Promise.reject(new Error("secret")) });
  await broken.client.send(STARTUP);
  assert.equal((await expectError(broken.client)).M, "internal error in pgvpd");
  await leave(broken);
  assert(broken.log.some(({ level }) => level === "error"), "it is not taken for a lost client");
});

const FULL = new PgError("53300", "too many clients already");

Deno.test("handshake tells a refused client behind its SSLRequest and startup packet", async () => {
  const world = startSession({ refusal: FULL });
  await world.client.send(SSL_REQUEST);
  await world.client.expectBytes(1);
  await world.client.send(STARTUP);
  assert.equal((await expectError(world.client)).C, "53300");
  await leave(world);
  assert.equal(world.upstreamSides.length, 0);
});

for (const keySize of [4, 256]) {
  for (const refusal of [null, FULL]) {
    const house = refusal === null ? "" : ", though the house is full";
    Deno.test(`handshake passes a cancel request with a ${keySize}-byte key on${house}`, async () => {
      const request = cancelRequest(4711, new Uint8Array(keySize).fill(9));
      let passedOn = false;
      const world = startSession({
        refusal,
        servers: [async (server) => {
          assert.deepEqual(await server.expectBytes(request.length), request);
          passedOn = true;
          server.transport.close();
        }],
      });
      await world.client.send(SSL_REQUEST);
      await world.client.expectBytes(1);
      await world.client.send(request);
      await world.client.expectEnd();
      assert(passedOn, "the client is let go when the server has taken it");
      await leave(world);
    });
  }
}

Deno.test("handshake passes a failed confirmation on as FATAL and never says ReadyForQuery", async () => {
  const world = startSession({
    servers: [async (server) => {
      await server.expectPacket();
      await server.send(AUTHENTICATION_OK, GREETING, readyForQuery());
      await server.expectAll("PBECS");
      await server.send(
        errorResponse("22023", 'role "app" does not exist', "ERROR"),
        readyForQuery(),
      );
      await untilTheEnd(server);
    }],
  });
  await world.client.send(STARTUP);
  await world.client.expectAll("RSK");
  const fields = await expectError(world.client);
  assert.deepEqual([fields.S, fields.C], ["FATAL", "22023"]);
  assert.match(fields.M!, /session context: role "app" does not exist/);
  await leave(world);
});
