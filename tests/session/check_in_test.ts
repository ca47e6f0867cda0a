// checkIn: a connection comes back as new, or not at all; it says which, and never rejects.

import { strict as assert } from "node:assert";
import type { Backend, BackendConsumer } from "../../src/pool/backend.ts";
import type { Lease } from "../../src/pool/pool.ts";
import type { PooledBackend } from "../../src/pool/pooled_backend.ts";
import { checkIn, type Leaving } from "../../src/session/check_in.ts";
import {
  commandComplete,
  errorResponse,
  join,
  message,
  query,
  readyForQuery,
  text,
} from "../support/messages.ts";
import {
  type BackendWorld,
  confirm,
  CONTEXT,
  openBackend,
  settle,
} from "../support/pooled_world.ts";

const IDLE = readyForQuery();
const CANCELLED = join(errorResponse("57014", "canceling statement", "ERROR"), IDLE);

interface World extends BackendWorld {
  readonly fate: string[];
  readonly lease: Lease<PooledBackend>;
  /** Cancel requests so far. */
  cancels: number;
  /** Sends for the client that has it. */
  ask(...messages: readonly Uint8Array[]): Promise<void>;
  checkIn(leaving?: Partial<Leaving>): Promise<string>;
}

/** Reads for the client, as its relay would. */
class Client implements BackendConsumer {
  constructor(readonly backend: Backend) {}
  consume(bytes: Uint8Array): null {
    for (let at = 0; at < bytes.length;) at = this.backend.walk(bytes, at, bytes.length);
    return null;
  }
  lost(): void {}
}

/** A connection that a client has had, and a lease that writes down what becomes of it. */
async function world(): Promise<World> {
  const opened = await openBackend();
  const { member, server } = opened;
  const established = member.establish(CONTEXT, [], new AbortController().signal);
  await confirm(server);
  await established;
  member.backend.consumer = new Client(member.backend);
  const fate: string[] = [];
  const lease: Lease<PooledBackend> = {
    member,
    giveBack: () => fate.push("back"),
    discard: (reason) => {
      fate.push(reason);
      member.close();
    },
    [Symbol.dispose]: () => fate.push("disposed"),
  };
  const self: World = {
    ...opened,
    fate,
    lease,
    cancels: 0,
    ask: async (...messages) => {
      for (const one of messages) member.backend.ledger.request(one[0]!);
      await member.backend.send(join(...messages));
      for (const one of messages) await server.expect(String.fromCharCode(one[0]!));
    },
    checkIn: (leaving = {}) =>
      checkIn(lease, {
        pumped: Promise.resolve(),
        sentWhole: true,
        finishes: false,
        hurry: new AbortController().signal,
        onSettled: () => {},
        cancel: () => {
          self.cancels++;
          return Promise.resolve();
        },
        signal: new AbortController().signal,
        ...leaving,
      }),
  };
  return self;
}

/** Does what cleaning asks for; returns the statements. */
async function clean({ server }: BackendWorld, count: number): Promise<string[]> {
  const asked: string[] = [];
  for (let turn = 0; turn < count; turn++) {
    const sql = new TextDecoder().decode(await server.expect("Q")).slice(5, -1);
    asked.push(sql.replace(/0\.\d+$/, "?"));
    await server.send(commandComplete(sql.split(" TO")[0]!), IDLE);
  }
  return asked;
}

const CLEANED = ["DISCARD ALL", "SET seed TO ?"];

Deno.test("checkIn cleans a connection at rest, and gives it back", async () => {
  const own = await world();
  const done = own.checkIn();
  assert.deepEqual(await clean(own, 2), CLEANED);
  assert.equal(await done, "clean");
  assert.deepEqual([own.fate, own.cancels], [["back"], 0]);
  assert.equal(own.member.confirmedContext, null);
});

Deno.test("checkIn ends a transaction first, failed or not", async () => {
  for (const status of ["T", "E"]) {
    const own = await world();
    await own.ask(query("BEGIN"));
    await own.server.send(readyForQuery(status));
    await settle();
    const done = own.checkIn();
    assert.deepEqual(await clean(own, 3), ["ROLLBACK", ...CLEANED]);
    assert.equal(await done, "clean");
  }
});

Deno.test("checkIn lets a client that has said goodbye have its work done", async () => {
  const own = await world();
  await own.ask(query("INSERT 1"), query("INSERT 2"));
  const done = own.checkIn({ finishes: true });
  await settle();
  await own.server.send(IDLE);
  await settle();
  assert.equal(own.server.unread, 0, "it is not done yet");
  await own.server.send(IDLE);
  assert.deepEqual(await clean(own, 2), CLEANED);
  assert.equal(await done, "clean");
  assert.equal(own.cancels, 0);
});

Deno.test("checkIn does not wait for that when pgvpd ends", async () => {
  const own = await world();
  await own.ask(query("SELECT pg_sleep(99)"));
  const ending = new AbortController();
  const done = own.checkIn({ finishes: true, signal: ending.signal });
  await settle();
  assert.deepEqual(own.fate, []);
  ending.abort();
  assert.equal(await done, "unsettled");
});

Deno.test("checkIn cancels what was to be done when it may not go on, and says when that is over", async () => {
  const own = await world();
  await own.ask(query("SELECT pg_sleep(99)"));
  const hurry = new AbortController();
  let settledAt: number | null = null;
  const cancel = async () => {
    own.cancels++;
    assert.equal(settledAt, null);
    if (own.cancels === 1) await own.server.send(CANCELLED);
  };
  const onSettled = () => settledAt = own.cancels;
  const done = own.checkIn({ finishes: true, hurry: hurry.signal, cancel, onSettled });
  await settle();
  assert.deepEqual([own.cancels, settledAt], [0, null]);
  hurry.abort();
  assert.deepEqual(await clean(own, 2), CLEANED);
  assert.equal(await done, "clean");
  assert.deepEqual([own.cancels, settledAt], [1, 1]);
});

Deno.test("checkIn cancels what a client that has vanished has left, one by one", async () => {
  const own = await world();
  await own.ask(query("SELECT pg_sleep(1)"), query("SELECT pg_sleep(2)"), query("SELECT 3"));
  let answered = 0;
  const cancel = async () => {
    if (answered++ < 2) await own.server.send(CANCELLED);
    else if (answered === 3) await own.server.send(IDLE);
  };
  const done = own.checkIn({ cancel });
  assert.deepEqual(await clean(own, 2), CLEANED);
  assert.equal(await done, "clean");
  assert(answered >= 3);
});

Deno.test("checkIn ends a batch that has no Sync, and a COPY", async () => {
  const batch = await world();
  await batch.ask(message("P"), message("B"), message("E"));
  const batchDone = batch.checkIn();
  const [parse] = await batch.server.expectAll("PBECS");
  assert.match(new TextDecoder().decode(parse), /ROLLBACK/, "a Sync alone would commit");
  await batch.server.send(IDLE);
  assert.deepEqual(await clean(batch, 2), CLEANED);
  assert.equal(await batchDone, "clean");

  const copy = await world();
  await copy.ask(query("COPY t FROM STDIN"));
  await copy.server.send(message("G", new Uint8Array(3)));
  await settle();
  const copyDone = copy.checkIn();
  await copy.server.expect("f");
  await copy.server.send(CANCELLED);
  assert.deepEqual(await clean(copy, 2), CLEANED);
  assert.equal(await copyDone, "clean");
});

Deno.test("checkIn ends a COPY that begins only when its client has gone", async () => {
  const own = await world();
  await own.ask(query("COPY t FROM STDIN"));
  const done = own.checkIn({ finishes: true });
  await settle();
  await own.server.send(message("G", new Uint8Array(3)));
  await own.server.expect("f");
  await own.server.send(CANCELLED);
  assert.deepEqual(await clean(own, 2), CLEANED);
  assert.equal(await done, "clean");
});

Deno.test("checkIn closes what stands inside a message, and has it cancelled", async () => {
  const own = await world();
  await own.ask(query("SELECT 1"));
  assert.equal(await own.checkIn({ sentWhole: false }), "unsettled");
  assert.deepEqual([own.fate, own.cancels], [["unsettled"], 1]);
});

Deno.test("checkIn closes a connection whose ledger is not sure", async () => {
  const own = await world();
  await own.server.send(IDLE); // nobody has asked
  await settle();
  assert.equal(await own.checkIn(), "unsettled");
});

Deno.test("checkIn closes a connection that answers something else than it must", async () => {
  const wrong: Record<string, readonly Uint8Array[]> = {
    "an error": [CANCELLED],
    "nothing but ReadyForQuery": [IDLE],
    "a row": [message("D", text("x")), commandComplete("DISCARD ALL"), IDLE],
    "two completions": [commandComplete("DISCARD ALL"), commandComplete("DISCARD ALL"), IDLE],
    "a transaction": [commandComplete("DISCARD ALL"), readyForQuery("T")],
    "one answer too many": [
      ...[commandComplete("DISCARD ALL"), IDLE, commandComplete("SET"), IDLE, IDLE],
    ],
  };
  for (const [what, replies] of Object.entries(wrong)) {
    const own = await world();
    const done = own.checkIn();
    await own.server.expectAll("QQ");
    await own.server.send(join(...replies));
    assert.equal(await done, "unclean", what);
    assert.deepEqual(own.fate, ["unclean"]);
    await own.member.ended;
  }
});

Deno.test("checkIn knows a connection that is lost, before and while it is cleaned", async () => {
  const before = await world();
  before.server.transport.close();
  await settle();
  assert.equal(await before.checkIn(), "lost");
  const meanwhile = await world();
  const done = meanwhile.checkIn();
  await meanwhile.server.expectAll("QQ");
  meanwhile.server.transport.close();
  assert.equal(await done, "unclean");
});

Deno.test("checkIn waits for a cancel request that is on its way", async () => {
  const own = await world();
  await own.ask(query("SELECT 1"));
  const sent = Promise.withResolvers<void>();
  void own.member.cancel(() => sent.promise);
  await own.server.send(IDLE);
  await settle();
  const done = own.checkIn();
  await settle();
  assert.equal(own.server.unread, 0, "it would hit the cleaning, or the next client");
  sent.resolve();
  assert.deepEqual(await clean(own, 2), CLEANED);
  assert.equal(await done, "clean");
});

Deno.test("checkIn reads a server's replies while the last write for the client is stuck", async () => {
  const own = await world();
  const pumped = Promise.withResolvers<void>();
  await own.ask(query("SELECT 1"));
  const done = own.checkIn({ pumped: pumped.promise });
  await own.server.send(
    join(...Array.from({ length: 5 }, () => message("D", new Uint8Array(9_000)))),
  );
  await own.server.send(IDLE);
  await settle();
  pumped.resolve();
  assert.deepEqual(await clean(own, 2), CLEANED);
  assert.equal(await done, "clean");
});

Deno.test("checkIn sees a server that goes away, at whatever moment that is", async () => {
  for (const leaving of [{ finishes: true }, { finishes: false }]) {
    for (let turns = 0; turns < 30; turns++) {
      const own = await world();
      await own.ask(query("INSERT 1"));
      const done = own.checkIn(leaving);
      for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      own.member.backend.close();
      const late = Promise.withResolvers<string>();
      const timer = setTimeout(() => late.resolve(`hangs after ${turns} turns`), 20_000);
      assert.match(await Promise.race([done, late.promise]), /^(lost|unsettled)$/);
      clearTimeout(timer);
    }
  }
});
