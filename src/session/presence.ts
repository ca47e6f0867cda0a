// Waiting for something on a client's behalf, for as long as the client is there.

import type { Inbox } from "../net/buffers.ts";
import type { Deadline } from "./deadline.ts";
import { ClientGone } from "./endings.ts";

/**
 * Begins something that takes time; a client that leaves meanwhile, or the deadline, ends it.
 *
 * @param begin gets a signal that says when nobody waits any more.
 * @param giveBack takes what came too late.
 * @throws {ClientGone} · what `begin` rejects with · the deadline's error.
 */
export async function whileClientStays<T extends object>(
  client: Inbox,
  deadline: Deadline,
  begin: (signal: AbortSignal) => Promise<T>,
  giveBack: (late: T) => void,
): Promise<T> {
  const abandoned = new AbortController();
  const wanted = begin(AbortSignal.any([deadline.signal, abandoned.signal]));
  try {
    for (;;) {
      const first = client.full
        ? await deadline.race(wanted)
        : await deadline.race<T | number | null>(wanted, client.fill().catch(gone));
      if (first === null) throw new ClientGone();
      if (typeof first === "object") return first;
    }
  } catch (error) {
    abandoned.abort(new ClientGone());
    wanted.then(giveBack, () => {});
    throw error;
  }
}

function gone(error: unknown): never {
  throw new ClientGone(error);
}
