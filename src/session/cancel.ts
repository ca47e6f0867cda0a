// CancelRequest: passed on to the server on a connection of its own.
// https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS

import { type Transport, writeAll } from "../net/transport.ts";
import type { Deadline } from "./deadline.ts";

/**
 * Sends the packet and waits for the server to close the connection, as a client would: when this
 * resolves the signal has been sent, and the client may be let go.
 *
 * @throws what dialling and writing throw, and the deadline's error.
 */
export async function forwardCancel(
  packet: Uint8Array,
  dial: (signal: AbortSignal) => Promise<Transport>,
  deadline: Deadline,
): Promise<void> {
  deadline.phase = "passing on a cancel request";
  const upstream = await dial(deadline.signal);
  try {
    await deadline.race(writeAll(upstream, packet));
    const ignored = new Uint8Array(16);
    while (await deadline.race(upstream.read(ignored)) !== null);
  } finally {
    upstream.close();
  }
}
