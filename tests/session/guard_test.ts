// Guard: statements that change the context are told, or refused, however the streams are cut, and
// nothing else changes.

import { strict as assert } from "node:assert";
import { Inbox } from "../../src/net/buffers.ts";
import { guarded, GuardedTransport, type GuardOptions } from "../../src/session/guard.ts";
import { memoryPair, type MemoryTransport } from "../support/memory_transport.ts";
import {
  cstring,
  dataRow,
  errorFields,
  errorResponse,
  int16,
  join,
  message,
  messageTypes,
  query,
  readyForQuery,
  splitMessages,
  text,
} from "../support/messages.ts";
import { Random } from "../support/random.ts";

const VARIABLES: ReadonlySet<string> = new Set(["app.tenant"]);
const SET = "SET app.tenant = 'globex'";
const parse = (name: string, sql: string) => message("P", cstring(name), cstring(sql), int16(0));

interface World extends Disposable {
  readonly guard: GuardedTransport;
  readonly client: MemoryTransport;
  readonly told: string[];
}

/** @param cut how many bytes one read of the client gives at most. */
function world(policy: GuardOptions["policy"], cut: () => number = () => Infinity): World {
  const [transport, client] = memoryPair({ cut });
  const told: string[] = [];
  const options = { policy, variables: VARIABLES };
  const guard = new GuardedTransport(
    new Inbox(transport, 4096),
    options,
    (what) => told.push(what),
  );
  return { guard, client, told, [Symbol.dispose]: () => client.close() };
}

/** Everything that the relay is given until the client has ended its side. */
async function received(guard: GuardedTransport, size = 2048): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for (;;) {
    const into = new Uint8Array(size);
    const count = await guard.read(into);
    if (count === null) return join(...parts);
    assert(count > 0, "something was read");
    parts.push(into.subarray(0, count));
  }
}

async function writeAll(to: { write(bytes: Uint8Array): Promise<number> }, bytes: Uint8Array) {
  for (let sent = 0; sent < bytes.length;) sent += await to.write(bytes.subarray(sent));
}

Deno.test("guard: without options the client stays as it is", () => {
  const [transport, far] = memoryPair({});
  const client = new Inbox(transport, 4096);
  assert.equal(guarded(client, null, () => {}), client);
  assert.notEqual(
    guarded(client, { policy: "log", variables: VARIABLES }, () => {}).transport,
    transport,
  );
  far.close();
});

Deno.test("guard: logging tells each statement, and passes every byte", async () => {
  const stream = join(query("SELECT 1"), query(SET), parse("s", "RESET ROLE"), query(SET));
  for (let cut = 1; cut < 12; cut++) {
    using each = world("log", () => cut);
    const writing = writeAll(each.client, stream).then(() => each.client.closeWrite());
    assert.deepEqual(await received(each.guard), stream);
    await writing;
    assert.deepEqual(each.told, ["SET app.tenant", "RESET role", "SET app.tenant"]);
  }
});

Deno.test("guard: what the handshake has left is looked at too", async () => {
  const [transport, client] = memoryPair({});
  const inbox = new Inbox(transport, 4096);
  const stream = join(query(SET), query("SELECT 1"));
  await writeAll(client, stream.subarray(0, 9));
  await inbox.fill();
  const pending = inbox.fill(); // a read that is under way goes with it
  const told: string[] = [];
  const options = { policy: "log", variables: VARIABLES } as const;
  const guard = new GuardedTransport(inbox, options, (what) => told.push(what));
  const writing = writeAll(client, stream.subarray(9)).then(() => client.closeWrite());
  assert.deepEqual(await received(guard), stream);
  await Promise.all([writing, pending]);
  assert.deepEqual(told, ["SET app.tenant"]);
  client.close();
});

/** A stream of messages at random, and how many of them change the context. */
function randomStream(random: Random): { stream: Uint8Array; changes: number } {
  let changes = 0;
  const parts = Array.from({ length: 40 }, () => {
    switch (random.integer(0, 5)) {
      case 0:
        changes++;
        return query(
          `${" ".repeat(random.integer(0, 199))}${SET}${" ".repeat(random.integer(0, 2999))}`,
        );
      case 1:
        changes++;
        return parse("n".repeat(random.integer(0, 59)), "SELECT set_config('role', $1, false)");
      case 2:
        return message("d", new Uint8Array(random.integer(0, 4999)).fill("S".charCodeAt(0)));
      case 3:
        return message("S");
      case 4:
        return parse("", `SELECT '${SET}'${"x".repeat(random.integer(0, 2499))}`);
      default:
        return query("SELECT 'a long one'".repeat(1 + random.integer(0, 199)));
    }
  });
  return { stream: join(...parts), changes };
}

Deno.test("guard: finds every statement in any stream that is cut anyhow", async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new Random(seed);
    const { stream, changes } = randomStream(random);
    using each = world("log", () => random.integer(1, random.chance(0.5) ? 8 : 4000));
    const writing = writeAll(each.client, stream).then(() => each.client.closeWrite());
    assert.deepEqual(await received(each.guard), stream, `seed ${seed}`);
    await writing;
    assert.equal(each.told.length, changes, `seed ${seed}`);
  }
});

/** What the server is sent in the place of a statement: its text begins with the mark. */
function markOf(sent: Uint8Array, at: number): string {
  return new TextDecoder().decode(sent.subarray(at, at + 8));
}

Deno.test("guard: blocking puts a mark in the place of the words, and changes no length", async () => {
  using each = world("block");
  const stream = join(query(SET), parse("s", `  ${SET}`), query("SELECT 1"));
  await writeAll(each.client, stream);
  await each.client.closeWrite();
  const sent = await received(each.guard);
  assert.equal(sent.length, stream.length);
  assert.equal(messageTypes(sent), "QPQ");
  const mark = markOf(sent, 5);
  assert.match(mark, /^"[a-z]{6}"$/);
  const second = query(SET).length;
  assert.equal(markOf(sent, second + 5 + "s".length + 1 + 2), mark);
  const [first] = splitMessages(sent);
  assert.deepEqual(first!.subarray(13), stream.subarray(13, second), "the rest is as it was");
});

Deno.test("guard: the server's error about the mark becomes a refusal, wherever it is cut", async () => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = new Random(seed);
    using each = world("block");
    await writeAll(each.client, query(SET));
    const into = new Uint8Array(100);
    await each.guard.read(into);
    const marked = errorResponse("42601", `syntax error at or near "${markOf(into, 5)}"`, "ERROR");
    const other = errorResponse("42601", 'syntax error at or near "x"', "ERROR");
    const row = dataRow([text(markOf(into, 5))]);
    const answers = join(row, other, marked, readyForQuery("E"), row, marked, readyForQuery());
    const writing = (async () => {
      for (let at = 0; at < answers.length;) {
        const end = Math.min(answers.length, at + 1 + random.integer(0, 29));
        await writeAll(each.guard, answers.subarray(at, end));
        at = end;
      }
      await each.guard.closeWrite();
    })();
    const parts: Uint8Array[] = [];
    for (;;) {
      const buffer = new Uint8Array(64);
      const count = await each.client.read(buffer);
      if (count === null) break;
      parts.push(buffer.subarray(0, count));
    }
    await writing;
    const told = splitMessages(join(...parts));
    assert.equal(told.map((each) => String.fromCharCode(each[0]!)).join(""), "DEEZDEZ");
    assert.deepEqual(told[1], other);
    for (const refusal of [told[2]!, told[5]!]) {
      const { C, S, H } = errorFields(refusal);
      assert.deepEqual([C, S], ["42501", "ERROR"]);
      assert.match(H!, /context_guard/);
    }
  }
});

Deno.test("guard: words that end before the mark would are left to the server", async () => {
  using each = world("block");
  const stream = query("SET a.b");
  const guard = new GuardedTransport(
    new Inbox(each.guard, 4096),
    { policy: "block", variables: new Set(["a.b"]) },
    () => {},
  );
  await writeAll(each.client, stream);
  await each.client.closeWrite();
  assert.deepEqual(await received(guard), stream);
});

Deno.test("guard: a client that goes in the middle of a message is passed on up to there", async () => {
  using each = world("block");
  const cut = query(SET).subarray(0, 12);
  await writeAll(each.client, cut);
  await each.client.closeWrite();
  assert.deepEqual(await received(each.guard), cut);
});
