// Time as the pool knows it. It is handed in, so that tests move the hands instead of sleeping.

/** Milliseconds that only go forward, and timers. */
export interface Clock {
  now(): number;
  /** Calls back once, unless it is cancelled through the returned function. */
  after(ms: number, callback: () => void): () => void;
}

/** The longest time that setTimeout takes; a longer one would end at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** The real time. Its timers do not keep the process alive. */
export const systemClock: Clock = {
  now: () => performance.now(),
  after(ms, callback) {
    const timer = setTimeout(callback, Math.min(ms, TIMER_MS_MAX));
    Deno.unrefTimer(timer as unknown as number);
    return () => clearTimeout(timer);
  },
};
