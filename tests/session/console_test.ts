// A client of the console: what it says is answered message by message, and nothing is believed.

import { strict as assert } from "node:assert";
import { AuthenticationRequest, SqlState } from "../../src/codec/codes.ts";
import { PgError } from "../../src/codec/error.ts";
import { type ConsoleAnswer, ControlError } from "../../src/control.ts";
import { Inbox } from "../../src/net/buffers.ts";
import { ConsoleSession } from "../../src/session/console.ts";
import { startSession, untilTheEnd } from "../support/session_world.ts";
import { memoryPair, type MemoryPairOptions } from "../support/memory_transport.ts";
import {
  AUTHENTICATION_OK,
  errorFields,
  join,
  message,
  query,
  startup,
} from "../support/messages.ts";
import { ScriptedPeer } from "../support/scripted_peer.ts";

function world(
  answer: (command: string) => ConsoleAnswer = () => ({ tag: "PAUSE" }),
  options: MemoryPairOptions = {},
) {
  const [near, far] = memoryPair(options);
  const commands: string[] = [];
  const operating = {
    user: "root",
    commands: {
      run: (command: string, { name, via }: { name: string; via: string }) => {
        commands.push(`${name} ${via} ${command}`);
        return answer(command);
      },
    },
  };
  const session = new ConsoleSession(new Inbox(far, 1_000), operating);
  return { client: new ScriptedPeer(near), session, over: session.run(), commands };
}

Deno.test("a command is answered with its tag, an empty one as such", async () => {
  const { client, over, commands } = world((command) => ({ tag: command }));
  await client.send(query("PAUSE"), query(""));
  await client.expectAll("CZIZ");
  await client.send(message("X"));
  await over;
  assert.deepEqual(commands, ["root console PAUSE", "root console "]);
});

Deno.test("a table has a description, its rows, NULLs and numbers, and a notice goes before it", async () => {
  const table = { columns: ["a", "b"], rows: [["x", 1], [null, 2]] };
  const { client, over } = world(() => ({ tag: "SHOW", table, notice: "look" }));
  await client.send(query("SHOW X"));
  const [, description, first, second] = await client.expectAll("NTDDCZ");
  const view = new DataView(description!.buffer, description!.byteOffset);
  assert.equal(view.getInt16(5), 2);
  assert.deepEqual([view.getInt32(5 + 2 + 2 + 6), view.getInt32(5 + 2 + 20 + 2 + 6)], [25, 20]);
  assert.deepEqual([...first!.subarray(5)], [0, 2, 0, 0, 0, 1, 120, 0, 0, 0, 1, 49]);
  assert.deepEqual([...second!.subarray(7, 11)], [255, 255, 255, 255]);
  client.transport.close();
  await over.catch(() => {});
});

Deno.test("what is refused is an error, and the next command is answered", async () => {
  let kind: ControlError["kind"] = "invalid";
  const { client, over } = world(() => {
    throw new ControlError(kind, "no");
  });
  for (const [next, sqlState] of [["invalid", "42601"], ["conflict", "22023"]] as const) {
    kind = next;
    await client.send(query("FOO"));
    const [error] = await client.expectAll("EZ");
    const { S, C, M } = errorFields(error!);
    assert.deepEqual([S, C, M], ["ERROR", sqlState, "no"]);
  }
  await client.send(message("X"));
  await over;
});

Deno.test("an extended query is refused once, up to its Sync", async () => {
  const { client, over, commands } = world();
  await client.send(message("P"), message("B"), message("E"), message("S"), query("PAUSE"));
  const [error] = await client.expectAll("EZCZ");
  assert.equal(errorFields(error!)["C"], "0A000");
  await client.send(message("X"));
  await over;
  assert.equal(commands.length, 1);
});

Deno.test("a message may come in pieces; one that is too long ends the session", async () => {
  const { client, over } = world();
  for (const byte of query("PAUSE")) await client.send(Uint8Array.of(byte));
  await client.expectAll("CZ");
  await client.send(message("Q", new Uint8Array(996)).subarray(0, 5));
  await assert.rejects(over, (error: PgError) => error.sqlState === "08P01");
});

Deno.test("it ends at once when it is told to", async () => {
  const { session, over } = world();
  const reason = new PgError(SqlState.AdminShutdown, "over");
  session.end(reason);
  await assert.rejects(over, (error) => error === reason);
});

const CONSOLE = {
  ...{ users: ["root"], secrets: null, password: "a secret" },
  console: () => ({ run: () => ({ tag: "PAUSE" }) }),
};

Deno.test("only its users are asked for its password, and only for its database", async () => {
  const asked = startSession({ console: CONSOLE });
  await asked.client.send(startup({ user: "root", database: "pgvpd" }));
  const request = await asked.client.expect("R");
  assert.equal(new DataView(request.buffer).getInt32(5), AuthenticationRequest.SASL);
  assert.equal(asked.upstreamSides.length, 0);
  asked.client.transport.close();
  await asked.over;
  for (
    const [user, database] of [["root.acme", "pgvpd"], ["other.x", "pgvpd"], ["root.x", "shop"]]
  ) {
    const servers = [greetAlone];
    const { client, over, upstreamSides } = startSession({ console: CONSOLE, servers });
    await client.send(startup({ user: user!, database: database! }));
    await client.expect("R");
    assert.equal(upstreamSides.length, 1, `${user} is a client of the server`);
    client.transport.close();
    await over;
  }
});

async function greetAlone(server: ScriptedPeer): Promise<void> {
  await server.expectPacket();
  await server.send(AUTHENTICATION_OK);
  await untilTheEnd(server);
}

Deno.test("a session that is told to end while an operator logs in ends", async () => {
  const { session, client, over, log } = startSession({ console: CONSOLE });
  await client.send(startup({ user: "root", database: "pgvpd" }));
  await client.expect("R");
  session.drain(new PgError(SqlState.AdminShutdown, "over"));
  await client.expect("E");
  client.transport.close();
  await over;
  assert(log.some(({ message }) => message === "client let go"));
});

Deno.test("it may be ended behind messages that came at once", async () => {
  const { client, session, over } = world();
  await client.send(join(message("S"), message("S"), message("S")));
  await client.expectAll("ZZZ");
  const reason = new PgError(SqlState.AdminShutdown, "enough");
  session.end(reason);
  await assert.rejects(over, reason);
});

Deno.test("one whose client does not read can be ended", async () => {
  const columns = ["a"];
  const rows = Array.from({ length: 1_000 }, () => ["x".repeat(200)]);
  const answer = () => ({ tag: "SHOW", table: { columns, rows } });
  const { client, session, over } = world(answer, { capacity: 1_000 });
  await client.send(query("SHOW X"));
  await client.transport.read(new Uint8Array(1));
  session.end(new PgError(SqlState.AdminShutdown, "enough"));
  await assert.rejects(over);
});
