// The opening of a client's connection: whatever a client may begin with, in the clear and in TLS.

import { strict as assert } from "node:assert";
import { PgError } from "../../src/codec/error.ts";
import { Inbox } from "../../src/net/buffers.ts";
import { establishTls } from "../../src/net/tls.ts";
import { TlsEngine } from "../../src/net/tls_engine.ts";
import { Deadline } from "../../src/session/deadline.ts";
import { ClientGone } from "../../src/session/endings.ts";
import {
  type ClientAuthorities,
  ClientEncryption,
  type ClientTls,
  type FirstPacket,
  openClient,
} from "../../src/session/opening.ts";
import {
  days,
  EXPIRED,
  makeCa,
  makeCertificate,
  makeClient,
  makeServer,
  remake,
  type TestCertificate,
} from "../support/certificates.ts";
import {
  memoryPair,
  type MemoryPairOptions,
  type MemoryTransport,
} from "../support/memory_transport.ts";
import { cancelRequest, GSSENC_REQUEST, join, SSL_REQUEST, startup } from "../support/messages.ts";
import { ScriptedPeer } from "../support/scripted_peer.ts";
import { clientEngine, keyPair, ROOT, SERVER } from "../support/tls_memory.ts";

const TLS: ClientTls = { identity: keyPair(SERVER), endPoint: null, clientAuthorities: null };
const STARTUP = startup({ user: "app.acme" });
const CANCEL = cancelRequest(4711, Uint8Array.of(1, 2, 3, 4));
const [YES, NO] = [0x53, 0x4e];

interface Opening {
  readonly near: MemoryTransport;
  readonly client: ScriptedPeer;
  readonly inbox: Inbox;
  readonly opened: Promise<FirstPacket>;
}

function open(tls: ClientTls | null, wire: MemoryPairOptions = {}, ms = 3_000): Opening {
  const [near, far] = memoryPair(wire);
  const inbox = new Inbox(far, 64 * 1024);
  const deadline = new Deadline(ms, "waiting for the client's startup packet");
  const opened = openClient(inbox, tls, deadline).finally(() => deadline[Symbol.dispose]());
  opened.catch(() => {}); // each test looks at it in its own time
  return { near, client: new ScriptedPeer(near), inbox, opened };
}

/** The client's TLS over what it has said so far, and the first packet through it. */
async function upgrade(
  { near, client, opened, inbox }: Opening,
  engine: TlsEngine,
  packet: Uint8Array = STARTUP,
  ask = true,
): Promise<FirstPacket> {
  if (ask) {
    await client.send(SSL_REQUEST);
    assert.deepEqual(await client.expectBytes(1), Uint8Array.of(YES));
  }
  const transport = await establishTls(near, engine, null);
  await transport.write(packet);
  try {
    return await opened;
  } finally {
    transport.close();
    inbox.transport.close();
  }
}

function requiring(root: TestCertificate, more: Partial<ClientAuthorities> = {}): ClientTls {
  const authorities: ClientAuthorities = {
    pem: root.pem,
    certificates: [root.certificate],
    identity: "none",
    identityPrefix: "",
    ...more,
  };
  return { ...TLS, clientAuthorities: authorities };
}

async function refusal(opened: Promise<unknown>): Promise<PgError> {
  const error = await opened.then(() => null, (error) => error);
  assert(error instanceof PgError, String(error));
  return error;
}

for (const [name, cut] of [["whole", Infinity], ["byte by byte", 1]] as const) {
  const wire = { cut: () => cut };

  Deno.test(`opening: in the clear, cut ${name}`, async () => {
    for (const tls of [null, TLS]) {
      const { client, opened } = open(tls, wire);
      await client.send(STARTUP);
      const first = await opened;
      assert(first.kind === "startup");
      assert.deepEqual(first.packet, STARTUP);
      assert.equal(first.encryption, null);

      const cancelling = open(tls, wire);
      await cancelling.client.send(CANCEL);
      assert.deepEqual(await cancelling.opened, { kind: "cancel", size: 16, packet: CANCEL });
    }
  });

  Deno.test(`opening: encryption that is not to be had is denied, cut ${name}`, async () => {
    const { client, opened } = open(null, wire);
    for (const request of [GSSENC_REQUEST, SSL_REQUEST]) {
      await client.send(request);
      assert.deepEqual(await client.expectBytes(1), Uint8Array.of(NO));
    }
    await client.send(STARTUP);
    assert.equal((await opened).kind, "startup");
  });

  Deno.test(`opening: TLS that is asked for, cut ${name}`, async () => {
    const opening = open({ ...TLS, endPoint: Uint8Array.of(7) }, wire);
    await opening.client.send(GSSENC_REQUEST);
    assert.deepEqual(await opening.client.expectBytes(1), Uint8Array.of(NO));
    const first = await upgrade(opening, clientEngine());
    assert(first.kind === "startup");
    assert.deepEqual(first.packet, STARTUP);
    assert.deepEqual(first.encryption?.endPoint, Uint8Array.of(7));
    assert.equal(first.encryption?.certificate, null);
  });

  Deno.test(`opening: TLS that is begun with, cut ${name}`, async () => {
    const first = await upgrade(open(TLS, wire), clientEngine(), STARTUP, false);
    assert(first.kind === "startup" && first.encryption !== null);
    assert.deepEqual(first.packet, STARTUP);
  });

  Deno.test(`opening: a cancel request through TLS, cut ${name}`, async () => {
    for (const ask of [true, false]) {
      const first = await upgrade(open(TLS, wire), clientEngine(), CANCEL, ask);
      assert.deepEqual(first, { kind: "cancel", size: 16, packet: CANCEL });
    }
  });
}

Deno.test("opening: bytes in the clear behind an SSLRequest are refused", async () => {
  for (const tls of [null, TLS]) {
    const { client, opened } = open(tls);
    await client.send(join(SSL_REQUEST, STARTUP));
    const error = await refusal(opened);
    assert.equal(error.sqlState, "08P01");
    assert.match(error.message, /received unencrypted data after SSL request/);
    assert.equal(client.unread, 0, "nothing was answered");
  }
});

Deno.test("opening: within TLS nothing asks for encryption again", async () => {
  for (const request of [SSL_REQUEST, GSSENC_REQUEST]) {
    const error = await refusal(upgrade(open(TLS), clientEngine(), request));
    assert.equal(error.sqlState, "0A000");
  }
});

Deno.test("opening: direct TLS where there is none is an invalid length", async () => {
  const { client, opened } = open(null);
  await client.send(Uint8Array.of(0x16, 3, 1, 2, 0, 1));
  assert.equal((await refusal(opened)).sqlState, "08P01");
});

Deno.test("opening: a client that leaves or speaks no TLS is gone", async () => {
  for (const said of [[], [SSL_REQUEST], [SSL_REQUEST.subarray(0, 5)]]) {
    const { client, opened } = open(TLS);
    await client.send(...said);
    await client.transport.closeWrite();
    await assert.rejects(opened, ClientGone);
  }
  const { client, opened } = open(TLS);
  await client.send(SSL_REQUEST);
  await client.expectBytes(1);
  await client.send(new TextEncoder().encode("not a handshake at all"));
  await assert.rejects(opened, ClientGone);
});

Deno.test("opening: time that runs out in the TLS handshake is told in words, and not to it", async () => {
  const { client, opened, inbox, near } = open(TLS, {}, 30);
  await client.send(SSL_REQUEST);
  await client.expectBytes(1);
  const error = await refusal(opened);
  assert.equal(error.sqlState, "08006");
  assert.match(error.message, /negotiating TLS with the client/);
  // In the clear it would be bytes that a TLS client cannot read.
  await assert.rejects(inbox.transport.write(Uint8Array.of(1)));
  assert.equal(await near.read(new Uint8Array(1)), null);
});

const good = await makeClient(ROOT, "acme", { uris: ["spiffe://test/acme", "urn:other"] });
const middle = await makeCa("middle", {}, ROOT);
const foreign = await makeCa("foreign");
const below = await makeClient(middle, "acme");

Deno.test("opening: a client certificate that is good, by itself or with what leads to it", async () => {
  const chains = [[good], [below, middle], [await makeClient(ROOT, "acme", { kind: "rsa" })]];
  for (const chain of chains) {
    const engine = clientEngine({ identity: keyPair(...chain) });
    const first = await upgrade(open(requiring(ROOT)), engine);
    assert(first.kind === "startup");
    assert.deepEqual(new Uint8Array(first.encryption!.certificate!.raw), chain[0]!.der);
  }
});

Deno.test("opening: a client certificate that is not, and what is said of it", async () => {
  const cases: readonly [name: string, chain: TestCertificate[], detail: RegExp | null][] = [
    ["none", [], null],
    ["foreign", [await makeClient(foreign, "acme")], /issued by CN=foreign, which is not trusted/],
    ["expired", [await makeClient(ROOT, "acme", EXPIRED)], /expired at/],
    ["not yet valid", [await makeClient(ROOT, "acme", { notBefore: days(1) })], /not valid before/],
    ["self-signed", [await makeCertificate({ subject: "acme" })], /which is not trusted/],
    ["version 1", [remake(good, ROOT, (body) => body.slice(1, -1))], /X.509 v1 certificate/],
    ["a server's", [await makeServer(ROOT)], /may not be used for a TLS client/],
    ["without the CA between", [below], /issued by CN=middle, which is not trusted/],
  ];
  for (const [name, chain, detail] of cases) {
    const engine = clientEngine(chain.length === 0 ? {} : { identity: keyPair(...chain) });
    const error = await refusal(upgrade(open(requiring(ROOT)), engine));
    assert.equal(error.sqlState, "28000", name);
    assert.match(
      error.message,
      detail === null ? /requires a valid client certificate/ : /certificate is not accepted/,
      name,
    );
    if (detail !== null) assert.match(error.fields.detail ?? "", detail, name);
    assert.notEqual(error.fields.hint, undefined, name);
  }
});

Deno.test("opening: a thief who has only the certificate, where the runtime does not look", async () => {
  const stolen = remake(good, ROOT, (body) => body.slice(1, -1));
  const { keyPem } = await makeClient(ROOT, "thief");
  const engine = clientEngine({ identity: { certificates: stolen.pem, key: keyPem } });
  const error = await refusal(upgrade(open(requiring(ROOT, { identity: "cn" })), engine));
  assert.equal(error.sqlState, "28000");
});

Deno.test("opening: the identity in a certificate, and who it is not", async () => {
  const twoNames = await makeClient(ROOT, "", { subject: [{ CN: ["acme"] }, { CN: ["evil"] }] });
  const check = (
    identity: ClientAuthorities["identity"],
    name: string,
    certificate: TestCertificate | null = good,
    identityPrefix = "",
  ) => {
    const authorities = requiring(ROOT, { identity, identityPrefix }).clientAuthorities;
    new ClientEncryption(null, certificate?.certificate ?? null, authorities).checkIdentity(name);
  };
  const refuses = (...args: Parameters<typeof check>) =>
    assert.throws(() => check(...args), (error) => {
      assert(error instanceof PgError);
      assert.equal(error.sqlState, "28000");
      assert.match(error.message, /does not belong to/);
      return true;
    });
  check("none", "anybody");
  check("cn", "acme");
  check("san-uri", "urn:other");
  check("san-uri", "acme", good, "spiffe://test/");
  for (const name of ["ACME", "acme ", "acm", "", "spiffe://test/acme", "other"]) {
    refuses("cn", name);
  }
  for (const name of ["acme", "urn:OTHER", ""]) refuses("san-uri", name);
  for (const name of ["other", "", "urn:other"]) refuses("san-uri", name, good, "spiffe://test/");
  for (const name of ["acme", "evil", "acme,evil"]) refuses("cn", name, twoNames);
  refuses("cn", "acme", null);
  refuses("cn", "", null);
  new ClientEncryption(null, null, null).checkIdentity("anybody");
});
