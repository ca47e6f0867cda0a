// Where a proxy listens: all addresses, or none.

import { isDirectory, listen } from "./net/address.ts";
import type { Listener } from "./net/tcp.ts";

/** The settings that say where; their names are those of the table. */
export interface ListenOptions {
  readonly listenHost: readonly string[];
  readonly port: number;
  /** A port whose clients must use TLS; null for none. */
  readonly tlsPort: number | null;
  readonly tcpKeepalive: boolean;
  readonly unixSocketMode: number;
}

/** Where TLS is a choice, and where it is not. */
export interface Listening {
  readonly plain: Listener[];
  readonly tlsOnly: Listener[];
}

/** Listens on every address; throws what listening throws, with nothing left open. */
export async function listenOnAll(options: ListenOptions): Promise<Listening> {
  const { port, tlsPort, tcpKeepalive: keepAlive, unixSocketMode } = options;
  const listening: Listening = { plain: [], tlsOnly: [] };
  try {
    for (const host of options.listenHost) {
      listening.plain.push(await listen(host, port, { keepAlive, unixSocketMode }));
      // Nobody listens in on a unix socket.
      if (tlsPort === null || isDirectory(host)) continue;
      listening.tlsOnly.push(await listen(host, tlsPort, { keepAlive, unixSocketMode }));
    }
  } catch (error) {
    for (const listener of [...listening.plain, ...listening.tlsOnly]) listener.close();
    throw error;
  }
  return listening;
}
