// TLS over a connection in memory: engines with certificates for tests, and both ends established.

import { establishTls, type TlsTransport } from "../../src/net/tls.ts";
import { TlsEngine, type TlsKeyPair } from "../../src/net/tls_engine.ts";
import { makeCa, makeServer, type TestCertificate } from "./certificates.ts";
import { memoryPair, type MemoryPairOptions, type MemoryTransport } from "./memory_transport.ts";

/** The root that every server and client of the tests comes from, unless told. */
export const ROOT: TestCertificate = await makeCa("test root");
export const SERVER: TestCertificate = await makeServer(ROOT);

export function keyPair(...chain: readonly TestCertificate[]): TlsKeyPair {
  return { certificates: chain.map(({ pem }) => pem).join(""), key: chain[0]!.keyPem };
}

export function serverEngine(clientRoot: TestCertificate | null = null): TlsEngine {
  return TlsEngine.server({
    identity: keyPair(SERVER),
    clientAuthorities: clientRoot?.pem ?? null,
  });
}

export function clientEngine(
  options: { root?: TestCertificate; identity?: TlsKeyPair; verify?: boolean } = {},
): TlsEngine {
  return TlsEngine.client({
    serverName: "localhost",
    authorities: (options.root ?? ROOT).pem,
    identity: options.identity ?? null,
    verify: options.verify ?? true,
  });
}

/** Both ends of a connection, and what carries it. */
export interface TlsPair {
  readonly server: TlsTransport;
  readonly client: TlsTransport;
  readonly serverSide: MemoryTransport;
  readonly clientSide: MemoryTransport;
}

export async function tlsPair(
  wire: MemoryPairOptions = {},
  engines: { server?: TlsEngine; client?: TlsEngine } = {},
): Promise<TlsPair> {
  const [clientSide, serverSide] = memoryPair(wire);
  const [server, client] = await Promise.all([
    establishTls(serverSide, engines.server ?? serverEngine(), null),
    establishTls(clientSide, engines.client ?? clientEngine(), null),
  ]);
  return { server, client, serverSide, clientSide };
}

/** One TLS record: its content type and the size of what is in it, as sent. */
export interface TlsRecord {
  readonly type: number;
  readonly size: number;
}

/** Takes a stream of ciphertext apart by the headers of its records. RFC 8446, 5.1. */
export function recordsIn(bytes: Uint8Array): TlsRecord[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const records: TlsRecord[] = [];
  for (let at = 0; at < bytes.length;) {
    const size = view.getUint16(at + 3);
    if (at + 5 + size > bytes.length) throw new Error(`no whole record at ${at}`);
    records.push({ type: bytes[at]!, size });
    at += 5 + size;
  }
  return records;
}
