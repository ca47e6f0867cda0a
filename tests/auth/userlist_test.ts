// userlist.txt: what PgBouncer reads is read, and what it would trip over is named by its line.

import { strict as assert } from "node:assert";
import { binaryBytes, utf8 } from "../../src/auth/bytes.ts";
import {
  parseUserlist,
  USERLIST_PASSWORD_SIZE_MAX,
  USERLIST_SIZE_MAX,
  USERLIST_USER_SIZE_MAX,
  UserlistError,
} from "../../src/auth/userlist.ts";
import { mutated } from "../support/fuzz.ts";
import { Random } from "../support/random.ts";
import { RFC_7677, RFC_SECRET } from "./scram_exchange.ts";

const cleartext = (password: string) => ({ kind: "cleartext", password: utf8(password) });

function read(file: string) {
  return Object.fromEntries(parseUserlist(utf8(file)));
}

Deno.test("userlist: every form of a password", () => {
  const md5 = `md5${"0123456789abcdef".repeat(2)}`;
  const file = `"marko" "asdasd"\n"postgres" "${md5}"\n"app" "${RFC_7677.secret}"\n"peer" ""\n`;
  assert.deepEqual(read(file), {
    marko: cleartext("asdasd"),
    postgres: { kind: "md5", secret: md5 },
    app: { kind: "scram", secret: RFC_SECRET },
    peer: null,
  });
});

Deno.test("userlist: comments, blank lines, white space and the rest of a line", () => {
  assert.deepEqual(read(""), {});
  assert.deepEqual(read('\n \t\r\n;\n  ; "a" "b"\n'), {});
  assert.deepEqual(read(`;${"x".repeat(20_000)}\n${" ".repeat(20_000)}\n"a" "b"`), {
    a: cleartext("b"),
  });
  const file = ' \t"a"\t "1" ; says who\r\n"b""c""""" """"\r\n"d" "2""3" "ignored" "\n"e""f" "4"x';
  assert.deepEqual(read(file), {
    a: cleartext("1"),
    'b"c""': cleartext('"'),
    d: cleartext('2"3'),
    'e"f': cleartext("4"),
  });
});

Deno.test("userlist: passwords are bytes, user names are UTF-8", () => {
  const latin = parseUserlist(binaryBytes('"a" "caf\xe9"'));
  assert.deepEqual(latin.get("a"), { kind: "cleartext", password: binaryBytes("caf\xe9") });
  assert.deepEqual(read('"josé" "日本"'), { "josé": cleartext("日本") });
});

Deno.test("userlist: what is wrong is named by its line, and no password is shown", () => {
  const user = (size: number) => `"${"u".repeat(size)}" "hunter2"`;
  const password = (size: number) => `"u" "${"p".repeat(size)}"`;
  assert.equal(Object.keys(read(user(USERLIST_USER_SIZE_MAX))).length, 1);
  assert.equal(Object.keys(read(password(USERLIST_PASSWORD_SIZE_MAX))).length, 1);
  const refused: [line: string, reason: RegExp][] = [
    ["hunter2", /expected "user" "password"/],
    ["# hunter2", /expected/],
    ["app hunter2", /expected/],
    ["'app' 'hunter2'", /expected/],
    ['"app"', /expected/],
    ['"app" hunter2', /expected/],
    ['"app" "hunter2', /expected/],
    ['"app"" "hunter2"', /expected/],
    ['"app":"hunter2"', /expected/],
    ['"app" "hunter2""', /expected/],
    ['"" "hunter2"', /the user name is empty/],
    ['"app" "hunter2\0"', /a zero byte/],
    ['"app" "SCRAM-SHA-256$hunter2"', /malformed SCRAM-SHA-256 secret/],
    ['"first" "hunter2"', /the same user as in line 2/],
    [user(USERLIST_USER_SIZE_MAX + 1), /user name has more than 127 bytes/],
    [password(USERLIST_PASSWORD_SIZE_MAX + 1), /password has more than 2047 bytes/],
    [`"${"u".repeat(1_000_000)}`, /expected/],
    [`${" ".repeat(20_000)}"app" "hunter2"`, /expected/],
  ];
  for (const [line, reason] of refused) {
    assert.throws(() => read(`;\n"first" "x"\n${line}\n"last" "x"\n`), (error: unknown) => {
      assert(error instanceof UserlistError, String(error));
      assert.equal(error.line, 3, line);
      assert.match(error.message, reason);
      assert.match(error.message, /^line 3: /);
      assert.doesNotMatch(`${error.message} ${error.stack}`, /hunter2|ppp/);
      return true;
    });
  }
  assert.throws(() => parseUserlist(binaryBytes('"\xff" "x"')), /line 1: .* not valid UTF-8/);
});

Deno.test("userlist: a field does not go over the end of its line", () => {
  assert.throws(() => read('"a" "b\nc"\n'), /line 1: expected/);
  assert.throws(() => read('"a"\n"b"\n'), /line 1: expected/);
});

Deno.test("userlist: a file that is too large is refused", () => {
  assert.throws(() => parseUserlist(new Uint8Array(USERLIST_SIZE_MAX + 1)), /file is larger than/);
});

Deno.test("userlist: a damaged file is read or refused, never anything else", () => {
  const random = new Random(6432);
  const file = utf8(`;\n"a" "b"\n"c""d" "${RFC_7677.secret}"\n"é" ""\n`);
  for (let count = 0; count < 2000; count++) {
    try {
      for (const user of parseUserlist(mutated(file, random)).keys()) assert(user.length > 0);
    } catch (error) {
      assert(error instanceof UserlistError, String(error));
    }
  }
});
