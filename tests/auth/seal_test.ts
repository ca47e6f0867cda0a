// Seal keys: the token, the file, and that nothing shows a key.

import { strict as assert } from "node:assert";
import {
  formatSealKeys,
  nextKeyName,
  parseSealKeys,
  SEAL_KEY_SIZE,
  SealKey,
  SealKeyError,
} from "../../src/auth/seal.ts";

const ZEROES = "00".repeat(32);
const ONES = "11".repeat(32);
const UTF8 = new TextEncoder();

/** HMAC-SHA-256 by the runtime's other implementation. */
async function macOf(key: Uint8Array<ArrayBuffer>, text: string): Promise<string> {
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const imported = await crypto.subtle.importKey("raw", key, algorithm, false, ["sign"]);
  const mac = new Uint8Array(await crypto.subtle.sign("HMAC", imported, UTF8.encode(text)));
  return Array.from(mac, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

Deno.test("seal: a token has its parts in fixed places, and the MAC is over all behind it", async () => {
  const bytes = crypto.getRandomValues(new Uint8Array(SEAL_KEY_SIZE));
  const payload = '{"app.tenant":"acme"}';
  const token = new SealKey("k1", bytes).token({ processId: 42, port: 5433 }, 1234567890, payload);
  assert.equal(token.slice(64), `1234567890k1${payload}`);
  assert.equal(token.slice(0, 64), await macOf(bytes, `42:5433:1234567890k1${payload}`));
});

Deno.test("seal: another process, port, end, key or context is another MAC", () => {
  const key = SealKey.random("k1");
  const mac = (...[processId, port, end, payload]: readonly [number, number, number, string]) =>
    key.token({ processId, port }, end, payload).slice(0, 64);
  const macs = [
    mac(1, 2, 1e9, "{}"),
    mac(2, 2, 1e9, "{}"),
    mac(1, 3, 1e9, "{}"),
    mac(1, 2, 1e9 + 1, "{}"),
    mac(1, 2, 1e9, "{ }"),
    SealKey.random("k1").token({ processId: 1, port: 2 }, 1e9, "{}").slice(0, 64),
  ];
  assert.equal(new Set(macs).size, macs.length);
  assert.equal(mac(1, 2, 1e9, "{}"), macs[0]);
});

Deno.test("seal: an end of fewer digits keeps its place", () => {
  const token = SealKey.random("k1").token({ processId: 1, port: 0 }, 7, "{}");
  assert.equal(token.slice(64), "0000000007k1{}");
});

Deno.test("seal: a file holds one key or two, the one that signs first", () => {
  const text = `# a comment\r\n\n  k2\t${ONES.toUpperCase()}  \nk1 ${ZEROES}`;
  const keys = parseSealKeys(text);
  assert.deepEqual(keys.map(({ name, hex }) => [name, hex]), [["k2", ONES], ["k1", ZEROES]]);
  assert.deepEqual(
    parseSealKeys(formatSealKeys(keys)).map(({ hex }) => hex),
    keys.map(({ hex }) => hex),
  );
});

const MISTAKES: readonly (readonly [text: string, line: number, sentence: RegExp])[] = [
  ["", 1, /no key/],
  ["# nothing\n", 1, /no key/],
  [ZEROES, 1, /name of two letters/],
  [`k1 ${ZEROES.slice(1)}`, 1, /64 hexadecimal/],
  [`\nk1 ${ZEROES}0`, 2, /64 hexadecimal/],
  [`k10 ${ZEROES}`, 1, /two letters/],
  [`K1 ${ZEROES}`, 1, /two letters/],
  [`k1 ${ZEROES}\nk1 ${ONES}`, 2, /twice/],
  [`k1 ${ZEROES}\nk2 ${ONES}\nk3 ${ONES}`, 3, /more than 2/],
];
for (const [text, line, sentence] of MISTAKES) {
  Deno.test(`seal: refuses ${JSON.stringify(text.replaceAll(/0{9,}|1{9,}/g, "…"))}`, () => {
    assert.throws(() => parseSealKeys(text), (error) => {
      assert(error instanceof SealKeyError);
      assert.equal(error.line, line);
      assert.match(error.message, sentence);
      assert(!error.message.includes(ZEROES.slice(0, 16)), "no key is told");
      return true;
    });
  });
}

Deno.test("seal: a key shows itself to nobody who does not ask for it", () => {
  const key = new SealKey("k1", new Uint8Array(SEAL_KEY_SIZE).fill(0xab));
  for (const shown of [JSON.stringify(key), String(key), Deno.inspect(key, { depth: 9 })]) {
    assert(!/abab|171/.test(shown), shown);
  }
});

Deno.test("seal: names of keys go round, and leave out those that are there", () => {
  assert.equal(nextKeyName([]), "k1");
  assert.equal(nextKeyName(["k1"]), "k2");
  assert.equal(nextKeyName(["k9", "k8"]), "k1");
  assert.equal(nextKeyName(["k9", "k1"]), "k2");
  assert.equal(nextKeyName(["zz", "k1"]), "k2");
});
