// Pauses between attempts to reach a server that does not answer: longer each time, never in step.

import type { PgError } from "../codec/error.ts";
import type { Clock } from "./clock.ts";

/** The shortest and the longest pause. */
export interface BackoffRange {
  readonly retryMsMin: number;
  readonly retryMsMax: number;
}

/**
 * What is known of a server that failed. Behind a pause the next attempt may be made; when nobody
 * makes one for `retryMsMax`, the failure is forgotten.
 */
export class Backoff {
  /** Why the last attempt failed; null when it succeeded, or the failure is forgotten. */
  cause: PgError | null = null;
  /** Now is a pause: no attempt must begin. */
  isPaused = false;
  #failures = 0;
  #cancelTimer = () => {};

  /**
   * @param random in [0, 1).
   * @param onChange a pause is over, or a failure is forgotten.
   */
  constructor(
    private readonly clock: Clock,
    private readonly random: () => number,
    private readonly onChange: () => void,
  ) {}

  /** An attempt failed. One that began before the pause does not make it longer. */
  failed(cause: PgError, range: BackoffRange): void {
    this.cause = cause;
    if (this.isPaused) return;
    this.#cancelTimer();
    this.isPaused = true;
    this.#failures++;
    this.#cancelTimer = this.clock.after(this.#pauseMs(range), () => {
      this.isPaused = false;
      this.#cancelTimer = this.clock.after(range.retryMsMax, () => {
        this.reset();
        this.onChange();
      });
      this.onChange();
    });
  }

  /** An attempt succeeded. */
  reset(): void {
    this.#cancelTimer();
    this.cause = null;
    this.isPaused = false;
    this.#failures = 0;
  }

  #pauseMs({ retryMsMin, retryMsMax }: BackoffRange): number {
    const longest = Math.min(retryMsMax, retryMsMin * 2 ** this.#failures);
    return Math.max(retryMsMin, longest * (1 + this.random()) / 2);
  }
}
