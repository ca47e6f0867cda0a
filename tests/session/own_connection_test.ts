// A connection of the client's own whose context is sealed: nothing is told before it is proved,
// and what is lent ends with the client.

import { strict as assert } from "node:assert";
import { SealKey } from "../../src/auth/seal.ts";
import { PgError } from "../../src/codec/error.ts";
import { SessionContext } from "../../src/context/context.ts";
import { Inbox } from "../../src/net/buffers.ts";
import { CancelKeys } from "../../src/session/cancel_keys.ts";
import { Deadline } from "../../src/session/deadline.ts";
import { lendOwn } from "../../src/session/own_connection.ts";
import { contextReplies } from "../support/context_message.ts";
import { memoryPair } from "../support/memory_transport.ts";
import {
  cancelRequest,
  commandComplete,
  dataRow,
  join,
  message,
  messageTypes,
  parameterStatus,
  readyForQuery,
  text,
} from "../support/messages.ts";
import { ScriptedPeer } from "../support/scripted_peer.ts";
import { queryReplies } from "../support/server_world.ts";

const CONTEXT = new SessionContext([{ name: "app.tenant", value: "acme" }], "app");
const SEALING = { keys: [SealKey.random("k1")], ttlMs: 60_000 };
const SECRET = Uint8Array.of(1, 2, 3, 4);
const NOBODY = { cancel: () => Promise.resolve() };

/** The replies to a token. */
function sealed(value: string): Uint8Array {
  return join(
    ...[message("3"), message("1"), message("2"), dataRow([text(""), text(value)])],
    ...[commandComplete("SELECT 1"), message("3"), readyForQuery()],
  );
}

function world(cancelKeys: CancelKeys | null = null) {
  const [near, far] = memoryPair({});
  const [transport, serverEnd] = memoryPair({});
  const client = new Inbox(near, 4096);
  const upstream = new Inbox(transport, 4096);
  const server = new ScriptedPeer(serverEnd);
  const deadline = new Deadline(60_000, "testing");
  const login = {
    ...{ client, upstream, context: CONTEXT },
    cancelRequest: cancelRequest(4711, SECRET),
  };
  const lending = () => lendOwn(login, () => SEALING, cancelKeys, NOBODY, deadline);
  return { lending, server, upstream, transport, client: new ScriptedPeer(far), deadline };
}

type World = ReturnType<typeof world>;

async function answer({ server }: World, value = "acme"): Promise<void> {
  await server.expectAll("PBECS");
  await server.send(...queryReplies("4711 5001 1000000000"));
  await server.expectAll("PBECSCPBECS");
  await server.send(parameterStatus("search_path", "x"), contextReplies(["acme", "app"]));
  await server.send(sealed(value));
}

Deno.test("own connection: the client may speak when context and seal are confirmed", async () => {
  const each = world();
  using _deadline = each.deadline;
  const lending = each.lending();
  await answer(each);
  const { lease, cancelKey } = await lending;
  const told = [await each.client.next(), await each.client.next()];
  assert.equal(messageTypes(join(...told.map((one) => one!))), "SZ");
  const { member } = lease;
  assert.equal(member.confirmedContext, CONTEXT);
  assert.deepEqual([member.processId, member.isDedicated, member.isSealDue], [4711, true, false]);
  cancelKey[Symbol.dispose]();
  lease.giveBack();
  await each.server.expect("X");
  await each.server.expectEnd();
});

Deno.test("own connection: what the server said before is not lost", async () => {
  const each = world();
  using _deadline = each.deadline;
  const half = parameterStatus("TimeZone", "UTC");
  await each.server.send(half.subarray(0, 7));
  await each.upstream.fill();
  const pending = each.upstream.fill();
  const lending = each.lending();
  await each.server.send(half.subarray(7));
  await pending;
  await answer(each);
  const { lease } = await lending;
  assert.equal(lease.member.backend.parameters.get("TimeZone"), "UTC");
  lease.discard("test");
  assert(each.transport.closed);
});

Deno.test("own connection: a cancel key leads to the session while it lasts", async () => {
  const keys = new CancelKeys();
  const each = world(keys);
  using _deadline = each.deadline;
  const lending = each.lending();
  await answer(each);
  const { lease, cancelKey } = await lending;
  const request = cancelRequest(4711, SECRET);
  assert.equal(keys.find(request), NOBODY);
  cancelKey[Symbol.dispose]();
  assert.equal(keys.find(request), null);
  lease[Symbol.dispose]();
});

Deno.test("own connection: nothing is told when the database does not believe it", async () => {
  const each = world();
  using _deadline = each.deadline;
  const lending = each.lending().catch((error) => error);
  await answer(each, "globex");
  await each.server.expectAll("PBECS");
  await each.server.send(...queryReplies("4711 5001 1000000000"));
  await each.server.expectAll("CPBECS");
  await each.server.send(sealed("globex"));
  const error = await lending;
  assert(error instanceof PgError);
  assert.equal(error.sqlState, "42501");
  assert.equal(each.client.unread, 0);
  each.upstream.transport.close();
});
