// Certificates for tests, made on the spot: good ones that OpenSSL takes, and others.

import "reflect-metadata"; // before x509, which does not load without it
import * as x509 from "@peculiar/x509";
import { createPrivateKey, sign, X509Certificate } from "node:crypto";
import { DerReader, pemText } from "../../src/net/certificate_der.ts";

export { x509 }; // to be had from here alone, for the order's sake

const DAY_MS = 86_400_000;
const ECDSA = { name: "ECDSA", namedCurve: "P-256" };
const RSA = {
  name: "RSASSA-PKCS1-v1_5",
  modulusLength: 2048,
  publicExponent: Uint8Array.of(1, 0, 1),
};

/** A certificate with its key. */
export interface TestCertificate {
  readonly der: Uint8Array;
  readonly pem: string;
  /** PKCS #8. */
  readonly keyPem: string;
  readonly certificate: X509Certificate;
  readonly keys: CryptoKeyPair;
  readonly subject: x509.Name;
}

export interface CertificateOptions {
  /** The common name, or a whole name. */
  readonly subject?: string | x509.JsonNameParams;
  readonly dns?: readonly string[];
  readonly ips?: readonly string[];
  readonly uris?: readonly string[];
  readonly kind?: "ecdsa" | "rsa";
  /** An existing key, instead of a new one. */
  readonly keys?: CryptoKeyPair;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  /** Makes it a CA; otherwise there is no basicConstraints. */
  readonly ca?: boolean;
  /** CAs that may stand below. */
  readonly pathLength?: number;
  readonly usages?: readonly ("serverAuth" | "clientAuth" | "any" | "emailProtection")[];
  readonly keyUsage?: x509.KeyUsageFlags;
  /** Of the signature; an RSA issuer always takes SHA-256. */
  readonly hash?: "SHA-256" | "SHA-384" | "SHA-512";
  /** More of them, as they are. */
  readonly extensions?: readonly x509.Extension[];
}

const USAGES = {
  serverAuth: x509.ExtendedKeyUsage.serverAuth,
  clientAuth: x509.ExtendedKeyUsage.clientAuth,
  emailProtection: x509.ExtendedKeyUsage.emailProtection,
  any: "2.5.29.37.0",
};

/** A day from now, or before now when negative. */
export function days(count: number): Date {
  return new Date(Math.floor(Date.now() / 1000) * 1000 + count * DAY_MS);
}

async function makeKeys(kind: "ecdsa" | "rsa"): Promise<CryptoKeyPair> {
  if (kind === "ecdsa") return await crypto.subtle.generateKey(ECDSA, true, ["sign", "verify"]);
  const algorithm = { ...RSA, hash: "SHA-256" };
  return await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
}

function extensionsOf(options: CertificateOptions): x509.Extension[] {
  const { dns = [], ips = [], uris = [], ca, pathLength, usages, keyUsage } = options;
  const names: x509.JsonGeneralNames = [
    ...dns.map((value) => ({ type: "dns", value }) as const),
    ...ips.map((value) => ({ type: "ip", value }) as const),
    ...uris.map((value) => ({ type: "url", value }) as const),
  ];
  const extensions: x509.Extension[] = [...options.extensions ?? []];
  if (names.length > 0) extensions.push(new x509.SubjectAlternativeNameExtension(names));
  if (ca !== undefined) {
    extensions.push(new x509.BasicConstraintsExtension(ca, pathLength, true));
  }
  if (usages !== undefined) {
    extensions.push(new x509.ExtendedKeyUsageExtension(usages.map((one) => USAGES[one])));
  }
  if (keyUsage !== undefined) extensions.push(new x509.KeyUsagesExtension(keyUsage, true));
  return extensions;
}

/** A certificate, valid from yesterday for 30 days unless told; without `issuer` it signs itself. */
export async function makeCertificate(
  options: CertificateOptions = {},
  issuer?: TestCertificate,
): Promise<TestCertificate> {
  const { subject = "test", hash = "SHA-256" } = options;
  const keys = options.keys ?? await makeKeys(options.kind ?? "ecdsa");
  const name = new x509.Name(
    typeof subject === "string" ? [{ CN: [{ utf8String: subject }] }] : subject,
  );
  const signingKey = (issuer?.keys ?? keys).privateKey;
  const made = await x509.X509CertificateGenerator.create({
    subject: name,
    issuer: issuer?.subject ?? name,
    publicKey: keys.publicKey,
    signingKey,
    signingAlgorithm: { name: signingKey.algorithm.name, hash },
    notBefore: options.notBefore ?? days(-1),
    notAfter: options.notAfter ?? days(30),
    extensions: [
      ...extensionsOf(options),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create((issuer?.keys ?? keys).publicKey),
    ],
  });
  const pkcs8 = new Uint8Array(await crypto.subtle.exportKey("pkcs8", keys.privateKey));
  const der = new Uint8Array(made.rawData);
  return { ...fromDer(der), keyPem: pemText("PRIVATE KEY", pkcs8), keys, subject: name };
}

function fromDer(der: Uint8Array) {
  const pem = pemText("CERTIFICATE", der);
  return { der, pem, certificate: new X509Certificate(pem) };
}

const CA_USAGE = x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign;
const TLS_USAGE = x509.KeyUsageFlags.digitalSignature;

/** A CA: a root, or an intermediate one when `issuer` is given. */
export function makeCa(
  name: string,
  options: CertificateOptions = {},
  issuer?: TestCertificate,
): Promise<TestCertificate> {
  return makeCertificate({ subject: name, ca: true, keyUsage: CA_USAGE, ...options }, issuer);
}

/** A server's certificate, for `localhost`, 127.0.0.1 and ::1 unless told. */
export function makeServer(
  ca: TestCertificate,
  options: CertificateOptions = {},
): Promise<TestCertificate> {
  const names = { dns: ["localhost"], ips: ["127.0.0.1", "::1"] };
  const use = { usages: ["serverAuth"], keyUsage: TLS_USAGE } as const;
  return makeCertificate({ subject: "localhost", ...names, ...use, ...options }, ca);
}

/** A client's certificate with this common name. */
export function makeClient(
  ca: TestCertificate,
  name: string,
  options: CertificateOptions = {},
): Promise<TestCertificate> {
  const use = { usages: ["clientAuth"], keyUsage: TLS_USAGE } as const;
  return makeCertificate({ subject: name, ...use, ...options }, ca);
}

/** A validity that ended yesterday. */
export const EXPIRED = { notBefore: days(-10), notAfter: days(-1) } as const;
/** A validity that begins tomorrow. */
export const NOT_YET = { notBefore: days(1), notAfter: days(10) } as const;

/** DER of one value. */
export function der(tag: number, ...contents: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const size = contents.reduce((sum, { length }) => sum + length, 0);
  const long = size < 0x100 ? [0x81, size] : [0x82, size >> 8, size & 0xff];
  const length = size < 0x80 ? [size] : long;
  return Uint8Array.from([tag, ...length, ...contents.flatMap((one) => [...one])]);
}

/** The values inside a DER sequence, each as it is. */
function parts(sequence: Uint8Array): Uint8Array[] {
  const reader = new DerReader(sequence).enter(0x30);
  const found: Uint8Array[] = [];
  while (!reader.atEnd) found.push(reader.next().bytes);
  return found;
}

/** AlgorithmIdentifiers of RSA signatures: `sha1WithRSAEncryption` and the like. */
export const ALGORITHM = {
  md5: Uint8Array.fromHex("300d06092a864886f70d0101040500"),
  sha1: Uint8Array.fromHex("300d06092a864886f70d0101050500"),
  sha224: Uint8Array.fromHex("300d06092a864886f70d01010e0500"),
  sha384: Uint8Array.fromHex("300d06092a864886f70d01010c0500"),
  sha512: Uint8Array.fromHex("300d06092a864886f70d01010d0500"),
} as const;

/** Changes the parts of a signed body. */
export type Change = (body: Uint8Array[]) => Uint8Array[];

/**
 * What no honest maker makes: the parts of the signed body (version, serial number, algorithm,
 * issuer, validity, subject, key, extensions) as `change` gives them back, and `issuer` signs them.
 */
export function remake(
  one: TestCertificate,
  issuer: TestCertificate,
  change: Change,
  hash = "sha256",
): TestCertificate {
  return { ...one, ...fromDer(remakeDer(one, issuer, change, hash)) };
}

/** The same, for what is no certificate any more. */
export function remakeDer(
  one: TestCertificate,
  issuer: TestCertificate,
  change: Change,
  hash = "sha256",
): Uint8Array {
  const [signed, algorithm] = parts(one.der);
  const body = change(parts(signed!));
  const isExplicit = body[0]![0] === 0xa0;
  const named = body[isExplicit ? 2 : 1] ?? algorithm!;
  const changed = der(0x30, ...body);
  const signature = new Uint8Array(sign(hash, changed, createPrivateKey(issuer.keyPem)));
  return der(0x30, changed, named, der(0x03, Uint8Array.of(0), signature));
}
