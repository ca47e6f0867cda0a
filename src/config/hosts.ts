// Host settings: IPv4 and IPv6 addresses, host names, and directories of unix sockets.
// Syntax only: nothing is looked up.

import { quoted } from "./problems.ts";
import { byteLength, list, ValueError, type ValueType } from "./values.ts";

/** `/.s.PGSQL.65535` and the end mark must fit into the 108 bytes of a unix socket's address. */
const SOCKET_DIRECTORY_BYTES_MAX = 107 - "/.s.PGSQL.65535".length;
const HOST_NAME_LENGTH_MAX = 253;
const HOST_LABEL = /^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/;

const HOST_ALLOWED =
  "an IP address (IPv6 with or without brackets), a host name or the absolute path of a unix " +
  "socket directory, without a port";

/** True for the directory of a unix socket, false for anything reached over TCP. */
export function isSocketDirectory(host: string): boolean {
  return host.startsWith("/");
}

/** True for addresses that stand for this machine itself or for all of its addresses. */
export function isLocalHost(host: string): boolean {
  return host === "localhost" || host === "::1" || host === "::" || host === "0.0.0.0" ||
    /^127\.\d+\.\d+\.\d+$/.test(host);
}

/** True for addresses that only this machine itself reaches. */
export function isLoopback(host: string): boolean {
  return isLocalHost(host) && host !== "::" && host !== "0.0.0.0";
}

/** One host. IPv6 addresses lose their brackets and take their canonical spelling. */
export function host(): ValueType<string> {
  return {
    placeholder: "host",
    allowed: HOST_ALLOWED,
    choices: null,
    file: null,
    parse(text) {
      const written = text.trim();
      if (written === "") throw new ValueError(`must not be empty; must be ${HOST_ALLOWED}`);
      return parseHost(written);
    },
    format: (value) => value,
  };
}

/** Hosts to listen on, separated by commas; `*` is every address (`::`, which includes IPv4). */
export function listenHosts(): ValueType<readonly string[]> {
  const hosts = list(
    "addresses, host names or unix socket directories, separated by commas",
    (item) => item === "*" ? "::" : parseHost(item),
    { emptyAllowed: false, keyOf: (item) => item },
  );
  return {
    ...hosts,
    placeholder: "hosts",
    parse(text) {
      const parsed = hosts.parse(text);
      checkWildcards(parsed);
      return parsed;
    },
  };
}

/** A wildcard beside an address it includes: the second listener could not bind. */
function checkWildcards(hosts: readonly string[]): void {
  for (const wildcard of ["::", "0.0.0.0"]) {
    if (!hosts.includes(wildcard)) continue;
    const included = hosts.find((other) => other !== wildcard && includes(wildcard, other));
    if (included !== undefined) {
      throw new ValueError(
        `${quoted(included)} is already included in ${quoted(wildcard)}`,
      );
    }
  }
}

function includes(wildcard: string, other: string): boolean {
  if (isSocketDirectory(other)) return false;
  return wildcard === "::" || !other.includes(":");
}

function parseHost(written: string): string {
  if (isSocketDirectory(written)) return parseSocketDirectory(written);
  const bracketed = /^\[(.*)\]$/.exec(written);
  const name = bracketed?.[1] ?? written;
  if (bracketed !== null || name.split(":").length > 2) {
    const address = canonicalIpv6(name);
    if (address !== null) return address;
  } else if (isIpv4(name) || isHostName(name)) {
    return name;
  }
  throw new ValueError(`${quoted(written)} is not ${HOST_ALLOWED}`);
}

function parseSocketDirectory(directory: string): string {
  // deno-lint-ignore no-control-regex
  if (/[\x00-\x1f\x7f]/.test(directory)) {
    throw new ValueError("must not contain control characters such as line breaks");
  }
  if (byteLength(directory) > SOCKET_DIRECTORY_BYTES_MAX) {
    throw new ValueError(
      `the path of a unix socket directory must not be longer than ${SOCKET_DIRECTORY_BYTES_MAX} bytes`,
    );
  }
  return directory.length > 1 ? directory.replace(/\/+$/, "") || "/" : directory;
}

function isIpv4(name: string): boolean {
  const parts = name.split(".");
  return parts.length === 4 &&
    parts.every((part) => /^(0|[1-9][0-9]{0,2})$/.test(part) && Number(part) <= 255);
}

function isHostName(name: string): boolean {
  const labels = name.replace(/\.$/, "").split(".");
  // A last label of digits only is a mistyped address: 127.0.0.300.
  return name.length <= HOST_NAME_LENGTH_MAX && labels.every((label) => HOST_LABEL.test(label)) &&
    !/^[0-9]+$/.test(labels.at(-1) ?? "");
}

function canonicalIpv6(name: string): string | null {
  if (!/^[0-9A-Fa-f:.]+$/.test(name)) return null;
  const url = URL.parse(`http://[${name}]/`);
  return url === null ? null : url.hostname.slice(1, -1);
}
