// DER, as much of it as certificates need: strict, without recursion, and every fault is a
// CertificateError. ITU-T X.690.

/** What is wrong with a certificate, a chain or a key, for an operator. Never key material. */
export class CertificateError extends Error {
  override readonly name = "CertificateError";
}

/** The tags that are looked for. */
export const Tag = {
  Boolean: 0x01,
  Integer: 0x02,
  BitString: 0x03,
  OctetString: 0x04,
  ObjectId: 0x06,
  Utf8String: 0x0c,
  PrintableString: 0x13,
  TeletexString: 0x14,
  Ia5String: 0x16,
  UtcTime: 0x17,
  GeneralizedTime: 0x18,
  BmpString: 0x1e,
  Sequence: 0x30,
  Set: 0x31,
} as const;

/** One value with its tag. */
export interface DerElement {
  readonly tag: number;
  /** Header and content. */
  readonly bytes: Uint8Array;
  readonly content: Uint8Array;
}

function malformed(what: string): CertificateError {
  return new CertificateError(`the certificate is malformed: ${what}`);
}

/** Reads the values in a stretch of DER one after the other. Everything throws CertificateError. */
export class DerReader {
  #at = 0;

  constructor(readonly bytes: Uint8Array) {}

  get atEnd(): boolean {
    return this.#at === this.bytes.length;
  }

  /** The tag of the next value, null at the end. */
  get tag(): number | null {
    return this.bytes[this.#at] ?? null;
  }

  /** The next value, which must have this tag if one is given. */
  next(tag?: number): DerElement {
    const begin = this.#at;
    const found = this.#byte();
    if ((found & 0x1f) === 0x1f) throw malformed("a tag of several bytes");
    if (tag !== undefined && found !== tag) throw malformed("a value of another type is expected");
    const length = this.#length();
    if (length > this.bytes.length - this.#at) throw malformed("it ends too early");
    const content = this.bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return { tag: found, bytes: this.bytes.subarray(begin, this.#at), content };
  }

  /** The next value if it has this tag, else null. */
  optional(tag: number): DerElement | null {
    return this.tag === tag ? this.next() : null;
  }

  /** A reader for what is inside the next value. */
  enter(tag: number): DerReader {
    return new DerReader(this.next(tag).content);
  }

  /** Nothing may follow. */
  end(): void {
    if (!this.atEnd) throw malformed("bytes follow where it should end");
  }

  #byte(): number {
    const byte = this.bytes[this.#at];
    if (byte === undefined) throw malformed("it ends too early");
    this.#at++;
    return byte;
  }

  #length(): number {
    const first = this.#byte();
    if (first < 0x80) return first;
    const count = first & 0x7f;
    if (count === 0 || count > 4) throw malformed("a length that DER does not have");
    let length = 0;
    for (let index = 0; index < count; index++) length = length * 256 + this.#byte();
    const isShortest = length >= 0x80 && length >= 256 ** (count - 1);
    if (!isShortest) throw malformed("a length that is not written in its shortest form");
    return length;
  }
}

/** The one value that `bytes` must be, from the first byte to the last, opened. */
export function openWhole(bytes: Uint8Array, tag: number): DerReader {
  const outer = new DerReader(bytes);
  const inner = outer.enter(tag);
  outer.end();
  return inner;
}

/** An object identifier as text: `2.5.4.3`. */
export function objectIdText(content: Uint8Array): string {
  if (content.length === 0 || content.length > 64 || content.at(-1)! >= 0x80) {
    throw malformed("an object identifier");
  }
  const arcs: bigint[] = [];
  let arc = 0n;
  for (const byte of content) {
    if (arc === 0n && byte === 0x80) throw malformed("an object identifier");
    arc = (arc << 7n) | BigInt(byte & 0x7f);
    if (byte >= 0x80) continue;
    if (arcs.length > 0) arcs.push(arc);
    else arcs.push(...(arc < 80n ? [arc / 40n, arc % 40n] : [2n, arc - 80n]));
    arc = 0n;
  }
  return arcs.join(".");
}

/** A boolean, which DER writes as 0x00 or 0xff. */
export function booleanOf(content: Uint8Array): boolean {
  const [value] = content;
  if (content.length !== 1 || (value !== 0 && value !== 0xff)) throw malformed("a boolean");
  return value === 0xff;
}

/** An integer that is not negative and below 2^31. */
export function smallInteger(content: Uint8Array): number {
  const isShortest = content.length === 1 || (content[0] === 0 && content[1]! >= 0x80);
  if (content.length === 0 || content.length > 4 || content[0]! >= 0x80) {
    throw malformed("a number that is negative or too large");
  }
  if (!isShortest && content[0] === 0) throw malformed("a number");
  return content.reduce((sum, byte) => sum * 256 + byte, 0);
}

/** The bits of a bit string in bytes; the unused ones are zero. */
export function bitString(content: Uint8Array): Uint8Array {
  const [unused] = content;
  const bits = content.subarray(1);
  const isRight = unused !== undefined && unused < 8 && (bits.length > 0 || unused === 0) &&
    ((bits.at(-1) ?? 0) & ((1 << unused) - 1)) === 0;
  if (!isRight) throw malformed("a bit string");
  return bits;
}

/** A point in time, to the second and in UTC, as RFC 5280 section 4.1.2.5 wants it. */
export function timeOf(element: DerElement): Date {
  const text = asciiOf(element.content) ?? "";
  const isUtc = element.tag === Tag.UtcTime;
  const isGeneralized = element.tag === Tag.GeneralizedTime;
  const pattern = isUtc ? /^[0-9]{12}Z$/ : /^[0-9]{14}Z$/;
  if (!(isUtc || isGeneralized) || !pattern.test(text)) throw malformed("a date");
  const century = text < "50" ? "20" : "19";
  const digits = isUtc ? century + text : text;
  const iso = digits.replace(/^(....)(..)(..)(..)(..)(..)Z$/, "$1-$2-$3T$4:$5:$6.000Z");
  const time = new Date(iso);
  const isRight = !Number.isNaN(time.getTime()) && time.toISOString() === iso;
  if (!isRight) throw malformed("a date"); // the 30th of February, the 24th hour
  return time;
}

/** Bytes below 0x80 as text, null when there is another among them. */
export function asciiOf(content: Uint8Array): string | null {
  if (content.some((byte) => byte >= 0x80)) return null;
  return new TextDecoder().decode(content);
}

/** Bytes as text exactly, or null when they are not in that encoding. */
function decoded(content: Uint8Array, encoding: string): string | null {
  try {
    return new TextDecoder(encoding, { fatal: true, ignoreBOM: true }).decode(content);
  } catch {
    return null;
  }
}

/**
 * The text of a string in a name, exact to the character; null for what cannot be read with
 * certainty: other types, bytes outside ASCII in a TeletexString, a broken encoding.
 */
export function stringOf({ tag, content }: DerElement): string | null {
  if (tag === Tag.Utf8String) return decoded(content, "utf-8");
  if (tag === Tag.BmpString) return decoded(content, "utf-16be");
  const isAscii = tag === Tag.PrintableString || tag === Tag.Ia5String ||
    tag === Tag.TeletexString;
  return isAscii ? asciiOf(content) : null;
}

/** Whether two stretches of bytes are the same. */
export function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, index) => byte === other[index]);
}

/** PEM as RFC 7468 has it. */
export function pemText(label: string, bytes: Uint8Array): string {
  const lines = bytes.toBase64().replaceAll(/.{64}(?=.)/g, "$&\n");
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}
