// Randomness that can be repeated: everything follows from a seed, and a failing test prints it.

/**
 * The seed that a randomised test begins with. The same one every time, so that a change is judged
 * by what it changes; with `SEEDS=random` another one each time, which is how bugs are looked for;
 * and the one in `variable` when a failure is repeated.
 */
export function firstSeed(variable: string): number {
  const asked = Deno.env.get(variable);
  if (asked !== undefined) return Number(asked);
  return Deno.env.get("SEEDS") === "random" ? Date.now() % 2 ** 31 : 1_000;
}

/** A generator of integers (mulberry32); the same seed gives the same numbers. */
export class Random {
  #state: number;

  constructor(readonly seed: number) {
    this.#state = seed >>> 0;
  }

  /** A number in [0, 1). */
  fraction(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** An integer in [min, max]. */
  integer(min: number, max: number): number {
    return min + Math.floor(this.fraction() * (max - min + 1));
  }

  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  pick<T>(values: readonly T[]): T {
    return values[this.integer(0, values.length - 1)]!;
  }

  bytes(size: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length: size }, () => this.integer(0, 255));
  }
}

/** `bytes` in pieces of 1 to `sizeMax` bytes. */
export function randomPieces(bytes: Uint8Array, random: Random, sizeMax = 40): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const size = random.integer(1, sizeMax);
    pieces.push(bytes.subarray(at, at + size));
    at += size;
  }
  return pieces;
}

/** `bytes` one by one. */
export function singleBytes(bytes: Uint8Array): Uint8Array[] {
  return Array.from(bytes, (_, index) => bytes.subarray(index, index + 1));
}
