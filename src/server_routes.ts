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

/** An upstream with its route, and how one gets in there now. */
interface Upstream {
  readonly route: Route;
  options: UpstreamOptions;
  password: string | null;
  /** Everything that makes it the place that it is. */
  readonly definition: string;
}

/** Upstreams that are named no more, and kept for the sessions that began on them. */
const RETIRED_MAX = 1_000;

/**
 * Routes by the name of the upstream. A route is looked up when a session begins, and stays the
 * session's: what is defined anew gets new sessions, and pools of its own. TLS and password are how
 * one gets there, and hold for old sessions as well: those that are replaced may be refused there.
 */
export class Routes {
  #main: Upstream;
  readonly #named = new Map<string, Upstream>();
  /** Those that were ever named, by the id of their routes. */
  readonly #byId = new Map<string, Upstream>();
  #ids = 0;

  constructor(main: UpstreamOptions, named: ReadonlyMap<string, NamedUpstream>) {
    this.#main = make(null, MAIN, main, null, definitionOf(MAIN, main));
    this.update(main, named);
  }

  /** What holds for the sessions that begin from now on. */
  update(main: UpstreamOptions, named: ReadonlyMap<string, NamedUpstream>): void {
    this.#main = redefined(this.#main, null, MAIN, main, null);
    for (const name of this.#named.keys()) if (!named.has(name)) this.#named.delete(name);
    for (const [name, upstream] of named) {
      const options = { ...upstream.options, keepAlive: main.keepAlive };
      const known = this.#named.get(name);
      const id = () => `${name}#${++this.#ids}`;
      const made = redefined(known, id, upstream, options, upstream.password);
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
    if (name === null) return this.#main.route;
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

/** What a route says besides its address. */
type Login = Pick<NamedUpstream, "database" | "user">;
/** Clients say these themselves. */
const MAIN: Login = { database: null, user: null };

/** The same upstream with what is new about it, when it still is the same place; else another. */
function redefined(
  known: Upstream | undefined,
  id: (() => string) | null,
  login: Login,
  options: UpstreamOptions,
  password: string | null,
): Upstream {
  const definition = definitionOf(login, options);
  if (known?.definition !== definition) {
    return make(id?.() ?? null, login, options, password, definition);
  }
  return Object.assign(known, { options, password });
}

function make(
  id: string | null,
  { database, user }: Login,
  options: UpstreamOptions,
  password: string | null,
  definition: string,
): Upstream {
  const address = addressText(options.host, options.port);
  const dial = async (signal: AbortSignal) =>
    (await connectUpstream(upstream.options, signal)).transport;
  const upstream = {
    route: { id, address, database, user, dial },
    ...{ options, password, definition },
  };
  return upstream;
}

function definitionOf({ database, user }: Login, { host, port }: UpstreamOptions): string {
  return JSON.stringify([host, port, database, user]);
}

function gone(): PgError {
  return new PgError(
    SqlState.SqlClientUnableToEstablishConnection,
    "the upstream of this session is not configured any more",
    { hint: "Reconnect." },
  );
}
