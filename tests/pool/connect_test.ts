// The connection to the server: every mode against every answer, and nothing of a stranger's words.

import { strict as assert } from "node:assert";
import * as nodeTls from "node:tls";
import { PgError } from "../../src/codec/error.ts";
import { listenTcp } from "../../src/net/tcp.ts";
import { establishTls } from "../../src/net/tls.ts";
import { TlsEngine } from "../../src/net/tls_engine.ts";
import { type Transport, writeAll } from "../../src/net/transport.ts";
import { connectUpstream, type UpstreamTls, type UpstreamTlsMode } from "../../src/pool/connect.ts";
import {
  EXPIRED,
  makeCa,
  makeCertificate,
  makeClient,
  makeServer,
  remake,
  type TestCertificate,
} from "../support/certificates.ts";
import { errorResponse, SSL_REQUEST, text } from "../support/messages.ts";
import { keyPair, ROOT, SERVER } from "../support/tls_memory.ts";

const KEEP_ALIVE = { keepAlive: false };
const MODES: readonly UpstreamTlsMode[] = [
  "disable",
  "prefer",
  "require",
  "verify-ca",
  "verify-full",
];
const ASKING = MODES.slice(1);
const STRICT = MODES.slice(2);
const SECRET = "words of a stranger";

/** What a server does with one connection. */
type Script = (server: Transport) => Promise<void>;

interface Attempt extends Partial<UpstreamTls> {
  readonly mode: UpstreamTlsMode;
  readonly host?: string;
  readonly signal?: AbortSignal;
}

/** What a connection to such a server comes to, after `use` of it. */
interface Outcome {
  readonly encrypted: boolean;
  readonly endPoint: Uint8Array | null;
  readonly answer: Uint8Array | null;
}

/** Connects to a server on a free port that does this, says hello to it and hears the answer. */
async function connecting(script: Script, attempt: Attempt): Promise<Outcome> {
  const listener = listenTcp("127.0.0.1", 0, KEEP_ALIVE);
  const serving = listener.accept().then(async (server) => {
    try {
      await script(server);
    } finally {
      server.close();
    }
  });
  serving.catch(() => {}); // a client that refuses the server leaves it in the middle
  const { host = "127.0.0.1", signal = new AbortController().signal, ...tls } = attempt;
  try {
    const { transport, ...facts } = await connectUpstream({
      host,
      port: listener.port,
      ...KEEP_ALIVE,
      tls: { direct: false, authorities: null, identity: null, ...tls },
    }, signal);
    await transport.write(text("hello"));
    const buffer = new Uint8Array(4096);
    const count = await transport.read(buffer).finally(() => transport.close());
    return { ...facts, answer: count === null ? null : buffer.slice(0, count) };
  } finally {
    listener.close();
    await serving.catch(() => {});
  }
}

async function refusal(outcome: Promise<unknown>): Promise<PgError> {
  const error = await outcome.then(() => null, (error) => error);
  assert(error instanceof PgError, String(error));
  assert.equal(error.sqlState, "08001");
  assert.match(error.message, /upstream server at (127\.0\.0\.1|localhost):\d+/);
  assert.notEqual(error.fields.hint, undefined);
  return error;
}

async function expectRequest(server: Transport): Promise<void> {
  const request = new Uint8Array(100);
  const count = await server.read(request);
  assert.deepEqual(request.subarray(0, count!), SSL_REQUEST);
}

/** Answers the SSLRequest with these bytes, and ends. */
function answering(bytes: Uint8Array): Script {
  return async (server) => {
    await expectRequest(server);
    if (bytes.length > 0) await writeAll(server, bytes);
    await server.closeWrite();
    await server.read(new Uint8Array(1));
  };
}

/** Does TLS with this chain, asked for or at once, and echoes one message. */
function encrypted(
  chain: readonly TestCertificate[] = [SERVER],
  { direct = false, clientRoot = null as TestCertificate | null } = {},
): Script {
  return async (server) => {
    if (!direct) {
      await expectRequest(server);
      await server.write(text("S"));
    }
    const engine = TlsEngine.server({
      identity: keyPair(...chain),
      clientAuthorities: clientRoot?.pem ?? null,
    });
    const transport = await establishTls(server, engine, null);
    const buffer = new Uint8Array(100);
    const count = await transport.read(buffer);
    if (count === null) return;
    const [leaf] = engine.peerCertificates;
    await transport.write(leaf ?? buffer.subarray(0, count));
  };
}

function trusting(...roots: readonly TestCertificate[]): UpstreamTls["authorities"] {
  return {
    pem: roots.map(({ pem }) => pem).join(""),
    certificates: roots.map(({ certificate }) => certificate),
  };
}

/** Answers hello in the clear. */
async function echo(server: Transport): Promise<void> {
  const buffer = new Uint8Array(100);
  const count = await server.read(buffer);
  await server.write(buffer.subarray(0, count!));
}

const HELLO = text("hello");

Deno.test("connect: disable asks nothing", async () => {
  const outcome = await connecting(echo, { mode: "disable" });
  assert.deepEqual(outcome, { encrypted: false, endPoint: null, answer: HELLO });
});

Deno.test("connect: nobody there", async () => {
  for (const mode of MODES) {
    const listener = listenTcp("127.0.0.1", 0, KEEP_ALIVE);
    const { port } = listener;
    listener.close();
    const tls = { mode, direct: false, authorities: null, identity: null };
    const signal = new AbortController().signal;
    const error = await refusal(
      connectUpstream({ host: "127.0.0.1", port, ...KEEP_ALIVE, tls }, signal),
    );
    assert.match(error.message, /could not connect .* refused/);
    assert.match(error.fields.hint!, /upstream_host and upstream_port/);
  }
});

Deno.test("connect: N is no TLS: prefer goes on, everything stricter says so", async () => {
  const clear = await connecting(async (server) => {
    await expectRequest(server);
    await server.write(text("N"));
    await echo(server);
  }, { mode: "prefer" });
  assert.deepEqual(clear, { encrypted: false, endPoint: null, answer: HELLO });
  for (const mode of STRICT) {
    const error = await refusal(connecting(answering(text("N")), { mode }));
    assert.match(error.message, /no TLS with the upstream .*: it does not support TLS$/);
    assert.match(error.fields.hint!, new RegExp(`upstream_tls is ${mode}: set ssl = on`));
  }
});

Deno.test("connect: an ErrorResponse, garbage or the end, and the words are nobody's", async () => {
  const answers: readonly [Uint8Array, RegExp][] = [
    [errorResponse("XX000", SECRET), /something else than yes or no/],
    [text(SECRET), /something else than yes or no/],
    [new Uint8Array(), /closed the connection when it was asked/],
  ];
  for (const mode of ASKING) {
    for (const [answer, sentence] of answers) {
      const error = await refusal(connecting(answering(answer), { mode }));
      assert.match(error.message, sentence, mode);
      assert(!new TextDecoder().decode(error.encode()).includes(SECRET));
    }
  }
});

Deno.test("connect: bytes in the clear behind S are not taken for the server's", async () => {
  for (const mode of ASKING) {
    const error = await refusal(connecting(answering(text(`S${SECRET}`)), { mode }));
    assert.match(error.message, /^TLS with the upstream server at/);
    assert(!new TextDecoder().decode(error.encode()).includes(SECRET));
  }
});

Deno.test("connect: TLS in every mode, asked for or begun with, and what it is bound to", async () => {
  const authorities = trusting(ROOT);
  for (const mode of ASKING) {
    for (const direct of mode === "prefer" ? [false] : [false, true]) {
      for (const host of ["localhost", "127.0.0.1"]) {
        const attempt = { mode, authorities, direct, host };
        const outcome = await connecting(encrypted([SERVER], { direct }), attempt);
        assert(outcome.encrypted);
        assert.equal(outcome.endPoint?.length, 32);
        assert.deepEqual(outcome.answer, HELLO);
      }
    }
  }
});

Deno.test("connect: whom each mode trusts", async () => {
  const foreign = await makeCa("foreign");
  const middle = await makeCa("middle", {}, ROOT);
  const chained = [await makeServer(middle), middle];
  const elsewhere = await makeServer(ROOT, { dns: ["other.test"], ips: [] });
  const itself = await makeCertificate({ subject: "x", dns: ["localhost"], ca: true });
  const itselfNoCa = await makeCertificate({ subject: "x", dns: ["localhost"] });
  const cases: readonly [string, TestCertificate[], TestCertificate[], string][] = [
    ["own CA", [SERVER], [ROOT], "verify-full"],
    ["one of several CAs", [SERVER], [foreign, ROOT], "verify-full"],
    ["CA between", chained, [ROOT], "verify-full"],
    ["CA between, not sent", chained.slice(0, 1), [ROOT], "require"],
    ["wrong CA", [SERVER], [foreign], "require"],
    ["wrong host", [elsewhere], [ROOT], "verify-ca"],
    ["expired", [await makeServer(ROOT, EXPIRED)], [ROOT], "require"],
    ["self-signed, given as CA", [itself], [itself], "verify-full"],
    ["self-signed without CA:TRUE, given as CA", [itselfNoCa], [itselfNoCa], "verify-full"],
    ["self-signed, another given", [itself], [itselfNoCa], "require"],
    ["a client's certificate", [await makeClient(ROOT, "localhost")], [ROOT], "require"],
  ];
  for (const [name, chain, roots, strictest] of cases) {
    for (const mode of ASKING) {
      const attempt = { mode, authorities: trusting(...roots), host: "localhost" };
      const outcome = connecting(encrypted(chain), attempt);
      if (MODES.indexOf(mode) <= MODES.indexOf(strictest as UpstreamTlsMode)) {
        assert.deepEqual((await outcome).answer, HELLO, `${name}, ${mode}`);
      } else {
        const error = await refusal(outcome);
        assert.match(error.message, /certificate .* is not accepted: ./, `${name}, ${mode}`);
        assert.match(error.fields.hint!, /upstream_tls_ca/);
      }
    }
  }
});

Deno.test("connect: the runtime's authorities, and forgeries that it does not see", async () => {
  const before = nodeTls.getCACertificates("default");
  trustInRuntime([ROOT.pem]);
  try {
    const forger = await makeCa("test root");
    const middle = await makeCa("middle", {}, forger);
    const old = (one: TestCertificate) => remake(one, forger, (body) => body.slice(1, -1));
    const forged: readonly TestCertificate[][] = [
      [old(await makeServer(forger))],
      [await makeServer(middle), old(middle)],
      [await makeServer(middle), middle],
    ];
    for (const mode of ["verify-ca", "verify-full"] as const) {
      const attempt = { mode, host: "localhost" };
      assert.deepEqual((await connecting(encrypted(), attempt)).answer, HELLO);
      for (const chain of forged) {
        const error = await refusal(connecting(encrypted(chain), attempt));
        assert.match(error.message, /certificate .* is not accepted/);
      }
    }
  } finally {
    trustInRuntime(before);
  }
});

/** What the types of node:tls do not know yet. */
function trustInRuntime(authorities: readonly string[]): void {
  Reflect.get(nodeTls, "setDefaultCACertificates")(authorities);
}

Deno.test("connect: without upstream_tls_ca a private CA is nobody's", async () => {
  for (const mode of ["verify-ca", "verify-full"] as const) {
    const error = await refusal(connecting(encrypted(), { mode, host: "localhost" }));
    assert.match(error.message, /is not accepted/);
  }
});

Deno.test("connect: a certificate of ours for a server that asks for one", async () => {
  const own = await makeClient(ROOT, "pgvpd");
  const authorities = trusting(ROOT);
  for (const identity of [keyPair(own), null]) {
    const attempt = { mode: "verify-full", authorities, identity } as const;
    const { answer } = await connecting(encrypted([SERVER], { clientRoot: ROOT }), attempt);
    assert.deepEqual(answer, identity === null ? HELLO : own.der);
  }
});

Deno.test("connect: whoever waits is let go when the signal comes, at every stage", async () => {
  const accepted = (_server: Transport) => Promise.resolve();
  const afterHello = async (server: Transport) => void await server.read(new Uint8Array(1));
  const inHandshake = async (server: Transport) => {
    await expectRequest(server);
    await server.write(text("S"));
    await server.read(new Uint8Array(1));
  };
  const stages: readonly [Script, boolean][] = [
    [accepted, false],
    [expectRequest, false],
    [inHandshake, false],
    [afterHello, true],
  ];
  for (const [stage, direct] of stages) {
    const reason = new Error("enough");
    const controller = new AbortController();
    const attempt = { mode: "require", direct, signal: controller.signal } as const;
    const outcome = connecting(async (server) => {
      await stage(server);
      controller.abort(reason);
      await readOn(server);
    }, attempt);
    await assert.rejects(outcome, (error) => error === reason);
  }
});

/** Reads until the other side has gone. */
async function readOn(server: Transport): Promise<void> {
  const buffer = new Uint8Array(1_000);
  while (await server.read(buffer) !== null);
}
