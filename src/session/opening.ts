// The opening of a client's connection: encryption, and the packet that says what it wants.
// https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL

import { X509Certificate } from "node:crypto";
import { ENCRYPTION_DENIED, ENCRYPTION_GRANTED, SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import type { StartupMessage } from "../codec/frontend.ts";
import type { Inbox } from "../net/buffers.ts";
import { CertificateError, commonNameOf, uriNamesOf, verifyChain } from "../net/certificates.ts";
import { establishTls, type TlsTransport } from "../net/tls.ts";
import { ALPN_POSTGRESQL, TlsEngine, TlsError, type TlsKeyPair } from "../net/tls_engine.ts";
import { writeAll } from "../net/transport.ts";
import { StartupExchange } from "../protocol/startup.ts";
import type { Deadline } from "./deadline.ts";
import { ClientGone } from "./endings.ts";

/** How TLS is offered to clients. */
export interface ClientTls {
  readonly identity: TlsKeyPair;
  /** `tls-server-end-point` of the certificate, for SCRAM-SHA-256-PLUS; null when it has none. */
  readonly endPoint: Uint8Array | null;
  /** Who may vouch for clients; null when they need no certificate. */
  readonly clientAuthorities: ClientAuthorities | null;
}

/** What is asked of a client's certificate. */
export interface ClientAuthorities {
  readonly pem: string;
  readonly certificates: readonly X509Certificate[];
  /** Which name in the certificate must be the tenant's. */
  readonly identity: "none" | "cn" | "san-uri";
  /** Taken off the front of that name. */
  readonly identityPrefix: string;
}

/** What is known of a client that has come over TLS. */
export class ClientEncryption {
  /**
   * @param endPoint what SCRAM-SHA-256-PLUS binds to; null when it cannot be offered.
   * @param certificate the client's, verified; null when none was asked for.
   */
  constructor(
    readonly endPoint: Uint8Array | null,
    readonly certificate: X509Certificate | null,
    readonly authorities: ClientAuthorities | null,
  ) {}

  /**
   * Compares the certificate's name with the one in the user name.
   *
   * @throws {PgError} 28000 when the certificate is somebody else's.
   */
  checkIdentity(name: string): void {
    if (this.authorities === null || this.authorities.identity === "none") return;
    const { identity, identityPrefix } = this.authorities;
    const names = this.certificate === null ? [] : namesOf(this.certificate, identity);
    if (names.some((each) => each === identityPrefix + name)) return;
    throw new PgError(
      SqlState.InvalidAuthorizationSpecification,
      `the client certificate does not belong to ${JSON.stringify(name)}`,
      {
        detail: `cert_identity is ${identity}: that name of the certificate must be the tenant's.`,
      },
    );
  }
}

function namesOf(certificate: X509Certificate, identity: "cn" | "san-uri"): string[] {
  if (identity === "san-uri") return uriNamesOf(certificate);
  const commonName = commonNameOf(certificate);
  return commonName === null ? [] : [commonName];
}

/** The StartupMessage and the connection it came over. */
export interface StartupPacket {
  readonly kind: "startup";
  readonly packet: Uint8Array;
  readonly message: StartupMessage;
  /** Null when it came in the clear. */
  readonly encryption: ClientEncryption | null;
}

export type FirstPacket =
  | { readonly kind: "cancel"; readonly packet: Uint8Array }
  | StartupPacket;

/**
 * Answers everything in front of the first packet that counts; switches the inbox to TLS when the
 * client asks for it or begins with it.
 *
 * @param tls null when there is none: SSLRequest is answered with N.
 * @throws {ClientGone} · {PgError} what StartupExchange throws, and 28000 for a client whose
 * certificate is not accepted.
 */
export async function openClient(
  client: Inbox,
  tls: ClientTls | null,
  deadline: Deadline,
): Promise<FirstPacket> {
  const exchange = new StartupExchange({ tls: tls !== null });
  let encryption: ClientEncryption | null = null;
  for (;;) {
    const step = exchange.step(client.bytes, client.start, client.end);
    switch (step.kind) {
      case "incomplete":
        if (await deadline.race(client.fill().catch(gone)) === null) throw new ClientGone();
        continue;
      case "encryption denied":
        client.take(step.size);
        await answer(client, ENCRYPTION_DENIED, deadline);
        continue;
      case "TLS asked":
        client.take(step.size);
        await answer(client, ENCRYPTION_GRANTED, deadline);
        encryption = await beginTls(client, tls!, null, deadline);
        exchange.tlsEstablished();
        continue;
      case "TLS begun": {
        const received = client.bytes.slice(client.start, client.end);
        client.take(received.length);
        encryption = await beginTls(client, tls!, received, deadline);
        exchange.tlsEstablished();
        continue;
      }
      case "cancel":
        client.take(step.size);
        return step;
      case "startup":
        client.take(step.size);
        return { ...step, encryption };
    }
  }
}

function gone(error: unknown): never {
  throw new ClientGone(error);
}

async function answer(client: Inbox, byte: number, deadline: Deadline): Promise<void> {
  await deadline.race(writeAll(client.transport, Uint8Array.of(byte)).catch(gone));
}

/** @param received the beginning of the handshake, when the client did not ask first. */
async function beginTls(
  client: Inbox,
  tls: ClientTls,
  received: Uint8Array | null,
  deadline: Deadline,
): Promise<ClientEncryption> {
  const phase = deadline.phase;
  deadline.phase = "negotiating TLS with the client";
  const engine = TlsEngine.server({
    identity: tls.identity,
    clientAuthorities: tls.clientAuthorities?.pem ?? null,
  });
  let transport: TlsTransport;
  try {
    transport = await deadline.race(establishTls(client.transport, engine, received).catch(gone));
  } catch (error) {
    client.transport.close(); // whatever would be said in the clear now is no TLS to the client
    throw error;
  }
  deadline.phase = phase;
  // PostgreSQL's own rule: without it, other protocols' clients could be led here.
  if (received !== null && engine.alpnProtocol !== ALPN_POSTGRESQL) {
    transport.close();
    throw new ClientGone(new TlsError("direct TLS without the ALPN protocol postgresql"));
  }
  client.switchTo(transport);
  return new ClientEncryption(
    tls.endPoint,
    verifyClient(transport, tls.clientAuthorities),
    tls.clientAuthorities,
  );
}

/** The client's certificate, when one is required, fit to be trusted. */
function verifyClient(
  { engine }: TlsTransport,
  authorities: ClientAuthorities | null,
): X509Certificate | null {
  if (authorities === null) return null;
  const presented = engine.peerCertificates;
  if (presented.length === 0) {
    throw new PgError(
      SqlState.InvalidAuthorizationSpecification,
      "connection requires a valid client certificate",
      { hint: "Connect with sslcert and sslkey." },
    );
  }
  try {
    verifyChain(presented, authorities.certificates, { now: new Date(), purpose: "client" });
    // Only when the runtime finds no fault either has it looked whether the client holds the key.
    if (engine.verifyError !== null) {
      throw new CertificateError(`the TLS engine refuses it: ${engine.verifyError}`);
    }
    return new X509Certificate(presented[0]!);
  } catch (error) {
    if (!(error instanceof CertificateError)) throw error;
    throw new PgError(
      SqlState.InvalidAuthorizationSpecification,
      "the client certificate is not accepted",
      { detail: `${error.message}`, hint: "It must come from an authority in client_tls_ca." },
      { cause: error },
    );
  }
}
