// Who may use the admin API: whoever knows the token; and no web page, whoever looks at it.

import { createHash, timingSafeEqual } from "node:crypto";
import type { MiddlewareHandler } from "hono";
import { logger } from "../log.ts";
import { AddressLimit } from "../session/address_limit.ts";

/** As the settings are at this moment. */
export interface GuardSettings {
  /** Null: none is needed. */
  readonly token: string | null;
  /** Host names by which the API is reached besides addresses and localhost. */
  readonly names: readonly string[];
}

/** Wrong tokens that one address may show in a minute. */
export const WRONG_TOKENS_PER_MINUTE = 30;

/** What a request is answered with instead; null when it may pass. */
export interface Refusal {
  readonly status: 401 | 403 | 421 | 429;
  readonly error: string;
}

/** Judges requests. */
export class Guard {
  readonly #settings: () => GuardSettings;
  readonly #wrongTokens: AddressLimit;
  readonly #onWrongToken: (peer: string) => void;

  constructor(
    settings: () => GuardSettings,
    wrongTokens: AddressLimit = new AddressLimit(WRONG_TOKENS_PER_MINUTE),
    onWrongToken: (peer: string) => void = warn,
  ) {
    this.#onWrongToken = onWrongToken;
    this.#settings = settings;
    this.#wrongTokens = wrongTokens;
  }

  /**
   * A browser says where a request comes from (`Origin`, `Sec-Fetch-Site`): pages of others are not
   * served. A page whose name was made to lead here (DNS rebinding) is of one origin with this
   * server, but its name is none of ours, and it does not know the token.
   *
   * @param peer `192.0.2.7:51234`.
   */
  judge(headers: Headers, peer: string): Refusal | null {
    const { token, names } = this.#settings();
    const foreign = fromElsewhere(headers);
    if (foreign !== null) return { status: 403, error: foreign };
    if (token === null) {
      if (isOwnName(headers.get("host"), names)) return null;
      return { status: 421, error: "unknown host name: use an address, or set admin_names" };
    }
    if (!this.#wrongTokens.allows(peer)) {
      return { status: 429, error: "too many wrong tokens from this address; wait a minute" };
    }
    const given = bearerToken(headers.get("authorization"));
    if (given !== null && isSame(given, token)) return null;
    if (given !== null) {
      this.#wrongTokens.failed(peer);
      this.#onWrongToken(peer);
    }
    return { status: 401, error: "a bearer token is needed: it is admin_token" };
  }
}

/** Not more often than a token may be wrong. */
function warn(peer: string): void {
  logger("admin").warn("wrong admin token", { peer });
}

/** As middleware. */
export function guarded(guard: Guard): MiddlewareHandler<{ Bindings: { readonly peer: string } }> {
  return async (context, next) => {
    const refusal = guard.judge(context.req.raw.headers, context.env.peer);
    if (refusal === null) return await next();
    if (refusal.status === 401) context.header("WWW-Authenticate", 'Bearer realm="pgvpd"');
    return context.json({ error: refusal.error }, refusal.status);
  };
}

function fromElsewhere(headers: Headers): string | null {
  const site = headers.get("sec-fetch-site");
  if (site !== null && site !== "same-origin" && site !== "none") {
    return "a web page of another site may not ask";
  }
  const origin = headers.get("origin");
  if (origin === null) return null;
  const host = headers.get("host")?.toLowerCase();
  const own = URL.parse(origin);
  const isOwn = host !== undefined && own !== null && /^https?:$/.test(own.protocol) &&
    own.host === URL.parse(`${own.protocol}//${host}`)?.host;
  return isOwn ? null : "a web page of another origin may not ask";
}

/** An address is nobody's to be led elsewhere; a name has to be known. */
function isOwnName(host: string | null, names: readonly string[]): boolean {
  const url = host === null ? null : URL.parse(`http://${host}`);
  if (url === null || url.pathname !== "/" || url.username !== "") return false;
  const { hostname } = url;
  if (hostname === "localhost" || /^\[.*\]$|^\d+\.\d+\.\d+\.\d+$/.test(hostname)) return true;
  return names.some((name) => name.toLowerCase() === hostname);
}

function bearerToken(authorization: string | null): string | null {
  return /^Bearer +(.+)$/i.exec(authorization ?? "")?.[1] ?? null;
}

/** In constant time: digests are of one length, whatever was given. */
function isSame(given: string, token: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(given), digest(token));
}
