// Greetings: what a pool's servers say of themselves to a client with certain settings.

/** Remembered at once; the one that was not asked for longest is forgotten first. */
const GREETINGS_MAX = 1_000;
/** A server may be upgraded or set up anew behind a pool. */
const FRESH_MS = 60_000;

interface Greeting {
  readonly parameters: ReadonlyMap<string, string>;
  readonly learnedAt: number;
}

/** So that a client of a transaction pool is greeted without holding a backend. */
export class Greetings {
  readonly #known = new Map<string, Greeting>();

  /** @param now in milliseconds, monotonic. */
  constructor(readonly now: () => number = () => performance.now()) {}

  /** The parameters for clients like this one; null when they must be learned from a server. */
  find(key: string): ReadonlyMap<string, string> | null {
    const greeting = this.#known.get(key);
    if (greeting === undefined) return null;
    this.#known.delete(key);
    if (this.now() - greeting.learnedAt > FRESH_MS) return null;
    this.#known.set(key, greeting);
    return greeting.parameters;
  }

  /** A server has said this to a client like this one. The copy that is returned is shared. */
  learn(key: string, parameters: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
    const copy = new Map(parameters);
    this.#known.delete(key);
    this.#known.set(key, { parameters: copy, learnedAt: this.now() });
    if (this.#known.size > GREETINGS_MAX) {
      this.#known.delete(this.#known.keys().next().value!);
    }
    return copy;
  }
}
