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
  /** GSSAPI encryption, or TLS that is not to be had: to be answered with N. */
  | { readonly kind: "encryption denied"; readonly size: number }
  /** An SSLRequest: to be answered with S, and TLS begins. */
  | { readonly kind: "TLS asked"; readonly size: number }
  /** TLS without asking (`sslnegotiation=direct`): everything that has come is part of it. */
  | { readonly kind: "TLS begun" }
  | { readonly kind: "cancel"; readonly size: number; readonly packet: Uint8Array }
  | {
    readonly kind: "startup";
    readonly size: number;
    readonly packet: Uint8Array;
    readonly message: StartupMessage;
  };

/** The first byte of a TLS handshake; no packet of the protocol has a length that begins so. */
const TLS_HANDSHAKE_RECORD = 0x16;

/** Reads the packets that come before authentication; one object per connection. */
export class StartupExchange {
  readonly #asked = new Set<number>();
  #tls: "unavailable" | "available" | "established";

  constructor(options: { readonly tls: boolean }) {
    this.#tls = options.tls ? "available" : "unavailable";
  }

  /** From here on the packets come through TLS. */
  tlsEstablished(): void {
    this.#tls = "established";
    this.#asked.add(RequestCode.SSLRequest).add(RequestCode.GSSENCRequest);
  }

  /**
   * Looks at `bytes[start, end)`, all that has been received and not been taken.
   *
   * @throws {PgError} for a length that no packet may have (at once, not when that many bytes have
   * come), a version that nobody speaks, and bytes that came too early.
   */
  step(bytes: Uint8Array, start: number, end: number): StartupStep {
    const isFirst = this.#asked.size === 0 && this.#tls === "available";
    if (isFirst && end > start && bytes[start] === TLS_HANDSHAKE_RECORD) {
      return { kind: "TLS begun" };
    }
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
        return code === RequestCode.SSLRequest && this.#tls === "available"
          ? { kind: "TLS asked", size }
          : { kind: "encryption denied", size };
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
