// Session: what it says to the log, and how it is asked to end.

import { strict as assert } from "node:assert";
import { PgError } from "../../src/codec/error.ts";
import {
  AUTHENTICATION_OK,
  CLEARTEXT_PASSWORD,
  errorFields,
  errorResponse,
  password,
  query,
  readyForQuery,
  TERMINATE,
} from "../support/messages.ts";
import {
  confirmContext,
  establish,
  GREETING,
  residueOf,
  serveTrust,
  startSession,
  STARTUP,
} from "../support/session_world.ts";

const SHUTDOWN = new PgError("57P01", "terminating connection because pgvpd is shutting down");

Deno.test("Session records who connected, who ended it and how much was moved", async () => {
  const world = await establish();
  assert.deepEqual(world.session.facts, { role: "app", database: "shop", tenant: "acme" });
  await world.client.send(TERMINATE);
  await world.client.transport.closeWrite();
  await world.over;
  const records = world.log.filter(({ level }) => level === "info");
  const messages = records.map(({ message }) => message);
  assert.deepEqual(messages, ["client connected", "client disconnected"]);
  const { fields } = records[1]!;
  assert.equal(fields["tenant"], "acme");
  assert.equal(fields["ended_by"], "client");
  assert.equal(fields["bytes_in"], TERMINATE.length);
  assert.equal(fields["bytes_out"], 0);
  assert.deepEqual(residueOf(world), []);
});

Deno.test("Session never records a password", async () => {
  const world = startSession({
    servers: [async (server) => {
      await server.expectPacket();
      await server.send(CLEARTEXT_PASSWORD);
      await server.expect("p");
      await server.send(errorResponse("28P01", "password authentication failed"));
      server.transport.close();
    }],
  });
  await world.client.send(STARTUP);
  await world.client.expect("R");
  await world.client.send(password("hunter2"));
  await world.client.expect("E");
  await world.client.transport.closeWrite();
  await world.over;
  assert(!JSON.stringify(world.log).includes("hunter2"));
  const warning = world.log.find(({ level }) => level === "warn")!;
  assert.equal(warning.fields["sqlstate"], "28P01");
});

Deno.test("Session reports a bug of its own as XX000, loudly, and tells no details", async () => {
  const superuserBypass = {
    includes: () => {
      throw new TypeError("planted");
    },
  } as unknown as string[];
  const world = startSession({ superuserBypass });
  await world.client.send(STARTUP);
  const fields = errorFields(await world.client.expect("E"));
  assert.deepEqual([fields.C, fields.M], ["XX000", "internal error in pgvpd"]);
  await world.client.transport.closeWrite();
  await world.over;
  const [record] = world.log.filter(({ level }) => level === "error");
  assert.match(String(record!.fields["error"]), /planted/);
});

Deno.test("Session drains: told when idle, both sides closed", async () => {
  const world = await establish();
  world.session.drain(SHUTDOWN);
  assert.equal(errorFields(await world.client.expect("E")).C, "57P01");
  world.client.transport.close();
  await world.over;
  assert.deepEqual(residueOf(world), []);
  assert.equal(world.log.at(-1)!.fields["reason"], SHUTDOWN.message);
});

Deno.test("Session drains behind the answer that is under way", async () => {
  const world = await establish({
    servers: [serveTrust(async (server) => {
      await server.expect("Q");
      world.session.drain(SHUTDOWN);
      await server.send(readyForQuery());
      await server.rest();
    })],
  });
  await world.client.send(query("SELECT 1"));
  await world.client.expectAll("ZE");
  world.client.transport.close();
  await world.over;
  assert.deepEqual(residueOf(world), []);
});

Deno.test("Session closes now, in mid-query", async () => {
  const world = await establish();
  await world.client.send(query("SELECT pg_sleep(9)"));
  const closed = world.session.close(SHUTDOWN);
  assert.equal(errorFields(await world.client.expect("E")).C, "57P01");
  world.client.transport.close();
  await closed;
  await world.over;
  assert.deepEqual(residueOf(world), []);
});

for (const end of ["drain", "close"] as const) {
  Deno.test(`Session is over at once when asked to ${end} during the handshake`, async () => {
    const { promise: arrived, resolve } = Promise.withResolvers<void>();
    const world = startSession({
      handshakeMsMax: 60_000,
      servers: [async (server) => {
        await server.expectPacket();
        await server.send(AUTHENTICATION_OK, GREETING, readyForQuery());
        await server.expectAll("PBECS");
        resolve();
        await server.expectEnd();
      }],
    });
    await world.client.send(STARTUP);
    await arrived;
    await world.session[end](SHUTDOWN);
    await world.over;
    assert.deepEqual(residueOf(world), []);
  });
}

Deno.test("Session says goodbye to a client that goes on talking, so that it can read it", async () => {
  const world = startSession({ wire: { capacity: 2_000 } });
  await world.client.send(STARTUP.map((byte, index) => index === 5 ? 9 : byte)); // protocol 9.0
  const talking = world.client.send(query("x".repeat(20_000)));
  assert.equal(errorFields(await world.client.expect("E")).C, "0A000");
  await talking;
  await world.client.transport.closeWrite();
  await world.over;
});

Deno.test("Session lets a client go that does not read its goodbye", async () => {
  const world = startSession({ wire: { capacity: 40 } });
  await world.client.send(STARTUP.map((byte, index) => index === 5 ? 9 : byte));
  await world.over; // FAREWELL_MS_MAX, not for ever
  assert(world.clientSide.closed);
});

Deno.test("Session holds what a server greets with though the client reads late", async () => {
  const world = startSession({
    wire: { capacity: 64 },
    servers: [async (server) => {
      await server.expectPacket();
      await server.send(AUTHENTICATION_OK, ...Array.from({ length: 400 }, () => GREETING));
      await server.send(readyForQuery());
      await confirmContext(server);
      await server.rest().catch(() => {});
    }],
  });
  await world.client.send(STARTUP);
  await world.client.expectAll("R" + "SK".repeat(400) + "Z");
  world.client.transport.close();
  await world.client.rest().catch(() => {});
  await Promise.race([world.over, world.session.close(SHUTDOWN)]);
  await world.over;
});
