// The start-up exchange as seen with a frontend: everything before the StartupMessage is answered.
// https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP

import {
  CANCEL_KEY_SIZE_MAX,
  LENGTH_SIZE,
  PROTOCOL_MAJOR,
  RequestCode,
  SqlState,
  STARTUP_PACKET_SIZE_MAX,
} from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { parseStartupMessage, type StartupMessage } from "../codec/frontend.ts";
import { readInt32 } from "../codec/reader.ts";

const CODE_SIZE = 4;
const PROCESS_ID_SIZE = 4;

/** What the bytes so far amount to. `size` is that of the packet, to be taken from the buffer. */
export type StartupStep =
  | { readonly kind: "incomplete" }
  | { readonly kind: "encryption asked"; readonly size: number }
  | { readonly kind: "cancel"; readonly size: number; readonly packet: Uint8Array }
  | {
    readonly kind: "startup";
    readonly size: number;
    readonly packet: Uint8Array;
    readonly message: StartupMessage;
  };

/** Reads the packets that come before authentication; one object per connection. */
export class StartupExchange {
  readonly #asked = new Set<number>();

  /**
   * Looks at `bytes[start, end)`, all that has been received and not been taken.
   *
   * @throws {PgError} for a length that no packet may have (at once, not when that many bytes have
   * come), a version that nobody speaks, and bytes that came too early.
   */
  step(bytes: Uint8Array, start: number, end: number): StartupStep {
    if (end - start < LENGTH_SIZE) return { kind: "incomplete" };
    const size = readInt32(bytes, start);
    if (size < LENGTH_SIZE + CODE_SIZE || size - LENGTH_SIZE > STARTUP_PACKET_SIZE_MAX) {
      throw PgError.protocolViolation("invalid length of startup packet");
    }
    if (end - start < size) return { kind: "incomplete" };
    const code = readInt32(bytes, start + LENGTH_SIZE);
    const packet = bytes.slice(start, start + size);
    switch (code) {
      case RequestCode.SSLRequest:
      case RequestCode.GSSENCRequest:
        this.#encryptionAsked(code, size, end - start);
        return { kind: "encryption asked", size };
      case RequestCode.CancelRequest:
        checkCancelRequest(size);
        return { kind: "cancel", size, packet };
    }
    if (code >>> 16 !== PROTOCOL_MAJOR) throw unsupportedVersion(code);
    return {
      kind: "startup",
      size,
      packet,
      message: parseStartupMessage(bytes, start + LENGTH_SIZE, start + size),
    };
  }

  #encryptionAsked(code: number, size: number, received: number): void {
    if (size !== LENGTH_SIZE + CODE_SIZE) {
      throw PgError.protocolViolation("invalid length of startup packet");
    }
    // A second request of the same kind is no request any more, says PostgreSQL too.
    if (this.#asked.has(code)) throw unsupportedVersion(code);
    this.#asked.add(code);
    // What stands behind the request came in the clear: an attacker's, if anyone's.
    if (received > size) {
      const request = code === RequestCode.SSLRequest ? "SSL" : "GSSAPI encryption";
      throw PgError.protocolViolation(`received unencrypted data after ${request} request`, {
        detail: "This could be either a client-software bug or evidence of an attempted " +
          "man-in-the-middle attack.",
      });
    }
  }
}

function checkCancelRequest(size: number): void {
  const keySize = size - LENGTH_SIZE - CODE_SIZE - PROCESS_ID_SIZE;
  if (keySize < 1 || keySize > CANCEL_KEY_SIZE_MAX) {
    throw PgError.protocolViolation("invalid length of cancel request packet");
  }
}

function unsupportedVersion(code: number): PgError {
  const version = `${code >>> 16}.${code & 0xffff}`;
  return new PgError(
    SqlState.FeatureNotSupported,
    `unsupported frontend protocol ${version}: pgvpd supports protocol version 3`,
    { hint: "Use a client for PostgreSQL 7.4 or later." },
  );
}
