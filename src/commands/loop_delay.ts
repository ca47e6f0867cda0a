// How late timers fire: what the event loop has to do besides.

import { Histogram } from "../meters.ts";

const PERIOD_MS = 500;

/** Measures as long as it is not disposed of; it does not keep the process alive. */
export class LoopDelay implements Disposable {
  readonly histogram = new Histogram();
  readonly #timer: ReturnType<typeof setInterval>;
  #expectedAt = performance.now() + PERIOD_MS;

  constructor() {
    this.#timer = setInterval(() => {
      const now = performance.now();
      this.histogram.observeMs(Math.max(0, now - this.#expectedAt));
      this.#expectedAt = now + PERIOD_MS;
    }, PERIOD_MS);
    Deno.unrefTimer(this.#timer);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
