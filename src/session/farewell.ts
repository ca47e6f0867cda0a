// How a client is let go: what it is told, and how long it may take to read that.

import { SqlState } from "../codec/codes.ts";
import { encodeNotice, PgError } from "../codec/error.ts";
import type { Inbox } from "../net/buffers.ts";
import { writeAll } from "../net/transport.ts";

/** How long a client may take to read its last message. */
const LINGER_MS_MAX = 1_000;

/** The server's side has ended without a word. */
export const UPSTREAM_LOST: Uint8Array = new PgError(
  SqlState.ConnectionFailure,
  "the connection to the upstream server was lost",
  { hint: "Reconnect. A statement that was running may or may not have taken effect." },
).encode();

/** Only a new session can have another context. */
export const CONTEXT_CHANGED = new PgError(
  SqlState.AdminShutdown,
  "terminating connection because the session context has changed",
  { hint: "Reconnect." },
);

/** The client has sent more behind a RESET, or half a message: nothing of pgvpd's can go between. */
export function cannotRestore(): PgError {
  return PgError.protocolViolation(
    "the session context cannot be restored behind what the client has sent",
    { hint: "Wait for the end of RESET and DISCARD ALL before sending anything else." },
  );
}

/** To a client that has ended its sending side while its statement runs: a dead one cannot hear. */
export const STILL_RUNNING: Uint8Array = encodeNotice(
  "the client has ended its side; its statement goes on",
);
/** To a client that waits for its tenant to be resumed, for the same reason. */
export const TENANT_PAUSED: Uint8Array = encodeNotice(
  "the tenant is paused; the transaction begins when it is resumed",
);
/** Between such notices: doubled each time. */
export const PROBE_PAUSE_MS_MIN = 100;
export const PROBE_PAUSE_MS_MAX = 60_000;

/**
 * Writes a last message and lets the client read it: what it still sends is read away, because
 * closing over unread bytes would reset the connection and lose the message.
 */
export async function sayGoodbye(client: Inbox, message: Uint8Array | null): Promise<void> {
  const goodbye = async () => {
    if (message !== null) await writeAll(client.transport, message);
    await client.transport.closeWrite();
    while (!client.ended) {
      client.take(client.length);
      await client.fill();
    }
  };
  await lingering(goodbye().catch(() => {}));
}

/** Waits for a client that reads its last message, but not for ever. */
export function lingering(over: Promise<void>): Promise<void> {
  return elapsed(LINGER_MS_MAX, over);
}

/** Waits for a time, or until something else has happened. */
export async function elapsed(milliseconds: number, sooner: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  await Promise.race([
    sooner,
    new Promise((resolve) => timer = setTimeout(resolve, milliseconds)),
  ]);
  clearTimeout(timer);
}
