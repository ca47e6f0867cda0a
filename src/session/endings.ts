// How a session ends before the client could be told, or after it has been told.

import { SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { TlsError } from "../net/tls_engine.ts";
import type { ErrorFields } from "../codec/backend.ts";

/** The client has gone: there is nobody to tell. */
export class ClientGone extends Error {
  override readonly name = "ClientGone";
  constructor(cause?: unknown) {
    super("the client closed the connection", { cause });
  }
}

/** The server has refused, and its own error has been passed on. */
export class UpstreamRefused extends Error {
  override readonly name = "UpstreamRefused";
  constructor(readonly fields: ErrorFields) {
    super(fields.message);
  }
}

/** What the log says of a session that has failed, and what its client is told. */
export interface FailureReport {
  readonly level: "debug" | "warn" | "error";
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
  /** Null: it has been told; undefined: it is not there. */
  readonly lastWord: Uint8Array | null | undefined;
}

/** @param error anything that a session may fail with. */
export function reportOf(error: unknown): FailureReport {
  if (error instanceof ClientGone) {
    const message = "client left during the handshake";
    const { cause } = error;
    if (!(cause instanceof TlsError)) {
      return { level: "debug", message, fields: {}, lastWord: undefined };
    }
    return {
      level: "warn",
      message: "TLS handshake with the client failed",
      fields: { error: cause.message },
      lastWord: undefined,
    };
  }
  if (error instanceof UpstreamRefused) {
    const { sqlState, message } = error.fields;
    return {
      level: "warn",
      message: "upstream refused the login",
      fields: { sqlstate: sqlState, error: message },
      lastWord: null,
    };
  }
  if (error instanceof PgError) {
    const cause = error.cause instanceof Error ? { cause: error.cause.message } : {};
    return {
      level: "warn",
      message: "client refused",
      fields: { sqlstate: error.sqlState, error: error.message, ...cause },
      lastWord: error.encode(),
    };
  }
  return {
    level: "error",
    message: "session failed, which is a bug in pgvpd",
    fields: { error: error instanceof Error ? error.stack ?? error.message : String(error) },
    lastWord: new PgError(SqlState.InternalError, "internal error in pgvpd").encode(),
  };
}

/** How a client has left. */
export type ClientEnding =
  /** It has said Terminate: what it asked for before that is still to be done. */
  | "terminated"
  /** It has closed its side when nothing was under way, or has read everything after that. */
  | "closed"
  /** It is not there any more. */
  | "vanished"
  /** It does not keep to the protocol. */
  | "confused"
  /** The server's side is over. */
  | "upstream"
  /** pgvpd has ended it. */
  | "pgvpd";
