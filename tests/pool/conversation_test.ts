// Conversation: whole messages in order, one conversation behind the other, and nothing left over.

import { strict as assert } from "node:assert";
import { FrontendMessage } from "../../src/codec/codes.ts";
import { PgError } from "../../src/codec/error.ts";
import type { Backend, BackendConsumer } from "../../src/pool/backend.ts";
import { Conversation, IdleWatch, isAsynchronous } from "../../src/pool/conversation.ts";
import {
  commandComplete,
  errorResponse,
  join,
  message,
  parameterStatus,
  readyForQuery,
} from "../support/messages.ts";
import { serverWorld, settled } from "../support/server_world.ts";

const TEXT = new TextDecoder();

/** Writes down what it is told, up to ReadyForQuery; each message takes it a while. */
class Listener extends Conversation<string> {
  #heard = "";
  #isBusy = false;
  constructor(backend: Backend) {
    super(backend);
    backend.ledger.request(FrontendMessage.Query);
  }
  protected async message(
    type: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): Promise<void> {
    if (isAsynchronous(type)) return;
    assert.ok(!this.#isBusy, "two messages at once");
    this.#isBusy = true;
    await settled();
    this.#isBusy = false;
    const letter = String.fromCharCode(type);
    if (letter === "E") this.finishWith(new Error("in step"));
    if (letter === "F") throw new Error("out of step");
    this.#heard += letter + TEXT.decode(bytes.subarray(start, end));
    if (letter === "Z") this.finish(this.#heard);
  }
}

class Before implements BackendConsumer {
  isLost = false;
  consume(): null {
    return null;
  }
  lost(): void {
    this.isLost = true;
  }
}

const FIRST = join(commandComplete("ONE"), readyForQuery());
const SECOND = join(commandComplete("TWO"), commandComplete(""), readyForQuery());

Deno.test("conversation: two behind each other, cut at every byte", async () => {
  const all = join(FIRST, SECOND);
  for (let cut = 1; cut <= all.length; cut++) {
    const { backend, server } = serverWorld(() => cut);
    const before = new Before();
    backend.consumer = before;
    const [first, second] = [new Listener(backend), new Listener(backend)];
    await server.send(all);
    assert.equal(await first.result, "CONE\0ZI");
    assert.equal(await second.result, "CTWO\0C\0ZI");
    await settled();
    assert.equal(backend.consumer, before, "whoever was there before is back");
    assert.ok(backend.idle);
    backend.close();
  }
});

Deno.test("conversation: bytes behind the last one make the count uncertain", async () => {
  for (const extra of [commandComplete("X"), message("D"), readyForQuery()]) {
    const { backend, server } = serverWorld();
    const listener = new Listener(backend);
    await server.send(join(FIRST, extra));
    assert.equal(await listener.result, "CONE\0ZI");
    await settled();
    assert.ok(backend.ledger.uncertain && !backend.idle);
    backend.close();
  }
});

Deno.test("conversation: half a message behind the last one is waited for", async () => {
  const notice = errorResponse("00000", "n", "NOTICE", "N");
  for (let cut = 1; cut < notice.length; cut++) {
    const { backend, server } = serverWorld();
    const listener = new Listener(backend);
    await server.send(join(FIRST, notice.subarray(0, cut)));
    await settled();
    await server.send(notice.subarray(cut));
    assert.equal(await listener.result, "CONE\0ZI");
    assert.ok(backend.idle);
    backend.close();
  }
  const { backend, server } = serverWorld();
  const listener = new Listener(backend);
  await server.send(join(FIRST, notice.subarray(0, 7)));
  server.transport.close();
  await assert.rejects(listener.result, /closed the connection/);
  assert.ok(!backend.idle);
});

Deno.test("conversation: a failure in step leaves the next one its turn, another does not", async () => {
  for (const [message_, isInStep] of [["E", true], ["F", false]] as const) {
    const { backend, server } = serverWorld();
    const [first, second] = [new Listener(backend), new Listener(backend)];
    await server.send(join(message(message_), SECOND));
    await assert.rejects(first.result, isInStep ? /in step/ : /out of step/);
    if (isInStep) assert.equal(await second.result, "CTWO\0C\0ZI");
    else await assert.rejects(second.result, /out of step/);
    backend.close();
  }
});

Deno.test("conversation: messages that are too large or too short end it", async () => {
  for (const length of [0, 3, -5, 64 * 1024 + 1, 0x7fffffff]) {
    const { backend, server } = serverWorld();
    const [first, second] = [new Listener(backend), new Listener(backend)];
    const bytes = message("C");
    new DataView(bytes.buffer).setInt32(1, length);
    await server.send(bytes);
    for (const { result } of [first, second]) {
      const error = await result.then(() => null, (reason) => reason);
      assert.ok(
        error instanceof PgError && error.sqlState === "08P01",
        `length ${length}: ${error}`,
      );
    }
    assert.ok(!backend.idle);
    backend.close();
  }
  const { backend, server } = serverWorld(() => 1_000);
  const listener = new Listener(backend);
  await server.send(join(message("D", new Uint8Array(64 * 1024 - 4)), FIRST));
  assert.ok((await listener.result).endsWith("CONE\0ZI"), "the largest one");
  backend.close();
});

Deno.test("conversation: the server goes at every byte", async () => {
  const all = join(FIRST, SECOND);
  for (let size = 0; size < all.length; size++) {
    const { backend, server } = serverWorld();
    const before = new Before();
    backend.consumer = before;
    const [first, second] = [new Listener(backend), new Listener(backend)];
    if (size > 0) await server.send(all.subarray(0, size));
    server.transport.close();
    await backend.ended;
    const outcome = await first.result.then(() => "ok", (error: PgError) => error.sqlState);
    assert.equal(outcome, size < FIRST.length ? "08006" : "ok", `${size} bytes`);
    assert.equal(await second.result.catch((error: PgError) => error.sqlState), "08006");
    assert.ok(before.isLost, "whoever was there before is told");
  }
});

Deno.test("idle watch: reports and notices are fine, anything else is the end", async () => {
  const notice = errorResponse("01000", "n", "WARNING", "N");
  const notification = message("A", new Uint8Array(6));
  for (const fine of [notice, notification, parameterStatus("a", "b")]) {
    assert.ok(isAsynchronous(fine[0]!));
    const { backend, transport, server } = serverWorld(() => 1);
    new IdleWatch(backend);
    for (let turn = 0; turn < 3; turn++) await server.send(fine);
    await settled();
    assert.ok(!transport.closed);
    const listener = new Listener(backend);
    await server.send(FIRST);
    assert.equal(await listener.result, "CONE\0ZI");
    assert.ok(backend.consumer instanceof IdleWatch, "it watches again");
    backend.close();
  }
  for (const wrong of [errorResponse("57P01", "bye"), readyForQuery(), message("D"), FIRST]) {
    const { backend, server } = serverWorld();
    new IdleWatch(backend);
    await server.send(wrong);
    await backend.ended;
  }
});
