// SCRAM secrets: the vector of RFC 7677, the stored form with its bounds, and made-up ones.

import { strict as assert } from "node:assert";
import { utf8 } from "../../src/auth/bytes.ts";
import {
  buildScramSecret,
  deriveScramKeys,
  formatScramSecret,
  mockScramSecret,
  parseScramIterations,
  parseScramSalt,
  parseScramSecret,
  saltOfUser,
  SCRAM_ITERATIONS_MAX,
  SCRAM_SALT_SIZE_MAX,
  storedKeyOf,
} from "../../src/auth/scram_secret.ts";
import { RFC_7677 } from "./scram_exchange.ts";

const STORED_KEY = "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=";
const SERVER_KEY = "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

Deno.test("a secret of the RFC's password is built, written and read", async () => {
  const secret = await buildScramSecret(RFC_7677.password, RFC_7677.salt);
  assert.equal(secret.iterations, 4096);
  assert.equal(formatScramSecret(secret), RFC_7677.secret);
  const read = parseScramSecret(RFC_7677.secret)!;
  assert.equal(formatScramSecret(read), RFC_7677.secret);
  assert.equal(read.storedKey.toBase64(), STORED_KEY);
  assert.equal(read.isMock, false);
});

Deno.test("a secret has a salt of its own unless it is given one", async () => {
  const [one, other] = [await buildScramSecret(utf8("x")), await buildScramSecret(utf8("x"))];
  assert.equal(one.salt.length, 16);
  assert.notDeepEqual(one.salt, other.salt);
  assert.notDeepEqual(one.storedKey, other.storedKey);
});

Deno.test("the keys of passwords that SASLprep makes one are the same", async () => {
  const keysOf = (password: string) => deriveScramKeys(utf8(password), RFC_7677.salt, 1);
  assert.deepEqual(await keysOf("I\u00adX"), await keysOf("\u2168"));
  assert.notDeepEqual(await keysOf("ix"), await keysOf("\u2168"));
  assert.equal(storedKeyOf((await keysOf("")).clientKey).length, 32);
});

Deno.test("parseScramSecret refuses what is not one", () => {
  const [salt, key] = ["AAAA", STORED_KEY];
  const long = (size: number) => new Uint8Array(size).toBase64();
  assert(parseScramSecret(`SCRAM-SHA-256$1:${salt}$${key}:${SERVER_KEY}`));
  assert(parseScramSecret(`SCRAM-SHA-256$1:${long(SCRAM_SALT_SIZE_MAX)}$${key}:${SERVER_KEY}`));
  const wrong = [
    "",
    "SCRAM-SHA-256$",
    `SCRAM-SHA-1$4096:${salt}$${key}:${SERVER_KEY}`,
    `scram-sha-256$4096:${salt}$${key}:${SERVER_KEY}`,
    `SCRAM-SHA-256$0:${salt}$${key}:${SERVER_KEY}`,
    `SCRAM-SHA-256$-1:${salt}$${key}:${SERVER_KEY}`,
    `SCRAM-SHA-256$ 1:${salt}$${key}:${SERVER_KEY}`,
    `SCRAM-SHA-256$1e3:${salt}$${key}:${SERVER_KEY}`,
    `SCRAM-SHA-256$${SCRAM_ITERATIONS_MAX + 1}:${salt}$${key}:${SERVER_KEY}`,
    `SCRAM-SHA-256$4096:$${key}:${SERVER_KEY}`,
    `SCRAM-SHA-256$4096:A$${key}:${SERVER_KEY}`,
    `SCRAM-SHA-256$4096:${long(SCRAM_SALT_SIZE_MAX + 1)}$${key}:${SERVER_KEY}`,
    `SCRAM-SHA-256$4096:${salt}$${long(31)}:${SERVER_KEY}`,
    `SCRAM-SHA-256$4096:${salt}$${key}:${long(33)}`,
    `SCRAM-SHA-256$4096:${salt}$${key}`,
    `SCRAM-SHA-256$4096:${salt}$${key}:${SERVER_KEY}:`,
    `SCRAM-SHA-256$4096:${salt}$${key}:${SERVER_KEY}\n`,
    ` SCRAM-SHA-256$4096:${salt}$${key}:${SERVER_KEY}`,
  ];
  for (const text of wrong) assert.equal(parseScramSecret(text), null, text);
  for (let end = 0; end < RFC_7677.secret.length; end++) {
    assert.equal(parseScramSecret(RFC_7677.secret.slice(0, end)), null, `${end} characters`);
  }
});

Deno.test("iterations and salts keep to their bounds", () => {
  assert.equal(parseScramIterations("1"), 1);
  assert.equal(parseScramIterations(String(SCRAM_ITERATIONS_MAX)), SCRAM_ITERATIONS_MAX);
  for (const text of ["", "0", "01", "1000001", "9".repeat(400), "1.0", "+1", "١"]) {
    assert.equal(parseScramIterations(text), null, text);
  }
  assert.equal(parseScramSalt("AAAA")!.length, 3);
  for (const text of ["", "A", "AAAA ", "é"]) assert.equal(parseScramSalt(text), null, text);
});

Deno.test("a made-up secret always shows one user the same salt, and no two users one", () => {
  const mock = mockScramSecret("nobody");
  assert.deepEqual(mock, mockScramSecret("nobody"));
  assert.deepEqual(mock.salt, saltOfUser("nobody"));
  assert.equal(mock.salt.length, 16);
  assert.equal(mock.iterations, 4096);
  assert.notDeepEqual(mock.salt, mockScramSecret("nobody else").salt);
  assert.notDeepEqual(mock.salt, mockScramSecret("nobody", 4096, utf8("another key")).salt);
  assert.throws(() => formatScramSecret(mock), /never stored/);
});
