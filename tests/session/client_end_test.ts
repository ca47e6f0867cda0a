// Promise: a client is told how its session ends, once, where a message may stand, and a client
// that sends no more is let go when it has read all that it asked for.

import assert from "node:assert/strict";
import { PgError } from "../../src/codec/error.ts";
import type { Backend } from "../../src/pool/backend.ts";
import { ClientEnd, type ClientEnding } from "../../src/session/client_end.ts";
import { FakeServer } from "../support/fake_server.ts";
import { memoryPair } from "../support/memory_transport.ts";
import {
  commandComplete,
  errorFields,
  errorResponse,
  query,
  readyForQuery,
} from "../support/messages.ts";
import { ScriptedPeer } from "../support/scripted_peer.ts";

const FAREWELL = errorResponse("57P01", "pgvpd is shutting down");

/** A relay that moves nothing. */
class Still extends ClientEnd {
  isIdle = true;
  isWhole = true;
  used: Backend | null = null;

  override get idle(): boolean {
    return this.isIdle;
  }

  override get sentWhole(): boolean {
    return this.isWhole;
  }

  protected override get backend(): Backend | null {
    return this.used;
  }

  get state(): ClientEnding | null {
    return this.ending;
  }

  fails(error: unknown): void {
    this.fail(error);
  }

  loses(): void {
    this.end("upstream");
  }

  tells(): Promise<void> {
    return this.tellClient();
  }

  watches(): Promise<void> {
    return this.watchSilentClient();
  }
}

function still() {
  const [clientEnd, clientSide] = memoryPair();
  return { end: new Still(clientSide), client: new ScriptedPeer(clientEnd) };
}

/** A backend that owes an answer, and what lets it come. */
async function asked() {
  const server = new FakeServer();
  const member = await server.open();
  const { backend } = member;
  const answer = Promise.withResolvers<void>();
  server.answer = async ({ peer }) => {
    await answer.promise;
    await peer.send(commandComplete("SELECT 0"), readyForQuery());
  };
  backend.consumer = {
    consume: (bytes) => {
      for (let at = 0; at < bytes.length;) at = backend.walk(bytes, at, bytes.length);
      return null;
    },
    lost: () => {},
  };
  backend.ledger.request("Q".charCodeAt(0));
  await backend.send(query("SELECT 1"));
  return { member, answer };
}

Deno.test("drain waits until nothing is under way, close does not", () => {
  const idle = still().end;
  idle.drain(FAREWELL);
  assert.equal(idle.state, "pgvpd");
  const busy = still().end;
  busy.isIdle = false;
  busy.drain(FAREWELL);
  assert.equal(busy.state, null);
  busy.close(FAREWELL);
  assert.equal(busy.state, "pgvpd");
});

Deno.test("the first way in which a session ends counts, and its reason is told", async () => {
  const { end, client } = still();
  end.fails(new PgError("53300", "no backend"));
  end.close(FAREWELL);
  end.loses();
  assert.equal(end.state, "pgvpd");
  assert.equal(end.failure?.message, "no backend");
  await end.tells();
  assert.deepEqual(await client.expect("E"), FAREWELL, "a shutdown says so");
  await client.expectEnd();
});

Deno.test("an upstream that is lost without a word is explained", async () => {
  const { end, client } = still();
  end.loses();
  await end.tells();
  assert.equal(errorFields(await client.expect("E"))["C"], "08006");
  await client.expectEnd();
});

Deno.test("a client that sends no more: let go at once, or when it is answered", async () => {
  const nothing = still().end;
  await nothing.watches();
  assert.equal(nothing.state, "closed");
  const half = still().end;
  half.isWhole = false;
  await half.watches();
  assert.equal(half.state, "vanished");

  const { member, answer } = await asked();
  const { end, client } = still();
  end.used = member.backend;
  const watching = end.watches();
  const notice = await client.expect("N");
  assert.match(new TextDecoder().decode(notice), /its statement goes on/);
  assert.equal(end.state, null);
  answer.resolve();
  await watching;
  assert.equal(end.state, "closed");
  member.close();
});

Deno.test("a dead client is found by the notice that it cannot read", async () => {
  const { member } = await asked();
  const { end, client } = still();
  end.used = member.backend;
  client.transport.close();
  await end.watches();
  assert.equal(end.state, "vanished");
  member.close();
});
