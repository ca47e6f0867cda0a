// lend: a client of a pool is let in, given a backend, and greeted; or nothing of it is left.

import { strict as assert } from "node:assert";
import { PgError } from "../../src/codec/error.ts";
import { Inbox } from "../../src/net/buffers.ts";
import type { Lease } from "../../src/pool/pool.ts";
import type { PooledBackend } from "../../src/pool/pooled_backend.ts";
import { AddressLimit } from "../../src/session/address_limit.ts";
import { CancelKeys } from "../../src/session/cancel_keys.ts";
import { Deadline } from "../../src/session/deadline.ts";
import { ClientGone } from "../../src/session/endings.ts";
import { lend, type Lent, type Pooling, type PoolKey } from "../../src/session/lending.ts";
import { memoryPair } from "../support/memory_transport.ts";
import {
  commandComplete,
  errorResponse,
  join,
  message,
  password,
  readyForQuery,
} from "../support/messages.ts";
import {
  type BackendWorld,
  confirm,
  CONTEXT,
  openBackend,
  PARAMETERS,
  settle,
  takeSettings,
} from "../support/pooled_world.ts";
import { ScriptedPeer } from "../support/scripted_peer.ts";
import { poolingDefaults } from "../support/pooling_defaults.ts";

const SILENT = { debug() {}, info() {}, warn() {}, error() {}, with: () => SILENT };
const PEER = "192.0.2.7:5000";
const UTF8 = new TextEncoder();

interface Options extends Partial<Pooling> {
  readonly peer?: string;
  readonly version?: number;
  readonly parameters?: Record<string, string>;
  /** One for each checkout. */
  readonly backends?: readonly BackendWorld[];
}

/** A client that has sent its start-up packet, and pgvpd about to answer. */
function begin(
  { peer = PEER, version = 3 << 16, parameters = {}, backends = [], ...own }: Options,
) {
  const [near, far] = memoryPair({ peers: [peer, "pgvpd"] });
  const fates: string[] = [];
  const keys: PoolKey[] = [];
  const signals: AbortSignal[] = [];
  const pending = Promise.withResolvers<Lease<PooledBackend>>();
  const lease = (member: PooledBackend): Lease<PooledBackend> => ({
    member,
    giveBack: () => fates.push("back"),
    discard: (reason) => fates.push(reason),
    [Symbol.dispose]: () => fates.push("disposed"),
  });
  const pooling: Pooling = {
    ...poolingDefaults(),
    checkout: (key, _contextKey, signal) => {
      keys.push(key);
      signals.push(signal);
      const world = backends[keys.length - 1];
      return world === undefined ? pending.promise : Promise.resolve(lease(world.member));
    },
    credentials: {
      find: ({ user }) =>
        Promise.resolve(
          user === "app.acme"
            ? { name: user, stored: { kind: "cleartext", password: UTF8.encode("right") } }
            : null,
        ),
    },
    method: "cleartext",
    cleartextAnywhere: true,
    roles: null,
    databases: null,
    upstreamUser: null,
    failures: new AddressLimit(2),
    badCancels: new AddressLimit(2),
    cancelKeys: new CancelKeys(),
    ...own,
  };
  const deadline = new Deadline(2_000, "beginning");
  const pairs = { user: "app.acme", ...parameters };
  const message = {
    protocolVersion: version,
    parameters: Object.entries(pairs).map(([name, value]) => ({ name, value: UTF8.encode(value) })),
  };
  const startup = {
    kind: "startup",
    packet: new Uint8Array(0),
    message,
    encryption: null,
  } as const;
  const who = { user: "app.acme", role: "app", database: "shop", context: CONTEXT, startup };
  const target = { cancel: () => Promise.resolve() };
  const done = lend(
    new Inbox(far, 1_000),
    who,
    pooling,
    target,
    deadline,
    SILENT,
  ).finally(() => deadline[Symbol.dispose]());
  done.catch(() => {});
  return { client: new ScriptedPeer(near), done, pooling, fates, keys, signals, pending, lease };
}

async function logIn(client: ScriptedPeer, word = "right"): Promise<void> {
  await client.expect("R");
  await client.send(password(word));
}

async function refused(done: Promise<Lent>, sqlState: string): Promise<PgError> {
  const error = await done.then(() => null, (error) => error);
  assert(error instanceof PgError, String(error));
  assert.equal(error.sqlState, sqlState);
  return error;
}

/** Cleans the connection that is given back. */
async function clean({ server }: BackendWorld): Promise<void> {
  await server.expectAll("QQ");
  const idle = readyForQuery();
  await server.send(join(commandComplete("DISCARD ALL"), idle, commandComplete("SET"), idle));
}

Deno.test("lend greets as a server does, with pgvpd's own key, once the context is there", async () => {
  const world = await openBackend();
  const { client, done, keys, pooling } = begin({ backends: [world] });
  await logIn(client);
  await settle();
  assert.equal(client.unread, 0, "the context is not confirmed yet");
  await confirm(world.server);
  const { cancelKey, lease } = await done;
  const statuses = Object.keys(PARAMETERS).map(() => "S").join("");
  const greeting = await client.expectAll(`R${statuses}KZ`);
  assert.deepEqual(greeting.at(-1), readyForQuery());
  assert.equal(greeting.at(-2)!.length, 13, "a key of four bytes");
  assert.equal(lease.member.confirmedContext, CONTEXT);
  assert.equal(lease.member.contextKey, CONTEXT.key);
  assert.deepEqual(keys, [{ database: "shop", user: "app", startupSettings: [] }]);
  const request = join(new Uint8Array(8), greeting.at(-2)!.subarray(5));
  assert.notEqual(pooling.cancelKeys.find(request), null);
  cancelKey[Symbol.dispose]();
  assert.equal(pooling.cancelKeys.find(request), null);
});

Deno.test("lend negotiates the protocol before anything else", async () => {
  const cases: [version: number, parameters: Record<string, string>, expected: string | null][] = [
    [0x3_0000, {}, null],
    [0x3_0002, {}, null],
    [0x3_0003, {}, "3.2:"],
    [0x3_270f, { "_pq_.x": "1" }, "3.2:_pq_.x"],
    [0x3_0000, { "_pq_.x": "1" }, "3.0:_pq_.x"],
  ];
  for (const [version, parameters, expected] of cases) {
    const world = await openBackend();
    const { client, done } = begin({ backends: [world], version, parameters });
    if (expected !== null) {
      const said = new DataView((await client.expect("v")).buffer);
      const options = new TextDecoder().decode(new Uint8Array(said.buffer, 13)).replaceAll(
        "\0",
        "",
      );
      assert.equal(`${said.getInt16(5)}.${said.getInt16(7)}:${options}`, expected);
    }
    await logIn(client);
    await confirm(world.server);
    await done;
    await client.expectAll("RSS");
    assert.equal((await client.expect("K")).length, 5 + 4 + (version >= 0x3_0002 ? 32 : 4));
  }
});

Deno.test("lend refuses a wrong password, counts it, and asks for no connection", async () => {
  const failures = new AddressLimit(2);
  for (let turn = 0; turn < 2; turn++) {
    const { client, done, keys } = begin({ failures });
    await logIn(client, "wrong");
    const error = await refused(done, "28P01");
    assert.equal(error.message, 'password authentication failed for user "app.acme"');
    assert.deepEqual(keys, []);
  }
  const { client, done } = begin({ failures });
  await refused(done, "28000");
  assert.equal(client.unread, 0, "it is not even asked");
  const elsewhere = begin({ failures, peer: "192.0.2.8:1" });
  await elsewhere.client.expect("R");
  elsewhere.client.transport.close();
});

Deno.test("lend asks for cleartext only where nobody listens", async () => {
  for (const peer of ["127.0.0.1:5", "[::1]:5", "unix:/run/x"]) {
    const { client } = begin({ cleartextAnywhere: false, peer });
    await client.expect("R");
    client.transport.close();
  }
  for (const peer of [PEER, "[::1:2]:5", "128.0.0.1:127"]) {
    const { done } = begin({ cleartextAnywhere: false, peer });
    await refused(done, "28000");
  }
});

Deno.test("lend tells only who has logged in what may be pooled", async () => {
  const lists: [lists: Partial<Pooling>, pattern: RegExp][] = [
    [{ roles: ["other"] }, /role "app" is not available/],
    [{ roles: ["app"] }, /role "app_user" is not available/],
    [{ databases: ["other"] }, /database "shop" is not available/],
  ];
  for (const [own, pattern] of lists) {
    const stranger = begin(own);
    await logIn(stranger.client, "wrong");
    await refused(stranger.done, "28P01");
    const { client, done, keys } = begin(own);
    await logIn(client);
    assert.match((await refused(done, "28000")).message, pattern);
    assert.deepEqual(keys, []);
  }
});

Deno.test("lend gives up with the client, and gives back what comes too late", async () => {
  const { client, done, signals, pending, lease, fates } = begin({});
  await logIn(client);
  await settle();
  assert.equal(signals.length, 1);
  client.transport.close();
  await assert.rejects(done, ClientGone);
  assert(signals[0]!.aborted);
  pending.resolve(lease((await openBackend()).member));
  await settle();
  assert.deepEqual(fates, ["back"]);
});

Deno.test("lend replaces a connection that turns out dead, but not for ever", async () => {
  const dead = await Promise.all([openBackend(), openBackend(), openBackend()]);
  for (const { server } of dead) server.transport.close();
  await settle();
  const alive = await openBackend();
  const { client, done, fates } = begin({ backends: [dead[0]!, dead[1]!, alive] });
  await logIn(client);
  await confirm(alive.server);
  await done;
  assert.deepEqual(fates, ["establishing failed", "establishing failed"]);
  const never = begin({ backends: dead });
  await logIn(never.client);
  await refused(never.done, "08006");
  assert.equal(never.fates.length, 3);
});

Deno.test("lend passes on why a setting is refused, and the connection is clean", async () => {
  const world = await openBackend();
  const { client, done, fates } = begin({ backends: [world], parameters: { no_such: "1" } });
  await logIn(client);
  await world.server.expectAll("PBECS");
  await world.server.send(
    join(message("1"), message("2"), errorResponse("42704", "unrecognized", "ERROR")),
    readyForQuery(),
  );
  await confirm(world.server);
  await clean(world);
  assert.equal((await refused(done, "42704")).message, "unrecognized");
  assert.deepEqual(fates, ["back"]);
});

Deno.test("lend refuses a context that is not confirmed, and closes what is out of step", async () => {
  const world = await openBackend();
  const { client, done, fates } = begin({ backends: [world] });
  await logIn(client);
  await world.server.expectAll("PBECS");
  await world.server.send(join(commandComplete("DISCARD ALL"), readyForQuery()));
  await refused(done, "08P01");
  assert.deepEqual(fates, ["establishing failed"]);
});

Deno.test("lend cleans the connection of a client that goes before it is greeted", async () => {
  const world = await openBackend();
  const { client, done, fates, pooling } = begin({
    backends: [world],
    parameters: { application_name: "x" },
  });
  await logIn(client);
  await takeSettings(world.server);
  client.transport.close();
  await confirm(world.server);
  await clean(world);
  await assert.rejects(done, ClientGone);
  assert.deepEqual(fates, ["back"]);
  assert.equal(pooling.cancelKeys.find(new Uint8Array(16)), null);
});
