// authenticate: asks by each method, in PostgreSQL's words; what is no answer is refused, and the
// limit on failures holds for logins that have begun already.

import { strict as assert } from "node:assert";
import { createHash, createHmac, pbkdf2Sync } from "node:crypto";
import { md5Secret, type StoredPassword } from "../../src/auth/password.ts";
import { buildScramSecret } from "../../src/auth/scram_secret.ts";
import { PgError } from "../../src/codec/error.ts";
import { Inbox } from "../../src/net/buffers.ts";
import { AddressLimit } from "../../src/session/address_limit.ts";
import { authenticate, type AuthenticationMethod } from "../../src/session/authentication.ts";
import { Deadline } from "../../src/session/deadline.ts";
import { ClientGone } from "../../src/session/endings.ts";
import { ClientEncryption } from "../../src/session/opening.ts";
import { memoryPair } from "../support/memory_transport.ts";
import { cstring, int32, join, message, password, TERMINATE, text } from "../support/messages.ts";
import { ScriptedPeer } from "../support/scripted_peer.ts";

const USER = "app_user.acme";
const SECRET = "pass wörd";
const METHODS: readonly AuthenticationMethod[] = ["scram", "md5", "cleartext"];
const STORED: Record<string, StoredPassword> = {
  cleartext: { kind: "cleartext", password: text(SECRET) },
  md5: { kind: "md5", secret: md5Secret(USER, text(SECRET)) },
  scram: { kind: "scram", secret: await buildScramSecret(text(SECRET)) },
};

/** What each asks with. */
const METHOD_REQUEST: Record<AuthenticationMethod, number> = { scram: 10, md5: 5, cleartext: 3 };

interface LoginOptions {
  readonly method?: AuthenticationMethod;
  readonly stored?: StoredPassword | null;
  readonly failures?: AddressLimit;
  readonly encryption?: ClientEncryption | null;
}

/** A login under way, and its client. */
function begin(options: LoginOptions = {}) {
  const { method = "scram", stored = STORED["cleartext"]!, encryption = null } = options;
  const { failures = new AddressLimit(100) } = options;
  const [near, far] = memoryPair({ peers: ["192.0.2.7:4711", "pgvpd"] });
  const deadline = new Deadline(5_000, "testing");
  const outcome = authenticate({
    client: new Inbox(far, 64 * 1024),
    user: USER,
    secret: stored === null ? null : { stored, name: USER },
    method,
    encryption,
    failures,
    deadline,
  }).then(() => null, (error) => error as unknown).finally(() => deadline[Symbol.dispose]());
  return { client: new ScriptedPeer(near), outcome };
}

/** Answers whatever is asked with this password. */
async function answer(client: ScriptedPeer, typed: string, header = "n,,"): Promise<number> {
  const asked = await client.expect("R");
  const request = new DataView(asked.buffer, asked.byteOffset).getInt32(5);
  if (request === 3) await client.send(password(typed));
  if (request === 5) await client.send(password(md5Answer(typed, asked.subarray(9))));
  if (request === 10) await prove(client, typed, header);
  return request;
}

function md5Answer(typed: string, salt: Uint8Array): string {
  const inner = createHash("md5").update(typed + USER).digest("hex");
  return `md5${createHash("md5").update(inner).update(salt).digest("hex")}`;
}

async function prove(client: ScriptedPeer, typed: string, header: string): Promise<void> {
  await client.send(initialResponse("SCRAM-SHA-256", `${header}n=,r=abc`));
  const serverFirst = new TextDecoder().decode((await client.expect("R")).subarray(9));
  const [, nonce, salt, count] = /^r=(.*),s=(.*),i=(.*)$/.exec(serverFirst)!;
  const salted = pbkdf2Sync(typed, Uint8Array.fromBase64(salt!), Number(count), 32, "sha256");
  const key = createHmac("sha256", salted).update("Client Key").digest();
  const stored = createHash("sha256").update(key).digest();
  const withoutProof = `c=${btoa(header)},r=${nonce}`;
  const signature = createHmac("sha256", stored)
    .update(`n=,r=abc,${serverFirst},${withoutProof}`).digest();
  const proof = Uint8Array.from(key.map((byte, index) => byte ^ signature[index]!)).toBase64();
  await client.send(message("p", text(`${withoutProof},p=${proof}`)));
}

function initialResponse(mechanism: string, data: string): Uint8Array {
  return message("p", cstring(mechanism), int32(text(data).length), text(data));
}

function assertRefused(outcome: unknown, sqlState: string, words: RegExp): void {
  assert(outcome instanceof PgError, String(outcome));
  assert.equal(outcome.sqlState, sqlState);
  assert.match(outcome.message, words);
}

for (const method of METHODS) {
  for (const [kind, stored] of Object.entries(STORED)) {
    if (method === "scram" && kind === "md5") continue; // never fits, as in PostgreSQL
    Deno.test(`authenticate by ${method} against ${kind}: right, and wrong`, async () => {
      const right = begin({ method, stored });
      const request = await answer(right.client, SECRET);
      assert.equal(request, kind === "scram" && method === "md5" ? 10 : METHOD_REQUEST[method]);
      assert.equal(await right.outcome, null);
      if (request === 10) assert.equal((await right.client.expect("R"))[8], 12, "SASLFinal");

      const wrong = begin({ method, stored });
      await answer(wrong.client, `${SECRET}!`);
      assertRefused(await wrong.outcome, "28P01", new RegExp(`failed for user "${USER}"$`));
      assert.equal(wrong.client.unread, 0, "nothing is said about it here");
    });
  }

  Deno.test(`authenticate by ${method}: whom nobody knows is asked, and refused, alike`, async () => {
    for (const typed of [SECRET, "wrong"]) {
      const { client, outcome } = begin({ method, stored: null });
      assert.equal(await answer(client, typed), METHOD_REQUEST[method]);
      assertRefused(await outcome, "28P01", new RegExp(`failed for user "${USER}"$`));
    }
  });

  Deno.test(`authenticate by ${method}: what is no answer is refused`, async () => {
    const huge = new Uint8Array(3_000).fill(65);
    const wrong: readonly (readonly [Uint8Array, RegExp])[] = [
      [message("Q", cstring("SELECT 1")), /expected password response, got message type 81/],
      [message("R", int32(0)), /got message type 82/],
      [Uint8Array.of(0x70, 0, 0, 0, 3), /invalid message length/],
      [Uint8Array.of(0x70, 255, 255, 255, 255), /invalid message length/],
      [Uint8Array.of(0x70, 127, 255, 255, 255), /invalid message length/],
      [message("p", huge, Uint8Array.of(0)), /invalid message length/],
      [message("p"), /./],
      [message("p", text("no terminator")), /./],
      [message("p", cstring("two"), cstring("strings")), /./],
    ];
    for (const [bytes, words] of wrong) {
      const { client, outcome } = begin({ method });
      await client.expect("R");
      await client.send(bytes);
      assertRefused(await outcome, "08P01", words);
    }
  });

  Deno.test(`authenticate by ${method}: a client that leaves, says Terminate or breaks off`, async () => {
    for (const last of [new Uint8Array(), TERMINATE, password("x").subarray(0, 4)]) {
      const { client, outcome } = begin({ method });
      await client.expect("R");
      await client.send(last);
      client.transport.close();
      assert(await outcome instanceof ClientGone);
    }
  });
}

Deno.test("authenticate refuses an empty password in PostgreSQL's words", async () => {
  for (const method of ["md5", "cleartext"] as const) {
    const { client, outcome } = begin({ method });
    await client.expect("R");
    await client.send(password(""));
    assertRefused(await outcome, "28P01", /^empty password returned by client$/);
  }
});

const SASL_FAULTS: Record<string, Uint8Array> = {
  "a length beyond the message": message("p", cstring("SCRAM-SHA-256"), int32(99), text("n,,")),
  "a length short of the message": message("p", cstring("SCRAM-SHA-256"), int32(1), text("n,,")),
  "no mechanism": message("p"),
  "a mechanism without end": message("p", text("SCRAM-SHA-256")),
  "a mechanism that was not offered": initialResponse("SCRAM-SHA-256-PLUS", "n,,n=,r=a"),
  "an authorization identity": initialResponse("SCRAM-SHA-256", "n,a=boss,n=,r=a"),
  "no nonce": initialResponse("SCRAM-SHA-256", "n,,n="),
  "a nonce that cannot be printed": initialResponse("SCRAM-SHA-256", "n,,n=,r=a\u0001"),
  "an extension": initialResponse("SCRAM-SHA-256", "n,,m=x,n=,r=a"),
  "bytes that are no text": message(
    "p",
    cstring("SCRAM-SHA-256"),
    int32(3),
    Uint8Array.of(255, 254, 253),
  ),
  "a message longer than PostgreSQL takes": initialResponse(
    "SCRAM-SHA-256",
    `n,,n=,r=${"a".repeat(1_100)}`,
  ),
  "nothing at all": initialResponse("SCRAM-SHA-256", ""),
};

for (const [fault, bytes] of Object.entries(SASL_FAULTS)) {
  Deno.test(`authenticate refuses a first message of SCRAM with ${fault}`, async () => {
    const { client, outcome } = begin();
    await client.expect("R");
    await client.send(bytes);
    const error = await outcome;
    assert(error instanceof PgError, String(error));
    assert.match(error.sqlState, /^(08P01|0A000)$/);
  });
}

Deno.test("authenticate gives an empty challenge to a client that begins without data", async () => {
  const { client, outcome } = begin();
  await client.expect("R");
  await client.send(message("p", cstring("SCRAM-SHA-256"), int32(-1)));
  assert.equal((await client.expect("R")).length, 9);
  client.transport.close();
  assert(await outcome instanceof ClientGone);
});

Deno.test("authenticate refuses y where PLUS was offered, and offers it over TLS alone", async () => {
  const encryption = new ClientEncryption(new Uint8Array(32).fill(7), null, null);
  const { client, outcome } = begin({ encryption });
  assert.equal(
    new TextDecoder().decode((await client.expect("R")).subarray(9)).split("\0")[0],
    "SCRAM-SHA-256-PLUS",
  );
  await client.send(initialResponse("SCRAM-SHA-256", "y,,n=,r=abc"));
  assertRefused(await outcome, "28000", /channel binding negotiation error/);
});

Deno.test("authenticate blocks an address for right passwords too, until time has passed", async () => {
  let ms = 0;
  const failures = new AddressLimit(2, () => ms);
  for (const method of METHODS) {
    ms += 600_000;
    for (let count = 0; count < 2; count++) {
      const { client, outcome } = begin({ method, failures });
      await answer(client, "wrong");
      assertRefused(await outcome, "28P01", /failed/);
    }
    const blocked = begin({ method, failures });
    assertRefused(await blocked.outcome, "28000", /too many failed logins from this address/);
    assert.equal(blocked.client.unread, 0, "it is not even asked");
    ms += 30_000;
    const right = begin({ method, failures });
    await answer(right.client, SECRET);
    assert.equal(await right.outcome, null);
  }
});

Deno.test("authenticate: of many that were begun at once, no more than the limit learn anything", async () => {
  for (const method of METHODS) {
    const failures = new AddressLimit(3, () => 0);
    const logins = Array.from({ length: 20 }, () => begin({ method, failures }));
    let toldWrong = 0;
    for (const [index, { client, outcome }] of logins.entries()) {
      await answer(client, index < 10 ? "wrong" : SECRET);
      const error = await outcome;
      assert(error instanceof PgError, `${method}: number ${index} was let in`);
      if (error.sqlState === "28P01") toldWrong++;
      else assertRefused(error, "28000", /too many failed logins/);
      assert.equal(client.unread, 0, "no SASLFinal tells that it was right");
    }
    assert.equal(toldWrong, 3);
  }
});

Deno.test("authenticate does not count who breaks the protocol, or leaves, as a failed login", async () => {
  const failures = new AddressLimit(1, () => 0);
  for (const bytes of [message("Q", cstring("x")), TERMINATE, join()]) {
    const { client, outcome } = begin({ failures });
    await client.expect("R");
    await client.send(bytes);
    client.transport.close();
    await outcome;
  }
  assert(failures.allows("192.0.2.7:1"));
});
