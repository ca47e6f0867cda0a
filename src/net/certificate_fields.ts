// The fields of an X.509 certificate that decide whether it is trusted, read from its DER.

import {
  constants,
  createPublicKey,
  type KeyObject,
  verify,
  type X509Certificate,
} from "node:crypto";
import {
  bitString,
  booleanOf,
  CertificateError,
  type DerElement,
  DerReader,
  objectIdText,
  openWhole,
  pemText,
  sameBytes,
  smallInteger,
  stringOf,
  Tag,
  timeOf,
} from "./certificate_der.ts";

/** Extensions by their object identifiers. RFC 5280 section 4.2.1. */
export const Extension = {
  KeyUsage: "2.5.29.15",
  SubjectAltName: "2.5.29.17",
  BasicConstraints: "2.5.29.19",
  NameConstraints: "2.5.29.30",
  CertificatePolicies: "2.5.29.32",
  ExtendedKeyUsage: "2.5.29.37",
} as const;

/** Bits of keyUsage in its first byte. RFC 5280 section 4.2.1.3. */
export const KeyUsage = {
  DigitalSignature: 0x80,
  KeyEncipherment: 0x20,
  KeyAgreement: 0x08,
  CertificateSign: 0x04,
} as const;

/** One extension, undecoded. */
export interface ExtensionField {
  readonly critical: boolean;
  readonly value: Uint8Array;
}

/** How a certificate was signed. */
export interface SignatureAlgorithm {
  /** The type of key that makes such signatures, as node:crypto names it. */
  readonly keyType: "rsa" | "ec" | "ed25519";
  /** The hash, as node:crypto names it; null for Ed25519, which has none of its own. */
  readonly hash: string | null;
  readonly pss: boolean;
}

/** What a certificate says. */
export interface CertificateFields {
  readonly der: Uint8Array;
  /** 1 or 3 (or 2, which nobody uses). */
  readonly version: number;
  /** Names as DER: two names are the same when their bytes are. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly publicKeyInfo: Uint8Array;
  readonly extensions: ReadonlyMap<string, ExtensionField>;
  /** What is signed, by what and how; the algorithm is null when it is none that is known. */
  readonly signed: Uint8Array;
  readonly signature: Uint8Array;
  readonly algorithm: SignatureAlgorithm | null;
}

const fieldsKnown = new WeakMap<X509Certificate, CertificateFields>();

/** The fields of a certificate, which are read once. Throws CertificateError. */
export function fieldsOf(certificate: X509Certificate): CertificateFields {
  const known = fieldsKnown.get(certificate);
  if (known !== undefined) return known;
  const fields = readFields(new Uint8Array(certificate.raw));
  fieldsKnown.set(certificate, fields);
  return fields;
}

const VERSION_TAG = 0xa0;
const ISSUER_ID_TAG = 0x81;
const SUBJECT_ID_TAG = 0x82;
const EXTENSIONS_TAG = 0xa3;

/** Reads a certificate. Throws CertificateError unless `der` is one from first to last byte. */
export function readFields(der: Uint8Array): CertificateFields {
  const outer = openWhole(der, Tag.Sequence);
  const signed = outer.next(Tag.Sequence);
  const algorithm = outer.next(Tag.Sequence);
  const signature = bitString(outer.next(Tag.BitString).content);
  outer.end();

  const inner = new DerReader(signed.content);
  const version = readVersion(inner);
  inner.next(Tag.Integer); // the serial number
  if (!sameBytes(inner.next(Tag.Sequence).bytes, algorithm.bytes)) {
    throw new CertificateError("the certificate names two signature algorithms");
  }
  const issuer = inner.next(Tag.Sequence).bytes;
  const validity = inner.enter(Tag.Sequence);
  const notBefore = timeOf(validity.next());
  const notAfter = timeOf(validity.next());
  validity.end();
  const subject = inner.next(Tag.Sequence).bytes;
  const publicKeyInfo = inner.next(Tag.Sequence).bytes;
  inner.optional(ISSUER_ID_TAG);
  inner.optional(SUBJECT_ID_TAG);
  const extensions = readExtensions(inner.optional(EXTENSIONS_TAG), version);
  inner.end();
  return {
    der,
    version,
    issuer,
    subject,
    notBefore,
    notAfter,
    publicKeyInfo,
    extensions,
    signed: signed.bytes,
    signature,
    algorithm: readAlgorithm(algorithm.bytes),
  };
}

function readVersion(inner: DerReader): number {
  const explicit = inner.optional(VERSION_TAG);
  if (explicit === null) return 1;
  return smallInteger(openInteger(explicit)) + 1;
}

function openInteger({ content }: DerElement): Uint8Array {
  const reader = new DerReader(content);
  const integer = reader.next(Tag.Integer);
  reader.end();
  return integer.content;
}

function readExtensions(
  element: DerElement | null,
  version: number,
): ReadonlyMap<string, ExtensionField> {
  const found = new Map<string, ExtensionField>();
  if (element === null) return found;
  if (version !== 3) throw new CertificateError("the certificate has extensions but is not v3");
  const list = openWhole(element.content, Tag.Sequence);
  while (!list.atEnd) {
    const one = list.enter(Tag.Sequence);
    const id = objectIdText(one.next(Tag.ObjectId).content);
    const flag = one.optional(Tag.Boolean);
    const critical = flag !== null && booleanOf(flag.content);
    const value = one.next(Tag.OctetString).content;
    one.end();
    if (found.has(id)) throw new CertificateError(`the certificate has extension ${id} twice`);
    found.set(id, { critical, value });
  }
  return found;
}

const rsa = (hash: string) => ({ keyType: "rsa", hash, pss: false }) as const;
const ecdsa = (hash: string) => ({ keyType: "ec", hash, pss: false }) as const;

/** RFC 8017 appendix A.2.4, RFC 5758 section 3.2, RFC 8410 section 3. */
const ALGORITHMS: Readonly<Record<string, SignatureAlgorithm>> = {
  "1.2.840.113549.1.1.4": rsa("md5"),
  "1.2.840.113549.1.1.5": rsa("sha1"),
  "1.2.840.113549.1.1.14": rsa("sha224"),
  "1.2.840.113549.1.1.11": rsa("sha256"),
  "1.2.840.113549.1.1.12": rsa("sha384"),
  "1.2.840.113549.1.1.13": rsa("sha512"),
  "1.2.840.10045.4.1": ecdsa("sha1"),
  "1.2.840.10045.4.3.1": ecdsa("sha224"),
  "1.2.840.10045.4.3.2": ecdsa("sha256"),
  "1.2.840.10045.4.3.3": ecdsa("sha384"),
  "1.2.840.10045.4.3.4": ecdsa("sha512"),
  "1.3.101.112": { keyType: "ed25519", hash: null, pss: false },
};
const RSA_PSS = "1.2.840.113549.1.1.10";
const HASHES: Readonly<Record<string, string>> = {
  "2.16.840.1.101.3.4.2.1": "sha256",
  "2.16.840.1.101.3.4.2.2": "sha384",
  "2.16.840.1.101.3.4.2.3": "sha512",
};

function readAlgorithm(bytes: Uint8Array): SignatureAlgorithm | null {
  const reader = openWhole(bytes, Tag.Sequence);
  const id = objectIdText(reader.next(Tag.ObjectId).content);
  if (id !== RSA_PSS) return Object.hasOwn(ALGORITHMS, id) ? ALGORITHMS[id]! : null;
  if (reader.tag !== Tag.Sequence) return null;
  const parameters = reader.enter(Tag.Sequence);
  if (parameters.tag !== 0xa0) return null; // absent means SHA-1
  const name = openWhole(parameters.next().content, Tag.Sequence);
  const hashId = objectIdText(name.next(Tag.ObjectId).content);
  const hash = Object.hasOwn(HASHES, hashId) ? HASHES[hashId]! : null;
  return hash === null ? null : { keyType: "rsa", hash, pss: true };
}

/** The key in the certificate, null when this runtime does not take it. */
function publicKeyOf({ publicKeyInfo }: CertificateFields): KeyObject | null {
  try {
    return createPublicKey(pemText("PUBLIC KEY", publicKeyInfo));
  } catch {
    return null;
  }
}

/**
 * Whether `issuer`'s key made the signature on `certificate`. It is "unknown" when this runtime
 * cannot check it: RSA keys above 4096 bits, P-521 with another hash than SHA-512, and others.
 */
export function signatureBy(
  certificate: CertificateFields,
  issuer: CertificateFields,
): "right" | "wrong" | "unknown" {
  const { algorithm, signed, signature } = certificate;
  const key = publicKeyOf(issuer);
  if (algorithm === null || key === null) return "unknown";
  if (key.asymmetricKeyType !== algorithm.keyType) return "wrong";
  const isP521 = key.asymmetricKeyDetails?.namedCurve === "secp521r1";
  if (isP521 && algorithm.hash !== "sha512") return "unknown";
  const padding = constants.RSA_PKCS1_PSS_PADDING;
  const saltLength = constants.RSA_PSS_SALTLEN_DIGEST;
  const how = algorithm.pss ? { key, padding, saltLength } : key;
  try {
    return verify(algorithm.hash, signed, how, signature) ? "right" : "wrong";
  } catch {
    return "wrong";
  }
}

/** One attribute of a name. */
export interface NameAttribute {
  readonly id: string;
  readonly value: DerElement;
}

/** The attributes of a name in their order. RFC 5280 section 4.1.2.4. */
export function attributesOf(name: Uint8Array): NameAttribute[] {
  const found: NameAttribute[] = [];
  const sequence = openWhole(name, Tag.Sequence);
  while (!sequence.atEnd) {
    const set = sequence.enter(Tag.Set);
    while (!set.atEnd) {
      const pair = set.enter(Tag.Sequence);
      const id = objectIdText(pair.next(Tag.ObjectId).content);
      found.push({ id, value: pair.next() });
      pair.end();
    }
  }
  return found;
}

const SHORT_NAMES: Readonly<Record<string, string>> = {
  "2.5.4.3": "CN",
  "2.5.4.6": "C",
  "2.5.4.7": "L",
  "2.5.4.8": "ST",
  "2.5.4.10": "O",
  "2.5.4.11": "OU",
};
const NAME_LENGTH_MAX = 200;

/** A name for people, safe to log whatever a peer put into it: `CN=acme, O=Example`. */
export function nameText(name: Uint8Array): string {
  const parts = attributesOf(name).map(({ id, value }) => {
    const text = stringOf(value) ?? "?";
    return `${SHORT_NAMES[id] ?? id}=${text.replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, "?")}`;
  });
  const whole = [...(parts.join(", ") || "no name")];
  if (whole.length <= NAME_LENGTH_MAX) return whole.join("");
  return `${whole.slice(0, NAME_LENGTH_MAX).join("")}…`;
}
