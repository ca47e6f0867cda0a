// The client's side of SCRAM, with the server's side and against one that lies.

import { strict as assert } from "node:assert";
import { binaryBytes, utf8 } from "../../src/auth/bytes.ts";
import {
  SCRAM_SERVER_MESSAGE_SIZE_MAX,
  ScramClient,
  type ScramClientOptions,
} from "../../src/auth/scram_client.ts";
import type { ChannelBinding } from "../../src/auth/scram_message.ts";
import {
  buildScramSecret,
  deriveScramKeys,
  mockScramSecret,
  SCRAM_ITERATIONS_MAX,
} from "../../src/auth/scram_secret.ts";
import { ScramServer } from "../../src/auth/scram_server.ts";
import { Random } from "../support/random.ts";
import { BINDING, login, RFC_7677, RFC_SECRET, scramError, text } from "./scram_exchange.ts";

const PLAIN = "SCRAM-SHA-256";
const PLUS = "SCRAM-SHA-256-PLUS";

function rfcClient(options: Partial<ScramClientOptions> = {}): ScramClient {
  return new ScramClient({
    offered: [PLAIN],
    channelBinding: null,
    nonce: "rOprNGfwEbeRWgbNEkqO",
    keys: (salt, iterations) => deriveScramKeys(RFC_7677.password, salt, iterations),
    ...options,
  });
}

Deno.test("client: it chooses among the mechanisms, and says what it knows", () => {
  const chosen = (offered: string[], channelBinding: ChannelBinding | null) => {
    const client = rfcClient({ offered, channelBinding });
    return [client.mechanism, text(client.initialResponse)];
  };
  const bare = "n=,r=rOprNGfwEbeRWgbNEkqO";
  assert.deepEqual(chosen([PLAIN], null), [PLAIN, `n,,${bare}`]);
  assert.deepEqual(chosen([PLUS, PLAIN], null), [PLAIN, `n,,${bare}`]);
  assert.deepEqual(chosen([PLAIN], BINDING), [PLAIN, `y,,${bare}`]);
  assert.deepEqual(chosen([PLAIN, PLUS], BINDING), [PLUS, `p=tls-server-end-point,,${bare}`]);
  const none = scramError(/none of the server's SASL authentication mechanisms/);
  for (const offered of [[], ["OAUTHBEARER"], [PLUS], ["scram-sha-256"]]) {
    assert.throws(() => chosen(offered, null), none);
  }
});

Deno.test("client: hundreds of passwords log in, and others do not", async () => {
  const random = new Random(5802);
  const alphabet = [..." !~azAZ09,=$:\"'éßÅ\u0301\u00ad\u3000Ωﬁ\u05d0\u0627中한😀\x7f\u0007\ue000"];
  for (let count = 0; count < 300; count++) {
    const size = random.integer(1, 24);
    const password = random.chance(0.2)
      ? random.bytes(size).map((byte) => byte || 1)
      : utf8(Array.from({ length: size }, () => random.pick(alphabet)).join(""));
    const iterations = random.integer(1, 50);
    const secret = await buildScramSecret(
      password,
      random.bytes(random.integer(1, 32)),
      iterations,
    );
    const bindings = random.chance(0.5) ? { serverBinding: BINDING } : {};
    const sides = random.chance(0.5) && bindings.serverBinding
      ? { ...bindings, clientBinding: BINDING }
      : bindings;
    const seed = `seed 5802, ${count}: ${password}`;
    assert.equal(await login({ secret, password, ...sides }), true, seed);
    const other = Uint8Array.from([...password, 0x78]);
    assert.equal(await login({ secret, password: other, ...sides }), false, seed);
  }
});

Deno.test("client: spellings that SASLprep makes one log in to each other", async () => {
  const secret = await buildScramSecret(utf8("IX é"));
  for (const password of ["I\u00adX é", "\u2168 é", "IX\u00a0e\u0301"]) {
    assert.equal(await login({ secret, password: utf8(password) }), true, password);
  }
  assert.equal(await login({ secret, password: utf8("ix é") }), false);
});

Deno.test("client: a user who does not exist is not let in", async () => {
  assert.equal(await login({ secret: mockScramSecret("u"), password: utf8("") }), false);
});

Deno.test("client: each message that is changed on its way ends the login", async () => {
  const [secret, password] = [RFC_SECRET, RFC_7677.password];
  const replaced = (name: string, from: RegExp | string, to: string) =>
    login({
      secret,
      password,
      tamper: (which, message) => which === name ? utf8(text(message).replace(from, to)) : message,
    });
  assert.equal(await replaced("client-first", "n=,", "n=root,"), false);
  assert.equal(await replaced("client-final", ",p=", ",x=1,p="), false);
  assert.equal(await replaced("server-first", /i=\d+/, "i=4097"), false);
  assert.equal(await replaced("server-first", /s=[^,]+/, "s=AAAA"), false);
  const noNonce = scramError(/Nonce does not match/);
  await assert.rejects(replaced("client-first", /r=./, "r=~"), noNonce);
  await assert.rejects(replaced("server-first", /r=./, "r=~"), noNonce);
  await assert.rejects(replaced("server-first", ",s=", "x,s="), noNonce);
  await assert.rejects(replaced("server-final", /v=./, "v=~"), scramError(/Malformed server/));
  const forged = `v=${new Uint8Array(32).toBase64()}`;
  await assert.rejects(replaced("server-final", /.*/, forged), scramError(/incorrect server sig/));
});

Deno.test("client: channel binding sees another certificate and a list that was cut", async () => {
  const [secret, password] = [RFC_SECRET, RFC_7677.password];
  const both = { secret, password, serverBinding: BINDING, clientBinding: BINDING };
  assert.equal(await login(both), true);
  for (const data of [utf8(""), BINDING.data.slice(1), BINDING.data.map((byte) => byte ^ 1)]) {
    const clientBinding: ChannelBinding = { type: "tls-server-end-point", data };
    const failed = scramError(/channel binding check failed/, "28000");
    await assert.rejects(login({ ...both, clientBinding }), failed);
  }
  const downgraded = scramError(/negotiation error/, "28000");
  await assert.rejects(login({ ...both, offered: [PLAIN] }), downgraded);
});

Deno.test("client: server-first-messages that are refused, before any key is derived", async () => {
  const { serverFirst } = RFC_7677;
  const refused: [message: string, reason: RegExp][] = [
    ["", /empty/],
    ["m=x,r=a", /Attribute "r" expected/],
    [serverFirst.replace("r=r", "r=s"), /Nonce does not match/],
    [serverFirst.replace(/r=[^,]*/, "r=rOprNGfwEbeRWgbNEkqO"), /Nonce does not match/],
    [serverFirst.replace(/r=[^,]*/, "r=rOprNGfwEbeRWgbNEkqO a"), /Nonce does not match/],
    [serverFirst.replace(/r=[^,]*/, "r=rOprNGfwEbeRWgbNEkq"), /Nonce does not match/],
    [serverFirst.replace(/s=[^,]*/, "s="), /Invalid salt/],
    [serverFirst.replace(/s=[^,]*/, "s=!"), /Invalid salt/],
    [serverFirst.replace(/s=[^,]*,/, ""), /Attribute "s" expected/],
    [serverFirst.replace("i=4096", `i=${SCRAM_ITERATIONS_MAX + 1}`), /Invalid iteration count/],
    [serverFirst.replace("i=4096", "i=0"), /Invalid iteration count/],
    [serverFirst.replace("i=4096", "i=-1"), /Invalid iteration count/],
    [serverFirst.replace("i=4096", "i="), /Invalid iteration count/],
    [`${serverFirst},x=1`, /Garbage found at the end/],
    [`${serverFirst}\0`, /does not match input length/],
    [serverFirst.replace(",s=", `${"x".repeat(SCRAM_SERVER_MESSAGE_SIZE_MAX)},s=`), /too long/],
  ];
  const keys = () => Promise.reject(new Error("nobody asks for keys"));
  for (const [message, reason] of refused) {
    const client = rfcClient({ keys });
    await assert.rejects(client.respond(utf8(message)), scramError(reason), message);
    await assert.rejects(client.respond(utf8(serverFirst)), /comes once/);
  }
  const digits = serverFirst.indexOf("i=") + 2; // A number cut short is a number.
  for (let end = 0; end <= digits; end++) {
    const client = rfcClient({ keys });
    await assert.rejects(client.respond(utf8(serverFirst.slice(0, end))), scramError(/./));
  }
});

Deno.test("client: server-final-messages that are refused leave it unverified", async () => {
  const right = async () => {
    const client = rfcClient();
    await client.respond(utf8(RFC_7677.serverFirst));
    return client;
  };
  assert.equal((await right()).verified, false);
  const zero = new Uint8Array(32).toBase64();
  const refused: [message: string, reason: RegExp][] = [
    ["", /empty/],
    ["e=invalid-proof", /error received from server in SCRAM exchange: invalid-proof/],
    ["e=\x1b[31m", /not printable/],
    ["x=1", /Attribute "v" expected/],
    ["v=", /Malformed server signature/],
    ["v=AAAA", /Malformed server signature/],
    [`v=${zero},x=1`, /Garbage found/],
    [`v=${zero}`, /incorrect server signature/],
    [RFC_7677.serverFinal, /incorrect server signature/], // of another exchange
  ];
  for (const [message, reason] of refused) {
    const client = await right();
    assert.throws(() => client.finish(binaryBytes(message)), scramError(reason), message);
    assert.equal(client.verified, false);
    assert.throws(() => client.finish(utf8(message)), /comes once/);
  }
  assert.throws(() => rfcClient().finish(utf8(RFC_7677.serverFinal)), /and last/);
});

Deno.test("client: the keys that a server saw log in elsewhere without the password", async () => {
  const known = await deriveScramKeys(RFC_7677.password, RFC_7677.salt, 4096);
  const first = new ScramServer({
    secret: RFC_SECRET,
    channelBinding: null,
    nonce: RFC_7677.serverNonce,
  });
  first.begin(PLAIN, utf8(RFC_7677.clientFirst));
  const step = first.respond(utf8(RFC_7677.clientFinal));
  assert(step.kind === "authenticated");
  assert.deepEqual(step.keys.clientKey.toHex(), known.clientKey.toHex());

  const second = new ScramServer({ secret: RFC_SECRET, channelBinding: null });
  const client = rfcClient({ keys: () => Promise.resolve(step.keys) });
  const challenge = second.begin(client.mechanism, client.initialResponse);
  assert(challenge.kind === "continue");
  const outcome = second.respond(await client.respond(challenge.data));
  assert(outcome.kind === "authenticated");
  client.finish(outcome.data);
  assert(client.verified);
});

Deno.test("client: what the source of the keys throws passes through", async () => {
  const client = rfcClient({ keys: () => Promise.reject(new Error("no such key")) });
  await assert.rejects(client.respond(utf8(RFC_7677.serverFirst)), /no such key/);
  assert.equal(client.verified, false);
});
