// Whether the certificates of a peer lead to one that the operator trusts. RFC 5280 section 6.

import type { X509Certificate } from "node:crypto";
import {
  bitString,
  booleanOf,
  CertificateError,
  DerReader,
  objectIdText,
  openWhole,
  sameBytes,
  smallInteger,
  Tag,
} from "./certificate_der.ts";
import {
  type CertificateFields,
  Extension,
  fieldsOf,
  KeyUsage,
  nameText,
  readFields,
  signatureBy,
} from "./certificate_fields.ts";

/** What the leaf wants to be: the peer's role. */
export type ChainPurpose = "client" | "server";

export interface ChainOptions {
  readonly now: Date;
  readonly purpose: ChainPurpose;
}

/** Certificates that a peer may send. */
const PRESENTED_MAX = 16;
/** Certificates from the leaf to the root, both included. */
const PATH_LENGTH_MAX = 8;
/** Signatures that are checked for one peer. */
const SIGNATURES_MAX = 64;

const WEAK_HASHES = ["md5", "sha1", "sha224"];
const CRITICAL_KNOWN: readonly string[] = Object.values(Extension);
const ANY_PURPOSE = "2.5.29.37.0";
const PURPOSES = { server: "1.3.6.1.5.5.7.3.1", client: "1.3.6.1.5.5.7.3.2" } as const;

/**
 * Checks that `presented` (DER, leaf first, as the peer sent them) lead to one of `roots`: every
 * signature, validity, CA flag, path length, key usage and purpose on the way, the root included. A
 * leaf that is itself one of `roots`, byte for byte, only has to be valid now.
 *
 * Stricter than it need be: names are compared byte for byte, and a path through a certificate with
 * name constraints is refused. Revocation lists are not read.
 *
 * @throws CertificateError with the reason of the path that came furthest.
 */
export function verifyChain(
  presented: readonly Uint8Array[],
  roots: readonly X509Certificate[],
  options: ChainOptions,
): void {
  if (presented.length > PRESENTED_MAX) {
    throw new CertificateError(`the peer sent more than ${PRESENTED_MAX} certificates`);
  }
  const [leaf, ...others] = presented.map(readFields);
  if (leaf === undefined) throw new CertificateError("the peer sent no certificate");
  requireVersion3(leaf);
  requireValidNow(leaf, options.now);
  const trusted = roots.map(fieldsOf);
  if (trusted.some(({ der }) => sameBytes(der, leaf.der))) return;
  requirePurpose(leaf, options.purpose);
  requireEndUsage(leaf, options.purpose);
  new Search(trusted, others, options).run(leaf);
}

/** The search for a path, depth first, with a bound on the signatures that are checked. */
class Search {
  #signatures = 0;
  #fault: { readonly depth: number; readonly error: CertificateError } | null = null;

  constructor(
    readonly roots: readonly CertificateFields[],
    readonly others: readonly CertificateFields[],
    readonly options: ChainOptions,
  ) {}

  run(leaf: CertificateFields): void {
    if (!this.#leadsToRoot([leaf])) throw this.#fault!.error;
  }

  #leadsToRoot(path: readonly CertificateFields[]): boolean {
    const last = path.at(-1)!;
    if (path.length >= PATH_LENGTH_MAX) {
      return this.#refuse(path, `the chain is longer than ${PATH_LENGTH_MAX} certificates`);
    }
    const isIssuer = ({ subject }: CertificateFields) => sameBytes(subject, last.issuer);
    const isUsed = ({ der }: CertificateFields) => path.some((one) => sameBytes(one.der, der));
    for (const root of this.roots.filter(isIssuer)) {
      if (this.#isStep(path, root)) return true;
    }
    for (const other of this.others.filter(isIssuer)) {
      if (isUsed(other) || !this.#isStep(path, other)) continue;
      if (this.#leadsToRoot([...path, other])) return true;
    }
    return this.#refuse(
      path,
      `${nameText(last.subject)} was issued by ${nameText(last.issuer)}, which is not trusted ` +
        "and was not sent",
    );
  }

  /** Whether `issuer` may have issued the last certificate of `path`, and did. */
  #isStep(path: readonly CertificateFields[], issuer: CertificateFields): boolean {
    try {
      const last = path.at(-1)!;
      requireVersion3(issuer);
      requireValidNow(issuer, this.options.now);
      requirePurpose(issuer, this.options.purpose);
      requireIssuer(issuer, path);
      requireStrongSignature(last);
      this.#requireSignature(last, issuer);
      return true;
    } catch (error) {
      if (!(error instanceof CertificateError)) throw error;
      return this.#refuse([...path, issuer], error.message);
    }
  }

  #requireSignature(certificate: CertificateFields, issuer: CertificateFields): void {
    if (++this.#signatures > SIGNATURES_MAX) {
      throw new CertificateError("the chain offers too many paths to try");
    }
    requireSignature(certificate, issuer);
  }

  #refuse({ length: depth }: readonly CertificateFields[], reason: string): false {
    if (this.#fault === null || depth > this.#fault.depth) {
      this.#fault = { depth, error: new CertificateError(reason) };
    }
    return false;
  }
}

/** Throws CertificateError unless `issuer` signed `certificate`. */
function requireSignature(certificate: CertificateFields, issuer: CertificateFields): void {
  const [one, other] = [nameText(certificate.subject), nameText(issuer.subject)];
  const found = signatureBy(certificate, issuer);
  if (found === "wrong") {
    throw new CertificateError(`the signature on ${one} was not made by ${other}`);
  }
  if (found === "right") return;
  throw new CertificateError(
    `pgvpd cannot check the signature that ${other} made on ${one}: use RSA up to 4096 bits, ` +
      "P-256, P-384, P-521 with SHA-512 or Ed25519",
  );
}

/** Throws CertificateError unless the certificate is X.509 v3. */
export function requireVersion3({ version, subject }: CertificateFields): void {
  if (version === 3) return;
  throw new CertificateError(`${nameText(subject)} is an X.509 v${version} certificate, not v3`);
}

/** Throws CertificateError unless the certificate is valid at `now`. */
export function requireValidNow(
  { notBefore, notAfter, subject }: CertificateFields,
  now: Date,
): void {
  const name = nameText(subject);
  if (!(now >= notBefore)) {
    throw new CertificateError(`${name} is not valid before ${notBefore.toISOString()}`);
  }
  if (!(now <= notAfter)) {
    throw new CertificateError(`${name} expired at ${notAfter.toISOString()}`);
  }
}

function requireStrongSignature({ algorithm, subject }: CertificateFields): void {
  if (algorithm === null) {
    throw new CertificateError(`${nameText(subject)} has a signature of an unknown kind`);
  }
  if (algorithm.hash === null || !WEAK_HASHES.includes(algorithm.hash)) return;
  throw new CertificateError(
    `${nameText(subject)} has a signature with ${algorithm.hash.toUpperCase()}, which is too weak`,
  );
}

/** The purposes in extendedKeyUsage, and no critical extension that is not understood. */
function requirePurpose(
  { extensions, subject }: CertificateFields,
  purpose: ChainPurpose,
): void {
  for (const [id, { critical }] of extensions) {
    if (!critical || CRITICAL_KNOWN.includes(id)) continue;
    throw new CertificateError(
      `${nameText(subject)} has the critical extension ${id}, which pgvpd does not know`,
    );
  }
  const extension = extensions.get(Extension.ExtendedKeyUsage);
  if (extension === undefined) return;
  const list = openWhole(extension.value, Tag.Sequence);
  const allowed: string[] = [];
  while (!list.atEnd) allowed.push(objectIdText(list.next(Tag.ObjectId).content));
  if (allowed.includes(PURPOSES[purpose]) || allowed.includes(ANY_PURPOSE)) return;
  throw new CertificateError(`${nameText(subject)} may not be used for a TLS ${purpose}`);
}

/** The bits of keyUsage; every bit when there is none. */
function keyUsageOf({ extensions }: CertificateFields): number {
  const extension = extensions.get(Extension.KeyUsage);
  if (extension === undefined) return 0xff;
  const reader = new DerReader(extension.value);
  const bits = bitString(reader.next(Tag.BitString).content);
  reader.end();
  return bits[0] ?? 0;
}

/** What OpenSSL asks of the leaf, too. */
function requireEndUsage(leaf: CertificateFields, purpose: ChainPurpose): void {
  const server = purpose === "server" ? KeyUsage.KeyEncipherment : 0;
  const useful = KeyUsage.DigitalSignature | KeyUsage.KeyAgreement | server;
  if ((keyUsageOf(leaf) & useful) !== 0) return;
  throw new CertificateError(`${nameText(leaf.subject)} has a key that is not for TLS`);
}

/** That `issuer` is a CA which may stand above `path`. */
function requireIssuer(issuer: CertificateFields, path: readonly CertificateFields[]): void {
  const name = nameText(issuer.subject);
  const { isAuthority, pathLength } = basicConstraintsOf(issuer);
  if (!isAuthority) throw new CertificateError(`${name} is not a CA`);
  if ((keyUsageOf(issuer) & KeyUsage.CertificateSign) === 0) {
    throw new CertificateError(`${name} may not sign certificates`);
  }
  const between = path.slice(1).filter(({ subject, issuer }) => !sameBytes(subject, issuer));
  if (between.length > pathLength) {
    throw new CertificateError(`${name} allows no more than ${pathLength} CAs below it`);
  }
  if (issuer.extensions.has(Extension.NameConstraints)) {
    throw new CertificateError(`${name} has name constraints, which pgvpd does not support`);
  }
}

function basicConstraintsOf(
  { extensions }: CertificateFields,
): { isAuthority: boolean; pathLength: number } {
  const extension = extensions.get(Extension.BasicConstraints);
  if (extension === undefined) return { isAuthority: false, pathLength: Infinity };
  const fields = openWhole(extension.value, Tag.Sequence);
  const flag = fields.optional(Tag.Boolean);
  const limit = fields.optional(Tag.Integer);
  fields.end();
  return {
    isAuthority: flag !== null && booleanOf(flag.content),
    pathLength: limit === null ? Infinity : smallInteger(limit.content),
  };
}
