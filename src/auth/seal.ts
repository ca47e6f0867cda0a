// The seal: what proves to a database that a session context is pgvpd's, and the keys for it.
// The other side is sql/sealed.sql. HMAC is that of RFC 2104 with SHA-256.

import { createHmac, randomBytes } from "node:crypto";

/** Bytes of a key; what a file holds of one is twice as many hexadecimal digits. */
export const SEAL_KEY_SIZE = 32;
/** Keys in one file: the one that signs, and the one that it takes the place of. */
export const SEAL_KEYS_MAX = 2;

/** What a token is good for: one server process, and one connection to it. */
export interface SealBinding {
  readonly processId: number;
  /** The client's port as the server sees it; 0 on a unix socket. */
  readonly port: number;
}

/** A key and its name of two characters. Its bytes are shown by nothing but `hex`. */
export class SealKey {
  readonly #bytes: Uint8Array;

  constructor(readonly name: string, bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  static random(name: string): SealKey {
    return new SealKey(name, new Uint8Array(randomBytes(SEAL_KEY_SIZE)));
  }

  /** For the file and the database alone. */
  get hex(): string {
    return Array.from(this.#bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  /**
   * The token for a context.
   *
   * @param endsAt seconds since 1970, by the server's clock.
   * @param payload what `SessionContext.payload` says: ASCII.
   */
  token({ processId, port }: SealBinding, endsAt: number, payload: string): string {
    const body = `${String(endsAt).padStart(10, "0")}${this.name}${payload}`;
    const mac = createHmac("sha256", this.#bytes).update(`${processId}:${port}:${body}`);
    return mac.digest("hex") + body;
  }
}

/** A file of keys that cannot be used; says nothing of what stands in it. */
export class SealKeyError extends Error {
  override readonly name = "SealKeyError";
  constructor(readonly line: number, message: string) {
    super(message);
  }
}

/**
 * Reads a file of keys: `k1 <64 hexadecimal digits>` on each line, the key that signs first.
 *
 * @throws {SealKeyError} with the line of the mistake.
 */
export function parseSealKeys(text: string): readonly SealKey[] {
  const keys: SealKey[] = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (/^\s*(#|$)/.test(line)) continue;
    const at = index + 1;
    const [, name, hex] = /^\s*([0-9a-z]{2})\s+([0-9a-fA-F]{64})\s*$/.exec(line) ?? [];
    if (name === undefined || hex === undefined) {
      throw new SealKeyError(at, "this is not a name of two letters and 64 hexadecimal digits");
    }
    if (keys.some((key) => key.name === name)) {
      throw new SealKeyError(at, `key ${name} is there twice`);
    }
    if (keys.length === SEAL_KEYS_MAX) {
      throw new SealKeyError(at, `there are more than ${SEAL_KEYS_MAX} keys`);
    }
    keys.push(new SealKey(name, bytesOf(hex)));
  }
  if (keys.length === 0) throw new SealKeyError(1, "there is no key in it");
  return keys;
}

/** What `parseSealKeys` reads. */
export function formatSealKeys(keys: readonly SealKey[]): string {
  const lines = keys.map((key) => `${key.name} ${key.hex}\n`);
  return `# pgvpd: who knows the first key can be any tenant. The first signs.\n${lines.join("")}`;
}

/** The name for a key that takes the place of these: k1 to k9, then k1 again. */
export function nextKeyName(taken: readonly string[]): string {
  const last = Number(/^k([1-9])$/.exec(taken[0] ?? "")?.[1] ?? 0);
  for (let step = 1; step <= 9; step++) {
    const name = `k${(last + step - 1) % 9 + 1}`;
    if (!taken.includes(name)) return name;
  }
  return "k1";
}

function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(
    { length: SEAL_KEY_SIZE },
    (_, index) => Number.parseInt(hex.slice(2 * index, 2 * index + 2), 16),
  );
}
