// SCRAM with channel binding where it is relayed: a client on TLS may not be bound to the server's
// channel, and the server takes that for a downgrade.

import { LENGTH_SIZE, SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";

/** The gs2 flag `y` in a SASLInitialResponse: "I can bind, you seem not to". RFC 5802, 6. */
export function saysChannelBinding(bytes: Uint8Array, start: number, end: number): boolean {
  const mechanismEnd = bytes.indexOf(0, start);
  if (mechanismEnd < 0) return false;
  const flagAt = mechanismEnd + 1 + LENGTH_SIZE;
  return flagAt < end && bytes[flagAt] === "y".charCodeAt(0);
}

/** What such a client is told. */
export function bindingImpossible(): PgError {
  return new PgError(
    SqlState.InvalidAuthorizationSpecification,
    "SCRAM with channel binding cannot be relayed: client and server are on two TLS connections",
    {
      detail: "The client supports channel binding, and the upstream server demands to hear so.",
      hint: "Let pgvpd authenticate the client (pool_mode = session), " +
        "or connect with channel_binding=disable.",
    },
  );
}
