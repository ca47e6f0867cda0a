// The files that the settings name, certificates and users: read, checked, watched for changes.

import { parseUserlist, UserlistError } from "../auth/userlist.ts";
import type { Settings } from "../config/config.ts";
import {
  CertificateError,
  daysLeft,
  parseCertificates,
  readIdentity,
  type TlsIdentity,
} from "../net/certificates.ts";
import { isTlsAvailable } from "../net/tls_engine.ts";
import type { UpstreamTls, UpstreamTlsMode } from "../pool/connect.ts";
import type { FileContents } from "../server.ts";
import type { AuthUsers } from "../server_pools.ts";
import type { ClientAuthorities } from "../session/opening.ts";
import { CommandError, reasonOf } from "./failure.ts";

/** What the files hold, and until when. */
export interface LoadedTls extends Omit<FileContents, "resolvers"> {
  /** Each certificate of pgvpd's own, with the setting that names it. */
  readonly own: readonly { readonly key: string; readonly identity: TlsIdentity }[];
}

/**
 * Reads and checks every file.
 *
 * @throws {CommandError} with a sentence for each file that cannot be used.
 */
export function loadTls(settings: Settings, now = new Date()): LoadedTls {
  const { tlsCert, tlsKey, upstreamTlsCert, upstreamTlsKey } = settings;
  const usesTls = settings.upstreamTls !== "disable" ||
    tlsCert !== null && settings.clientTls !== "disable";
  if (usesTls && !isTlsAvailable()) {
    throw new CommandError(
      `Cannot offer TLS: Deno ${Deno.version.deno} has another TLS engine than the one pgvpd ` +
        "knows; use Deno 2.9.6 or pgvpd's own binary",
    );
  }
  try {
    const server = tlsCert === null || tlsKey === null ? null : identity(tlsCert, tlsKey, now);
    const client = upstreamTlsCert === null || upstreamTlsKey === null
      ? null
      : identity(upstreamTlsCert, upstreamTlsKey, now);
    return {
      users: settings.authFile === null ? null : authUsers(settings.authFile),
      client: server === null ? null : {
        identity: server,
        endPoint: server.endPoint,
        clientAuthorities: clientAuthorities(settings),
      },
      upstream: upstreamTls(settings, client),
      own: [
        ...(server === null ? [] : [{ key: "tls_cert", identity: server }]),
        ...(client === null ? [] : [{ key: "upstream_tls_cert", identity: client }]),
      ],
    };
  } catch (error) {
    if (error instanceof CertificateError) throw new CommandError(error.message);
    throw error;
  }
}

function authUsers(path: string): AuthUsers {
  try {
    return parseUserlist(Deno.readFileSync(path));
  } catch (error) {
    if (error instanceof UserlistError) {
      throw new CommandError(`"${path}", line ${error.line}: ${error.message}`);
    }
    throw new CommandError(`Cannot read "${path}": ${reasonOf(error)}`);
  }
}

function identity(certificate: string, key: string, now: Date): TlsIdentity {
  return readIdentity(read(certificate), read(key), { certificate, key }, now);
}

function clientAuthorities(settings: Settings): ClientAuthorities | null {
  if (settings.clientTlsCa === null) return null;
  return {
    ...authorities(settings.clientTlsCa),
    identity: settings.certIdentity,
    identityPrefix: settings.certIdentityPrefix ?? "",
  };
}

function upstreamTls(settings: Settings, client: TlsIdentity | null): UpstreamTls {
  const ca = settings.upstreamTlsCa;
  return {
    mode: upstreamTlsMode(settings),
    direct: settings.upstreamTlsDirect,
    authorities: ca === null ? null : authorities(ca),
    identity: client,
  };
}

/** The mode that the words `true` and `false`, and `upstream_tls_verify`, stand for. */
export function upstreamTlsMode(settings: Settings): UpstreamTlsMode {
  if (settings.upstreamHost.startsWith("/")) return "disable"; // as libpq: no TLS on a unix socket
  if (settings.upstreamTls !== "true") return settings.upstreamTls;
  return settings.upstreamTlsVerify ? "verify-full" : "require";
}

function authorities(path: string) {
  const pem = read(path);
  return { pem, certificates: parseCertificates(pem, path) };
}

function read(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    throw new CommandError(`Cannot read "${path}": ${reasonOf(error)}`);
  }
}

/** Every file that `loadTls` reads. */
export function tlsFiles(settings: Settings): string[] {
  return [
    settings.authFile,
    settings.tlsCert,
    settings.tlsKey,
    settings.clientTlsCa,
    settings.upstreamTlsCa,
    settings.upstreamTlsCert,
    settings.upstreamTlsKey,
  ].filter((path) => path !== null);
}

/** Certificates that end within this many days are warned of. */
const EXPIRY_WARNING_DAYS = 14;

/** What a log should say about pgvpd's own certificates. */
export function certificateFields(
  { key, identity }: LoadedTls["own"][number],
  now = new Date(),
): { readonly fields: Record<string, unknown>; readonly isEnding: boolean } {
  const days = daysLeft(identity.notAfter, now);
  return {
    fields: {
      setting: key,
      subject: identity.subject,
      expires: identity.notAfter.toISOString(),
      days_left: days,
    },
    isEnding: days < EXPIRY_WARNING_DAYS,
  };
}

/** How often the files are looked at. Links that are turned over, as Kubernetes does, count too. */
const LOOK_EVERY_MS = 5_000;

/** Tells when one of some files has become another. */
export class FileWatch implements Disposable {
  readonly #timer: ReturnType<typeof setInterval>;
  #last: string;

  constructor(readonly paths: () => readonly string[], onChange: () => void) {
    this.#last = stamps(paths());
    this.#timer = setInterval(() => {
      const now = stamps(paths());
      if (now === this.#last) return;
      this.#last = now;
      onChange();
    }, LOOK_EVERY_MS);
    Deno.unrefTimer(this.#timer);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/** Size, time and inode of each file: what changes when it is written or replaced. */
function stamps(paths: readonly string[]): string {
  return paths.map((path) => {
    try {
      const { size, mtime, ino } = Deno.statSync(path);
      return `${path} ${size} ${mtime?.getTime()} ${ino}`;
    } catch (error) {
      return `${path} ${error instanceof Error ? error.name : "unreadable"}`;
    }
  }).join("\n");
}
