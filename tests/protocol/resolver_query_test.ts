// One query of a resolver: what is sent, and what is understood of the replies, however they fail.

import assert from "node:assert/strict";
import { PgError } from "../../src/codec/error.ts";
import {
  ANSWER_BYTES_MAX,
  encodeResolverQuery,
  type ResolverQuery,
  ResolverReplies,
} from "../../src/protocol/resolver_query.ts";
import {
  commandComplete,
  dataRow,
  errorResponse,
  join,
  message,
  messageTypes,
  readyForQuery,
  splitMessages,
  text,
} from "../support/messages.ts";
import {
  readAsked,
  REQUEST_TYPES,
  resolverReplies,
  rowDescription,
} from "../support/resolver_server.ts";

const QUERY: ResolverQuery = {
  sql: "SELECT $1, $2",
  inputs: ["it's $2 \\ ü🦀", null, ""],
  rowsMax: 2,
  runAs: 'A "role"',
  timeout: 250,
};

/** The replies read one by one; whether the last of them was the last. */
function read(bytes: Uint8Array) {
  const replies = new ResolverReplies();
  let isOver = false;
  for (const one of splitMessages(bytes)) {
    assert.equal(isOver, false, "nothing comes behind the last one");
    isOver = replies.step(one[0]!, one, 5, one.length);
  }
  return { replies, isOver };
}

Deno.test("a transaction that reads, with fixed settings, and bound parameters", () => {
  const bytes = encodeResolverQuery(QUERY);
  assert.equal(messageTypes(bytes), REQUEST_TYPES);
  const messages = splitMessages(bytes);
  const words = (index: number) => new TextDecoder().decode(messages[index]!.subarray(5));
  assert.equal(words(0), "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY\0");
  assert.equal(words(12), "ROLLBACK\0");
  const asked = readAsked(messages);
  assert.deepEqual([asked.sql, asked.inputs, asked.rowsMax], [QUERY.sql, QUERY.inputs, 2]);
  const { search_path, client_encoding, statement_timeout, role } = asked.settings;
  assert.equal(search_path, "pg_catalog, public, pg_temp");
  assert.deepEqual([client_encoding, statement_timeout, role], ["UTF8", "250", 'A "role"']);
  const names = Object.keys(asked.settings);
  assert.equal(names.at(-1), "role", "everything else is set by who may set it");
  assert(!words(1).includes("role"), "nothing that comes from outside is in the statement");
  const login = readAsked(splitMessages(encodeResolverQuery({ ...QUERY, runAs: null })));
  assert.equal(login.settings["role"], "none");
});

Deno.test("rows and columns, as the server has them", () => {
  const { replies, isOver } = read(
    resolverReplies({ columns: ["a", "Ü"], rows: [["1", null], ["", "\ufeffx"]] }),
  );
  assert.equal(isOver, true);
  assert.equal(replies.failure, null);
  assert.deepEqual(replies.columns, ["a", "Ü"]);
  assert.deepEqual(replies.rows, [["1", null], ["", "\ufeffx"]]);
});

const BEGUN = join(commandComplete("BEGIN"), readyForQuery("T"));
const SET = join(
  ...[message("1"), message("2"), dataRow([text("")]), commandComplete("SELECT 1")],
  ...[message("3"), readyForQuery("T")],
);
const ROLLED_BACK = join(commandComplete("ROLLBACK"), readyForQuery());
const error = (sqlState: string, primary: string) => errorResponse(sqlState, primary, "ERROR");
const ABORTED = join(error("25P02", "aborted"), readyForQuery("E"));

Deno.test("the first failure counts, wherever it is, and the connection stays in step", () => {
  const cases: [bytes: Uint8Array, sqlState: string][] = [
    [join(error("57P03", "no"), readyForQuery(), SET, ABORTED, ROLLED_BACK), "57P03"],
    [join(BEGUN, error("42704", "role"), readyForQuery("E"), ABORTED, ROLLED_BACK), "42704"],
    [
      join(BEGUN, message("1"), error("22023", "x"), readyForQuery("E"), ABORTED, ROLLED_BACK),
      "22023",
    ],
    [resolverReplies({ sqlState: "42P01", error: "no such table" }), "42P01"],
    [
      join(
        ...[BEGUN, SET, message("1"), message("2"), rowDescription(["a"]), dataRow([text("1")])],
        ...[error("57014", "timeout"), readyForQuery("E"), ROLLED_BACK],
      ),
      "57014",
    ],
  ];
  for (const [bytes, sqlState] of cases) {
    const { replies, isOver } = read(bytes);
    assert.deepEqual([replies.failure?.sqlState, isOver], [sqlState, true]);
  }
});

Deno.test("statements without rows, and portals that were not read to their end", () => {
  const none = read(join(
    ...[BEGUN, SET, message("1"), message("2"), message("n"), commandComplete("DO")],
    ...[message("3"), readyForQuery("T"), ROLLED_BACK],
  ));
  assert.deepEqual([none.isOver, none.replies.columns, none.replies.rows], [true, null, []]);
  const cut = read(join(
    ...[BEGUN, SET, message("1"), message("2"), rowDescription(["a"]), dataRow([text("1")])],
    ...[message("s"), message("3"), readyForQuery("T"), ROLLED_BACK],
  ));
  assert.deepEqual([cut.isOver, cut.replies.rows], [true, [["1"]]]);
});

Deno.test("too much is a failure, and not held", () => {
  const row = dataRow([text("x".repeat(ANSWER_BYTES_MAX / 2))]);
  const { replies, isOver } = read(join(
    ...[BEGUN, SET, message("1"), message("2"), rowDescription(["a"]), row, row, row],
    ...[commandComplete("SELECT 3"), message("3"), readyForQuery("T"), ROLLED_BACK],
  ));
  assert.deepEqual([replies.failure?.sqlState, isOver, replies.rows.length], ["54000", true, 1]);
});

Deno.test("replies to something else are out of step, or never the last", () => {
  const good = splitMessages(resolverReplies({ columns: ["a"], rows: [["1"]] }));
  const whole = (messages: readonly Uint8Array[]) => assert(read(join(...messages)).isOver);
  whole(good);
  good.forEach((one, at) => {
    if (one[0] === "D".charCodeAt(0)) return; // there may be any number of rows
    assert.throws(() => whole(good.filter((_, index) => index !== at)), `without ${at}`);
    assert.throws(() => whole(good.toSpliced(at, 0, one)), `${at} twice`);
    assert.throws(() => whole(good.with(at, message("G", new Uint8Array(3)))), PgError);
  });
  const open = join(BEGUN, SET, message("1"), message("2"), message("n"), commandComplete("DO"));
  const left = join(
    open,
    message("3"),
    readyForQuery("T"),
    commandComplete("X"),
    readyForQuery("T"),
  );
  assert.throws(() => read(left), PgError, "a transaction that was left open");
});
