// Whom a certificate speaks for: host names, common name, URIs. All of it is read from the DER:
// printed forms are ambiguous.

import type { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import {
  asciiOf,
  CertificateError,
  type DerElement,
  openWhole,
  sameBytes,
  stringOf,
  Tag,
} from "./certificate_der.ts";
import { attributesOf, Extension, fieldsOf } from "./certificate_fields.ts";

const COMMON_NAME = "2.5.4.3";
/** Tags of GeneralName. RFC 5280 section 4.2.1.6. */
const DNS_NAME = 0x82;
const URI = 0x86;
const IP_ADDRESS = 0x87;

/**
 * The subject's common name, exact to the character; null unless there is exactly one and it is
 * not empty.
 *
 * @throws CertificateError when it holds a NUL or cannot be decoded with certainty.
 */
export function commonNameOf(leaf: X509Certificate): string | null {
  const { subject } = fieldsOf(leaf);
  const names = attributesOf(subject).filter(({ id }) => id === COMMON_NAME);
  const [name] = names;
  if (name === undefined || names.length > 1) return null;
  const text = withoutNul(stringOf(name.value), "common name");
  return text === "" ? null : text;
}

/**
 * The URIs among the subject's alternative names, in their order.
 *
 * @throws CertificateError when one holds a NUL or a byte outside ASCII.
 */
export function uriNamesOf(leaf: X509Certificate): string[] {
  return alternativeNames(leaf).filter(({ tag }) => tag === URI)
    .map(({ content }) => withoutNul(asciiOf(content), "URI"));
}

/**
 * Checks that a server's certificate is for `host`, as libpq's `verify-full` does and RFC 6125
 * describes: a host name needs a dNSName, where `*.` stands for one label on the left; an IP
 * address needs the iPAddress. The common name counts only when the certificate has no dNSName,
 * and for an IP address no iPAddress either.
 *
 * @throws CertificateError that says for whom it is.
 */
export function verifyHost(leaf: X509Certificate, host: string): void {
  const alternatives = alternativeNames(leaf);
  const dnsNames = alternatives.filter(({ tag }) => tag === DNS_NAME)
    .map(({ content }) => withoutNul(asciiOf(content), "host name"));
  const addresses = alternatives.filter(({ tag }) => tag === IP_ADDRESS)
    .map(({ content }) => content);
  const isAddress = isIP(host) !== 0;
  const hasNames = dnsNames.length > 0 || (isAddress && addresses.length > 0);
  const commonName = hasNames ? null : commonNameOf(leaf);
  const names = commonName === null ? dnsNames : [commonName];
  const wanted = isAddress ? addressBytes(host) : null;
  const fits = isAddress
    ? commonName === host || addresses.some((one) => wanted !== null && sameBytes(one, wanted))
    : names.some((name) => matchesHost(name, host));
  if (fits) return;
  const shown = [...names.map(printable), ...addresses.map(addressText)];
  throw new CertificateError(
    `the certificate is for ${shown.slice(0, 10).join(", ") || "no host"}, not for ${host}`,
  );
}

function alternativeNames(leaf: X509Certificate): DerElement[] {
  const extension = fieldsOf(leaf).extensions.get(Extension.SubjectAltName);
  if (extension === undefined) return [];
  const names = openWhole(extension.value, Tag.Sequence);
  const found: DerElement[] = [];
  while (!names.atEnd) found.push(names.next());
  return found;
}

function withoutNul(text: string | null, what: string): string {
  if (text === null || text.includes("\0")) {
    throw new CertificateError(
      `the certificate has a ${what} with characters that are not allowed`,
    );
  }
  return text;
}

/** ASCII letters alone are the same in either case, as in libpq. */
function lowerCase(text: string): string {
  return text.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase());
}

function matchesHost(name: string, host: string): boolean {
  const pattern = lowerCase(name);
  const wanted = lowerCase(host);
  if (wanted === "") return false;
  if (!pattern.startsWith("*.")) return pattern === wanted;
  const dot = wanted.indexOf(".");
  return dot > 0 && pattern.length > 2 && wanted.slice(dot) === pattern.slice(1);
}

function printable(name: string): string {
  return name.slice(0, 253).replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, "?");
}

/** An IP address in network order, 4 or 16 bytes; null when it has a zone. */
function addressBytes(host: string): Uint8Array | null {
  if (host.includes("%")) return null;
  if (isIP(host) === 4) return Uint8Array.from(host.split("."), Number);
  const groups = (part: string | undefined): number[] =>
    (part ?? "").split(":").filter((group) => group !== "").flatMap((group) => {
      if (group.includes(".")) return group.split(".").map(Number);
      const value = Number.parseInt(group, 16);
      return [value >> 8, value & 0xff];
    });
  const [front, back] = host.split("::");
  const bytes = new Uint8Array(16);
  const tail = groups(back);
  bytes.set(groups(front));
  bytes.set(tail, 16 - tail.length);
  return bytes;
}

function addressText(address: Uint8Array): string {
  if (address.length === 4) return address.join(".");
  const groups: string[] = [];
  for (let at = 0; at + 1 < address.length; at += 2) {
    groups.push(((address[at]! << 8) | address[at + 1]!).toString(16));
  }
  return groups.slice(0, 8).join(":");
}
