// Who may connect now. A slot is held until the session has ended, and given back exactly once.

import { SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";

/** A place that is taken; disposing of it gives it back. */
export interface Slot extends Disposable {
  [Symbol.dispose](): void;
}

/** Counts the clients of a proxy. */
export class Admission {
  /** Clients connected now, handshakes and cancel requests included. */
  active = 0;

  /** @param clientsMax may be changed; who is connected stays. */
  constructor(public clientsMax: number) {}

  /**
   * Takes a place.
   *
   * @throws {PgError} 53300 when there is none.
   */
  admit(): Slot {
    if (this.active >= this.clientsMax) {
      throw new PgError(SqlState.TooManyConnections, "too many clients already", {
        detail: `max_client_connections is ${this.clientsMax}.`,
        hint: "Use fewer connections, or raise max_client_connections.",
      });
    }
    this.active++;
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (held) this.active--;
        held = false;
      },
    };
  }
}
