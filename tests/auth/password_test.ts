// Stored passwords told apart, MD5 as PostgreSQL computes it, and passwords checked in each form.

import { strict as assert } from "node:assert";
import { utf8 } from "../../src/auth/bytes.ts";
import {
  md5Response,
  md5Secret,
  parseStoredPassword,
  type StoredPassword,
  StoredPasswordError,
  verifyCleartext,
  verifyMd5,
} from "../../src/auth/password.ts";
import { mockScramSecret } from "../../src/auth/scram_secret.ts";
import { RFC_7677, RFC_SECRET } from "./scram_exchange.ts";

const parse = (stored: string) => parseStoredPassword(utf8(stored));
/** md5(foo + regress_user), by md5sum. */
const MD5_OF_FOO = "md5d2398d211d2927581d56ae43a1da4504";
const SALT = Uint8Array.of(0x01, 0x80, 0xff, 0x00);

Deno.test("stored passwords are told apart as by PostgreSQL", () => {
  assert.deepEqual(parse(MD5_OF_FOO), { kind: "md5", secret: MD5_OF_FOO });
  assert.deepEqual(parse(RFC_7677.secret), { kind: "scram", secret: RFC_SECRET });
  const cleartext = [
    "x",
    "md5",
    MD5_OF_FOO.slice(0, -1),
    `${MD5_OF_FOO}0`,
    `${MD5_OF_FOO}\n`,
    MD5_OF_FOO.toUpperCase(),
    `md5${"g".repeat(32)}`,
    "SCRAM-SHA-256",
    "scram-sha-256$4096:x",
    " é",
  ];
  for (const text of cleartext) {
    assert.deepEqual(parse(text), { kind: "cleartext", password: utf8(text) }, text);
  }
  const bytes = Uint8Array.of(0xff, 0xfe);
  assert.deepEqual(parseStoredPassword(bytes), { kind: "cleartext", password: bytes });
  assert.equal(parse(""), null);
});

Deno.test("what begins like a SCRAM secret and is none is refused without being shown", () => {
  for (const end of [RFC_7677.secret.length - 1, 20, "SCRAM-SHA-256$".length]) {
    assert.throws(() => parse(RFC_7677.secret.slice(0, end)), (error: unknown) => {
      assert(error instanceof StoredPasswordError);
      assert.equal(error.message, "malformed SCRAM-SHA-256 secret");
      return true;
    });
  }
});

Deno.test("MD5: the stored form and the response are those of PostgreSQL", () => {
  assert.equal(md5Secret("regress_user", utf8("foo")), MD5_OF_FOO);
  const expected = "md5363d4bea14b53972073631318c436219";
  assert.equal(md5Response(parse("foo"), "regress_user", SALT), expected);
  assert.equal(md5Response(parse(MD5_OF_FOO), "regress_user", SALT), expected);
  assert.equal(md5Response(parse(RFC_7677.secret), "regress_user", SALT), null);
  assert.equal(md5Response(null, "regress_user", SALT), null);
  assert.throws(() => md5Response(parse("foo"), "regress_user", utf8("abc")), /four bytes/);
});

Deno.test("MD5: a response is right for one user, one salt and one password", () => {
  const right = utf8(md5Response(parse("foo"), "regress_user", SALT)!);
  for (const stored of [parse("foo"), parse(MD5_OF_FOO)]) {
    assert(verifyMd5(stored, "regress_user", SALT, right));
    assert(!verifyMd5(stored, "regress_user", Uint8Array.of(1, 2, 3, 4), right));
    for (const wrong of ["", "foo", MD5_OF_FOO, "md5"]) {
      assert(!verifyMd5(stored, "regress_user", SALT, utf8(wrong)), wrong);
    }
    assert(!verifyMd5(stored, "regress_user", SALT, right.subarray(1)));
  }
  assert(!verifyMd5(parse("foo"), "other_user", SALT, right));
  assert(!verifyMd5(parse("Foo"), "regress_user", SALT, right));
  assert(!verifyMd5(parse(RFC_7677.secret), "regress_user", SALT, right));
  assert(!verifyMd5(null, "regress_user", SALT, right));
});

Deno.test("cleartext: the right password fits each form, and no other does", async () => {
  const stored: [StoredPassword | null, string][] = [
    [parse("foo"), "foo"],
    [parse(MD5_OF_FOO), "foo"],
    [parse(RFC_7677.secret), "pencil"],
  ];
  for (const [one, password] of stored) {
    assert.equal(await verifyCleartext(one, "regress_user", utf8(password)), true, password);
    const wrong = ["", `${password}x`, password.slice(1), password.toUpperCase(), MD5_OF_FOO];
    for (const other of [...wrong, RFC_7677.secret]) {
      assert.equal(await verifyCleartext(one, "regress_user", utf8(other)), false, other);
    }
  }
  assert.equal(await verifyCleartext(parse(MD5_OF_FOO), "other_user", utf8("foo")), false);
});

Deno.test("cleartext: nothing fits no password, an empty one, or one made up", async () => {
  const empty: StoredPassword = { kind: "cleartext", password: utf8("") };
  const mock: StoredPassword = { kind: "scram", secret: mockScramSecret("nobody") };
  const marked: StoredPassword = { kind: "scram", secret: { ...RFC_SECRET, isMock: true } };
  for (const stored of [null, empty, mock, marked]) {
    for (const given of ["", "pencil"]) {
      assert.equal(await verifyCleartext(stored, "nobody", utf8(given)), false);
    }
  }
});

Deno.test("cleartext: keys may come from a cache", async () => {
  let asked = 0;
  const derive = () => {
    asked++;
    const { serverKey } = RFC_SECRET;
    return Promise.resolve({ clientKey: serverKey, serverKey });
  };
  assert(await verifyCleartext(parse(RFC_7677.secret), "user", utf8("x"), derive));
  assert(await verifyCleartext(parse("x"), "user", utf8("x"), derive));
  assert.equal(asked, 1);
});
