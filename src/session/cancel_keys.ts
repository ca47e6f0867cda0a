// The keys that pgvpd hands out, and whom a cancel request with one of them means.

import { timingSafeEqual } from "node:crypto";
import { LENGTH_SIZE } from "../codec/codes.ts";
import { readInt32 } from "../codec/reader.ts";

/** What a session does when its query is to be cancelled. */
export interface CancelTarget {
  cancel(): Promise<void>;
}

/** What a client must show. Disposing of it makes it worthless. */
export interface CancelKey extends Disposable {
  readonly processId: number;
  readonly secret: Uint8Array;
}

/** The key of protocol 3.0, and that of 3.2, which nobody guesses. */
export const CANCEL_KEY_SIZE = 4;
export const CANCEL_KEY_SIZE_3_2 = 32;

/** No process of a server has a number that large: 2^22 is the limit of Linux. */
const OWN_PROCESS_ID_BIT = 0x4000_0000;
/** Behind the packet's length and its code. */
const BODY_AT = 2 * LENGTH_SIZE;

interface Entry {
  readonly secret: Uint8Array;
  readonly target: CancelTarget;
}

/** Sessions by the key that cancels their queries. */
export class CancelKeys {
  readonly #entries = new Map<number, Entry[]>();

  /** A new key for a session whose server connection may change. */
  issue(secretSize: number, target: CancelTarget): CancelKey {
    const random = new Uint32Array(1);
    let processId: number;
    do {
      crypto.getRandomValues(random);
      processId = OWN_PROCESS_ID_BIT | (random[0]! & (OWN_PROCESS_ID_BIT - 1));
    } while (this.#entries.has(processId));
    return this.#add(processId, crypto.getRandomValues(new Uint8Array(secretSize)), target);
  }

  /** The server's own key, which the client has been shown; `packet` is the CancelRequest with it. */
  adopt(packet: Uint8Array, target: CancelTarget): CancelKey {
    const secret = packet.slice(BODY_AT + LENGTH_SIZE);
    return this.#add(readInt32(packet, BODY_AT), secret, target);
  }

  /** Whom a CancelRequest means; null when the key fits nobody. */
  find(packet: Uint8Array): CancelTarget | null {
    const secret = packet.subarray(BODY_AT + LENGTH_SIZE);
    let found: CancelTarget | null = null;
    for (const entry of this.#entries.get(readInt32(packet, BODY_AT)) ?? []) {
      const fits = entry.secret.length === secret.length && timingSafeEqual(entry.secret, secret);
      if (fits) found = entry.target;
    }
    return found;
  }

  #add(processId: number, secret: Uint8Array, target: CancelTarget): CancelKey {
    const entry: Entry = { secret, target };
    const same = this.#entries.get(processId);
    if (same === undefined) this.#entries.set(processId, [entry]);
    else same.push(entry);
    return { processId, secret, [Symbol.dispose]: () => this.#remove(processId, entry) };
  }

  #remove(processId: number, entry: Entry): void {
    const rest = (this.#entries.get(processId) ?? []).filter((other) => other !== entry);
    if (rest.length === 0) this.#entries.delete(processId);
    else this.#entries.set(processId, rest);
  }
}
