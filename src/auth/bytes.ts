// What every file of this room does with bytes: text, base64, and comparing without telling where.

import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto";

/** A key of this process that nobody else knows, for digests that never leave it. */
export const PROCESS_KEY: Uint8Array = randomBytes(32);

const ENCODER = new TextEncoder();

export function utf8(text: string): Uint8Array<ArrayBuffer> {
  return ENCODER.encode(text);
}

/** One character for each byte, U+0000 to U+00FF: text that loses nothing. */
export function binaryText(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

/** The bytes that {@linkcode binaryText} made `text` of. */
export function binaryBytes(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/**
 * The bytes of a padded base64 text, or null. Strict: no white space, and no bits in the padding,
 * so that no two texts mean the same bytes.
 */
export function parseBase64(text: string): Uint8Array | null {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return null;
  try {
    return Uint8Array.fromBase64(text, { lastChunkHandling: "strict" });
  } catch {
    return null;
  }
}

export function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha256").update(bytes).digest());
}

export function hmacSha256(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  const hmac = createHmac("sha256", key);
  for (const part of parts) hmac.update(part);
  return new Uint8Array(hmac.digest());
}

/** Whether two secrets are equal, in a time that says nothing about where they differ. */
export function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  // Digests have one size, whatever the secrets have.
  return timingSafeEqual(hmacSha256(PROCESS_KEY, one), hmacSha256(PROCESS_KEY, other));
}
