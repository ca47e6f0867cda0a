// The keys of passwords in use, so that a thousand logins with one password derive them once.

import { hmacSha256, PROCESS_KEY, utf8 } from "./bytes.ts";
import {
  deriveScramKeys,
  saltOfUser,
  SCRAM_ITERATIONS_DEFAULT,
  type ScramKeys,
  type ScramSecret,
  scramSecretOf,
} from "./scram_secret.ts";

/** How many keys a cache keeps unless told otherwise. */
export const SCRAM_KEY_CACHE_SIZE = 1000;

/**
 * Keys by password, salt and iterations. Passwords are kept as digests under a key of this process.
 * At its ceiling the cache forgets what was asked for longest ago.
 */
export class ScramKeyCache {
  /** In the order of use. Derivations under way are in it too: nobody starts one twice. */
  readonly #entries = new Map<string, Promise<ScramKeys>>();

  constructor(
    readonly sizeMax = SCRAM_KEY_CACHE_SIZE,
    /** For tests, and for nothing else. */
    readonly derive: typeof deriveScramKeys = deriveScramKeys,
  ) {}

  get size(): number {
    return this.#entries.size;
  }

  /** The keys of a password; iterations as in `deriveScramKeys`. */
  keys(password: Uint8Array, salt: Uint8Array, iterations: number): Promise<ScramKeys> {
    const name = nameOf(password, salt, iterations);
    const known = this.#entries.get(name);
    this.#entries.delete(name);
    const keys = known ?? this.#begin(name, password, salt, iterations);
    this.#entries.set(name, keys);
    if (this.#entries.size > this.sizeMax) {
      this.#entries.delete(this.#entries.keys().next().value!);
    }
    return keys;
  }

  /**
   * The secret to log a user in whose password is known in the clear. Its salt is the one that
   * `mockScramSecret` shows: whether a user exists cannot be seen from it.
   */
  async secret(
    user: string,
    password: Uint8Array,
    iterations = SCRAM_ITERATIONS_DEFAULT,
  ): Promise<ScramSecret> {
    const salt = saltOfUser(user);
    return scramSecretOf(await this.keys(password, salt, iterations), salt, iterations);
  }

  #begin(name: string, password: Uint8Array, salt: Uint8Array, iterations: number) {
    const keys = this.derive(password, salt, iterations);
    keys.catch(() => { // The next one tries again.
      if (this.#entries.get(name) === keys) this.#entries.delete(name);
    });
    return keys;
  }
}

/** Password and salt as digests of one size: no two triples have one name. */
function nameOf(password: Uint8Array, salt: Uint8Array, iterations: number): string {
  const parts = [hmacSha256(PROCESS_KEY, password), hmacSha256(PROCESS_KEY, salt)];
  return hmacSha256(PROCESS_KEY, ...parts, utf8(String(iterations))).toBase64();
}
