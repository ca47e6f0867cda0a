// Where to listen and where to dial: a TCP host and port, or a directory with a unix socket in it.

import {
  dialTcp,
  endpoint,
  type Listener,
  listenTcp,
  overUnix,
  type SocketOptions,
} from "./tcp.ts";
import type { Transport } from "./transport.ts";

/** How a listening socket is set up. */
export interface ListenOptions extends SocketOptions {
  /** Permissions of a unix socket, such as 0o777. */
  readonly unixSocketMode: number;
}

/** A host that starts with a slash is a directory, as in libpq. */
export function isDirectory(host: string): boolean {
  return host.startsWith("/");
}

/** The socket in a directory, named as PostgreSQL names it. */
function socketPath(directory: string, port: number): string {
  return `${directory.replace(/\/+$/, "")}/.s.PGSQL.${port}`;
}

/** The address as text: `db.internal:5432`, `[::1]:5432`, `/run/postgresql/.s.PGSQL.5432`. */
export function addressText(host: string, port: number): string {
  return isDirectory(host) ? socketPath(host, port) : endpoint(host, port);
}

/** Connects to a host and port, or to the socket in a directory. */
export async function dial(
  host: string,
  port: number,
  signal: AbortSignal,
  options: SocketOptions,
): Promise<Transport> {
  if (!isDirectory(host)) return await dialTcp(host, port, signal, options);
  signal.throwIfAborted();
  const path = socketPath(host, port);
  return overUnix(await Deno.connect({ transport: "unix", path }), path);
}

/** Listens on a host and port, or on a socket in a directory. Throws as `Deno.listen` does. */
export async function listen(
  host: string,
  port: number,
  options: ListenOptions,
): Promise<Listener> {
  if (!isDirectory(host)) return listenTcp(host, port, options);
  const path = socketPath(host, port);
  await removeStaleSocket(path);
  const socket = Deno.listen({ transport: "unix", path });
  try {
    await Deno.chmod(path, options.unixSocketMode);
  } catch (error) {
    socket.close();
    throw error;
  }
  return {
    address: path,
    port,
    accept: async () => overUnix(await socket.accept(), path),
    close: () => socket.close(), // which removes the file too
  };
}

/** A socket that nobody listens on any more was left by a process that was killed. */
async function removeStaleSocket(path: string): Promise<void> {
  let isSocket: boolean;
  try {
    isSocket = (await Deno.lstat(path)).isSocket === true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  if (!isSocket) return; // listening will fail and say why
  try {
    (await Deno.connect({ transport: "unix", path })).close();
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionRefused) await Deno.remove(path);
    return;
  }
  throw new Deno.errors.AddrInUse(`${path} is in use`);
}
