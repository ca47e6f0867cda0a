// A flood of equal warnings and errors becomes a few lines and a count.

/** Records of one message that are written in a window; the rest is counted. */
export const RECORDS_PER_WINDOW_MAX = 20;
const WINDOW_MS = 10_000;
/** Messages are texts of the source; this many are never reached. */
const MESSAGES_MAX = 1_000;

interface Window {
  written: number;
  leftOut: number;
  readonly timer: ReturnType<typeof setTimeout>;
}

/** Decides, message by message, whether one more record is written. */
export class FloodGate {
  readonly #windows = new Map<string, Window>();
  readonly #onSummary: (message: string, leftOut: number) => void;
  readonly #windowMs: number;

  /** @param onSummary told at the end of a window in which records were left out. */
  constructor(onSummary: (message: string, leftOut: number) => void, windowMs = WINDOW_MS) {
    this.#onSummary = onSummary;
    this.#windowMs = windowMs;
  }

  /** May a record with this message be written? */
  admit(message: string): boolean {
    const window = this.#windows.get(message) ?? this.#open(message);
    if (window === null) return true;
    if (window.written < RECORDS_PER_WINDOW_MAX) {
      window.written++;
      return true;
    }
    window.leftOut++;
    return false;
  }

  /** Ends every window now; what was left out is told. */
  flush(): void {
    for (const message of [...this.#windows.keys()]) this.#close(message);
  }

  #open(message: string): Window | null {
    if (this.#windows.size >= MESSAGES_MAX) return null;
    const timer = setTimeout(() => this.#close(message), this.#windowMs);
    Deno.unrefTimer(timer as unknown as number);
    const window = { written: 0, leftOut: 0, timer };
    this.#windows.set(message, window);
    return window;
  }

  #close(message: string): void {
    const window = this.#windows.get(message);
    if (window === undefined) return;
    clearTimeout(window.timer);
    this.#windows.delete(message);
    if (window.leftOut > 0) this.#onSummary(message, window.leftOut);
  }
}
