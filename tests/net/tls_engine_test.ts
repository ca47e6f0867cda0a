// The TLS engine, both roles against each other without a connection: what it tells about the peer.

import { strict as assert } from "node:assert";
import { ALPN_POSTGRESQL, isTlsAvailable, TlsEngine, TlsError } from "../../src/net/tls_engine.ts";
import {
  makeCa,
  makeCertificate,
  makeClient,
  makeServer,
  remake,
} from "../support/certificates.ts";
import { clientEngine, keyPair, ROOT, SERVER, serverEngine } from "../support/tls_memory.ts";

const text = (value: string) => new TextEncoder().encode(value);

/** Carries ciphertext to and fro until neither has any left. */
function exchange(one: TlsEngine, other: TlsEngine): void {
  for (let silent = 0; silent < 2;) {
    silent = 0;
    for (const [from, to] of [[one, other], [other, one]] as const) {
      const bytes = from.outgoing();
      if (bytes.length === 0) silent++;
      else to.receive(bytes);
    }
  }
}

function received(engine: TlsEngine): string {
  const parts = engine.plaintext.splice(0);
  return parts.map((part) => new TextDecoder().decode(part)).join("");
}

Deno.test("engine: a handshake, what both know then, and bytes both ways", () => {
  assert(isTlsAvailable());
  const server = serverEngine();
  const client = clientEngine();
  assert.equal(server.established, false);
  exchange(client, server);
  for (const engine of [client, server]) {
    assert(engine.established);
    assert.equal(engine.failure, null);
    assert.equal(engine.verifyError, null);
    assert.equal(engine.alpnProtocol, ALPN_POSTGRESQL);
    assert.equal(engine.version, "TLSv1.3");
  }
  assert.deepEqual(client.peerCertificates, [SERVER.der]);
  assert.deepEqual(server.peerCertificates, []);
  client.send(text("to the server"));
  server.send(text("to the client"));
  exchange(client, server);
  assert.equal(received(server), "to the server");
  assert.equal(received(client), "to the client");
  for (const engine of [client, server]) engine.destroy();
});

Deno.test("engine: the chain is shown as it was given, RSA and ECDSA", async () => {
  const middle = await makeCa("middle", {}, ROOT);
  for (const kind of ["ecdsa", "rsa"] as const) {
    const leaf = await makeServer(middle, { kind });
    const server = TlsEngine.server({ identity: keyPair(leaf, middle), clientAuthorities: null });
    const client = clientEngine();
    exchange(client, server);
    assert.equal(client.failure, null);
    assert.deepEqual(client.peerCertificates, [leaf.der, middle.der]);
    for (const engine of [client, server]) engine.destroy();
  }
});

Deno.test("engine: a foreign authority ends the handshake, or is told when nobody verifies", async () => {
  const root = await makeCa("foreign");
  const strict = clientEngine({ root });
  const server = serverEngine();
  exchange(strict, server);
  assert(strict.failure instanceof TlsError);
  assert.equal(strict.established, false);
  assert.match(server.failure!.message, /UnknownCA/);

  const lax = clientEngine({ root, verify: false });
  exchange(lax, serverEngine());
  assert(lax.established);
  assert.notEqual(lax.verifyError, null);
});

Deno.test("engine: an expired certificate ends the handshake; another host's does not", async () => {
  const notAfter = new Date(Date.now() - 60_000);
  const expired = await makeServer(ROOT, { notAfter });
  const elsewhere = await makeServer(ROOT, { dns: ["other.test"], ips: [] });
  const against = (one: typeof expired) => {
    const client = clientEngine();
    exchange(
      client,
      TlsEngine.server({ identity: keyPair(one), clientAuthorities: null }),
    );
    return client;
  };
  assert(against(expired).failure instanceof TlsError);
  // The host is for verifyHost, which knows more of names than the runtime does.
  assert(against(elsewhere).established);
});

Deno.test("engine: client certificates are told, whatever they are, with the runtime's verdict", async () => {
  const foreignRoot = await makeCa("foreign");
  const good = await makeClient(ROOT, "acme");
  const noVersion3 = remake(good, ROOT, (body) => body.slice(1, -1));
  const cases = [
    { name: "good", leaf: good, accepted: true },
    { name: "foreign", leaf: await makeClient(foreignRoot, "acme"), accepted: false },
    { name: "self-signed", leaf: await makeCertificate({ subject: "acme" }), accepted: false },
    { name: "version 1", leaf: noVersion3, accepted: false },
  ];
  for (const { name, leaf, accepted } of cases) {
    const server = serverEngine(ROOT);
    const client = clientEngine({ identity: keyPair(leaf) });
    exchange(client, server);
    assert(server.established, name);
    assert.deepEqual(server.peerCertificates, [leaf.der], name);
    assert.equal(server.verifyError === null, accepted, name);
    for (const engine of [client, server]) engine.destroy();
  }
});

Deno.test("engine: nobody gets through with a certificate whose key he has not, but version 1", async () => {
  const victim = await makeClient(ROOT, "victim");
  const thief = await makeClient(ROOT, "thief");
  const stolen = { certificates: victim.pem, key: thief.keyPem };
  const noVersion3 = remake(victim, ROOT, (body) => body.slice(1, -1));
  const server = serverEngine(ROOT);
  try {
    exchange(clientEngine({ identity: stolen }), server);
    assert.notEqual(server.failure, null);
    assert.equal(server.established, false);
  } catch (error) {
    assert(error instanceof TlsError); // the client's own engine saw that they do not fit
  }
  // The runtime does not look at the key here: that it finds fault with the certificate must hold.
  const fooled = serverEngine(ROOT);
  const stolenToo = { certificates: noVersion3.pem, key: thief.keyPem };
  exchange(clientEngine({ identity: stolenToo }), fooled);
  assert.notEqual(fooled.verifyError, null);
});

Deno.test("engine: a pair that does not fit, or is none, is refused", async () => {
  const other = await makeServer(ROOT);
  const unfit = [
    { certificates: SERVER.pem, key: other.keyPem },
    { certificates: "", key: SERVER.keyPem },
    { certificates: SERVER.pem, key: "no key" },
  ];
  for (const identity of unfit) {
    assert.throws(() => TlsEngine.server({ identity, clientAuthorities: null }), TlsError);
  }
});

Deno.test("engine: the end of the stream, told by the peer or not", () => {
  const server = serverEngine();
  const client = clientEngine();
  exchange(client, server);
  client.send(text("last words"));
  client.sendEnd();
  exchange(client, server);
  assert.equal(received(server), "last words");
  assert(server.ended);
  server.send(text("still here"));
  exchange(client, server);
  assert.equal(received(client), "still here");
  assert.equal(client.ended, false);
  client.receiveEnd();
  assert(client.ended);
  assert.equal(client.failure, null);
  for (const engine of [client, server]) engine.destroy();
});

Deno.test("engine: bytes that are no TLS end everything, and the peer is told", () => {
  const server = serverEngine();
  const client = clientEngine();
  exchange(client, server);
  server.receive(text("\x17\x03\x03\x00\x20 this was never encrypted by anyone"));
  assert(server.failure instanceof TlsError);
  exchange(client, server);
  assert(client.failure instanceof TlsError);

  const fresh = serverEngine();
  fresh.receive(text("GET / HTTP/1.1\r\n\r\n"));
  assert(fresh.failure instanceof TlsError);
});

Deno.test("engine: destroyed once or twice, it does nothing any more", () => {
  const server = serverEngine();
  const client = clientEngine();
  exchange(client, server);
  client.send(text("late"));
  const late = client.outgoing();
  server.destroy();
  server.destroy();
  server.receive(late);
  server.receiveEnd();
  server.send(text("nothing"));
  server.sendEnd();
  assert.equal(server.outgoing().length, 0);
  assert.equal(received(server), "");
  assert.deepEqual(server.peerCertificates, []);
  assert.equal(server.alpnProtocol, null);
  assert.equal(server.version, null);
});
