// Fuzzing with seeds: every case follows from one number, and a failure prints it.

import { firstSeed, Random } from "./random.ts";

/** One case: throws when what it tries is not as it must be. */
export type FuzzCase = (random: Random) => void;

/** The time for one target: 2 s, with `CI=true` 20 s. */
export const FUZZ_MS = Deno.env.get("CI") === "true" ? 20_000 : 2_000;

/** A case that failed. */
export class FuzzFailure extends Error {
  override readonly name = "FuzzFailure";
  constructor(readonly seed: number, cause: unknown) {
    const reason = cause instanceof Error ? cause.stack ?? cause.message : String(cause);
    super(`seed ${seed} fails; repeat it with FUZZ_SEED=${seed}\n${reason}`, { cause });
  }
}

/**
 * Tries cases until the time is over; with `FUZZ_SEED` that one case alone.
 *
 * @returns how many were tried.
 */
export function fuzz(one: FuzzCase, msMax: number, first = firstSeed("FUZZ_SEED")): number {
  if (Deno.env.has("FUZZ_SEED")) {
    tryCase(one, first);
    return 1;
  }
  const end = performance.now() + msMax;
  let seed = first;
  do {
    for (let count = 0; count < 50; count++) tryCase(one, seed++);
  } while (performance.now() < end);
  return seed - first;
}

function tryCase(one: FuzzCase, seed: number): void {
  try {
    one(new Random(seed));
  } catch (error) {
    throw new FuzzFailure(seed, error);
  }
}

/** `bytes` with a few things wrong: flipped, cut, doubled, or put in. */
export function mutated(bytes: Uint8Array, random: Random): Uint8Array<ArrayBuffer> {
  const result = [...bytes];
  for (let count = random.integer(1, 3); count > 0; count--) {
    const at = random.integer(0, Math.max(0, result.length - 1));
    const size = random.integer(1, 8);
    switch (random.integer(0, 5)) {
      case 0:
        result[at] = random.integer(0, 255);
        break;
      case 1:
        result[at] = 0;
        break;
      case 2:
        result.length = at;
        break;
      case 3:
        result.splice(at, size);
        break;
      case 4:
        result.splice(at, 0, ...result.slice(at, at + size));
        break;
      case 5:
        result.splice(at, 0, ...random.bytes(size));
        break;
    }
  }
  return Uint8Array.from(result);
}
