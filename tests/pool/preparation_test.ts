// Preparation: settings and context go out in two statements, and a refusal is told in words.

import assert from "node:assert/strict";
import { PgError } from "../../src/codec/error.ts";
import { SessionContext } from "../../src/context/context.ts";
import { preparation, refusedSetting, setting } from "../../src/pool/preparation.ts";
import { StatementFailed } from "../../src/pool/statements.ts";
import { readContextMessage } from "../support/context_message.ts";

const CONTEXT = new SessionContext([{ name: "app.tenant", value: "acme" }], "app");
const SETTINGS = [{ name: "TimeZone", value: "UTC" }, { name: "x.y", value: "a'b\\c$1" }];

Deno.test("without settings there is the context alone", () => {
  const [only, ...more] = preparation(CONTEXT, [], true);
  assert.equal(only!.bytes, CONTEXT.message);
  assert.deepEqual(more, []);
});

Deno.test("settings come first, as parameters and never as text", () => {
  const [first, second] = preparation(CONTEXT, SETTINGS, true);
  assert.equal(second!.bytes, CONTEXT.message);
  const { sql, parameters } = readContextMessage(first!.bytes);
  assert.deepEqual(parameters, ["TimeZone", "UTC", "x.y", "a'b\\c$1"]);
  assert.doesNotMatch(sql, /TimeZone|x\.y|a'b/);
  assert.deepEqual(first!.bytes, setting(SETTINGS).bytes);
});

Deno.test("in the middle of a session only what was reset is set again", () => {
  const [first] = preparation(CONTEXT, SETTINGS, false);
  const { sql, parameters } = readContextMessage(first!.bytes);
  assert.match(sql, /CASE WHEN .*pg_settings.* THEN pg_catalog\.set_config/);
  assert.equal(parameters.length, 4);
});

Deno.test("a setting that is refused is told with the server's own code and words", () => {
  const refused = new StatementFailed("22023", 'invalid value for parameter "TimeZone"');
  assert.throws(
    () => refusedSetting(refused),
    (error: PgError) => error.sqlState === "22023" && /TimeZone/.test(error.message),
  );
  const other = new Error("something else");
  assert.throws(() => refusedSetting(other), (error) => error === other);
});
