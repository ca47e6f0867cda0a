// Whether PostgreSQL answers: asked when somebody wants to know, and not more often than needed.

import { ENCRYPTION_DENIED, ENCRYPTION_GRANTED } from "./codec/codes.ts";
import { SSL_REQUEST } from "./codec/frontend.ts";
import { type Transport, writeAll } from "./net/transport.ts";

/** An answer counts for so long. */
const FRESH_MS = 2_000;
/** How long the server may take. */
const ANSWER_MS_MAX = 3_000;

/** A connection to the server on which nothing has been said, or TLS has been agreed on. */
export interface Probe {
  readonly transport: Transport;
  readonly hasAnswered: boolean;
}

/** Asks the server whether it wants TLS: it answers that before it knows who asks. */
export class Readiness {
  readonly #connect: (signal: AbortSignal) => Promise<Probe>;
  readonly #now: () => number;
  #isUp = false;
  #at = -Infinity;
  #asking: Promise<boolean> | null = null;

  /** @param now in milliseconds, monotonic. */
  constructor(
    connect: (signal: AbortSignal) => Promise<Probe>,
    now: () => number = () => performance.now(),
  ) {
    this.#connect = connect;
    this.#now = now;
  }

  /** Whoever asks while it is being asked hears the same. Never rejects. */
  async isUp(): Promise<boolean> {
    if (this.#now() - this.#at < FRESH_MS) return this.#isUp;
    this.#asking ??= this.#ask().then((isUp) => {
      this.#isUp = isUp;
      this.#at = this.#now();
      this.#asking = null;
      return isUp;
    });
    return await this.#asking;
  }

  async #ask(): Promise<boolean> {
    const late = AbortSignal.timeout(ANSWER_MS_MAX);
    try {
      const { transport, hasAnswered } = await this.#connect(late);
      const onLate = () => transport.close();
      late.addEventListener("abort", onLate, { once: true });
      try {
        if (hasAnswered) return true;
        await writeAll(transport, SSL_REQUEST);
        const answer = new Uint8Array(1);
        const count = await transport.read(answer);
        return count === 1 && (answer[0] === ENCRYPTION_DENIED || answer[0] === ENCRYPTION_GRANTED);
      } finally {
        late.removeEventListener("abort", onLate);
        transport.close();
      }
    } catch {
      return false;
    }
  }
}
