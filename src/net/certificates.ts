// Certificates and keys from the operator's files, and what TLS and the login make of them. Deno's
// X509Certificate leaves much unchecked or unsaid, so what decides is read from the DER.

import {
  createHash,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  X509Certificate,
} from "node:crypto";
import { requireValidNow, requireVersion3 } from "./certificate_chain.ts";
import { CertificateError, pemText, sameBytes } from "./certificate_der.ts";
import {
  type CertificateFields,
  fieldsOf,
  nameText,
  readFields,
  signatureBy,
} from "./certificate_fields.ts";

export { type ChainOptions, type ChainPurpose, verifyChain } from "./certificate_chain.ts";
export { CertificateError } from "./certificate_der.ts";
export { commonNameOf, uriNamesOf, verifyHost } from "./certificate_names.ts";

/** What is shown to a peer: a chain and its key, checked. */
export interface TlsIdentity {
  /** The chain as PEM, the own certificate first. */
  readonly certificates: string;
  /** The private key as PEM, in the form it was given. */
  readonly key: string;
  /** When the first certificate of the chain expires. */
  readonly notAfter: Date;
  /** For channel binding; null when the certificate's signature has no hash of its own. */
  readonly endPoint: Uint8Array | null;
  /** Whose certificate it is, for logs. */
  readonly subject: string;
}

/** The files that an identity is read from, for errors. */
export interface IdentityFiles {
  readonly certificate: string;
  readonly key: string;
}

interface PemBlock {
  readonly label: string;
  readonly text: string;
  readonly body: string;
}

function pemBlocks(text: string): PemBlock[] {
  const pattern = /-----BEGIN ([A-Z0-9 ]+)-----([^-]*(?:-[^-]+)*)-----END \1-----/g;
  return [...text.matchAll(pattern)].map(([text, label, body]) => ({
    label: label!,
    text: `${text}\n`,
    body: body!,
  }));
}

/**
 * The certificates of a PEM text in their order; blocks of other kinds are left out.
 *
 * @param what names the text in errors: a file's path.
 * @throws CertificateError when there is none, or one cannot be read.
 */
export function parseCertificates(pem: string, what: string): X509Certificate[] {
  const blocks = pemBlocks(pem).filter(({ label }) => label === "CERTIFICATE");
  const begun = pem.split("-----BEGIN CERTIFICATE-----").length - 1;
  if (begun === 0) {
    throw new CertificateError(
      `${what} holds no certificate: it must be PEM with "-----BEGIN CERTIFICATE-----"`,
    );
  }
  if (begun !== blocks.length) {
    throw new CertificateError(
      `${what}: a certificate has no end; copy it again, up to "-----END CERTIFICATE-----"`,
    );
  }
  return blocks.map(({ body }, index) => {
    try {
      return certificateFrom(body);
    } catch (error) {
      const reason = error instanceof CertificateError ? error.message : "it cannot be read";
      throw new CertificateError(`${what}: certificate ${index + 1}: ${reason}`);
    }
  });
}

/** Throws CertificateError, or what node:crypto throws. */
function certificateFrom(base64: string): X509Certificate {
  let der: Uint8Array;
  try {
    der = Uint8Array.fromBase64(base64);
  } catch {
    throw new CertificateError("it is not base64");
  }
  nameText(readFields(der).subject);
  return new X509Certificate(pemText("CERTIFICATE", der));
}

/**
 * Reads a chain and its key, and checks that a TLS server or client can show them: the key is not
 * encrypted, of a kind that is supported and the certificate's own; every certificate is valid at
 * `now`; each next one issued the one before; the first is X.509 v3.
 *
 * @throws CertificateError that names the file and says what to do.
 */
export function readIdentity(
  certificatePem: string,
  keyPem: string,
  files: IdentityFiles,
  now: Date,
): TlsIdentity {
  const certificates = parseCertificates(certificatePem, files.certificate);
  const chain = certificates.map(fieldsOf);
  const { text: key, object } = readKey(keyPem, files.key);
  requireSupported(object, files.key);
  requirePair(certificates[0]!, object, files);
  try {
    requireVersion3(chain[0]!);
    for (const one of chain) requireValidNow(one, now);
    requireOrder(chain);
  } catch (error) {
    if (!(error instanceof CertificateError)) throw error;
    throw new CertificateError(`${files.certificate}: ${error.message}`);
  }
  return {
    certificates: chain.map(({ der }) => pemText("CERTIFICATE", der)).join(""),
    key,
    notAfter: new Date(Math.min(...chain.map(({ notAfter }) => notAfter.getTime()))),
    endPoint: tlsServerEndPoint(certificates[0]!),
    subject: nameText(chain[0]!.subject),
  };
}

function readKey(pem: string, file: string): { text: string; object: KeyObject } {
  const isEncrypted = pem.includes("-----BEGIN ENCRYPTED PRIVATE KEY-----") ||
    /^Proc-Type: *4, *ENCRYPTED/m.test(pem);
  if (isEncrypted) {
    throw new CertificateError(
      `${file}: the private key is encrypted, and nobody is there to type the passphrase; ` +
        "write it without one with: " +
        `openssl pkey -in ${file} -out <new file>`,
    );
  }
  const keys = pemBlocks(pem).filter(({ label }) => label.endsWith("PRIVATE KEY"));
  const [block] = keys;
  if (block === undefined) {
    throw new CertificateError(
      `${file} holds no private key: it must be PEM with "-----BEGIN PRIVATE KEY-----"`,
    );
  }
  if (keys.length > 1) {
    throw new CertificateError(`${file} holds ${keys.length} private keys; leave only one in it`);
  }
  try {
    return { text: block.text, object: createPrivateKey(block.text) };
  } catch {
    throw new CertificateError(
      `${file}: the private key cannot be read; ` +
        `check it with: openssl pkey -in ${file} -noout -check`,
    );
  }
}

const CURVES = ["prime256v1", "secp384r1", "secp521r1"];

/** What the TLS engine signs with and this runtime can compare. */
function requireSupported(key: KeyObject, file: string): void {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  if (type === "ed25519") return;
  if (type === "ec" && CURVES.includes(details?.namedCurve ?? "")) return;
  const bits = details?.modulusLength ?? 0;
  if (type === "rsa" && bits >= 2048 && bits <= 4096) return;
  const found = type === "rsa" ? `RSA of ${bits} bits` : details?.namedCurve ?? type;
  throw new CertificateError(
    `${file}: a private key of this kind (${found}) is not supported; use RSA of 2048 to 4096 ` +
      "bits, ECDSA with P-256, P-384 or P-521, or Ed25519",
  );
}

function requirePair(certificate: X509Certificate, key: KeyObject, files: IdentityFiles): void {
  let isPair = false;
  try {
    isPair = certificate.publicKey.equals(createPublicKey(key));
  } catch {
    // A key that this runtime does not take is not that of `key`, which it took.
  }
  if (isPair) return;
  throw new CertificateError(
    `${files.key} is not the key of the first certificate in ${files.certificate}; ` +
      "the server's own certificate must come first, and the key must be the one it was made for",
  );
}

/** That each next certificate issued the one before. */
function requireOrder(chain: readonly CertificateFields[]): void {
  for (let index = 1; index < chain.length; index++) {
    const [one, next] = [chain[index - 1]!, chain[index]!];
    // A signature that cannot be checked here is for the peer to check.
    const fits = sameBytes(one.issuer, next.subject) && signatureBy(one, next) !== "wrong";
    if (fits) continue;
    throw new CertificateError(
      `certificate ${index + 1} (${nameText(next.subject)}) did not issue certificate ${index} ` +
        `(${nameText(one.subject)}); put its issuer (${nameText(one.issuer)}) there`,
    );
  }
}

/**
 * The channel binding data `tls-server-end-point`: the certificate hashed with its signature's own
 * hash, SHA-256 in place of MD5 and SHA-1. Null for signatures without a single hash, such as
 * Ed25519, where PostgreSQL offers no channel binding either. RFC 5929 section 4.1.
 */
export function tlsServerEndPoint(certificate: X509Certificate): Uint8Array | null {
  const { der, algorithm } = fieldsOf(certificate);
  if (algorithm === null || algorithm.hash === null) return null;
  const isOld = algorithm.hash === "md5" || algorithm.hash === "sha1";
  const hash = createHash(isOld ? "sha256" : algorithm.hash);
  return new Uint8Array(hash.update(der).digest());
}

/** Whole days until `notAfter`; negative once it has passed. */
export function daysLeft(notAfter: Date, now: Date): number {
  return Math.floor((notAfter.getTime() - now.getTime()) / 86_400_000);
}
