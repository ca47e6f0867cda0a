// How a session ends before the client could be told, or after it has been told.

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
