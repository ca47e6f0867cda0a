// The codes are those of the documentation: a slip here would be one everywhere.

import { strict as assert } from "node:assert";
import {
  AuthenticationRequest,
  BackendMessage,
  FrontendMessage,
  RequestCode,
  SqlState,
  STARTUP_PACKET_SIZE_MAX,
} from "../../src/codec/codes.ts";

// The letters of https://www.postgresql.org/docs/current/protocol-message-formats.html
const LETTERS: Record<string, string> = {
  Authentication: "R",
  BackendKeyData: "K",
  Bind: "B",
  BindComplete: "2",
  Close: "C",
  CloseComplete: "3",
  CommandComplete: "C",
  CopyBothResponse: "W",
  CopyData: "d",
  CopyDone: "c",
  CopyFail: "f",
  CopyInResponse: "G",
  CopyOutResponse: "H",
  DataRow: "D",
  Describe: "D",
  EmptyQueryResponse: "I",
  ErrorResponse: "E",
  Execute: "E",
  Flush: "H",
  FunctionCall: "F",
  FunctionCallResponse: "V",
  NegotiateProtocolVersion: "v",
  NoData: "n",
  NoticeResponse: "N",
  NotificationResponse: "A",
  ParameterDescription: "t",
  ParameterStatus: "S",
  Parse: "P",
  ParseComplete: "1",
  PasswordMessage: "p",
  PortalSuspended: "s",
  Query: "Q",
  ReadyForQuery: "Z",
  RowDescription: "T",
  Sync: "S",
  Terminate: "X",
};

Deno.test("codes of messages are the letters of the documentation", () => {
  for (const [name, code] of Object.entries({ ...FrontendMessage })) {
    assert.equal(String.fromCharCode(code), LETTERS[name], name);
  }
  for (const [name, code] of Object.entries({ ...BackendMessage })) {
    assert.equal(String.fromCharCode(code), LETTERS[name], name);
  }
});

Deno.test("codes of requests are those of the documentation", () => {
  assert.deepEqual(
    { ...RequestCode },
    {
      CancelRequest: (1234 << 16) | 5678,
      SSLRequest: (1234 << 16) | 5679,
      GSSENCRequest: (1234 << 16) | 5680,
    },
  );
  assert.equal(AuthenticationRequest.SASLFinal, 12);
  assert.equal(STARTUP_PACKET_SIZE_MAX, 10_000);
});

Deno.test("SQLSTATEs have five characters and are told apart", () => {
  const codes = Object.values(SqlState);
  for (const code of codes) assert.match(code, /^[0-9A-Z]{5}$/);
  assert.equal(new Set(codes).size, codes.length);
});
