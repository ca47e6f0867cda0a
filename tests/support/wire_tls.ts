// TLS for the wire tests: what a proxy is given, files for libpq, and a tap that sees what is said.

import type { FileContents } from "../../src/server.ts";
import { tlsServerEndPoint } from "../../src/net/certificates.ts";
import type { TlsKeyPair } from "../../src/net/tls_engine.ts";
import type { UpstreamTls } from "../../src/pool/connect.ts";
import type { ClientAuthorities } from "../../src/session/opening.ts";
import type { TestCertificate } from "./certificates.ts";

const UNPRIVILEGED_ID = 65534;
const SSL_REQUEST = Uint8Array.of(0, 0, 0, 8, 4, 210, 22, 47);
const TLS_HANDSHAKE = 0x16;

export function keyPair(...chain: readonly TestCertificate[]): TlsKeyPair {
  return { certificates: chain.map(({ pem }) => pem).join(""), key: chain[0]!.keyPem };
}

export const CLEAR_UPSTREAM: UpstreamTls = {
  mode: "disable",
  direct: false,
  authorities: null,
  identity: null,
};

/** TLS for clients with this certificate. */
export function offering(
  server: TestCertificate,
  clientAuthorities: ClientAuthorities | null = null,
  upstream: UpstreamTls = CLEAR_UPSTREAM,
): FileContents {
  const endPoint = tlsServerEndPoint(server.certificate);
  return {
    users: null,
    client: { identity: keyPair(server), endPoint, clientAuthorities },
    upstream,
  };
}

export function authorities(...roots: readonly TestCertificate[]) {
  return {
    pem: roots.map(({ pem }) => pem).join(""),
    certificates: roots.map(({ certificate }) => certificate),
  };
}

/** Certificates and keys as files, which the server's user may read when `forServer`. */
export class TlsFiles implements AsyncDisposable {
  private constructor(readonly path: string) {}

  static async make(): Promise<TlsFiles> {
    const path = await Deno.makeTempDir({ prefix: "pgvpd-tls-" });
    await Deno.chmod(path, 0o755);
    return new TlsFiles(path);
  }

  async write(name: string, ...parts: readonly string[]): Promise<string> {
    const path = `${this.path}/${name}`;
    await Deno.writeTextFile(path, parts.join(""));
    await Deno.chmod(path, 0o600); // libpq and PostgreSQL refuse a key that others may read
    return path;
  }

  /** The same for files of a PostgreSQL server, which runs as another user when we are root. */
  async writeForServer(name: string, ...parts: readonly string[]): Promise<string> {
    const path = await this.write(name, ...parts);
    if (Deno.uid() === 0) await Deno.chown(path, UNPRIVILEGED_ID, UNPRIVILEGED_ID);
    return path;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}

/** How a client began to speak. */
export type Beginning = "clear" | "TLS" | "direct TLS" | "SSLRequest only";

/** A relay in front of a proxy that sees whether its clients use TLS. */
export class Tap implements AsyncDisposable {
  readonly #listener: Deno.TcpListener;
  readonly #serving: Promise<void>;
  readonly #open = new Set<Deno.TcpConn>();
  readonly #heads: number[][] = [];

  constructor(readonly target: number) {
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.#serving = this.#serve();
  }

  get port(): number {
    return this.#listener.addr.port;
  }

  /** How the last client began. */
  get last(): Beginning {
    const head = this.#heads.at(-1) ?? [];
    if (head[0] === TLS_HANDSHAKE) return "direct TLS";
    const asked = SSL_REQUEST.every((byte, index) => head[index] === byte);
    if (!asked) return "clear";
    if (head.length === SSL_REQUEST.length) return "SSLRequest only";
    return head[SSL_REQUEST.length] === TLS_HANDSHAKE ? "TLS" : "clear";
  }

  async #serve(): Promise<void> {
    for await (const client of this.#listener) {
      const proxy = await Deno.connect({ hostname: "127.0.0.1", port: this.target });
      const head: number[] = [];
      this.#heads.push(head);
      for (const one of [client, proxy]) this.#open.add(one);
      void Promise.all([pass(client, proxy, head), pass(proxy, client, [])]).then(() => {
        for (const one of [client, proxy]) this.#close(one);
      });
    }
  }

  #close(connection: Deno.TcpConn): void {
    if (this.#open.delete(connection)) connection.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#serving.catch(() => {});
    for (const one of this.#open) this.#close(one);
  }
}

async function pass(from: Deno.TcpConn, to: Deno.TcpConn, head: number[]): Promise<void> {
  const buffer = new Uint8Array(64 * 1024);
  try {
    for (;;) {
      const count = await from.read(buffer);
      if (count === null) break;
      if (head.length <= SSL_REQUEST.length) head.push(...buffer.subarray(0, Math.min(count, 20)));
      for (let at = 0; at < count;) at += await to.write(buffer.subarray(at, count));
    }
    await to.closeWrite();
  } catch {
    // One of them has gone.
  }
}
