// Fuzz: strangers and clients of a pool say what nearly is the protocol, cut anywhere. Whatever
// comes, the session ends, the pool's place comes back, nothing passes before the password is
// proved, and no bug is logged.

import { strict as assert } from "node:assert";
import { PgError } from "../../src/codec/error.ts";
import { SqlState } from "../../src/codec/codes.ts";
import { Pool } from "../../src/pool/pool.ts";
import { PooledBackend } from "../../src/pool/pooled_backend.ts";
import { AddressLimit } from "../../src/session/address_limit.ts";
import type { AuthenticationMethod } from "../../src/session/authentication.ts";
import { CancelKeys } from "../../src/session/cancel_keys.ts";
import { ConfiguredCredentials } from "../../src/session/credentials.ts";
import type { Pooling } from "../../src/session/lending.ts";
import { contextReplies, readContextMessage, requestedValues } from "../support/context_message.ts";
import { FUZZ_MS, FuzzFailure, mutated } from "../support/fuzz.ts";
import { memoryPair } from "../support/memory_transport.ts";
import {
  AUTHENTICATION_OK,
  BACKEND_KEY_DATA,
  commandComplete,
  cstring,
  dataRow,
  errorResponse,
  int16,
  int32,
  join,
  message,
  parameterStatus,
  password,
  query,
  readyForQuery,
  startup,
  TERMINATE,
  text,
} from "../support/messages.ts";
import { firstSeed, Random, randomPieces } from "../support/random.ts";
import { ScriptedPeer } from "../support/scripted_peer.ts";
import { startSession } from "../support/session_world.ts";
import { poolingDefaults } from "../support/pooling_defaults.ts";

const SECRET = "secret";
const MARKED = "client's own words";

/** A server that serves pgvpd, and answers clients with little. Remembers what it was asked. */
class Server {
  readonly heard: string[] = [];

  readonly connect = () => {
    const [near, far] = memoryPair({ peers: ["pgvpd", "server"] });
    this.#serve(new ScriptedPeer(far)).catch(() => {}).finally(() => far.close());
    return Promise.resolve({ transport: near, encrypted: false, endPoint: null });
  };

  async #serve(server: ScriptedPeer): Promise<void> {
    await server.expectPacket();
    await server.send(AUTHENTICATION_OK, parameterStatus("server_version", "18.4"));
    await server.send(BACKEND_KEY_DATA, readyForQuery());
    let batch: Uint8Array[] = [];
    for (let next = await server.next(); next !== null; next = await server.next()) {
      const words = new TextDecoder("latin1").decode(next);
      this.heard.push(words);
      switch (words[0]) {
        case "X":
          return;
        case "Q":
          if (words.includes("DISCARD ALL")) await server.send(commandComplete("DISCARD ALL"));
          else await server.send(commandComplete("SELECT 0"));
          await server.send(readyForQuery());
          break;
        case "S":
          await server.send(...this.#answer(batch), readyForQuery());
          batch = [];
          break;
        case "P":
        case "B":
        case "D":
        case "E":
        case "C":
          batch.push(next);
          break;
        case "H":
        case "d":
        case "c":
        case "f":
          break;
        default:
          await server.send(errorResponse("08P01", "invalid frontend message type"));
          return;
      }
    }
  }

  /** To pgvpd's own questions what it wants to hear, to a client an error. */
  #answer(batch: readonly Uint8Array[]): Uint8Array[] {
    const sql = new TextDecoder("latin1").decode(batch[0] ?? new Uint8Array());
    if (sql.includes("set_config")) {
      return [contextReplies(requestedValues(readContextMessage(join(...batch, message("S")))))]
        .map((replies) => replies.subarray(0, replies.length - readyForQuery().length));
    }
    return batch.length === 0 ? [] : [errorResponse("42601", "syntax error", "ERROR")];
  }
}

interface World {
  readonly pooling: Pooling;
  readonly pool: Pool<PooledBackend>;
  readonly server: Server;
}

function world(method: AuthenticationMethod): World {
  const server = new Server();
  const pool = new Pool<PooledBackend>("fuzz", {
    size: 1,
    minIdle: 0,
    maxWaiting: 10,
    checkoutTimeoutMs: 3_000,
    idleTimeoutMs: Infinity,
    maxLifetimeMs: Infinity,
    checkAfterIdleMs: Infinity,
    retryMsMin: 1,
    retryMsMax: 1,
  }, {
    open: (signal) =>
      PooledBackend.open({
        connect: server.connect,
        credentials: { user: "app", password: null },
        database: "shop",
        startupSettings: [],
        provesRoles: false,
      }, signal),
    isAlive: (member, signal) => member.isAlive(signal),
  });
  const pooling: Pooling = {
    ...poolingDefaults(),
    checkout: (_, contextKey, signal) => pool.checkout(contextKey, signal),
    credentials: new ConfiguredCredentials({ users: null, query: null, password: SECRET }),
    method,
    cleartextAnywhere: true,
    roles: null,
    databases: null,
    upstreamUser: null,
    failures: new AddressLimit(1e9),
    badCancels: new AddressLimit(1e9),
    cancelKeys: new CancelKeys(),
  };
  return { pooling, pool, server };
}

const STARTUP = startup({ user: "app.acme", database: "shop", application_name: "fuzz" });
/** What a client may say once it is in, whole. */
const SPOKEN: readonly Uint8Array[] = [
  query(MARKED),
  message("P", cstring(""), cstring(MARKED), int16(0)),
  message("B", cstring(""), cstring(""), int16(0), int16(0), int16(0)),
  message("D", text("P"), cstring("")),
  message("E", cstring(""), int32(0)),
  message("C", text("S"), cstring("")),
  message("S"),
  message("H"),
  message("d", text("x".repeat(300))),
  message("c"),
  message("f", cstring("no")),
  message("F", int32(1), int16(0), int16(0), int16(0)),
  message("p", cstring(SECRET)),
  message("R", int32(0)),
  readyForQuery(),
  dataRow([text("x")]),
  STARTUP,
  TERMINATE,
];
const SASL = message("p", cstring("SCRAM-SHA-256"), int32(11), text("n,,n=,r=abc"));

/** Takes a cancel request as a server does: without a word. */
async function hearCancel(server: ScriptedPeer): Promise<void> {
  await server.expectPacket().catch(() => {});
  server.transport.close();
}

/** One client from its first byte to its last. */
async function oneClient(random: Random): Promise<void> {
  const method = random.pick(["scram", "cleartext", "cleartext", "cleartext", "md5"] as const);
  const { pooling, pool, server } = world(method);
  const knows = method === "cleartext" && random.chance(0.7);
  const spoken = Array.from({ length: random.integer(0, 12) }, () => random.pick(SPOKEN));
  const proof = knows
    ? password(SECRET)
    : random.chance(0.5)
    ? password("wrong")
    : random.pick([SASL, ...SPOKEN.slice(0, 11)]);
  const clean = knows && random.chance(0.5);
  const login = clean
    ? [STARTUP, proof]
    : [STARTUP, proof].map((one) => random.chance(0.3) ? mutated(one, random) : one);
  const rest = join(...spoken);
  const session = startSession({
    servers: [hearCancel],
    pooling,
    superuserBypass: [],
    handshakeMsMax: clean ? 5_000 : 50,
  });
  const { client } = session;
  const reading = client.rest().catch(() => new Uint8Array());
  const say = async (bytes: Uint8Array) => {
    for (const piece of randomPieces(bytes, random, random.pick([1, 7, 400]))) {
      await client.send(piece).catch(() => {});
    }
  };
  await say(join(...login));
  const isJudged = () => session.log.some(({ message }) => /connected|refused/.test(message));
  const mayWait = random.chance(0.5) ? 20 : 0;
  for (let turn = 0; !isJudged() && turn < (clean ? 2_000 : mayWait); turn++) {
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  const said = random.chance(0.5) ? mutated(rest, random) : rest;
  await say(said);
  if (random.chance(0.3)) client.transport.reset();
  else if (random.chance(0.7)) await client.transport.closeWrite();
  else client.transport.close();
  // A client that has ended its side in the middle of a message, and reads on, is waited for.
  const leaving = setTimeout(() => client.transport.close(), 300);
  await session.over;
  clearTimeout(leaving);
  await reading;
  const bugs = session.log.filter(({ level }) => level === "error");
  assert.deepEqual(bugs, [], "no bug was found in pgvpd");
  assert(session.clientSide.closed, "the client's connection is closed");
  // Where the proof was cut away, the password may stand among what is said after it.
  const knowsByLuck = new TextDecoder("latin1").decode(join(...login, said)).includes(SECRET);
  if (!knows && !knowsByLuck) {
    assert(!server.heard.some((words) => words.includes(MARKED)), "nothing before the password");
    assert.equal(pool.stats.checkouts, 0, "a stranger was lent a connection");
  }
  if (clean) assert.equal(pool.stats.checkouts, 1);
  const { active, waiting } = pool.stats;
  assert.deepEqual({ active, waiting }, { active: 0, waiting: 0 }, "its place came back");
  await afterwards(pool);
}

/** The next one is lent a clean connection at once. */
async function afterwards(pool: Pool<PooledBackend>): Promise<void> {
  const gone = new PgError(SqlState.ConnectionFailure, "it takes too long");
  const signal = new AbortController();
  const timer = setTimeout(() => signal.abort(gone), 20_000);
  const lease = await pool.checkout("next", signal.signal);
  clearTimeout(timer);
  assert(lease.member.backend.idle, "it is idle");
  assert.equal(lease.member.confirmedContext, null, "and nobody's");
  lease.giveBack();
  await pool.close();
}

async function inTime(client: Promise<void>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("one client took a minute")), 60_000);
  });
  await Promise.race([client, late]).finally(() => clearTimeout(timer));
}

Deno.test("pool fuzz: no bytes of a client bring a session, a pool or the next client down", async () => {
  const isRepeated = Deno.env.has("FUZZ_SEED");
  const first = firstSeed("FUZZ_SEED");
  const end = performance.now() + 2 * FUZZ_MS;
  const enough = first + 50;
  let seed = first;
  const rejections: unknown[] = [];
  const onRejection = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    rejections.push(event.reason);
  };
  globalThis.addEventListener("unhandledrejection", onRejection);
  try {
    do {
      try {
        await inTime(oneClient(new Random(seed)));
        assert.deepEqual(rejections, [], "no promise was forgotten");
      } catch (error) {
        throw new FuzzFailure(seed, error);
      }
      seed++;
    } while (!isRepeated && (seed <= enough || performance.now() < end));
  } finally {
    globalThis.removeEventListener("unhandledrejection", onRejection);
  }
});
