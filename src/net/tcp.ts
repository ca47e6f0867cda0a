// Sockets: listening, dialling, and the Transport over one of them. The only file with `Deno.Conn`.
// Hot: read and write run per message. No objects, no closures, no copies.

import type { Transport } from "./transport.ts";

class SocketTransport implements Transport {
  readonly #socket: Deno.Conn;
  #closed = false;

  constructor(socket: Deno.Conn, readonly peer: string) {
    this.#socket = socket;
  }

  read(into: Uint8Array): Promise<number | null> {
    return this.#socket.read(into);
  }

  write(bytes: Uint8Array): Promise<number> {
    return this.#socket.write(bytes);
  }

  async closeWrite(): Promise<void> {
    if (this.#closed) return;
    try {
      await this.#socket.closeWrite();
    } catch {
      // The peer has gone already: there is nobody left to tell.
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.close();
  }
}

/** A listening socket. */
export interface Listener {
  /** The bound address as text, `127.0.0.1:6432`, or the path of a unix socket. */
  readonly address: string;
  /** The port that was really taken; for a unix socket the one in its name. */
  readonly port: number;
  /** The next connection. Rejects when the listener is closed, and when accepting failed. */
  accept(): Promise<Transport>;
  close(): void;
}

/** How sockets are set up. */
export interface SocketOptions {
  /** Has the kernel probe a peer that has been silent for long. */
  readonly keepAlive: boolean;
}

/** Listens on one TCP address; port 0 takes a free one. Throws as `Deno.listen` does. */
export function listenTcp(hostname: string, port: number, options: SocketOptions): Listener {
  const socket = Deno.listen({ hostname, port });
  return {
    address: endpoint(socket.addr.hostname, socket.addr.port),
    port: socket.addr.port,
    accept: async () => overTcp(await socket.accept(), options),
    close: () => socket.close(),
  };
}

/**
 * Connects to a host, trying each of its addresses.
 *
 * @throws what `Deno.connect` throws, or the signal's reason.
 */
export async function dialTcp(
  hostname: string,
  port: number,
  signal: AbortSignal,
  options: SocketOptions,
): Promise<Transport> {
  signal.throwIfAborted();
  return overTcp(await Deno.connect({ hostname, port, signal }), options);
}

/** `host:port`, with brackets around an IPv6 address. */
export function endpoint(hostname: string, port: number): string {
  return hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
}

/** The Transport over a connected unix socket. */
export function overUnix(socket: Deno.UnixConn, path: string): Transport {
  return new SocketTransport(socket, `unix:${path}`);
}

function overTcp(socket: Deno.TcpConn, options: SocketOptions): Transport {
  try {
    socket.setNoDelay(true);
    socket.setKeepAlive(options.keepAlive);
  } catch {
    // The peer has gone already: the first read will say so.
  }
  return new SocketTransport(socket, endpoint(socket.remoteAddr.hostname, socket.remoteAddr.port));
}
