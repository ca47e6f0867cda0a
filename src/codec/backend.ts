// The messages of a backend that pgvpd reads or builds.
// https://www.postgresql.org/docs/current/protocol-message-formats.html

import { AuthenticationRequest, BackendMessage, SqlState, TransactionStatus } from "./codes.ts";
import { PgError } from "./error.ts";
import { MessageReader } from "./reader.ts";
import { MessageWriter } from "./writer.ts";

/** What pgvpd needs to know of an ErrorResponse. */
export interface ErrorFields {
  /** The untranslated severity: ERROR, FATAL or PANIC. */
  readonly severity: string;
  readonly sqlState: string;
  readonly message: string;
}

/** Reads the body of an ErrorResponse; fields that are missing are told as such. */
export function parseErrorResponse(bytes: Uint8Array, start: number, end: number): ErrorFields {
  const reader = new MessageReader(bytes, start, end);
  const fields: Record<string, string> = {};
  for (let code = reader.byte(); code !== 0; code = reader.byte()) {
    fields[String.fromCharCode(code)] = reader.cstring();
  }
  return {
    severity: fields["V"] ?? fields["S"] ?? "FATAL",
    sqlState: fields["C"] ?? "XX000",
    message: fields["M"] ?? "the server gave no message",
  };
}

/** The ErrorResponse with body `bytes[start, end)`, and a hint at its end. */
export function withHint(
  bytes: Uint8Array,
  start: number,
  end: number,
  hint: string,
): Uint8Array<ArrayBuffer> {
  return new MessageWriter().begin(BackendMessage.ErrorResponse).raw(bytes.subarray(start, end - 1))
    .byte("H".charCodeAt(0)).cstring(hint).byte(0).end().take();
}

/** ReadyForQuery with a transaction status. */
export function encodeReadyForQuery(status: number): Uint8Array<ArrayBuffer> {
  return new MessageWriter().begin(BackendMessage.ReadyForQuery).byte(status).end().take();
}

/** ReadyForQuery with the transaction status idle. */
export const READY_FOR_QUERY_IDLE: Uint8Array = encodeReadyForQuery(TransactionStatus.Idle);

/** An Authentication message: what is asked for, and what goes with it. */
export function encodeAuthentication(
  request: number,
  data: Uint8Array = new Uint8Array(),
): Uint8Array<ArrayBuffer> {
  return new MessageWriter().begin(BackendMessage.Authentication).int32(request).raw(data).end()
    .take();
}

/** AuthenticationSASL with the mechanisms on offer, the most wanted first. */
export function encodeSaslOffer(mechanisms: readonly string[]): Uint8Array<ArrayBuffer> {
  const writer = new MessageWriter().begin(BackendMessage.Authentication)
    .int32(AuthenticationRequest.SASL);
  for (const name of mechanisms) writer.cstring(name);
  return writer.byte(0).end().take();
}

/** The mechanisms in the body of an AuthenticationSASL. */
export function parseSaslOffer(bytes: Uint8Array, start: number, end: number): string[] {
  const reader = new MessageReader(bytes, start, end);
  reader.int32();
  const mechanisms: string[] = [];
  for (let name = reader.cstring(); name !== ""; name = reader.cstring()) mechanisms.push(name);
  reader.expectEnd();
  return mechanisms;
}

/** A run-time parameter and its value, as a server reports it. */
export function encodeParameterStatus(name: string, value: string): Uint8Array<ArrayBuffer> {
  return new MessageWriter().begin(BackendMessage.ParameterStatus).cstring(name).cstring(value)
    .end().take();
}

/** What a client must show to cancel its query. */
export function encodeBackendKeyData(
  processId: number,
  secret: Uint8Array,
): Uint8Array<ArrayBuffer> {
  return new MessageWriter().begin(BackendMessage.BackendKeyData).int32(processId).raw(secret)
    .end().take();
}

/** The newest version spoken here, and the protocol options that are not known here. */
export function encodeNegotiateProtocolVersion(
  version: number,
  unknownOptions: readonly string[],
): Uint8Array<ArrayBuffer> {
  const writer = new MessageWriter().begin(BackendMessage.NegotiateProtocolVersion)
    .int32(version).int32(unknownOptions.length);
  for (const name of unknownOptions) writer.cstring(name);
  return writer.end().take();
}

const PLUS_SUFFIX = "-PLUS";

/**
 * AuthenticationSASL without the mechanisms that bind to a TLS channel; null when it offers none.
 *
 * The channel that the server would check is the one between it and pgvpd, not the client's.
 */
export function withoutChannelBinding(
  bytes: Uint8Array,
  start: number,
  end: number,
): Uint8Array | null {
  const mechanisms = parseSaslOffer(bytes, start, end);
  const kept = mechanisms.filter((name) => !name.endsWith(PLUS_SUFFIX));
  if (kept.length === mechanisms.length) return null;
  if (kept.length === 0) {
    throw new PgError(
      SqlState.InvalidAuthorizationSpecification,
      "the upstream server offers no authentication method that can be relayed",
      { detail: `It offers ${mechanisms.join(", ")}, which bind to the client's own TLS channel.` },
    );
  }
  return encodeSaslOffer(kept);
}
