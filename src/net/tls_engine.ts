// The TLS engine of the runtime (rustls), driven as bytes in and bytes out: no sockets, no streams.
// The only file that knows what is inside Deno's node:tls.
//
// Deno can begin TLS as a server only on sockets that it accepts itself (`Deno.listenTls`), not on
// one whose client has asked for it in the clear first. node:tls can, over a Duplex stream, at
// twice the cost. Beneath its streams there is one object for each connection which takes
// ciphertext and gives plaintext, and the other way round. That object is driven here.

import { Duplex } from "node:stream";
import { TLSSocket } from "node:tls";
import { assert } from "../assert.ts";

/** What pgvpd uses of Deno's `TLSWrap`, as found in Deno 2.9.6 (ext/node/ops/tls_wrap.rs). */
interface NativeEngine {
  initServerTls(context: NativeContext): number;
  initClientTls(serverName: string, context: NativeContext): number;
  attachJsStream(): number;
  setHandle(self: NativeEngine): void;
  setOnread(callback: (bytes?: ArrayBuffer) => void): void;
  setAlpnProtocols(names: readonly string[]): void;
  start(): number;
  readStart(): number;
  receive(bytes: Uint8Array): void;
  emitEof(): void;
  writeBuffer(request: object, bytes: Uint8Array): number;
  drainEncOut(): Uint8Array;
  shutdown(request: object): number;
  destroySsl(): void;
  verifyError(): string;
  getPeerCertificateChain(): { certificates: Uint8Array[] } | null;
  getAlpnNegotiatedProtocol(out: { alpnProtocol?: string | false }): number;
  getProtocol(out: { protocol?: string }): number;
  onread: (bytes?: ArrayBuffer) => void;
  onhandshakedone: () => void;
  onerror: (error: Error) => void;
}

interface NativeContext {
  readonly cert?: string;
  readonly key?: string;
  readonly ca?: readonly string[];
  readonly requestCert: boolean;
  readonly rejectUnauthorized: boolean;
}

type NativeEngineClass = new (kind: number, asyncId: number) => NativeEngine;

const KIND_CLIENT = 0;
const KIND_SERVER = 1;
const METHODS: readonly (keyof NativeEngine)[] = [
  ...["initServerTls", "initClientTls", "attachJsStream", "setHandle", "setOnread"] as const,
  ...["setAlpnProtocols", "start", "readStart", "receive", "emitEof", "writeBuffer"] as const,
  ...["drainEncOut", "shutdown", "destroySsl", "verifyError"] as const,
  ...["getPeerCertificateChain", "getAlpnNegotiatedProtocol", "getProtocol"] as const,
];

/** ALPN's name for the protocol. https://www.postgresql.org/docs/current/protocol-flow.html */
export const ALPN_POSTGRESQL = "postgresql";

let nativeClass: NativeEngineClass | null | undefined;

/** Null on a runtime whose node:tls is built another way. */
function findNativeClass(): NativeEngineClass | null {
  if (nativeClass !== undefined) return nativeClass;
  const nothing = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
  const socket = new TLSSocket(nothing, {});
  socket.on("error", () => {}); // it is never connected
  const handle: unknown = Reflect.get(socket, "_handle");
  socket.destroy();
  const isKnown = typeof handle === "object" && handle !== null &&
    METHODS.every((name) => typeof Reflect.get(handle, name) === "function");
  nativeClass = isKnown ? handle.constructor as NativeEngineClass : null;
  return nativeClass;
}

/** Whether this runtime has the engine; when not, TLS must be refused in words. */
export function isTlsAvailable(): boolean {
  return findNativeClass() !== null;
}

/** A failed handshake, or bytes that are no TLS of this connection. */
export class TlsError extends Error {
  override readonly name = "TlsError";
}

/** What is shown to the peer: certificates and private key as PEM. */
export interface TlsKeyPair {
  readonly certificates: string;
  readonly key: string;
}

/** How a server's engine is set up. */
export interface TlsServerOptions {
  readonly identity: TlsKeyPair;
  /** Authorities of client certificates, as PEM; null when none is asked for. */
  readonly clientAuthorities: string | null;
}

/** How a client's engine is set up. */
export interface TlsClientOptions {
  /** For SNI; null for none (an address has none). */
  readonly serverName: string | null;
  /** Trusted besides the authorities that the runtime trusts, as PEM. */
  readonly authorities: string | null;
  readonly identity: TlsKeyPair | null;
  /** Ends the handshake when the chain leads to no trusted authority. The host is not looked at. */
  readonly verify: boolean;
}

/**
 * The TLS state of one connection.
 *
 * What comes is put in with `receive` and lies in `plaintext` then; what is to go is put in with
 * `send`. After either, `outgoing` has what must be written to the peer.
 */
export class TlsEngine {
  /** The handshake is over. */
  established = false;
  /** The peer has said that nothing more comes. */
  ended = false;
  /** Why nothing works any more. */
  failure: TlsError | null = null;
  /** Decrypted and not taken yet. */
  readonly plaintext: Uint8Array[] = [];
  readonly #native: NativeEngine;
  /** What node:tls keeps about one write; nothing here wants to know of it. */
  readonly #request = {};
  #destroyed = false;

  private constructor(native: NativeEngine) {
    this.#native = native;
    native.attachJsStream();
    native.setHandle(native);
    native.onread = (bytes) => {
      if (bytes === undefined) this.ended = true;
      else this.plaintext.push(new Uint8Array(bytes));
    };
    native.setOnread(native.onread);
    native.onhandshakedone = () => void (this.established = true);
    native.onerror = (error) => void (this.failure ??= new TlsError(error.message));
    native.setAlpnProtocols([ALPN_POSTGRESQL]);
    native.start();
    native.readStart();
  }

  /** @throws {TlsError} for a pair of certificate and key that does not fit. */
  static server({ identity, clientAuthorities }: TlsServerOptions): TlsEngine {
    const native = create(KIND_SERVER);
    const result = native.initServerTls({
      cert: identity.certificates,
      key: identity.key,
      ...(clientAuthorities === null ? {} : { ca: [clientAuthorities] }),
      requestCert: clientAuthorities !== null,
      rejectUnauthorized: false, // asked for, looked at by pgvpd itself
    });
    if (result !== 0) throw new TlsError("the certificate and its key cannot be used");
    return new TlsEngine(native);
  }

  /** @throws {TlsError} for authorities, or a pair of certificate and key, that cannot be used. */
  static client(options: TlsClientOptions): TlsEngine {
    const native = create(KIND_CLIENT);
    const result = native.initClientTls(options.serverName ?? "", {
      ...(options.authorities === null ? {} : { ca: [options.authorities] }),
      ...(options.identity === null
        ? {}
        : { cert: options.identity.certificates, key: options.identity.key }),
      requestCert: true,
      rejectUnauthorized: options.verify,
    });
    if (result !== 0) throw new TlsError("the certificates for this connection cannot be used");
    return new TlsEngine(native);
  }

  /** Ciphertext from the peer. */
  receive(bytes: Uint8Array): void {
    this.#native.receive(bytes);
  }

  /** The peer has closed the connection, orderly or not. */
  receiveEnd(): void {
    this.ended = true;
    if (!this.#destroyed) this.#native.emitEof();
  }

  /** Plaintext for the peer: one record for each call, if it is no longer than a record may be. */
  send(bytes: Uint8Array): void {
    this.#native.writeBuffer(this.#request, bytes);
  }

  /** Tells the peer that nothing more comes. */
  sendEnd(): void {
    if (!this.#destroyed) this.#native.shutdown(this.#request);
  }

  /** Takes what is to be written to the peer now. */
  outgoing(): Uint8Array {
    return this.#native.drainEncOut();
  }

  /** Frees the native side; whatever is asked of it then gives nothing. */
  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.#native.destroySsl();
  }

  /** The peer's certificates, its own first, as DER; none when it has shown none. */
  get peerCertificates(): Uint8Array[] {
    return (this.#native.getPeerCertificateChain()?.certificates ?? [])
      .map((bytes) => new Uint8Array(bytes));
  }

  /**
   * What the runtime found wrong with the peer's certificates; null when nothing. Only then has it
   * also checked that the peer holds the key: it lets a version 1 certificate pass without.
   */
  get verifyError(): string | null {
    return this.#native.verifyError() || null;
  }

  /** The application protocol that was agreed on. */
  get alpnProtocol(): string | null {
    const out: { alpnProtocol?: string | false } = {};
    this.#native.getAlpnNegotiatedProtocol(out);
    return out.alpnProtocol || null;
  }

  /** `TLSv1.3` or `TLSv1.2`. */
  get version(): string | null {
    const out: { protocol?: string } = {};
    this.#native.getProtocol(out);
    return out.protocol ?? null;
  }
}

function create(kind: number): NativeEngine {
  const NativeEngine = findNativeClass();
  assert(NativeEngine !== null, "isTlsAvailable() is asked before TLS is configured");
  return new NativeEngine(kind, 0);
}
