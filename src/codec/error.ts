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
    const writer = new MessageWriter().begin(BackendMessage.ErrorResponse);
    const field = (code: string, text: string | undefined) => {
      if (text !== undefined) writer.byte(code.charCodeAt(0)).cstring(text.replaceAll("\0", ""));
    };
    field("S", severity);
    field("V", severity);
    field("C", this.sqlState);
    field("M", this.message);
    field("D", detail);
    field("H", hint);
    return writer.byte(0).end().take();
  }
}
