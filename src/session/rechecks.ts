// Rechecks: sessions whose context may have changed are looked at a few at a time, so that an event
// which concerns all of them is no storm of queries, and one slow look holds up nobody.

/** How long one look may take. */
const LOOK_MS_MAX = 30_000;

/** What is to be done for one session; it does not reject. */
export type Recheck = (signal: AbortSignal) => Promise<void>;

/**
 * Queues without doubles: who waits already is not entered again, and who is being looked at is
 * looked at again behind that.
 */
export class Rechecks {
  /** Those of whom it is known that something has changed go first. */
  readonly #certain = new Map<object, Recheck>();
  readonly #possible = new Map<object, Recheck>();
  readonly #underWay = new Set<object>();
  readonly #stopped = new AbortController();
  readonly #atOnce: () => number;

  /** @param atOnce how many may be looked at at the same time now. */
  constructor(atOnce: () => number) {
    this.#atOnce = atOnce;
  }

  /**
   * @param owner whose recheck it is.
   * @param isCertain false: something may have changed, and may not.
   */
  add(owner: object, recheck: Recheck, isCertain: boolean): void {
    if (this.#stopped.signal.aborted) return;
    if (isCertain) this.#possible.delete(owner);
    const queue = isCertain || this.#certain.has(owner) ? this.#certain : this.#possible;
    queue.set(owner, recheck);
    this.#advance();
  }

  /** The session is over. */
  remove(owner: object): void {
    this.#certain.delete(owner);
    this.#possible.delete(owner);
  }

  /** Nothing is looked at any more. */
  stop(): void {
    this.#certain.clear();
    this.#possible.clear();
    this.#stopped.abort();
  }

  #advance(): void {
    while (this.#underWay.size < this.#atOnce() && this.#beginOne());
  }

  #beginOne(): boolean {
    for (const queue of [this.#certain, this.#possible]) {
      for (const [owner, recheck] of queue) {
        if (this.#underWay.has(owner)) continue;
        queue.delete(owner);
        this.#underWay.add(owner);
        void withTimeLimit(recheck, this.#stopped.signal).finally(() => {
          this.#underWay.delete(owner);
          this.#advance();
        });
        return true;
      }
    }
    return false;
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
