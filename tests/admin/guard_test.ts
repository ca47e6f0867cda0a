// Who may use the admin API: every way in has its way of being refused.

import { strict as assert } from "node:assert";
import { AddressLimit } from "../../src/session/address_limit.ts";
import { Guard, WRONG_TOKENS_PER_MINUTE } from "../../src/admin/guard.ts";

const TOKEN = "open sesame, please";
const PEER = "192.0.2.7:51234";

function statusOf(
  headers: Record<string, string>,
  { token = null as string | null, names = [] as string[] } = {},
): number {
  const host = { host: "127.0.0.1:9090" };
  return new Guard(() => ({ token, names })).judge(new Headers({ ...host, ...headers }), PEER)
    ?.status ?? 200;
}

Deno.test("without a token: addresses, localhost and known names, and nothing that merely looks so", () => {
  const right = ["127.0.0.1", "127.0.0.1:9090", "[::1]:9090", "LOCALHOST:9090", "10.1.2.3"];
  for (const host of [...right, "Admin.Internal:9090"]) {
    assert.equal(statusOf({ host }, { names: ["admin.internal"] }), 200, host);
  }
  const wrong = ["evil.example", "127.0.0.1.evil.example", "localhost.evil", "a@127.0.0.1", "x/y"];
  for (const host of [...wrong, "", "admin.internal"]) assert.equal(statusOf({ host }), 421, host);
});

Deno.test("with a token: it alone, as a bearer, under whatever name", () => {
  const right = [`Bearer ${TOKEN}`, `bearer  ${TOKEN}`];
  for (const authorization of right) {
    assert.equal(statusOf({ authorization, host: "any.example" }, { token: TOKEN }), 200);
  }
  const wrong = ["", TOKEN, `Basic ${TOKEN}`, "Bearer", `Bearer ${TOKEN}x`, "Bearer open"];
  for (const authorization of wrong) {
    assert.equal(statusOf({ authorization }, { token: TOKEN }), 401, authorization);
  }
  assert.equal(statusOf({}, { token: TOKEN }), 401);
});

Deno.test("pages of others are refused, with the token and without it", () => {
  const foreign: Record<string, string>[] = [
    { origin: "https://evil.example" },
    { origin: "http://127.0.0.1:9091" },
    { origin: "null" },
    { origin: "file://" },
    { "sec-fetch-site": "cross-site" },
    { "sec-fetch-site": "same-site" },
  ];
  for (const headers of foreign) {
    assert.equal(statusOf(headers), 403, JSON.stringify(headers));
    const authorization = `Bearer ${TOKEN}`;
    assert.equal(statusOf({ ...headers, authorization }, { token: TOKEN }), 403);
  }
  const own: Record<string, string>[] = [
    { origin: "http://127.0.0.1:9090" },
    { origin: "https://127.0.0.1:9090" },
    { "sec-fetch-site": "same-origin" },
    { "sec-fetch-site": "none" },
  ];
  for (const headers of own) assert.equal(statusOf(headers), 200, JSON.stringify(headers));
});

Deno.test("a token cannot be guessed for long, and who shows none has not guessed", () => {
  const told: string[] = [];
  const limit = new AddressLimit(WRONG_TOKENS_PER_MINUTE);
  const guard = new Guard(() => ({ token: TOKEN, names: [] }), limit, (peer) => told.push(peer));
  const ask = (authorization: string, peer = PEER) =>
    guard.judge(new Headers({ authorization }), peer)?.status ?? 200;
  for (let each = 0; each < 100; each++) assert.equal(ask(""), 401);
  for (let each = 0; each < WRONG_TOKENS_PER_MINUTE; each++) assert.equal(ask("Bearer x"), 401);
  assert.equal(ask(`Bearer ${TOKEN}`), 429);
  assert.equal(ask(`Bearer ${TOKEN}`, "192.0.2.8:1"), 200);
  assert.equal(told.length, WRONG_TOKENS_PER_MINUTE, "each is told, and no more than may be tried");
});
