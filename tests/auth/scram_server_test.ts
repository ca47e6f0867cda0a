// The server's side of SCRAM: RFC 7677, and a refusal for every rule of auth-scram.c.

import { strict as assert } from "node:assert";
import { binaryBytes, utf8 } from "../../src/auth/bytes.ts";
import type { ChannelBinding } from "../../src/auth/scram_message.ts";
import { mockScramSecret, type ScramSecret } from "../../src/auth/scram_secret.ts";
import {
  offeredMechanisms,
  SCRAM_CLIENT_MESSAGE_SIZE_MAX,
  ScramServer,
} from "../../src/auth/scram_server.ts";
import { mutated } from "../support/fuzz.ts";
import { Random } from "../support/random.ts";
import { BINDING, dataOf, RFC_7677, RFC_SECRET, scramError } from "./scram_exchange.ts";

const PLAIN = "SCRAM-SHA-256";
const PLUS = "SCRAM-SHA-256-PLUS";

function rfcServer(channelBinding: ChannelBinding | null = null, secret: ScramSecret = RFC_SECRET) {
  return new ScramServer({ secret, channelBinding, nonce: RFC_7677.serverNonce });
}

/** A server that has taken the RFC's client-first-message. */
function begun(secret?: ScramSecret): ScramServer {
  const server = rfcServer(null, secret);
  server.begin(PLAIN, utf8(RFC_7677.clientFirst));
  return server;
}

Deno.test("server: the exchange of RFC 7677", () => {
  const server = rfcServer();
  const first = server.begin(PLAIN, utf8(RFC_7677.clientFirst));
  assert.equal(dataOf(first, "continue"), RFC_7677.serverFirst);
  const last = server.respond(utf8(RFC_7677.clientFinal));
  assert.equal(dataOf(last, "authenticated"), RFC_7677.serverFinal);
});

Deno.test("server: without an initial response it asks for one with an empty challenge", () => {
  const server = rfcServer();
  assert.equal(dataOf(server.begin(PLAIN, null), "continue"), "");
  const first = server.respond(utf8(RFC_7677.clientFirst));
  assert.equal(dataOf(first, "continue"), RFC_7677.serverFirst);
  assert.equal(server.respond(utf8(RFC_7677.clientFinal)).kind, "authenticated");
});

Deno.test("server: SCRAM-SHA-256-PLUS is offered over TLS only", () => {
  assert.deepEqual(offeredMechanisms(null), [PLAIN]);
  assert.deepEqual(offeredMechanisms(BINDING), [PLUS, PLAIN]);
  const invalid = scramError(/invalid SASL authentication mechanism/);
  const first = utf8(RFC_7677.clientFirst);
  assert.throws(() => rfcServer().begin(PLUS, first), invalid);
  for (const mechanism of ["", "scram-sha-256", "SCRAM-SHA-1", "PLAIN"]) {
    assert.throws(() => rfcServer(BINDING).begin(mechanism, first), invalid);
  }
});

Deno.test("server: the flag of channel binding must go with mechanism and connection", () => {
  const begin = (mechanism: string, first: string, binding: ChannelBinding | null) => () =>
    rfcServer(binding).begin(mechanism, utf8(first)).kind;
  const bare = "n=,r=abc";
  assert.equal(begin(PLAIN, `n,,${bare}`, null)(), "continue");
  assert.equal(begin(PLAIN, `n,,${bare}`, BINDING)(), "continue");
  assert.equal(begin(PLAIN, `y,,${bare}`, null)(), "continue");
  assert.equal(begin(PLUS, `p=tls-server-end-point,,${bare}`, BINDING)(), "continue");

  const downgraded = scramError(/negotiation error/, "28000");
  assert.throws(begin(PLAIN, `y,,${bare}`, BINDING), downgraded);
  const without = scramError(/does not include channel binding data/);
  assert.throws(begin(PLUS, `n,,${bare}`, BINDING), without);
  assert.throws(begin(PLUS, `y,,${bare}`, BINDING), without);
  const includes = scramError(/includes channel binding data/);
  assert.throws(begin(PLAIN, `p=tls-server-end-point,,${bare}`, null), includes);
  assert.throws(begin(PLAIN, `p=tls-server-end-point,,${bare}`, BINDING), includes);
  const type = scramError(/unsupported SCRAM channel-binding type/);
  assert.throws(begin(PLUS, `p=tls-unique,,${bare}`, BINDING), type);
  assert.throws(begin(PLUS, `p=,,${bare}`, BINDING), type);
  assert.throws(begin(PLUS, `p,,${bare}`, BINDING), scramError(/Expected character "="/));
});

Deno.test("server: client-first-messages that are refused", () => {
  const refused: [message: string, reason: RegExp, sqlState?: string][] = [
    ["", /empty/],
    ["x,,n=,r=abc", /Unexpected channel-binding flag: character "x"/],
    ["\x80", /flag: character 0x80/],
    ["n", /Comma expected, but found the end/],
    ["nn,,n=,r=abc", /Comma expected/],
    ["n,a=root,n=,r=abc", /authorization identity, but it is not supported/, "0A000"],
    ["n,x=root,n=,r=abc", /Unexpected attribute/],
    ["n,", /Unexpected attribute/],
    ["n,,", /Attribute "n" expected/],
    ["n,,m=x,n=,r=abc", /unsupported SCRAM extension/, "0A000"],
    ["n,,r=abc", /Attribute "n" expected/],
    ["n,,n=", /Attribute "r" expected/],
    ["n,,n=,s=abc", /Attribute "r" expected/],
    ["n,,n=,r=a bc", /non-printable characters in SCRAM nonce/],
    ["n,,n=,r=a\xe9c", /non-printable/],
    ["n,,n=,r=abc,1=x", /Attribute expected/],
    ["n,,n=,r=abc,,", /Attribute expected/],
    ["n,,n=,r=abc,x", /Expected character "="/],
    ["n,,n=,r=a\0bc", /does not match input length/],
  ];
  for (const [message, reason, sqlState] of refused) {
    const begin = () => rfcServer().begin(PLAIN, binaryBytes(message));
    assert.throws(begin, scramError(reason, sqlState), message);
  }
});

Deno.test("server: extensions and user names are ignored, whatever bytes they have", () => {
  for (const first of ["n,,n=\xff=2C,r=abc", "n,,n=,r=abc,x=1,y=", "n,,n=,r=abc,", "n,,n=,r="]) {
    assert.equal(rfcServer().begin(PLAIN, binaryBytes(first)).kind, "continue");
  }
});

Deno.test("server: a message of 1024 bytes is read, and one byte more is not", () => {
  const first = (size: number) => utf8("n,,n=,r=".padEnd(size, "a"));
  assert.equal(rfcServer().begin(PLAIN, first(SCRAM_CLIENT_MESSAGE_SIZE_MAX)).kind, "continue");
  const tooLong = first(SCRAM_CLIENT_MESSAGE_SIZE_MAX + 1);
  assert.throws(() => rfcServer().begin(PLAIN, tooLong), scramError(/too long/));
});

Deno.test("server: client-final-messages that are refused", () => {
  const { clientFinal } = RFC_7677;
  const proof = /p=(.*)$/.exec(clientFinal)![1]!;
  const refused: [message: string, reason: RegExp][] = [
    ["", /empty/],
    [clientFinal.replace("biws", "eSws"), /unexpected SCRAM channel-binding attribute/],
    [clientFinal.replace("biws", "biwsAAAA"), /unexpected SCRAM channel-binding attribute/],
    [clientFinal.replace("biws", ""), /unexpected SCRAM channel-binding attribute/],
    [clientFinal.replace("r=rO", "r=rP"), /Nonce does not match/],
    [clientFinal.replace("k0,", "k,"), /Nonce does not match/],
    [clientFinal.replace("k0,", "k00,"), /Nonce does not match/],
    [clientFinal.replace(/r=[^,]*/, "r="), /Nonce does not match/],
    [clientFinal.replace("c=biws,", ""), /Attribute "c" expected/],
    [clientFinal.replace(/r=[^,]*,/, ""), /Attribute "r" expected/],
    [clientFinal.replace(/,p=.*/, ""), /Attribute expected, but found the end/],
    [clientFinal.replace(proof, proof.slice(0, -1)), /Malformed proof/],
    [clientFinal.replace(proof, proof.slice(4)), /Malformed proof/],
    [clientFinal.replace(proof, `AAAA${proof}`), /Malformed proof/],
    [clientFinal.replace(proof, `${proof.slice(0, -1)}!`), /Malformed proof/],
    [clientFinal.replace(proof, ""), /Malformed proof/],
    [`${clientFinal},x=1`, /Garbage found at the end/],
    [`${clientFinal}\0`, /does not match input length/],
    ["c=".padEnd(SCRAM_CLIENT_MESSAGE_SIZE_MAX + 1, "A"), /too long/],
  ];
  for (const [message, reason] of refused) {
    assert.throws(() => begun().respond(utf8(message)), scramError(reason), message);
  }
});

Deno.test("server: an attribute put into a signed message fails like a wrong password", () => {
  const { clientFinal } = RFC_7677;
  assert.equal(begun().respond(utf8(clientFinal.replace(",p=", ",x=1,p="))).kind, "failed");
  assert.equal(begun().respond(utf8(clientFinal.replace("p=d", "p=e"))).kind, "failed");
});

Deno.test("server: no part of a message is taken for a whole one", () => {
  for (const [index, whole] of [RFC_7677.clientFirst, RFC_7677.clientFinal].entries()) {
    for (let end = 0; end < whole.length; end++) {
      const message = utf8(whole.slice(0, end));
      if (index === 1) assert.throws(() => begun().respond(message), scramError(/./));
      // A nonce has no fixed length: a cut one is a nonce, and the final message will not fit it.
      else if (end >= "n,,n=user,r=".length) rfcServer().begin(PLAIN, message);
      else assert.throws(() => rfcServer().begin(PLAIN, message), scramError(/./));
    }
  }
});

Deno.test("server: a made-up secret looks like a real one and always fails", () => {
  const mock = mockScramSecret("nobody");
  const shapes = [RFC_SECRET, mock].map((secret) => {
    const step = rfcServer(null, secret).begin(PLAIN, utf8(RFC_7677.clientFirst));
    return dataOf(step, "continue").replace(/s=[^,]*/, (salt) => `s=${salt.length}`);
  });
  assert.equal(shapes[0], shapes[1]);
  const wrong = utf8(RFC_7677.clientFinal.replace("p=d", "p=e"));
  assert.deepEqual(begun(mock).respond(wrong), begun().respond(wrong));
  // Even the right proof of a secret that is marked as made up fails.
  const marked = begun({ ...RFC_SECRET, isMock: true });
  assert.deepEqual(marked.respond(utf8(RFC_7677.clientFinal)), { kind: "failed" });
});

Deno.test("server: an exchange ends with its first outcome or error", () => {
  const over = /AssertionError|the exchange is over|begins once/;
  const done = begun();
  done.respond(utf8(RFC_7677.clientFinal));
  assert.throws(() => done.respond(utf8(RFC_7677.clientFinal)), over);
  assert.throws(() => done.begin(PLAIN, null), over);
  const broken = begun();
  assert.throws(() => broken.respond(utf8("x")), scramError(/./));
  assert.throws(() => broken.respond(utf8(RFC_7677.clientFinal)), over);
  assert.throws(() => rfcServer().respond(utf8(RFC_7677.clientFirst)), over);
});

Deno.test("server: of a thousand damaged final messages none is let in", () => {
  const random = new Random(7677);
  for (let count = 0; count < 1000; count++) {
    const message = mutated(utf8(RFC_7677.clientFinal), random);
    if (message.toHex() === utf8(RFC_7677.clientFinal).toHex()) continue;
    try {
      assert.equal(begun().respond(message).kind, "failed");
    } catch (error) {
      scramError(/./)(error);
    }
  }
});
