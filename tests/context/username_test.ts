// User names taken apart: which part is which, and what is said when one is missing.

import { strict as assert } from "node:assert";
import { PgError } from "../../src/codec/error.ts";
import { decodeUsername, parseUsername, type UsernameRules } from "../../src/context/username.ts";
import { text } from "../support/messages.ts";

const ONE: UsernameRules = {
  tenantSeparator: ".",
  valueSeparator: ":",
  contextVariables: ["app.current_tenant_id"],
};
const TWO: UsernameRules = { ...ONE, contextVariables: ["app.tenant", "app.org"] };

const refused = (sentence: RegExp) => (error: unknown) => {
  assert(error instanceof PgError);
  assert.equal(error.sqlState, "28000");
  assert.match(error.message, sentence);
  return true;
};

Deno.test("parseUsername takes role and tenant apart at the first separator", () => {
  const expected = { role: "app_user", payload: "acme", values: ["acme"] };
  assert.deepEqual(parseUsername("app_user.acme", ONE), expected);
  assert.equal(parseUsername("app.acme.eu.west", ONE).payload, "acme.eu.west");
  assert.deepEqual(parseUsername("app..acme", ONE).values, [".acme"]);
});

Deno.test("parseUsername takes separators of several characters", () => {
  const rules = { ...TWO, tenantSeparator: "--", valueSeparator: "::" };
  assert.deepEqual(parseUsername("app-user--a-b::c:d", rules), {
    role: "app-user",
    payload: "a-b::c:d",
    values: ["a-b", "c:d"],
  });
  const one = { ...rules, contextVariables: ["app.tenant"] };
  assert.deepEqual(parseUsername("a---b", one).values, ["-b"]);
});

Deno.test("parseUsername uses the payload whole when there is one variable", () => {
  assert.deepEqual(parseUsername("app.a:b:c", ONE).values, ["a:b:c"]);
});

Deno.test("parseUsername splits the payload for several variables, empty values included", () => {
  assert.deepEqual(parseUsername("app.a:b", TWO).values, ["a", "b"]);
  assert.deepEqual(parseUsername("app.a:", TWO).values, ["a", ""]);
  assert.deepEqual(parseUsername("app.:b", TWO).values, ["", "b"]);
  assert.deepEqual(parseUsername("app.:", TWO).values, ["", ""]);
});

Deno.test("parseUsername keeps every other character as it is", () => {
  const payload = 'O\'Brien \\ "x" $1 ; -- 日本語 \u202e \t';
  assert.deepEqual(parseUsername(`Ünï-code.${payload}`, ONE).values, [payload]);
});

Deno.test("parseUsername says that the separator is missing, and what a name looks like", () => {
  assert.throws(() => parseUsername("app_user", ONE), (error) => {
    assert(
      refused(/^user name "app_user" carries no tenant: the separator "\." is missing$/)(error),
    );
    const { hint } = (error as PgError).fields;
    assert.equal(hint, 'Connect as "<role>.<app.current_tenant_id>".');
    return true;
  });
});

Deno.test("parseUsername says which part is empty", () => {
  assert.throws(() => parseUsername(".acme", ONE), refused(/no role before/));
  assert.throws(() => parseUsername("app.", ONE), refused(/no tenant behind/));
  assert.throws(() => parseUsername("app.", TWO), refused(/no tenant behind/));
  assert.throws(() => parseUsername(".", ONE), refused(/no role before/));
});

Deno.test("parseUsername says how many values it found and which it wants", () => {
  assert.throws(
    () => parseUsername("app.a", TWO),
    refused(/^user name carries 1 context value, expected 2: app\.tenant, app\.org$/),
  );
  assert.throws(() => parseUsername("app.a:b:c", TWO), (error) => {
    assert(refused(/carries 3 context values, expected 2/)(error));
    assert.match((error as PgError).fields.hint!, /<role>\.<app\.tenant>:<app\.org>/);
    return true;
  });
});

Deno.test("decodeUsername refuses what is not UTF-8 with 22021: two tenants would become one", () => {
  const bad = [[0xff], [0x61, 0xe9], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xe2, 0x82], [0xf8, 0x88]];
  for (const bytes of bad) {
    assert.throws(
      () => decodeUsername(Uint8Array.from(bytes)),
      (error) => error instanceof PgError && error.sqlState === "22021",
      `bytes ${bytes}`,
    );
  }
  assert.equal(decodeUsername(text("app.日本")), "app.日本");
});

Deno.test("decodeUsername keeps a byte order mark: without it two names would be one", () => {
  assert.equal(decodeUsername(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61)), "\ufeffa");
});

Deno.test("a name without a separator is an identity alone, where that may be", () => {
  const rules = { ...ONE, contextVariables: ["app.user"] };
  assert.deepEqual(parseUsername("alice", rules, "app.user"), {
    ...{ role: "app.user", payload: "alice", values: ["alice"] },
  });
  assert.deepEqual(
    parseUsername("app.alice", rules, "other").role,
    "app",
    "with one it is as ever",
  );
  assert.throws(() => parseUsername("alice", rules), /carries no tenant/);
  assert.deepEqual(parseUsername("alice:7", TWO, "r").values, ["alice", "7"]);
  assert.throws(() => parseUsername("alice", TWO, "r"), /carries 1 context value, expected 2/);
});
