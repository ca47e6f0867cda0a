// A connection to the server: the socket, and TLS as the operator wants it.
// https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL

import { X509Certificate } from "node:crypto";
import { ENCRYPTION_DENIED, ENCRYPTION_GRANTED, SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { SSL_REQUEST } from "../codec/frontend.ts";
import { addressText, dial } from "../net/address.ts";
import { requireVersion3 } from "../net/certificate_chain.ts";
import { readFields } from "../net/certificate_fields.ts";
import {
  CertificateError,
  tlsServerEndPoint,
  verifyChain,
  verifyHost,
} from "../net/certificates.ts";
import type { SocketOptions } from "../net/tcp.ts";
import { establishTls, type TlsTransport } from "../net/tls.ts";
import { ALPN_POSTGRESQL, TlsEngine, type TlsKeyPair } from "../net/tls_engine.ts";
import { type Transport, writeAll } from "../net/transport.ts";

/** What the server is or does not do, rather than what failed on the way to it. */
class TlsRefused extends Error {}

/**
 * How much is asked of the connection, each mode more than the one before it; libpq's `sslmode`
 * without `allow`. https://www.postgresql.org/docs/current/libpq-ssl.html
 */
export type UpstreamTlsMode = "disable" | "prefer" | "require" | "verify-ca" | "verify-full";

/** TLS towards the server. */
export interface UpstreamTls {
  readonly mode: UpstreamTlsMode;
  /** Begins with TLS instead of asking for it first (PostgreSQL 17 and later). */
  readonly direct: boolean;
  /** The only authorities to be trusted; null for those that the runtime trusts. */
  readonly authorities: {
    readonly pem: string;
    readonly certificates: readonly X509Certificate[];
  } | null;
  /** Shown to a server that asks for a certificate. */
  readonly identity: TlsKeyPair | null;
}

/** Where the server is and how it is reached. */
export interface UpstreamOptions extends SocketOptions {
  readonly host: string;
  readonly port: number;
  readonly tls: UpstreamTls;
}

/** A connection on which nothing of the protocol has been said yet. */
export interface UpstreamConnection {
  readonly transport: Transport;
  /** Whether it is encrypted. */
  readonly encrypted: boolean;
  /** What SCRAM-SHA-256-PLUS binds to; null in the clear, or when the certificate has none. */
  readonly endPoint: Uint8Array | null;
}

/**
 * Connects, and negotiates TLS.
 *
 * @throws {PgError} 08001 that says what failed, and the signal's reason when it aborts.
 */
export async function connectUpstream(
  options: UpstreamOptions,
  signal: AbortSignal,
): Promise<UpstreamConnection> {
  const transport = await dialServer(options, signal);
  if (options.tls.mode === "disable") return { transport, encrypted: false, endPoint: null };
  // Whoever waits is let go when the signal comes: closing ends what is being read or written.
  const onAbort = () => transport.close();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    signal.throwIfAborted(); // it may have come while the connection was being made
    return await negotiate(transport, options);
  } catch (error) {
    transport.close();
    if (signal.aborted) throw signal.reason;
    throw explained(options, error);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

async function dialServer(options: UpstreamOptions, signal: AbortSignal): Promise<Transport> {
  const { host, port } = options;
  try {
    return await dial(host, port, signal, options);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    const reason = error instanceof Error ? error.message.split("\n")[0] : String(error);
    throw new PgError(
      SqlState.SqlClientUnableToEstablishConnection,
      `could not connect to the upstream server at ${addressText(host, port)}: ${reason}`,
      { hint: "Check upstream_host and upstream_port, and that PostgreSQL is running there." },
      { cause: error },
    );
  }
}

async function negotiate(
  transport: Transport,
  options: UpstreamOptions,
): Promise<UpstreamConnection> {
  const { tls, host } = options;
  if (!tls.direct && !await askForTls(transport)) {
    if (tls.mode === "prefer") return { transport, encrypted: false, endPoint: null };
    throw new TlsRefused("it does not support TLS");
  }
  const verify = tls.mode === "verify-ca" || tls.mode === "verify-full";
  const engine = TlsEngine.client({
    serverName: isAddress(host) ? null : host,
    authorities: tls.authorities?.pem ?? null,
    identity: tls.identity,
    verify,
  });
  let encrypted: TlsTransport;
  try {
    encrypted = await establishTls(transport, engine, null);
  } catch (error) {
    if (verify && engine.verifyError !== null) throw new CertificateError(engine.verifyError);
    throw error;
  }
  if (tls.direct && engine.alpnProtocol !== ALPN_POSTGRESQL) {
    throw new TlsRefused("it did not agree on the ALPN protocol postgresql");
  }
  const leaf = verifyServer(encrypted, options);
  return {
    transport: encrypted,
    encrypted: true,
    endPoint: leaf === null ? null : tlsServerEndPoint(leaf),
  };
}

/**
 * Sends SSLRequest.
 *
 * Any other answer than S and N is not shown to anybody: nobody has vouched for it, and to a client
 * it would look like the word of a server that it trusts (CVE-2024-10977).
 */
async function askForTls(transport: Transport): Promise<boolean> {
  await writeAll(transport, SSL_REQUEST);
  // One byte: what stands behind it would be read into TLS, and came from nobody knows whom.
  const answer = new Uint8Array(1);
  if (await transport.read(answer) === null) {
    throw new TlsRefused("it closed the connection when it was asked for TLS");
  }
  if (answer[0] === ENCRYPTION_GRANTED) return true;
  if (answer[0] === ENCRYPTION_DENIED) return false;
  throw new TlsRefused("it answered the request for TLS with something else than yes or no");
}

/** The server's certificate, checked as the mode asks. */
function verifyServer(
  { engine }: TlsTransport,
  { tls, host }: UpstreamOptions,
): X509Certificate | null {
  const presented = engine.peerCertificates;
  const leaf = presented.length > 0 ? new X509Certificate(presented[0]!) : null;
  if (tls.mode !== "verify-ca" && tls.mode !== "verify-full") return leaf;
  if (leaf === null) throw new CertificateError("it has shown no certificate");
  if (engine.verifyError !== null) throw new CertificateError(engine.verifyError);
  if (tls.authorities !== null) {
    // The runtime trusts its own authorities besides the given ones; only the given ones count.
    verifyChain(presented, tls.authorities.certificates, { now: new Date(), purpose: "server" });
  } else {
    // The runtime checks neither signature nor key where a certificate is not of version 3: the
    // name of any authority as its issuer is enough.
    for (const certificate of presented) requireVersion3(readFields(certificate));
  }
  if (tls.mode === "verify-full") verifyHost(leaf, host);
  return leaf;
}

function isAddress(host: string): boolean {
  return /^[0-9.]+$/.test(host) || host.includes(":");
}

const VERIFY_HINT = "It may have expired, be for another host than upstream_host, or come from " +
  "another authority than those in upstream_tls_ca; upstream_tls says how much is verified.";

function explained(options: UpstreamOptions, error: unknown): unknown {
  if (error instanceof PgError) return error;
  const address = addressText(options.host, options.port);
  const refuse = (message: string, hint: string) =>
    new PgError(SqlState.SqlClientUnableToEstablishConnection, message, { hint }, { cause: error });
  if (error instanceof TlsRefused) {
    return refuse(
      `no TLS with the upstream server at ${address}: ${error.message}`,
      `upstream_tls is ${options.tls.mode}: set ssl = on in PostgreSQL, or relax upstream_tls.`,
    );
  }
  if (error instanceof CertificateError) {
    return refuse(
      `the certificate of the upstream server at ${address} is not accepted: ${error.message}`,
      VERIFY_HINT,
    );
  }
  const reason = error instanceof Error ? error.message.split("\n")[0] : String(error);
  return refuse(
    `TLS with the upstream server at ${address} failed: ${reason}`,
    "Look into the server's log.",
  );
}
