// SessionContext and its confirmation: one way to be confirmed, and every other one refused.

import { strict as assert } from "node:assert";
import { PgError } from "../../src/codec/error.ts";
import { ContextConfirmation, SessionContext } from "../../src/context/context.ts";
import { contextReplies, contextRow, readContextMessage } from "../support/context_message.ts";
import {
  commandComplete,
  dataRow,
  errorResponse,
  join,
  message,
  parameterStatus,
  readyForQuery,
  splitMessages,
  text,
} from "../support/messages.ts";

const VARIABLES = [
  { name: "app.tenant", value: "O'Brien \\' $$; DROP" },
  { name: "app.org", value: "" },
];
const CONTEXT = new SessionContext(VARIABLES, 'App "User"');
const VALUES = ["O'Brien \\' $$; DROP", "", 'App "User"'];

/** What became of each message of the stream. */
function confirm(stream: Uint8Array, context = CONTEXT): string[] {
  const confirmation = new ContextConfirmation(context);
  return splitMessages(stream).map((one) => {
    const around = join(text("zz"), one, text("zz"));
    return confirmation.step(one[0]!, around, 2 + 5, 2 + one.length);
  });
}

function refused(sqlState: string, sentence = /session context/) {
  return (error: unknown) => {
    assert(error instanceof PgError, String(error));
    assert.equal(error.sqlState, sqlState, error.message);
    assert.match(error.message, sentence);
    assert(!error.message.includes("O'Brien"), "the value is not for the error");
    return true;
  };
}

Deno.test("SessionContext binds names and values as bytes, in order, the role last", () => {
  const { sql, parameters, parameterTypes } = readContextMessage(CONTEXT.message);
  assert.deepEqual(parameters, ["app.tenant", VALUES[0], "app.org", "", "role", 'App "User"']);
  assert.deepEqual(parameterTypes, Array(6).fill(17));
  const places = [...sql.matchAll(/set_config\(pg_catalog\.convert_from\(\$(\d+), 'UTF8'\)/g)];
  assert.deepEqual(places.map(([, place]) => place), ["1", "3", "5"]);
});

Deno.test("SessionContext's statement qualifies every function and holds nothing from outside", () => {
  const { sql } = readContextMessage(CONTEXT.message);
  for (const [, before, name] of sql.matchAll(/(\w+\.)?(\w+)\(/g)) {
    assert.equal(before, "pg_catalog.", `${name} is not qualified`);
  }
  const other = new SessionContext([{ name: "x.y", value: "z" }, { name: "a.b", value: "" }], "r");
  assert.equal(readContextMessage(other.message).sql, sql, "the same whatever the values");
  assert(!/O'Brien|App|tenant/.test(sql));
});

Deno.test("SessionContext as start-up parameters has the same settings in the same order", () => {
  assert.deepEqual(CONTEXT.startupParameters, [
    { name: "app.tenant", value: text(VALUES[0]!) },
    { name: "app.org", value: text("") },
    { name: "role", value: text('App "User"') },
  ]);
});

Deno.test("ContextConfirmation confirms when every value was read back", () => {
  assert.deepEqual(confirm(contextReplies(VALUES)), [
    ...Array(5).fill("withhold"),
    "confirmed",
  ]);
});

Deno.test("ContextConfirmation takes unset, empty, none and the same for a value before", () => {
  const earlier: ((index: number) => string | null)[] = [
    () => null,
    () => "",
    (index) => VALUES[index]!,
    (index) => index === 2 ? "none" : null,
  ];
  for (const before of earlier) {
    assert.equal(confirm(contextReplies(VALUES, contextRow(VALUES, before))).at(-1), "confirmed");
  }
});

Deno.test("ContextConfirmation forwards notices and settings wherever they come", () => {
  const notice = errorResponse("01000", "x", "NOTICE", "N");
  const others = join(notice, parameterStatus("is_superuser", "off"), message("A"));
  const stream = join(...splitMessages(contextReplies(VALUES)).map((one) => join(others, one)));
  const became = confirm(stream);
  assert.equal(became.filter((step) => step === "forward").length, 18);
  assert.equal(became.at(-1), "confirmed");
});

Deno.test("ContextConfirmation refuses another value, NULL, and a column more or less", () => {
  const withRow = (row: Uint8Array) => contextReplies(VALUES, row);
  for (let index = 0; index < VALUES.length; index++) {
    const other = VALUES.with(index, "globex");
    assert.throws(() => confirm(withRow(contextRow(other))), refused("42501", /did not take/));
    const cells: (Uint8Array | null)[] = VALUES.flatMap((value) => [null, text(value)]);
    const nothing = dataRow(cells.with(2 * index + 1, null));
    assert.throws(() => confirm(withRow(nothing)), refused("42501", /did not take/));
    const before = contextRow(VALUES, (at) => at === index ? "globex" : null);
    assert.throws(() => confirm(withRow(before)), refused("42501", /would not last: RESET/));
  }
  const cells = VALUES.flatMap((value) => [null, text(value)]);
  assert.throws(() => confirm(withRow(dataRow([...cells, null]))), refused("08P01"));
  assert.throws(() => confirm(withRow(dataRow(cells.slice(1)))), refused("08P01"));
  assert.throws(() => confirm(withRow(dataRow([]))), refused("08P01"));
});

Deno.test("ContextConfirmation takes none for unset with the role alone", () => {
  const none = contextRow(VALUES, () => "none");
  assert.throws(() => confirm(contextReplies(VALUES, none)), refused("42501", /"app\.tenant"/));
});

Deno.test("ContextConfirmation refuses a row that is cut or goes on", () => {
  const [row] = splitMessages(contextRow(VALUES));
  const body = row!.subarray(5);
  for (let size = 0; size < body.length; size++) {
    const stream = contextReplies(VALUES, message("D", body.subarray(0, size)));
    assert.throws(() => confirm(stream), PgError, `${size} bytes`);
  }
  const longer = contextReplies(VALUES, message("D", body, Uint8Array.of(0)));
  assert.throws(() => confirm(longer), PgError);
});

Deno.test("ContextConfirmation refuses replies in any other order, missing or twice", () => {
  const replies = splitMessages(contextReplies(VALUES));
  for (let index = 0; index < replies.length; index++) {
    const missing = replies.toSpliced(index, 1);
    if (index < replies.length - 1) assert.throws(() => confirm(join(...missing)), PgError);
    else assert(!confirm(join(...missing)).includes("confirmed"));
    if (index === replies.length - 1) continue;
    const twice = replies.toSpliced(index, 0, replies[index]!);
    assert.throws(() => confirm(join(...twice)), refused("08P01"), `reply ${index} twice`);
    const swapped = replies.with(index, replies[index + 1]!).with(index + 1, replies[index]!);
    assert.throws(() => confirm(join(...swapped)), refused("08P01"), `${index} swapped`);
  }
});

Deno.test("ContextConfirmation refuses messages that are no replies to it", () => {
  for (const type of ["T", "t", "n", "I", "s", "G", "H", "W", "d", "c", "R", "K", "v", "\0"]) {
    assert.throws(() => confirm(join(message("1"), message(type))), refused("08P01"), type);
  }
  assert.throws(
    () => confirm(join(message("1"), message("2"), commandComplete("SELECT 0"))),
    PgError,
  );
});

Deno.test("ContextConfirmation refuses to be confirmed inside a transaction, or by half a message", () => {
  const replies = splitMessages(contextReplies(VALUES)).slice(0, -1);
  for (const last of [readyForQuery("T"), readyForQuery("E"), message("Z")]) {
    assert.throws(() => confirm(join(...replies, last)), refused("08P01"));
  }
});

Deno.test("ContextConfirmation gives the server's own SQLSTATE at every point", () => {
  const replies = splitMessages(contextReplies(VALUES));
  for (let index = 0; index < replies.length; index++) {
    const error = errorResponse("22023", "no such role", "ERROR");
    const stream = join(...replies.slice(0, index), error);
    assert.throws(() => confirm(stream), refused("22023", /context: no such role$/));
  }
});

const DEFAULTS = [{ name: "work_mem", value: "4096kB" }, { name: "jit", value: "off" }];
const WITH_DEFAULTS = new SessionContext(VARIABLES, 'App "User"', DEFAULTS);

Deno.test("defaults are set with the context, in whatever spelling the server has for them", () => {
  const { parameters } = readContextMessage(WITH_DEFAULTS.message);
  assert.deepEqual(parameters.slice(-4), ["work_mem", "4096kB", "jit", "off"]);
  const row = contextRow([...VALUES, "4MB", "off"], (index) => index < 3 ? null : "1GB");
  const steps = confirm(contextReplies([], row), WITH_DEFAULTS);
  assert.equal(steps.at(-1), "confirmed");
  assert.notEqual(WITH_DEFAULTS.key, CONTEXT.key);
  assert.equal(WITH_DEFAULTS.startupParameters.length, 5);
});

Deno.test("a default that the server has not taken, or says nothing of, confirms nothing", () => {
  const cells = [...VALUES, "4MB"].flatMap((value) => [null, text(value)]);
  const untaken = dataRow([...cells, null, null]);
  assert.throws(() => confirm(contextReplies([], untaken), WITH_DEFAULTS), refused("42501"));
  const short = contextReplies([], contextRow(VALUES));
  assert.throws(() => confirm(short, WITH_DEFAULTS), refused("08P01"));
});

Deno.test("payload: the variables as JSON in ASCII, in lower case, without those that are empty", () => {
  const context = new SessionContext(
    [
      { name: "App.Tenant", value: 'mü"\\\u{1f600}\u007f' },
      { name: "app.empty", value: "" },
      { name: "app.org", value: "first" },
      { name: "APP.ORG", value: "last" },
    ],
    "app",
    [{ name: "TimeZone", value: "UTC" }],
  );
  assert.equal(
    context.payload,
    '{"app.tenant":"m\\u00fc\\"\\\\\\ud83d\\ude00\\u007f","app.org":"last"}',
  );
  assert.deepEqual(JSON.parse(context.payload), {
    ...{ "app.tenant": 'mü"\\\u{1f600}\u007f', "app.org": "last" },
  });
  assert.equal(context.witness.name, "App.Tenant");
});
