// The messages of a backend: errors are read whatever is missing, the SASL list is narrowed.

import { strict as assert } from "node:assert";
import {
  parseErrorResponse,
  READY_FOR_QUERY_IDLE,
  withHint,
  withoutChannelBinding,
} from "../../src/codec/backend.ts";
import { PgError } from "../../src/codec/error.ts";
import {
  authentication,
  cstring,
  errorResponse,
  join,
  message,
  readyForQuery,
  sasl,
} from "../support/messages.ts";

const parseError = (bytes: Uint8Array) => parseErrorResponse(bytes, 5, bytes.length);
const narrowed = (bytes: Uint8Array) => withoutChannelBinding(bytes, 5, bytes.length);
const isViolation = (error: unknown) => error instanceof PgError && error.sqlState === "08P01";

Deno.test("parseErrorResponse reads severity, SQLSTATE and message", () => {
  const fields = parseError(errorResponse("28P01", "password authentication failed"));
  assert.deepEqual(fields, {
    severity: "FATAL",
    sqlState: "28P01",
    message: "password authentication failed",
  });
});

Deno.test("parseErrorResponse prefers the untranslated severity", () => {
  const bytes = message(
    "E",
    ...["SFEHLER", "VERROR", "C22023", "Mx"].map(cstring),
    Uint8Array.of(0),
  );
  assert.equal(parseError(bytes).severity, "ERROR");
  const old = message("E", ...["SFEHLER", "C22023", "Mx"].map(cstring), Uint8Array.of(0));
  assert.equal(parseError(old).severity, "FEHLER");
});

Deno.test("parseErrorResponse says so when the SQLSTATE or the message is missing", () => {
  assert.deepEqual(parseError(message("E", Uint8Array.of(0))), {
    severity: "FATAL",
    sqlState: "XX000",
    message: "the server gave no message",
  });
});

Deno.test("parseErrorResponse ignores fields that it does not know", () => {
  const bytes = message("E", ...["Zz", "C57014", "__proto__", "Mm"].map(cstring), Uint8Array.of(0));
  assert.equal(parseError(bytes).sqlState, "57014");
});

Deno.test("parseErrorResponse refuses a body without its end", () => {
  assert.throws(() => parseError(message("E")), isViolation);
  assert.throws(() => parseError(message("E", cstring("C57014"))), isViolation);
  assert.throws(() => parseError(message("E", Uint8Array.of(0x43, 0x35))), isViolation);
});

Deno.test("READY_FOR_QUERY_IDLE is ReadyForQuery, idle", () => {
  assert.deepEqual(READY_FOR_QUERY_IDLE, readyForQuery("I"));
});

Deno.test("withoutChannelBinding takes the PLUS mechanisms out and keeps the order", () => {
  assert.deepEqual(narrowed(sasl("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256")), sasl("SCRAM-SHA-256"));
  assert.deepEqual(
    narrowed(sasl("A", "SCRAM-SHA-512-PLUS", "OAUTHBEARER", "SCRAM-SHA-256-PLUS")),
    sasl("A", "OAUTHBEARER"),
  );
});

Deno.test("withoutChannelBinding refuses an offer of nothing else, and says why", () => {
  assert.throws(
    () => narrowed(sasl("SCRAM-SHA-256-PLUS")),
    (error) => error instanceof PgError && error.sqlState === "28000",
  );
});

Deno.test("withHint() puts a hint behind the fields of an error", () => {
  const error = message(
    "E",
    cstring("SFATAL"),
    cstring("C28P01"),
    cstring("Mno"),
    Uint8Array.of(0),
  );
  const hinted = message(
    "E",
    ...[cstring("SFATAL"), cstring("C28P01"), cstring("Mno"), cstring("Hso"), Uint8Array.of(0)],
  );
  assert.deepEqual(withHint(error, 5, error.length, "so"), hinted);
});

Deno.test("withoutChannelBinding leaves a list alone that offers none", () => {
  assert.equal(narrowed(sasl("SCRAM-SHA-256")), null);
  assert.equal(narrowed(sasl("PLUS-SIZE", "X-PLUSH")), null);
  assert.equal(narrowed(sasl()), null);
});

Deno.test("withoutChannelBinding refuses a list without its end, and bytes behind it", () => {
  assert.throws(() => narrowed(authentication(10, cstring("SCRAM-SHA-256"))), isViolation);
  assert.throws(() => narrowed(authentication(10)), isViolation);
  const behind = join(cstring("SCRAM-SHA-256-PLUS"), Uint8Array.of(0, 0));
  assert.throws(() => narrowed(authentication(10, behind)), isViolation);
});
