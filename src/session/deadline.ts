// One timer for a whole handshake, which knows what was being waited for when it ran out.

import { SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";

/** Ends waiting when the time is up. Dispose of it when the handshake is over. */
export class Deadline implements Disposable {
  #phase: string;
  #phaseSince = performance.now();
  readonly #times = new Map<string, number>();
  readonly #controller = new AbortController();
  readonly #expired: Promise<never>;
  readonly #timer: ReturnType<typeof setTimeout>;

  constructor(milliseconds: number, phase: string) {
    this.#phase = phase;
    this.#expired = new Promise((_, reject) => {
      this.signal.addEventListener("abort", () => reject(this.signal.reason), { once: true });
    });
    this.#expired.catch(() => {}); // it may pass while nobody waits
    this.#timer = setTimeout(() => this.#controller.abort(this.#error(milliseconds)), milliseconds);
  }

  /** What is going on, to follow "while": the error names it. */
  get phase(): string {
    return this.#phase;
  }

  set phase(phase: string) {
    if (phase === this.#phase) return;
    this.#endPhase();
    this.#phase = phase;
  }

  /** How long it took so far, in milliseconds, by phase. */
  get times(): ReadonlyMap<string, number> {
    this.#endPhase();
    return this.#times;
  }

  #endPhase(): void {
    const now = performance.now();
    const before = this.#times.get(this.#phase) ?? 0;
    this.#times.set(this.#phase, before + now - this.#phaseSince);
    this.#phaseSince = now;
  }

  /** Aborts, with the error as its reason, when the time is up. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The first of the promises, or a rejection with 08006 when the time is up. */
  race<T>(...promises: Promise<T>[]): Promise<T> {
    return Promise.race([this.#expired, ...promises]);
  }

  /** Ends waiting now, for a reason of the caller's. */
  end(reason: PgError): void {
    this.#controller.abort(reason);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }

  #error(milliseconds: number): PgError {
    return new PgError(
      SqlState.ConnectionFailure,
      `handshake timed out after ${milliseconds / 1000} s while ${this.phase}`,
      { hint: "handshake_timeout is the time for start-up, authentication and context together." },
    );
  }
}
