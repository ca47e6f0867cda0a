// PooledBackend: opened with proof, established with confirmation, and as new, or closed.

import { strict as assert } from "node:assert";
import { FrontendMessage } from "../../src/codec/codes.ts";
import { PgError } from "../../src/codec/error.ts";
import { SessionContext } from "../../src/context/context.ts";
import { type BackendOptions, PooledBackend } from "../../src/pool/pooled_backend.ts";
import { contextReplies } from "../support/context_message.ts";
import { memoryPair, type MemoryTransport } from "../support/memory_transport.ts";
import {
  AUTHENTICATION_OK,
  BACKEND_KEY_DATA,
  commandComplete,
  errorResponse,
  join,
  message,
  readyForQuery,
  startupPairs,
} from "../support/messages.ts";
import { ScriptedPeer } from "../support/scripted_peer.ts";
import { queryReplies, settled } from "../support/server_world.ts";

const CONTEXT = new SessionContext([{ name: "app.tenant", value: "acme" }], "app");
const CONFIRMED = contextReplies(["acme", "app"]);
const SETTINGS = [{ name: "TimeZone", value: "UTC" }];
const NEVER = new AbortController().signal;
/** The replies to DISCARD ALL and to a new seed. */
const DISCARDED = join(
  ...[commandComplete("DISCARD ALL"), readyForQuery()],
  ...[commandComplete("SET"), readyForQuery()],
);

interface Opening {
  readonly transport: MemoryTransport;
  readonly server: ScriptedPeer;
  readonly options: BackendOptions;
}

function opening(overrides: Partial<BackendOptions> = {}): Opening {
  const [transport, far] = memoryPair({ peers: ["pgvpd", "server"] });
  const options = {
    connect: () => Promise.resolve({ transport, encrypted: false, endPoint: null }),
    credentials: { user: "app", password: null },
    database: "shop",
    startupSettings: [{ name: "search_path", value: "a" }],
    provesRoles: true,
    ...overrides,
  };
  return { transport, server: new ScriptedPeer(far), options };
}

async function greet(server: ScriptedPeer): Promise<Uint8Array> {
  const packet = await server.expectPacket();
  await server.send(AUTHENTICATION_OK, BACKEND_KEY_DATA, readyForQuery());
  return packet;
}

async function prove(server: ScriptedPeer, leavesRowSecurity = "f"): Promise<void> {
  await server.expectAll("PBECS");
  await server.send(...queryReplies(leavesRowSecurity));
}

interface Member extends Opening {
  readonly member: PooledBackend;
}

async function opened(): Promise<Member> {
  const world = opening();
  const opens = PooledBackend.open(world.options, NEVER);
  await greet(world.server);
  await prove(world.server);
  return { ...world, member: await opens };
}

/** One that serves a session. */
async function established(): Promise<Member> {
  const world = await opened();
  const establishing = world.member.establish(CONTEXT, [], NEVER);
  await world.server.expectAll("PBECS");
  await world.server.send(CONFIRMED);
  await establishing;
  const { backend } = world.member;
  backend.consumer = {
    consume: (bytes) => {
      for (let at = 0; at < bytes.length;) at = backend.walk(bytes, at, bytes.length);
      return null;
    },
    lost: () => {},
  };
  return world;
}

function stateOf(error: unknown): string {
  assert.ok(error instanceof PgError, String(error));
  return error.sqlState;
}

/** The server ends the connection. */
const END = new Uint8Array(0);

async function failureOf(promise: Promise<unknown>): Promise<string> {
  return stateOf(await promise.then(() => null, (error) => error));
}

Deno.test("pooled backend: opening says who it is, and has the role proved", async () => {
  const { transport, server, options } = opening();
  const opens = PooledBackend.open(options, NEVER);
  assert.deepEqual(startupPairs(await greet(server)), [
    ["user", "app"],
    ["database", "shop"],
    ["search_path", "a"],
  ]);
  await prove(server);
  const member = await opens;
  assert.equal(member.processId, 4711);
  assert.ok(member.backend.idle && member.confirmedContext === null);
  member.close();
  await server.expect("X");
  await server.expectEnd();
  assert.ok(transport.closed);
});

Deno.test("pooled backend: a role above row-level security is not taken", async () => {
  const { transport, server, options } = opening();
  const opens = failureOf(PooledBackend.open(options, NEVER));
  await greet(server);
  await prove(server, "t");
  assert.equal(await opens, "28000");
  assert.ok(transport.closed);
  // Nor one that a session would take; one that is proved is not asked about again.
  const world = await opened();
  const other = new SessionContext([{ name: "app.tenant", value: "acme" }], "boss");
  const refused = failureOf(world.member.establish(other, [], NEVER));
  await prove(world.server, "t");
  assert.equal(await refused, "28000");
  assert.equal(world.member.confirmedContext, null);
  assert.ok(world.member.backend.idle, "it may serve others");
  world.member.close();
});

Deno.test("pooled backend: a question that the server does not answer well is told as its own", async () => {
  const world = await opened();
  const other = new SessionContext([{ name: "app.tenant", value: "acme" }], "other");
  const refused = failureOf(world.member.establish(other, [], NEVER));
  await world.server.expectAll("PBECS");
  await world.server.send(errorResponse("57014", "statement timeout", "ERROR"), readyForQuery());
  assert.equal(await refused, "57014");
  world.member.close();
});

Deno.test("pooled backend: opening ends when nobody wants it, at every step", async () => {
  for (let step = 0; step < 4; step++) {
    const controller = new AbortController();
    const reason = new Error("nobody waits");
    const world = opening();
    const { options } = world;
    const connect = async (signal: AbortSignal) => {
      const connection = await options.connect(signal);
      if (step === 0) controller.abort(reason); // between two of anybody's listeners
      return connection;
    };
    const opens = PooledBackend.open({ ...options, connect }, controller.signal)
      .then(() => null, (error) => error);
    if (step > 0) await world.server.expectPacket();
    if (step > 1) await world.server.send(AUTHENTICATION_OK, BACKEND_KEY_DATA, readyForQuery());
    if (step > 2) await world.server.expectAll("PBECS");
    controller.abort(reason);
    assert.equal(await opens, reason, `step ${step}`);
    assert.ok(world.transport.closed, `step ${step}`);
  }
});

Deno.test("pooled backend: settings and context in one write, confirmed or refused", async () => {
  const { member, server, transport } = await opened();
  const writes = transport.writes;
  const establishing = member.establish(CONTEXT, SETTINGS, NEVER);
  await server.expectAll("PBECSPBECS");
  assert.equal(transport.writes, writes + 1);
  assert.equal(member.confirmedContext, null, "before the server has confirmed it");
  await server.send(...queryReplies("UTC"), CONFIRMED);
  await establishing;
  assert.equal(member.confirmedContext, CONTEXT);
  const restoring = member.restore(() => Promise.resolve());
  await server.expectAll("PBECSPBECS");
  assert.equal(member.confirmedContext, null);
  await server.send(...queryReplies("UTC"), CONFIRMED);
  await restoring;
  assert.equal(member.confirmedContext, CONTEXT);
  member.close();
});

Deno.test("pooled backend: a setting or a context that is refused leaves it clean, or not used", async () => {
  const bad = errorResponse("22023", "bad", "ERROR");
  const refusals: [string, Uint8Array[], boolean][] = [
    ["22023", [bad, readyForQuery(), CONFIRMED], true],
    ["22023", [...queryReplies("UTC"), bad, readyForQuery()], true],
    ["42501", [...queryReplies("UTC"), contextReplies(["other", "app"])], true],
    ["08P01", [...queryReplies("UTC"), message("1"), readyForQuery()], false],
    ["08P01", [CONFIRMED, ...queryReplies("UTC")], false],
  ];
  for (const [sqlState, replies, isClean] of refusals) {
    const { member, server } = await opened();
    const refused = failureOf(member.establish(CONTEXT, SETTINGS, NEVER));
    await server.expectAll("PBECSPBECS");
    await server.send(join(...replies));
    assert.equal(await refused, sqlState);
    assert.equal(member.confirmedContext, null);
    const resetting = member.reset(NEVER);
    if (isClean) {
      await server.expectAll("QQ");
      await server.send(DISCARDED);
    }
    assert.equal(await resetting, isClean, sqlState);
    member.close();
  }
});

Deno.test("pooled backend: reset waits for exactly its replies", async () => {
  for (const status of ["I", "T", "E"]) {
    const { member, server } = await established();
    member.backend.ledger.request(FrontendMessage.Query);
    await server.send(readyForQuery(status));
    await settled();
    const resetting = member.reset(NEVER);
    if (status !== "I") {
      await server.expect("Q");
      await server.send(commandComplete("ROLLBACK"), readyForQuery());
    }
    assert.match(new TextDecoder().decode(await server.expect("Q")), /DISCARD ALL/);
    await server.expect("Q");
    assert.equal(member.confirmedContext, null);
    await server.send(DISCARDED);
    assert.ok(await resetting, status);
    const aliveness = member.isAlive(NEVER);
    await server.expectAll("PBECS");
    await server.send(...queryReplies(""));
    assert.ok(await aliveness);
    member.close();
  }
});

Deno.test("pooled backend: reset of what is not as it should be says no", async () => {
  const answers: [string, Uint8Array[]][] = [
    ["an error", [errorResponse("25001", "no", "ERROR"), readyForQuery()]],
    ["still in a transaction", [commandComplete("DISCARD ALL"), readyForQuery("T")]],
    ["half a message behind, and the end", [join(DISCARDED, message("N").subarray(0, 4)), END]],
    ["one reply too many", [join(DISCARDED, commandComplete("SELECT 1"))]],
    ["a shifted reply", [message("1"), DISCARDED]],
  ];
  for (const [what, replies] of answers) {
    const { member, server } = await established();
    const resetting = member.reset(NEVER);
    await server.expectAll("QQ");
    for (const bytes of replies) {
      if (bytes === END) server.transport.close();
      else await server.send(bytes);
    }
    assert.equal(await resetting, false, what);
    member.close();
  }
  const { member, server } = await established();
  const resetting = member.reset(NEVER);
  await server.expect("Q");
  server.transport.close();
  assert.equal(await resetting, false, "gone");
});

Deno.test("pooled backend: reset does not begin while something is owed, or half a message came", async () => {
  const states: [string, (world: Member) => Promise<void> | void][] = [
    ["a reply is due", ({ member }) => member.backend.ledger.request(FrontendMessage.Query)],
    ["a batch is open", ({ member }) => member.backend.ledger.request(FrontendMessage.Parse)],
    ["uncertain", ({ member }) => void (member.backend.ledger.uncertain = true)],
    ["half a message", async ({ server }) => {
      await server.send(message("N", new Uint8Array(9)).subarray(0, 4));
      await settled();
    }],
  ];
  for (const [what, change] of states) {
    const world = await established();
    await change(world);
    assert.equal(await world.member.reset(NEVER), false, what);
    assert.equal(world.server.unread, 0, "something was said all the same");
    assert.equal(await world.member.isAlive(NEVER), false);
    assert.equal(await failureOf(world.member.establish(CONTEXT, [], NEVER)), "08006");
    world.member.close();
  }
});

Deno.test("pooled backend: whoever waits for an answer is let go when the signal comes", async () => {
  const questions: [string, (member: PooledBackend, signal: AbortSignal) => Promise<unknown>][] = [
    ["establish", (member, signal) => member.establish(CONTEXT, [], signal).catch(() => false)],
    ["isAlive", (member, signal) => member.isAlive(signal)],
    ["reset", (member, signal) => member.reset(signal)],
  ];
  for (const [what, ask] of questions) {
    for (const isEarly of [true, false]) {
      const { member, transport } = await opened();
      const controller = new AbortController();
      if (isEarly) controller.abort(new Error("too late"));
      const asking = ask(member, controller.signal);
      await settled();
      controller.abort(new Error("too late"));
      assert.equal(await asking, false, what);
      assert.ok(transport.closed, what);
    }
  }
});

Deno.test("pooled backend: a cancel request is sent when something runs, and waited for", async () => {
  const { member, server } = await established();
  const sent: Uint8Array[] = [];
  const arriving = Promise.withResolvers<void>();
  const send = (request: Uint8Array) => (sent.push(request), arriving.promise);
  await member.cancel(send);
  assert.equal(sent.length, 0, "nothing runs");
  member.backend.ledger.request(FrontendMessage.Parse);
  const cancelling = member.cancel(send);
  assert.deepEqual(sent[0]?.subarray(8), BACKEND_KEY_DATA.subarray(5));
  member.backend.ledger.request(FrontendMessage.Sync);
  await server.send(readyForQuery());
  await settled();
  const resetting = member.reset(NEVER);
  await settled();
  assert.equal(server.unread, 0, "reset has not waited for the cancel request");
  arriving.resolve();
  await cancelling;
  await server.expectAll("QQ");
  await server.send(DISCARDED);
  assert.ok(await resetting);
  member.close();
});

Deno.test("pooled backend: after a cancel request that was lost nobody else gets it", async () => {
  const { member, server } = await established();
  member.backend.ledger.request(FrontendMessage.Query);
  await assert.rejects(member.cancel(() => Promise.reject(new Error("timed out"))), /timed out/);
  await server.send(readyForQuery());
  await settled();
  assert.ok(member.backend.idle);
  assert.equal(await member.reset(NEVER), false);
  member.close();
});
