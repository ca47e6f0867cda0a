// SCRAM keys and the secrets PostgreSQL stores: parsed, written, derived, and made up.
// https://www.rfc-editor.org/rfc/rfc5802#section-3 and the catalog pg_authid, rolpassword

import { assert } from "../assert.ts";
import { hmacSha256, parseBase64, PROCESS_KEY, sha256, utf8 } from "./bytes.ts";
import { saslprep } from "./saslprep.ts";

/** What a secret in `pg_authid.rolpassword` begins with. */
export const SCRAM_SECRET_PREFIX = "SCRAM-SHA-256$";
/** PostgreSQL's default for `scram_iterations`. */
export const SCRAM_ITERATIONS_DEFAULT = 4096;
/**
 * The most iterations that are taken from a stored secret or from a server: about half a second of
 * one core. PostgreSQL has no ceiling, but here a peer could name the number.
 */
export const SCRAM_ITERATIONS_MAX = 1_000_000;
/** Bytes of a SHA-256 digest, and so of every key. */
export const SCRAM_KEY_SIZE = 32;
/** Bytes of the salts that PostgreSQL makes, and pgvpd. */
export const SCRAM_SALT_SIZE = 16;
/** The longest salt, in bytes, that is taken from others. */
export const SCRAM_SALT_SIZE_MAX = 256;

/** What follows from a password, a salt and a number of iterations. As secret as the password. */
export interface ScramKeys {
  /** Proves to a server that the password is known. */
  readonly clientKey: Uint8Array;
  /** Proves to a client that the secret is known. */
  readonly serverKey: Uint8Array;
}

/** What a server keeps instead of a password. */
export interface ScramSecret {
  readonly iterations: number;
  readonly salt: Uint8Array;
  readonly storedKey: Uint8Array;
  readonly serverKey: Uint8Array;
  /** Made up for a user without one: nobody can log in with it. */
  readonly isMock: boolean;
}

/**
 * Reads `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`; null for anything else, and
 * for more than {@linkcode SCRAM_ITERATIONS_MAX} iterations or a salt that is empty or longer than
 * {@linkcode SCRAM_SALT_SIZE_MAX} bytes.
 */
export function parseScramSecret(text: string): ScramSecret | null {
  const fields = /^SCRAM-SHA-256\$([0-9]+):([^$:]+)\$([^$:]+):([^$:]+)$/.exec(text);
  if (fields === null) return null;
  const iterations = parseScramIterations(fields[1]!);
  const salt = parseScramSalt(fields[2]!);
  const storedKey = parseBase64(fields[3]!);
  const serverKey = parseBase64(fields[4]!);
  if (iterations === null || salt === null) return null;
  if (storedKey?.length !== SCRAM_KEY_SIZE || serverKey?.length !== SCRAM_KEY_SIZE) return null;
  return { iterations, salt, storedKey, serverKey, isMock: false };
}

/** A number of iterations in decimal, 1 to {@linkcode SCRAM_ITERATIONS_MAX}, or null. */
export function parseScramIterations(text: string): number | null {
  if (!/^[1-9][0-9]{0,6}$/.test(text)) return null;
  const iterations = Number(text);
  return iterations <= SCRAM_ITERATIONS_MAX ? iterations : null;
}

/** A salt in base64, 1 to {@linkcode SCRAM_SALT_SIZE_MAX} bytes, or null. */
export function parseScramSalt(text: string): Uint8Array | null {
  const salt = parseBase64(text);
  return salt !== null && salt.length > 0 && salt.length <= SCRAM_SALT_SIZE_MAX ? salt : null;
}

/** The secret as PostgreSQL stores it; it may be given to CREATE ROLE … PASSWORD. */
export function formatScramSecret(secret: ScramSecret): string {
  assert(!secret.isMock, "a made-up secret is never stored");
  const { iterations, salt, storedKey, serverKey } = secret;
  return `${SCRAM_SECRET_PREFIX}${iterations}:${salt.toBase64()}` +
    `$${storedKey.toBase64()}:${serverKey.toBase64()}`;
}

/**
 * The keys of a password: PBKDF2 in the background, about a millisecond for each 4096 iterations.
 * Callers with many logins ask a `ScramKeyCache`.
 */
export async function deriveScramKeys(
  password: Uint8Array,
  salt: Uint8Array,
  iterations: number,
): Promise<ScramKeys> {
  assert(iterations >= 1 && iterations <= SCRAM_ITERATIONS_MAX, "iterations were checked before");
  const prepared = new Uint8Array(saslprep(password));
  const key = await crypto.subtle.importKey("raw", prepared, "PBKDF2", false, ["deriveBits"]);
  const saltedPassword = new Uint8Array(
    await crypto.subtle.deriveBits(
      { name: "PBKDF2", hash: "SHA-256", salt: new Uint8Array(salt), iterations },
      key,
      8 * SCRAM_KEY_SIZE,
    ),
  );
  return {
    clientKey: hmacSha256(saltedPassword, utf8("Client Key")),
    serverKey: hmacSha256(saltedPassword, utf8("Server Key")),
  };
}

/** StoredKey := H(ClientKey). */
export function storedKeyOf(clientKey: Uint8Array): Uint8Array {
  return sha256(clientKey);
}

/** The secret that goes with a password's keys. */
export function scramSecretOf(keys: ScramKeys, salt: Uint8Array, iterations: number): ScramSecret {
  const { clientKey, serverKey } = keys;
  return { iterations, salt, storedKey: storedKeyOf(clientKey), serverKey, isMock: false };
}

/** The secret of a cleartext password, with a new salt. */
export async function buildScramSecret(
  password: Uint8Array,
  salt: Uint8Array = crypto.getRandomValues(new Uint8Array(SCRAM_SALT_SIZE)),
  iterations = SCRAM_ITERATIONS_DEFAULT,
): Promise<ScramSecret> {
  return scramSecretOf(await deriveScramKeys(password, salt, iterations), salt, iterations);
}

/**
 * The salt shown for a user who has none: always the same for one user name and one key. The key is
 * this process's; with another that outlives the process, the salts outlive it too.
 */
export function saltOfUser(user: string, key: Uint8Array = PROCESS_KEY): Uint8Array {
  return hmacSha256(key, utf8(`salt\0${user}`)).subarray(0, SCRAM_SALT_SIZE);
}

/**
 * A secret for a user that does not exist, or has no password for SCRAM: the exchange looks like
 * any other and fails at its end. PostgreSQL's mock_scram_secret.
 */
export function mockScramSecret(
  user: string,
  iterations = SCRAM_ITERATIONS_DEFAULT,
  key: Uint8Array = PROCESS_KEY,
): ScramSecret {
  return {
    iterations,
    salt: saltOfUser(user, key),
    storedKey: new Uint8Array(SCRAM_KEY_SIZE),
    serverKey: new Uint8Array(SCRAM_KEY_SIZE),
    isMock: true,
  };
}
