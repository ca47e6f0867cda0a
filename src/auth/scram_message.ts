// What both sides of SCRAM share: mechanisms, channel binding, and reading attributes.
// https://www.rfc-editor.org/rfc/rfc5802#section-7

import { binaryBytes, binaryText, hmacSha256, utf8 } from "./bytes.ts";

/** The SASL mechanisms of https://www.postgresql.org/docs/current/sasl-authentication.html */
export const ScramMechanism = {
  Sha256: "SCRAM-SHA-256",
  Sha256Plus: "SCRAM-SHA-256-PLUS",
} as const;
export type ScramMechanism = typeof ScramMechanism[keyof typeof ScramMechanism];

/** What ties an exchange to its TLS connection. */
export interface ChannelBinding {
  readonly type: "tls-server-end-point";
  /** The digest of the server's certificate, by RFC 5929 section 4.1. */
  readonly data: Uint8Array;
}

/** Random bytes in a nonce, as PostgreSQL has them. */
const NONCE_SIZE = 18;

/** SQLSTATEs of a broken exchange: not of a wrong password, which is no error but an outcome. */
export const ScramSqlState = {
  ProtocolViolation: "08P01",
  FeatureNotSupported: "0A000",
  InvalidAuthorizationSpecification: "28000",
} as const;
export type ScramSqlState = typeof ScramSqlState[keyof typeof ScramSqlState];

/** The peer does not keep to SCRAM. In PostgreSQL's words, and without any secret. */
export class ScramError extends Error {
  override readonly name = "ScramError";

  constructor(
    message: string,
    /** A sentence with more facts, or "". */
    readonly detail = "",
    readonly sqlState: ScramSqlState = ScramSqlState.ProtocolViolation,
  ) {
    super(message);
  }
}

/** The error for a message that does not parse. */
export function malformed(detail: string): ScramError {
  return new ScramError("malformed SCRAM message", detail);
}

/** A new nonce: printable and without commas. */
export function randomNonce(): string {
  return crypto.getRandomValues(new Uint8Array(NONCE_SIZE)).toBase64();
}

/** Whether every character is `printable` in the sense of RFC 5802: ASCII, no space, no comma. */
export function isPrintable(text: string): boolean {
  return /^[\x21-\x2b\x2d-\x7e]*$/.test(text);
}

/**
 * A message as text, one character for each byte.
 *
 * @throws {ScramError} for one that is empty, has more than `sizeMax` bytes, or holds a zero byte.
 */
export function messageText(message: Uint8Array, sizeMax: number): string {
  if (message.length === 0) throw malformed("The message is empty.");
  if (message.length > sizeMax) throw malformed("The message is too long.");
  if (message.includes(0)) throw malformed("Message length does not match input length.");
  return binaryText(message);
}

/** HMAC(key, AuthMessage); the messages are as {@linkcode messageText} gives them. */
export function signature(
  key: Uint8Array,
  clientFirstBare: string,
  serverFirst: string,
  clientFinalWithoutProof: string,
): Uint8Array {
  const authMessage = `${clientFirstBare},${serverFirst},${clientFinalWithoutProof}`;
  return hmacSha256(key, binaryBytes(authMessage));
}

/** ClientProof := ClientKey XOR ClientSignature, and back. */
export function xor(one: Uint8Array, other: Uint8Array): Uint8Array {
  return Uint8Array.from(one, (byte, index) => byte ^ other[index]!);
}

/** The attribute `c` of a client-final-message, before base64: header and data. */
export function channelBindingInput(gs2Header: string, data: Uint8Array): Uint8Array {
  const header = utf8(gs2Header);
  const input = new Uint8Array(header.length + data.length);
  input.set(header);
  input.set(data, header.length);
  return input;
}

/** Reads the attributes of one message from left to right. */
export class AttributeReader {
  /** Where the next attribute begins, or the length of the text. */
  at: number;

  constructor(readonly text: string, start = 0) {
    this.at = start;
  }

  get isAtEnd(): boolean {
    return this.at >= this.text.length;
  }

  /** The character at {@linkcode at}, or "" at the end. */
  peek(): string {
    return this.text.charAt(this.at);
  }

  /**
   * The value of the attribute that has to come next.
   *
   * @throws {ScramError} if it does not.
   */
  read(name: string): string {
    if (this.peek() !== name) {
      throw malformed(`Attribute "${name}" expected, but found ${shown(this.peek())}.`);
    }
    return this.#value(name);
  }

  /**
   * Whatever attribute comes next.
   *
   * @throws {ScramError} if none does.
   */
  readAny(): { readonly name: string; readonly value: string } {
    const name = this.peek();
    if (!/^[A-Za-z]$/.test(name)) {
      throw malformed(`Attribute expected, but found ${shown(name)}.`);
    }
    return { name, value: this.#value(name) };
  }

  /**
   * Takes one comma.
   *
   * @throws {ScramError} if there is none.
   */
  comma(): void {
    if (this.peek() !== ",") throw malformed(`Comma expected, but found ${shown(this.peek())}.`);
    this.at++;
  }

  #value(name: string): string {
    if (this.text[this.at + 1] !== "=") {
      throw malformed(`Expected character "=" for attribute "${name}".`);
    }
    const start = this.at + 2;
    const comma = this.text.indexOf(",", start);
    const end = comma === -1 ? this.text.length : comma;
    this.at = comma === -1 ? end : end + 1;
    return this.text.slice(start, end);
  }
}

/** One character for an error message: a peer's bytes never reach a terminal as they are. */
export function shown(character: string): string {
  if (character === "") return "the end of the message";
  if (character >= "\x21" && character <= "\x7e") return `character "${character}"`;
  return `character 0x${character.charCodeAt(0).toString(16).padStart(2, "0")}`;
}
