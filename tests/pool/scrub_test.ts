// Promise: a connection passes from one context to another clean and confirmed, or not at all.

import assert from "node:assert/strict";
import { discard, scrub, UncleanBackend } from "../../src/pool/scrub.ts";
import { contextOf, FakeServer, queryText, refused } from "../support/fake_server.ts";
import {
  commandComplete,
  dataRow,
  errorResponse,
  join,
  message,
  readyForQuery,
  splitMessages,
  text,
} from "../support/messages.ts";
import { failure } from "../support/wire_bench.ts";

const NEVER = new AbortController().signal;

Deno.test("a change of context: cleaned, looked at, set and confirmed, in this order", async () => {
  const server = new FakeServer();
  const member = await server.open();
  const context = contextOf("a");
  await member.switchTo(context, "a", [{ name: "TimeZone", value: "Asia/Tokyo" }], NEVER);
  assert.deepEqual(server.heard, [
    "scrub",
    "residue check",
    "settings: TimeZone=Asia/Tokyo",
    "context: app.current_tenant_id=a role=app",
  ]);
  assert.equal(member.confirmedContext, context);
  assert.equal(member.contextKey, "a");
  assert.equal(member.backend.parameters.get("TimeZone"), "Asia/Tokyo");
  member.close();
});

/** What makes a change of context fail, and how. */
const FAILURES: readonly [name: string, spoil: (server: FakeServer) => void, error: RegExp][] = [
  ["residue", (server) => server.residue = true, /still there/],
  ["an error in the scrub", (server) => {
    server.refusals.scrub = refused("55P02", "cannot be cleaned");
  }, /cannot be cleaned/],
  ["a completion too few", (server) => {
    const tags = Array<Uint8Array>(7).fill(commandComplete("RESET"));
    const row = [message("T"), dataRow([text("")]), commandComplete("SELECT 1")];
    server.refusals.scrub = join(...tags, ...row, readyForQuery());
  }, /does not belong here/],
  ["a completion too many", (server) => {
    const tags = Array<Uint8Array>(9).fill(commandComplete("RESET"));
    const row = [message("T"), dataRow([text("")]), commandComplete("SELECT 1")];
    server.refusals.scrub = join(...tags, ...row, readyForQuery());
  }, /does not belong here/],
  ["a setting that is refused", (server) => {
    server.refusals.settings = refused("22023", "invalid value");
  }, /invalid value/],
  ["a context that is refused", (server) => {
    server.refusals.context = refused("42501", "permission denied to set role");
  }, /permission denied/],
  ["a server that goes away", (server) => {
    server.refusals.context = errorResponse("57P01", "shutting down");
  }, /shutting down/],
];

for (const [name, spoil, error] of FAILURES) {
  Deno.test(`a change of context that fails confirms nothing: ${name}`, async () => {
    const server = new FakeServer();
    const member = await server.open();
    await member.switchTo(contextOf("a"), "a", [], NEVER);
    spoil(server);
    const settings = [{ name: "TimeZone", value: "Asia/Tokyo" }];
    const failed = await failure(member.switchTo(contextOf("b"), "b", settings, NEVER));
    assert.match(failed.message, error);
    assert.equal(member.confirmedContext, null);
    assert.equal(member.contextKey, null, "nobody prefers it");
    const isServersFault = name === "residue" || name === "an error in the scrub";
    assert.equal(failed instanceof UncleanBackend, isServersFault);
    member.close();
  });
}

Deno.test("the state of random() is another each time", () => {
  const texts = Array.from({ length: 20 }, () => queryText(scrub().bytes));
  assert.equal(new Set(texts).size, texts.length);
  for (const sql of texts) {
    assert.match(sql, /; SET seed TO 0\.\d{15}; SELECT pg_catalog\.pg_advisory_unlock_all\(\)$/);
  }
});

Deno.test("discard: everything of a session, in a transaction too, and a seed that nobody knows", () => {
  const sqlOf = ({ bytes }: { bytes: Uint8Array }) =>
    splitMessages(bytes).map((each) => queryText(each));
  const [first, second] = [sqlOf(discard(false)), sqlOf(discard(true))];
  assert.equal(first[0], "DISCARD ALL");
  assert.match(first[1]!, /^SET seed TO 0\.\d{18}$/);
  assert.deepEqual(second.slice(0, 2), ["ROLLBACK", "DISCARD ALL"]);
  assert.notEqual(first[1], second[2]);
});
