// Stored passwords in their three forms, and checking a password against each of them.
// https://www.postgresql.org/docs/current/auth-password.html and src/backend/libpq/crypt.c

import { createHash } from "node:crypto";
import { assert } from "../assert.ts";
import { binaryText, sameBytes, utf8 } from "./bytes.ts";
import {
  deriveScramKeys,
  parseScramSecret,
  SCRAM_SECRET_PREFIX,
  type ScramSecret,
} from "./scram_secret.ts";

/** Bytes of the salt in an AuthenticationMD5Password. */
export const MD5_SALT_SIZE = 4;

/** What is known of a user's password. Where null stands instead, nothing is, and nothing fits. */
export type StoredPassword =
  | { readonly kind: "cleartext"; readonly password: Uint8Array }
  /** `secret` is `md5` and 32 hexadecimal digits, as in `pg_authid.rolpassword`. */
  | { readonly kind: "md5"; readonly secret: string }
  | { readonly kind: "scram"; readonly secret: ScramSecret };

/** A stored password that cannot be meant. The message does not show it. */
export class StoredPasswordError extends Error {
  override readonly name = "StoredPasswordError";
}

/**
 * Tells the forms apart as PostgreSQL does (get_password_type); null for the empty password, which
 * PostgreSQL never lets in.
 *
 * @throws {StoredPasswordError} for what begins like a SCRAM secret and is none, or one beyond the
 * bounds of `parseScramSecret`: PostgreSQL would take it for a cleartext password.
 */
export function parseStoredPassword(stored: Uint8Array): StoredPassword | null {
  if (stored.length === 0) return null;
  const text = binaryText(stored);
  if (/^md5[0-9a-f]{32}$/.test(text)) return { kind: "md5", secret: text };
  if (!text.startsWith(SCRAM_SECRET_PREFIX)) return { kind: "cleartext", password: stored };
  const secret = parseScramSecret(text);
  if (secret === null) throw new StoredPasswordError("malformed SCRAM-SHA-256 secret");
  return { kind: "scram", secret };
}

/** `md5` and the digest of password and user name: what PostgreSQL stores, if it stores MD5. */
export function md5Secret(user: string, password: Uint8Array): string {
  return `md5${md5Hex(password, utf8(user))}`;
}

/**
 * The answer to an AuthenticationMD5Password with this salt, or null if what is stored cannot give
 * one. Both sides compute it, one to send it and one to compare.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP
 */
export function md5Response(
  stored: StoredPassword | null,
  user: string,
  salt: Uint8Array,
): string | null {
  assert(salt.length === MD5_SALT_SIZE, "the salt of an MD5 login has four bytes");
  if (stored === null || stored.kind === "scram") return null;
  const secret = stored.kind === "md5" ? stored.secret : md5Secret(user, stored.password);
  return `md5${md5Hex(utf8(secret.slice("md5".length)), salt)}`;
}

/** Whether `response`, without the zero byte at its end, answers an AuthenticationMD5Password. */
export function verifyMd5(
  stored: StoredPassword | null,
  user: string,
  salt: Uint8Array,
  response: Uint8Array,
): boolean {
  const expected = md5Response(stored, user, salt);
  return expected !== null && sameBytes(utf8(expected), response);
}

/**
 * Whether `given`, without the zero byte at its end, is the password. The empty one never is.
 * `derive` may be a cache's `keys`; it is asked for stored SCRAM secrets only.
 */
export async function verifyCleartext(
  stored: StoredPassword | null,
  user: string,
  given: Uint8Array,
  derive: typeof deriveScramKeys = deriveScramKeys,
): Promise<boolean> {
  if (stored === null || given.length === 0) return false;
  switch (stored.kind) {
    case "cleartext":
      return stored.password.length > 0 && sameBytes(stored.password, given);
    case "md5":
      return sameBytes(utf8(stored.secret), utf8(md5Secret(user, given)));
    case "scram": {
      const { salt, iterations, serverKey, isMock } = stored.secret;
      const keys = await derive(given, salt, iterations);
      return sameBytes(keys.serverKey, serverKey) && !isMock;
    }
  }
}

function md5Hex(...parts: readonly Uint8Array[]): string {
  const hash = createHash("md5");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
}
