// TLS towards the database for the commands, in libpq's words.
// https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION

import { checkServerIdentity, type PeerCertificate } from "node:tls";
import type { Settings } from "../config/config.ts";
import { CommandError, reasonOf } from "./failure.ts";
import { upstreamTlsMode } from "./tls_files.ts";

/** What postgres.js is told: false, or whether it may do without, or what to check. */
export type DatabaseTls = false | "prefer" | "require" | VerifiedTls;

/** Options of node:tls. */
export interface VerifiedTls {
  readonly rejectUnauthorized: boolean;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly checkServerIdentity?: (host: string, certificate: PeerCertificate) => Error | undefined;
}

interface TlsFiles {
  readonly ca: string | null;
  readonly cert: string | null;
  readonly key: string | null;
}

/** Parameters of a URL that mean something here. */
const PARAMETERS = ["sslmode", "sslrootcert", "sslcert", "sslkey", "host"];
const MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/** As the proxy connects to its upstream. */
export function tlsOfSettings(settings: Settings): DatabaseTls {
  return tlsOf(upstreamTlsMode(settings), settings.upstreamHost, {
    ca: settings.upstreamTlsCa,
    cert: settings.upstreamTlsCert,
    key: settings.upstreamTlsKey,
  });
}

/** @throws {CommandError} for a parameter or a mode that is not known. */
export function tlsOfUrl(host: string, parameters: URLSearchParams): DatabaseTls {
  const unknown = [...parameters.keys()].find((key) => !PARAMETERS.includes(key));
  if (unknown !== undefined) {
    throw new CommandError(
      `--url has the parameter ${JSON.stringify(unknown)}; known are ${PARAMETERS.join(", ")}`,
    );
  }
  const mode = parameters.get("sslmode") ?? "prefer";
  if (!MODES.includes(mode)) {
    throw new CommandError(
      `--url has sslmode=${JSON.stringify(mode)}; it is one of ${MODES.join(", ")}`,
    );
  }
  return tlsOf(mode, host, {
    ca: parameters.get("sslrootcert"),
    cert: parameters.get("sslcert"),
    key: parameters.get("sslkey"),
  });
}

function tlsOf(mode: string, host: string, files: TlsFiles): DatabaseTls {
  if (mode === "disable" || host.startsWith("/")) return false;
  if (mode === "allow" || mode === "prefer") return "prefer";
  const isVerified = mode !== "require";
  if (!isVerified && files.cert === null) return "require";
  return {
    rejectUnauthorized: isVerified,
    ...(files.ca === null ? {} : { ca: read(files.ca) }),
    ...(files.cert === null ? {} : { cert: read(files.cert) }),
    ...(files.key === null ? {} : { key: read(files.key) }),
    ...(isVerified
      ? {
        checkServerIdentity: (_: string, certificate: PeerCertificate) =>
          mode === "verify-full" ? checkServerIdentity(host, certificate) : undefined,
      }
      : {}),
  };
}

function read(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    throw new CommandError(`Cannot read "${path}": ${reasonOf(error)}`);
  }
}
