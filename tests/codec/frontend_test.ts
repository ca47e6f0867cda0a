// The packets of a frontend: start-up parameters as bytes and in order, requests by the letter.

import { strict as assert } from "node:assert";
import { PgError } from "../../src/codec/error.ts";
import {
  cancelRequestFor,
  encodeBinaryQuery,
  encodeSideQuery,
  encodeStartupMessage,
  parseStartupMessage,
} from "../../src/codec/frontend.ts";
import { readContextMessage } from "../support/context_message.ts";
import {
  cancelRequest,
  cstring,
  int32,
  join,
  message,
  messageTypes,
  packet,
  splitMessages,
  startup,
  text,
} from "../support/messages.ts";

const parse = (bytes: Uint8Array) => parseStartupMessage(bytes, 4, bytes.length);
const refusedWith = (sentence: RegExp) => (error: unknown) =>
  error instanceof PgError && error.sqlState === "08P01" && sentence.test(error.message);

Deno.test("parseStartupMessage keeps version, order, and values as bytes", () => {
  const body = join(cstring("user"), Uint8Array.of(0xff, 0xfe, 0), cstring("b"), cstring(""));
  const message = parse(packet(0x3_0002, body, cstring("a"), cstring("ü"), Uint8Array.of(0)));
  assert.equal(message.protocolVersion, 0x3_0002);
  assert.deepEqual(message.parameters, [
    { name: "user", value: Uint8Array.of(0xff, 0xfe) },
    { name: "b", value: new Uint8Array(0) },
    { name: "a", value: text("ü") },
  ]);
});

Deno.test("parseStartupMessage copies: the buffer may be filled again", () => {
  const bytes = startup({ user: "app.acme" });
  const message = parse(bytes);
  bytes.fill(0x78);
  assert.deepEqual(message.parameters[0]!.value, text("app.acme"));
});

Deno.test("parseStartupMessage accepts no parameters", () => {
  assert.deepEqual(parse(startup({})).parameters, []);
});

Deno.test("parseStartupMessage refuses a packet without terminator, or cut inside a field", () => {
  const layout = refusedWith(/^invalid (startup packet layout|message format)$/);
  assert.throws(() => parse(packet(0x3_0000)), layout);
  assert.throws(() => parse(packet(0x3_0000, cstring("user"), cstring("a"))), layout);
  assert.throws(() => parse(packet(0x3_0000, cstring("user"), text("a"))), layout);
  assert.throws(() => parse(packet(0x3_0000, cstring("user"))), layout);
});

Deno.test("parseStartupMessage refuses what stands behind the terminator", () => {
  const behind = join(cstring("user"), cstring("a"), Uint8Array.of(0), text("x"));
  assert.throws(() => parse(packet(0x3_0000, behind)), refusedWith(/startup packet layout/));
  const second = join(cstring("user"), cstring("a"), Uint8Array.of(0, 0));
  assert.throws(() => parse(packet(0x3_0000, second)), refusedWith(/startup packet layout/));
});

Deno.test("parseStartupMessage refuses a parameter twice and never repeats its value", () => {
  const twice = startup([["user", "hunter2"], ["database", "d"], ["user", "hunter3"]]);
  assert.throws(() => parse(twice), (error) => {
    assert(refusedWith(/^startup parameter "user" is given more than once$/)(error));
    assert(!/hunter/.test(new TextDecoder().decode((error as PgError).encode())));
    return true;
  });
  assert.equal(parse(startup([["user", "a"], ["User", "b"]])).parameters.length, 2);
});

Deno.test("encodeStartupMessage gives back what was parsed, byte for byte", () => {
  const body = join(Uint8Array.of(0xe9, 0, 0xff, 0), cstring("user"), cstring("app"));
  const bytes = packet(0x3_0063, body, Uint8Array.of(0));
  assert.deepEqual(encodeStartupMessage(parse(bytes)), bytes);
});

Deno.test("encodeStartupMessage refuses what the server would, to the byte", () => {
  const withValue = (size: number) => ({
    protocolVersion: 0x3_0000,
    parameters: [{ name: "u", value: new Uint8Array(size).fill(0x78) }],
  });
  const overhead = 4 + 2 + 1 + 1;
  assert.equal(encodeStartupMessage(withValue(10_000 - overhead)).length, 10_004);
  assert.throws(
    () => encodeStartupMessage(withValue(10_001 - overhead)),
    refusedWith(/^startup packet too large$/),
  );
});

Deno.test("cancelRequestFor() repeats a key of any length", () => {
  for (const size of [1, 4, 32, 256]) {
    const key = Uint8Array.from({ length: size }, (_, index) => index);
    const keyData = Uint8Array.of(...int32(-5), ...key);
    const padded = Uint8Array.of(9, ...keyData, 9);
    assert.deepEqual(cancelRequestFor(padded, 1, 1 + keyData.length), cancelRequest(-5, key));
  }
});

Deno.test("encodeBinaryQuery binds every value as bytea and closes its statement", () => {
  const values = ["app.tenant", "it's", "", "\\'; DROP"];
  const request = readContextMessage(encodeBinaryQuery("SELECT $1", values.map(text)));
  assert.equal(request.sql, "SELECT $1");
  assert.deepEqual(request.parameters, values);
  assert.deepEqual(request.parameterTypes, [17, 17, 17, 17]);
});

Deno.test("encodeSideQuery does the same under a name, and closes whoever has it before", () => {
  const bytes = encodeSideQuery("mine", "SELECT $1", ["é", ""]);
  const [close, ...rest] = splitMessages(bytes);
  assert.equal(messageTypes(bytes), "CPBECS");
  assert.deepEqual(close, message("C", text("S"), cstring("mine")));
  assert.deepEqual(rest[3], close, "and leaves nothing");
  const unnamed = splitMessages(encodeBinaryQuery("SELECT $1", [text("é"), text("")]));
  const asUnnamed = rest.map((each) =>
    new TextDecoder("latin1").decode(each.subarray(5)).replace("mine\0", "\0")
  );
  assert.deepEqual(
    asUnnamed,
    unnamed.map((each) => new TextDecoder("latin1").decode(each.subarray(5))),
  );
});
