// The cache of keys: one derivation for many logins, a ceiling, and failures that are forgotten.

import { strict as assert } from "node:assert";
import { utf8 } from "../../src/auth/bytes.ts";
import { ScramKeyCache } from "../../src/auth/scram_key_cache.ts";
import { deriveScramKeys, type ScramKeys, storedKeyOf } from "../../src/auth/scram_secret.ts";
import { login, RFC_7677, RFC_SECRET } from "./scram_exchange.ts";

/** A cache whose derivations are counted and cost nothing. */
function countingCache(sizeMax?: number) {
  const derived: string[] = [];
  const cache = new ScramKeyCache(sizeMax, (password, salt, iterations) => {
    derived.push(`${new TextDecoder().decode(password)} ${salt} ${iterations}`);
    const keys: ScramKeys = { clientKey: Uint8Array.from(password), serverKey: salt };
    return Promise.resolve(keys);
  });
  return { cache, derived };
}

const SALT = Uint8Array.of(1, 2);

Deno.test("cache: a thousand logins at once derive once", async () => {
  const { cache, derived } = countingCache();
  const asked = Array.from({ length: 1000 }, () => cache.keys(utf8("x"), SALT, 4096));
  const keys = await Promise.all(asked);
  assert.deepEqual(derived, ["x 1,2 4096"]);
  assert.equal(new Set(keys).size, 1);
  await cache.keys(utf8("x"), SALT, 4096);
  assert.equal(derived.length, 1);
});

Deno.test("cache: another password, salt or number of iterations is another entry", async () => {
  const { cache, derived } = countingCache();
  const asked: [string, number[], number][] = [
    ["x", [1, 2], 4096],
    ["y", [1, 2], 4096],
    ["x", [1, 2, 4], 4096],
    ["x", [1, 2], 409],
    ["x\x01", [2], 4096],
    ["", [1, 2], 4096],
  ];
  for (const [password, salt, iterations] of asked) {
    const keys = await cache.keys(utf8(password), Uint8Array.from(salt), iterations);
    assert.deepEqual([...keys.serverKey], salt);
    assert.deepEqual(keys.clientKey, utf8(password));
  }
  assert.equal(derived.length, asked.length);
  assert.equal(cache.size, asked.length);
});

Deno.test("cache: at its ceiling it forgets what was used longest ago", async () => {
  const { cache, derived } = countingCache(3);
  const ask = (password: string) => cache.keys(utf8(password), SALT, 1);
  for (const password of ["a", "b", "c", "a", "d"]) await ask(password);
  assert.equal(cache.size, 3);
  derived.length = 0;
  for (const password of ["a", "c", "d"]) await ask(password);
  assert.deepEqual(derived, []);
  await ask("b");
  assert.deepEqual(derived, ["b 1,2 1"]);
  for (let count = 0; count < 1000; count++) await ask(`p${count}`);
  assert.equal(cache.size, 3);
});

Deno.test("cache: a failure reaches all who wait and is tried again", async () => {
  let count = 0;
  const cache = new ScramKeyCache(10, (...asked) => {
    count++;
    return count === 1 ? Promise.reject(new Error("no memory")) : deriveScramKeys(...asked);
  });
  const ask = () => cache.keys(utf8("x"), SALT, 1);
  const [one, other] = [ask(), ask()];
  await assert.rejects(one, /no memory/);
  await assert.rejects(other, /no memory/);
  assert.equal(cache.size, 0);
  assert.equal((await ask()).clientKey.length, 32);
  assert.equal(count, 2);
});

Deno.test("cache: its keys and secrets are those of the password", async () => {
  const cache = new ScramKeyCache();
  const keys = await cache.keys(RFC_7677.password, RFC_7677.salt, 4096);
  assert.deepEqual(storedKeyOf(keys.clientKey), RFC_SECRET.storedKey);
  const secret = await cache.secret("user", utf8("IX"), 100);
  assert.deepEqual(await cache.secret("user", utf8("IX"), 100), secret);
  assert.notDeepEqual((await cache.secret("other", utf8("IX"), 100)).salt, secret.salt);
  assert.equal(secret.iterations, 100);
  assert.equal(await login({ secret, password: utf8("\u2168") }), true);
  assert.equal(await login({ secret, password: utf8("ix") }), false);
});
