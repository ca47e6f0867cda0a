// On a pooled backend a resolver asks only when it has been cleaned, and gives it back.

import assert from "node:assert/strict";
import { FrontendMessage } from "../../src/codec/codes.ts";
import type { PooledBackend } from "../../src/pool/pooled_backend.ts";
import { queryRunner } from "../../src/session/resolving_pooled.ts";
import { failure } from "../support/failure.ts";
import { commandComplete, errorResponse, readyForQuery } from "../support/messages.ts";
import { openBackend } from "../support/pooled_world.ts";
import type { ScriptedPeer } from "../support/scripted_peer.ts";
import { readAsked, REQUEST_TYPES, resolverReplies } from "../support/resolver_server.ts";

const KEY = { database: "shop", user: "app_user", startupSettings: [] };
const QUERY = { sql: "SELECT 1", inputs: [], rowsMax: 0, runAs: null, timeout: 5_000 };
const never = new AbortController().signal;

/** Answers the cleaning; nothing else is said before that is done. */
async function clean(server: ScriptedPeer): Promise<void> {
  const [discard] = await server.expectAll("QQ");
  assert.match(new TextDecoder().decode(discard), /DISCARD ALL/);
  assert.equal(server.unread, 0, "nothing is asked before the answer");
  await server.send(commandComplete("DISCARD ALL"), readyForQuery());
  await server.send(commandComplete("SELECT 1"), readyForQuery());
}

/** A pool of given backends, and what became of them. */
function pool(...members: PooledBackend[]) {
  const fates: string[] = [];
  const { run, isPrivate } = queryRunner((key, contextKey) => {
    assert.deepEqual([key, contextKey], [KEY, ""]);
    const member = members.shift()!;
    let isOver = false;
    const end = (fate: string) => {
      if (isOver) return;
      isOver = true;
      fates.push(fate);
      if (fate !== "given back") member.close();
    };
    return Promise.resolve({
      member,
      giveBack: () => end("given back"),
      discard: (reason) => end(reason),
      [Symbol.dispose]: () => end("abandoned"),
    });
  }, KEY);
  assert.equal(isPrivate, false, "it is as nobody's");
  return { run, fates };
}

Deno.test("it is cleaned first, and given back without a context", async () => {
  const { member, server } = await openBackend();
  member.contextKey = "somebody's";
  const { run, fates } = pool(member);
  const asking = run(QUERY, never);
  await clean(server);
  const asked = readAsked(await server.expectAll(REQUEST_TYPES));
  assert.equal(asked.sql, "SELECT 1");
  await server.send(resolverReplies({ columns: ["a"], rows: [["1"]] }));
  assert.deepEqual((await asking).rows, [["1"]]);
  assert.deepEqual(fates, ["given back"]);
  assert.deepEqual([member.contextKey, member.confirmedContext], [null, null]);
  member.close();
});

Deno.test("one that a lost cancel request may still hit is closed, though it is idle", async () => {
  const [bad, good] = [await openBackend(), await openBackend()];
  bad.member.backend.ledger.request(FrontendMessage.Query);
  await failure(bad.member.cancel(() => Promise.reject(new Error("lost on its way"))));
  await bad.server.send(readyForQuery());
  while (!bad.member.backend.idle) await new Promise((resolve) => setTimeout(resolve, 0));
  const { run, fates } = pool(bad.member, good.member);
  const asking = run(QUERY, never);
  await clean(good.server);
  await good.server.expectAll(REQUEST_TYPES);
  await good.server.send(resolverReplies({ columns: ["a"], rows: [["1"]] }));
  assert.deepEqual((await asking).rows, [["1"]]);
  assert.deepEqual(fates, ["unclean", "given back"]);
  good.member.close();
});

Deno.test("one that cannot be cleaned is not asked: another one is", async () => {
  const [bad, good] = [await openBackend(), await openBackend()];
  const { run, fates } = pool(bad.member, good.member);
  const asking = run(QUERY, never);
  await bad.server.expect("Q");
  await bad.server.send(errorResponse("57P01", "shutting down"));
  bad.server.transport.close();
  await clean(good.server);
  await good.server.expectAll(REQUEST_TYPES);
  await good.server.send(resolverReplies({ sqlState: "42P01", error: "no" }));
  assert.equal((await failure(asking)).message, "no");
  assert.deepEqual(fates, ["unclean", "given back"]);
  good.member.close();
});
