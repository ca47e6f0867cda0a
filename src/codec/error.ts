// PgError: an ErrorResponse that has not been sent yet. One place turns it into bytes.

import { BackendMessage, SqlState } from "./codes.ts";
import { MessageWriter } from "./writer.ts";

/** What goes with an error besides its SQLSTATE and primary message. */
export interface PgErrorFields {
  /** Defaults to FATAL: what pgvpd itself reports ends the connection. */
  readonly severity?: "ERROR" | "FATAL";
  /** A sentence with more facts. */
  readonly detail?: string;
  /** A sentence that says what to do. */
  readonly hint?: string;
}

/**
 * An error for the client, in PostgreSQL's style: a short lower-case primary message without a
 * full stop; detail and hint are sentences. It never holds a secret.
 * https://www.postgresql.org/docs/current/error-style-guide.html
 */
export class PgError extends Error {
  override readonly name = "PgError";

  constructor(
    readonly sqlState: SqlState,
    message: string,
    readonly fields: PgErrorFields = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
  }

  /** The error for a peer that does not keep to the protocol. */
  static protocolViolation(message: string, fields: PgErrorFields = {}): PgError {
    return new PgError(SqlState.ProtocolViolation, message, fields);
  }

  /**
   * The ErrorResponse message.
   * https://www.postgresql.org/docs/current/protocol-error-fields.html
   */
  encode(): Uint8Array<ArrayBuffer> {
    const { severity = "FATAL", detail, hint } = this.fields;
    const fields = { S: severity, V: severity, C: this.sqlState, M: this.message };
    return encodeFields(BackendMessage.ErrorResponse, { ...fields, D: detail, H: hint });
  }
}

/** A NoticeResponse of severity NOTICE; it may stand between any two messages. */
export function encodeNotice(message: string): Uint8Array<ArrayBuffer> {
  const fields = { S: "NOTICE", V: "NOTICE", C: "00000", M: message };
  return encodeFields(BackendMessage.NoticeResponse, fields);
}

function encodeFields(
  type: number,
  fields: Record<string, string | undefined>,
): Uint8Array<ArrayBuffer> {
  const writer = new MessageWriter().begin(type);
  for (const [code, text] of Object.entries(fields)) {
    if (text !== undefined) writer.byte(code.charCodeAt(0)).cstring(text.replaceAll("\0", ""));
  }
  return writer.byte(0).end().take();
}
