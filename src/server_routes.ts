// The upstreams of a proxy: that of all, and those that tenants have of their own.

import { SqlState } from "./codec/codes.ts";
import { PgError } from "./codec/error.ts";
import { addressText } from "./net/address.ts";
import { connectUpstream, type UpstreamOptions } from "./pool/connect.ts";
import type { Route } from "./session/lending.ts";

/** An upstream that a file of tenants names. */
export interface NamedUpstream {
  readonly options: Omit<UpstreamOptions, "keepAlive">;
  /** Null: the one that the client asks for. */
  readonly database: string | null;
  /** As whom pgvpd logs in when it pools; null: as everywhere. */
  readonly user: string | null;
  readonly password: string | null;
}

/** An upstream with its route, and how pools log in to it. */
interface Upstream {
  readonly route: Route;
  readonly options: UpstreamOptions;
  readonly password: string | null;
  /** Everything that makes it what it is. */
  readonly definition: string;
}

/** Upstreams that are named no more, and kept for the sessions that began on them. */
const RETIRED_MAX = 1_000;

/**
 * Routes by the name of the upstream. A route is looked up when a session begins, and stays the
 * session's: what is defined anew gets new sessions, and pools of its own.
 */
export class Routes {
  #main: Route;
  readonly #named = new Map<string, Upstream>();
  /** Those that were ever named, by the id of their routes. */
  readonly #byId = new Map<string, Upstream>();
  #ids = 0;

  constructor(main: UpstreamOptions, named: ReadonlyMap<string, NamedUpstream>) {
    this.#main = mainRoute(main);
    this.update(main, named);
  }

  /** What holds for the sessions that begin from now on. */
  update(main: UpstreamOptions, named: ReadonlyMap<string, NamedUpstream>): void {
    this.#main = mainRoute(main);
    for (const name of this.#named.keys()) if (!named.has(name)) this.#named.delete(name);
    for (const [name, upstream] of named) {
      const definition = definitionOf(upstream, main.keepAlive);
      if (this.#named.get(name)?.definition === definition) continue;
      const made = make(`${name}#${++this.#ids}`, upstream, main.keepAlive, definition);
      this.#named.set(name, made);
      this.#byId.set(made.route.id!, made);
    }
    this.#forget();
  }

  /**
   * @param name null: that of all.
   * @throws {PgError} when there is none of this name.
   */
  routeOf(name: string | null): Route {
    if (name === null) return this.#main;
    const upstream = this.#named.get(name);
    if (upstream === undefined) throw gone();
    return upstream.route;
  }

  /** Whether the route with this id is one of those that sessions begin on. */
  isCurrent(id: string): boolean {
    return this.#named.values().some(({ route }) => route.id === id);
  }

  /** Whether sessions may have other upstreams than that of all. */
  get isBranched(): boolean {
    return this.#byId.size > 0;
  }

  /**
   * How the pool of a route logs in.
   *
   * @throws {PgError} when the route has been forgotten.
   */
  upstreamOf(id: string): { readonly options: UpstreamOptions; readonly password: string | null } {
    const upstream = this.#byId.get(id);
    if (upstream === undefined) throw gone();
    return upstream;
  }

  #forget(): void {
    const current = new Set(this.#named.values());
    let surplus = this.#byId.size - current.size - RETIRED_MAX;
    for (const [id, upstream] of this.#byId) {
      if (surplus <= 0) return;
      if (current.has(upstream)) continue;
      this.#byId.delete(id);
      surplus--;
    }
  }
}

function mainRoute(options: UpstreamOptions): Route {
  return {
    id: null,
    address: addressText(options.host, options.port),
    database: null,
    user: null,
    dial: async (signal) => (await connectUpstream(options, signal)).transport,
  };
}

function make(
  id: string,
  { options: own, database, user, password }: NamedUpstream,
  keepAlive: boolean,
  definition: string,
): Upstream {
  const options = { ...own, keepAlive };
  return { route: { ...mainRoute(options), id, database, user }, options, password, definition };
}

function definitionOf(
  { options: { host, port, tls }, database, user, password }: NamedUpstream,
  keepAlive: boolean,
): string {
  const { mode, direct, authorities, identity } = tls;
  const encryption = [mode, direct, authorities?.pem, identity?.certificates, identity?.key];
  return JSON.stringify([host, port, keepAlive, encryption, database, user, password]);
}

function gone(): PgError {
  return new PgError(
    SqlState.SqlClientUnableToEstablishConnection,
    "the upstream of this session is not configured any more",
    { hint: "Reconnect." },
  );
}
