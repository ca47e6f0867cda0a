// Rechecks: sessions whose context may have changed are looked at one after the other, so that an
// event which concerns all of them is no storm of queries.

/** How long one look may take. */
const LOOK_MS_MAX = 30_000;

/** What is to be done for one session; it does not reject. */
export type Recheck = (signal: AbortSignal) => Promise<void>;

/** A queue without doubles: who waits in it already is not entered again. */
export class Rechecks {
  readonly #waiting = new Map<object, Recheck>();
  readonly #stopped = new AbortController();
  #running = false;

  /** @param owner whose recheck it is. */
  add(owner: object, recheck: Recheck): void {
    if (this.#stopped.signal.aborted) return;
    this.#waiting.set(owner, recheck);
    if (!this.#running) void this.#run();
  }

  /** The session is over. */
  remove(owner: object): void {
    this.#waiting.delete(owner);
  }

  /** Nothing is looked at any more. */
  stop(): void {
    this.#waiting.clear();
    this.#stopped.abort();
  }

  async #run(): Promise<void> {
    this.#running = true;
    for (const [owner, recheck] of this.#waiting) {
      this.#waiting.delete(owner);
      await withTimeLimit(recheck, this.#stopped.signal);
    }
    this.#running = false;
  }
}

async function withTimeLimit(recheck: Recheck, stopped: AbortSignal): Promise<void> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), LOOK_MS_MAX);
  try {
    await recheck(AbortSignal.any([stopped, late.signal]));
  } finally {
    clearTimeout(timer);
  }
}
