// The start-up exchange: every packet that is accepted has its refused neighbours beside it.

import { strict as assert } from "node:assert";
import { PgError } from "../../src/codec/error.ts";
import { StartupExchange, type StartupStep } from "../../src/protocol/startup.ts";
import {
  cancelRequest,
  cstring,
  GSSENC_REQUEST,
  int32,
  join,
  packet,
  SSL_REQUEST,
  startup,
  text,
} from "../support/messages.ts";

const step = (bytes: Uint8Array, exchange = new StartupExchange({ tls: false })): StartupStep =>
  exchange.step(bytes, 0, bytes.length);

function refused(sqlState: string, sentence: RegExp) {
  return (error: unknown) => {
    assert(error instanceof PgError, String(error));
    assert.equal(error.sqlState, sqlState);
    assert.match(error.message, sentence);
    return true;
  };
}
const badLength = refused("08P01", /^invalid length of startup packet$/);

Deno.test("StartupExchange accepts a StartupMessage and hands its packet out as it came", () => {
  const bytes = startup([["user", "app.acme"], ["database", "shop"]]);
  const result = step(bytes);
  assert(result.kind === "startup");
  assert.equal(result.size, bytes.length);
  assert.deepEqual(result.packet, bytes);
  assert.deepEqual(result.message.parameters.map(({ name }) => name), ["user", "database"]);
});

Deno.test("StartupExchange accepts what comes cut byte by byte, and not a byte earlier", () => {
  for (const bytes of [startup({ user: "a.b" }), SSL_REQUEST, cancelRequest(1, int32(2))]) {
    const exchange = new StartupExchange({ tls: false });
    for (let end = 0; end < bytes.length; end++) {
      assert.equal(exchange.step(bytes, 0, end).kind, "incomplete", `${end} bytes`);
    }
    assert.notEqual(step(bytes, exchange).kind, "incomplete");
  }
});

Deno.test("StartupExchange looks at its window and nothing around it", () => {
  const bytes = startup({ user: "a.b" });
  const around = join(text("xyz"), bytes, text("Q"));
  const result = new StartupExchange({ tls: false }).step(around, 3, 3 + bytes.length);
  assert(result.kind === "startup");
  assert.deepEqual(result.packet, bytes);
});

Deno.test("StartupExchange leaves what stands behind a StartupMessage alone", () => {
  const bytes = startup({ user: "a.b" });
  assert.equal((step(join(bytes, text("Q..."))) as { size: number }).size, bytes.length);
});

Deno.test("StartupExchange answers one SSLRequest and one GSSENCRequest, in either order", () => {
  for (const order of [[SSL_REQUEST, GSSENC_REQUEST], [GSSENC_REQUEST, SSL_REQUEST]]) {
    const exchange = new StartupExchange({ tls: false });
    for (const request of order) {
      assert.deepEqual(step(request, exchange), { kind: "encryption denied", size: 8 });
    }
    assert.equal(step(startup({ user: "a.b" }), exchange).kind, "startup");
  }
});

Deno.test("StartupExchange refuses the second request of a kind as an unknown version", () => {
  for (const [request, version] of [[SSL_REQUEST, "5679"], [GSSENC_REQUEST, "5680"]] as const) {
    const exchange = new StartupExchange({ tls: false });
    step(request, exchange);
    const unsupported = refused("0A000", new RegExp(`frontend protocol 1234\\.${version}`));
    assert.throws(() => step(request, exchange), unsupported);
  }
});

Deno.test("StartupExchange refuses bytes behind an encryption request: they came in the clear", () => {
  const early = startup({ user: "a.b" });
  assert.throws(
    () => step(join(SSL_REQUEST, early)),
    refused("08P01", /^received unencrypted data after SSL request$/),
  );
  assert.throws(
    () => step(join(GSSENC_REQUEST, Uint8Array.of(0))),
    refused("08P01", /^received unencrypted data after GSSAPI encryption request$/),
  );
});

Deno.test("StartupExchange refuses an encryption request of a wrong size", () => {
  assert.throws(() => step(packet(80877103, int32(0))), badLength);
  assert.throws(() => step(packet(80877104, Uint8Array.of(0))), badLength);
});

Deno.test("StartupExchange refuses a wrong length as soon as its four bytes are there", () => {
  const lengths = [0, 1, 2, 3, 4, 5, 6, 7, 10_005, 10_240, 2 ** 31 - 1, -1, -(2 ** 31)];
  for (const length of lengths) {
    assert.equal(step(int32(length).subarray(0, 3)).kind, "incomplete");
    assert.throws(() => step(int32(length)), badLength, `length ${length}`);
  }
  assert.throws(() => step(text("GET / HTTP/1.1\r\n")), badLength);
  assert.throws(() => step(Uint8Array.of(0x16, 3, 1, 2, 0)), badLength, "a TLS ClientHello");
  assert.throws(() => step(text("Q\0\0\0\x0dSELECT 1\0")), badLength, "a message with a type");
});

Deno.test("StartupExchange accepts the shortest and the longest packet", () => {
  assert.equal(step(packet(0x3_0000, Uint8Array.of(0))).kind, "startup");
  assert.equal(step(int32(8)).kind, "incomplete");
  const overhead = startup({ u: "" }).length;
  const longest = startup({ u: "x".repeat(10_004 - overhead) });
  assert.equal(longest.length, 10_004);
  assert.equal(step(longest).kind, "startup");
  assert.throws(() => step(startup({ u: "x".repeat(10_005 - overhead) })), badLength);
});

Deno.test("StartupExchange accepts every minor version of protocol 3 and keeps it", () => {
  for (const version of [0x3_0000, 0x3_0001, 0x3_0002, 0x3_0063, 0x3_ffff]) {
    const result = step(startup({ user: "a.b" }, version));
    assert(result.kind === "startup");
    assert.equal(result.message.protocolVersion, version);
  }
});

Deno.test("StartupExchange refuses any other version in words", () => {
  const versions: [number, string][] = [
    [0, "0.0"],
    [0x1_0000, "1.0"],
    [0x2_0000, "2.0"],
    [0x4_0000, "4.0"],
    [(1234 << 16) | 5681, "1234.5681"],
    [-1, "65535.65535"],
  ];
  for (const [version, words] of versions) {
    const unsupported = refused("0A000", new RegExp(`^unsupported frontend protocol ${words}:`));
    assert.throws(() => step(startup({ user: "a.b" }, version)), unsupported);
  }
});

Deno.test("StartupExchange accepts a CancelRequest with a key of 4 to 256 bytes", () => {
  for (const size of [1, 4, 32, 256]) {
    const bytes = cancelRequest(-7, new Uint8Array(size).fill(0xee));
    const result = step(bytes);
    assert(result.kind === "cancel");
    assert.deepEqual(result.packet, bytes);
  }
});

Deno.test("StartupExchange refuses a CancelRequest without a key, or with too long a one", () => {
  const bad = refused("08P01", /^invalid length of cancel request packet$/);
  assert.throws(() => step(cancelRequest(1, new Uint8Array(0))), bad);
  assert.throws(() => step(cancelRequest(1, new Uint8Array(257))), bad);
  assert.throws(() => step(packet(80877102)), bad);
});

Deno.test("StartupExchange accepts a CancelRequest behind an encryption request", () => {
  const exchange = new StartupExchange({ tls: false });
  step(SSL_REQUEST, exchange);
  assert.equal(step(cancelRequest(1, int32(2)), exchange).kind, "cancel");
});

Deno.test("StartupExchange refuses a body that is not laid out as parameters", () => {
  const layout = refused("08P01", /^invalid (startup packet layout|message format)$/);
  const bodies: Record<string, Uint8Array[]> = {
    "no terminator": [cstring("user"), cstring("a.b")],
    "nothing at all": [],
    "no value": [cstring("user")],
    "no NUL": [text("user")],
    "text behind the terminator": [cstring("user"), cstring("a.b"), Uint8Array.of(0), text("x")],
    "a NUL behind the terminator": [Uint8Array.of(0, 0)],
  };
  for (const [what, body] of Object.entries(bodies)) {
    assert.throws(() => step(packet(0x3_0000, ...body)), layout, what);
  }
});

Deno.test("StartupExchange refuses a parameter that is there twice", () => {
  const twice = startup([["user", "a.b"], ["options", ""], ["user", "a.c"]]);
  assert.throws(() => step(twice), refused("08P01", /parameter "user" is given more than once/));
});
