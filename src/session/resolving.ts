// Resolvers at work: who runs the queries of a plan, what is kept of the answers, and what becomes
// of sessions when an answer is not true any more.

import type { PlannedResolver, ResolverPlan } from "../context/resolver_plan.ts";
import { AskedIndex, type Invalidation, parseInvalidation } from "../context/invalidation.ts";
import {
  type ResolverCall,
  ResolverMistake,
  type ResolverValues,
  unresolved,
  valuesOf,
} from "../context/resolution.ts";
import { type Question, ResolverCache } from "../context/resolver_cache.ts";
import { SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { type Logger, logger } from "../log.ts";
import { type Clock, systemClock } from "../pool/clock.ts";
import { failureText } from "../pool/invalidation_listener.ts";
import { parsePlace, placeText } from "../pool/place.ts";
import {
  QUERY_CANCELED,
  ResolverConnections,
  type ResolverConnectionsOptions,
} from "../pool/resolver_connections.ts";
import { StatementFailed } from "../pool/statements.ts";
import type { ResolverQuery } from "../protocol/resolver_query.ts";
import { Listening } from "./listening.ts";
import {
  type ContextHolder,
  LiveContext,
  type Oracle,
  type QueryRunner,
  type ResolverClient,
} from "./live_context.ts";
import { Rechecks } from "./rechecks.ts";

/** What happens to open sessions whose context is not true any more. */
export type OnInvalidate = "keep" | "refresh" | "close";

/** The settings; their names are those of the table, what is unset is null. */
export interface ResolverSettings {
  readonly resolverUser: string | null;
  readonly resolverPassword: string | null;
  readonly resolverDatabase: string | null;
  readonly resolverPoolSize: number;
  readonly resolverCacheSize: number;
  readonly onInvalidate: OnInvalidate;
}

/** What they stand in; each part has a usual one. */
export interface ResolverSurroundings {
  readonly log?: Logger;
  readonly clock?: Clock;
  /** Whether new sessions may have this upstream; null is that of all. */
  readonly isCurrent?: (upstream: string | null) => boolean;
  /** A resolver has run, successfully or not; how long it took in milliseconds. */
  readonly onRun?: (resolver: string, ms: number) => void;
}

/** Since the start. */
export interface ResolverStats {
  readonly cacheHits: number;
  readonly cacheMisses: number;
  readonly cacheSize: number;
  /** Queries that were run and that failed, by resolver. */
  readonly executions: ReadonlyMap<string, number>;
  readonly errors: ReadonlyMap<string, number>;
}

/** The leader's connection has gone, and with it the query that others waited for. */
class Deserted extends Error {}

/** Lives as long as the proxy; plan and settings may change. */
export class Resolvers implements Oracle {
  /** Null without resolvers. */
  plan: ResolverPlan | null;
  readonly log: Logger;
  readonly rechecks = new Rechecks(() => this.#settings.resolverPoolSize);
  readonly #cache: ResolverCache;
  /** Open sessions by what their contexts were derived from. */
  readonly #live = new AskedIndex<LiveContext>();
  readonly #clock: Clock;
  readonly #isCurrent: (upstream: string | null) => boolean;
  readonly #connect: ResolverConnectionsOptions["connect"];
  readonly #onRun: NonNullable<ResolverSurroundings["onRun"]>;
  readonly #executions = new Map<string, number>();
  readonly #errors = new Map<string, number>();
  #settings: ResolverSettings;
  #connections: ResolverConnections | null = null;
  /** There is one wherever there are connections. */
  #listening: Listening | null = null;
  #cacheHits = 0;
  #cacheMisses = 0;

  /** @param connect to a server, wherever it is at that moment. */
  constructor(
    plan: ResolverPlan | null,
    settings: ResolverSettings,
    connect: ResolverConnectionsOptions["connect"],
    surroundings: ResolverSurroundings = {},
  ) {
    this.plan = plan;
    this.log = surroundings.log ?? logger("resolver");
    this.#clock = surroundings.clock ?? systemClock;
    this.#isCurrent = surroundings.isCurrent ?? (() => true);
    this.#settings = settings;
    this.#connect = connect;
    this.#onRun = surroundings.onRun ?? (() => {});
    this.#cache = new ResolverCache(() => this.#clock.now(), settings.resolverCacheSize);
    this.#openConnections();
  }

  get stats(): ResolverStats {
    return {
      cacheHits: this.#cacheHits,
      cacheMisses: this.#cacheMisses,
      cacheSize: this.#cache.size,
      executions: this.#executions,
      errors: this.#errors,
    };
  }

  /** Open sessions go on with the plan that they have. */
  reload(plan: ResolverPlan | null, settings: ResolverSettings): void {
    const old = this.#settings;
    this.plan = plan;
    this.#settings = settings;
    this.#cache.sizeMax = settings.resolverCacheSize;
    const isSame = old.resolverUser === settings.resolverUser &&
      old.resolverPassword === settings.resolverPassword &&
      old.resolverPoolSize === settings.resolverPoolSize;
    if (isSame) return;
    void this.#closeConnections();
    this.#openConnections();
    // Now, so that whoever is looked at for it is looked at as the new role.
    this.invalidate({ database: null, resolver: null, inputs: null }, false);
  }

  /** Resolves when every connection is closed. */
  async close(): Promise<void> {
    this.rechecks.stop();
    await this.#closeConnections();
  }

  /** A context to be resolved; the caller disposes of it when its session is over. */
  begin(client: ResolverClient, holder: ContextHolder): LiveContext {
    const live = new LiveContext(this, client, holder, () => this.rechecks.remove(live));
    return live;
  }

  /** Whether resolvers have connections of their own. */
  get hasConnections(): boolean {
    return this.#connections !== null;
  }

  /** The role that resolvers run as, for this client. */
  askerFor({ loginRole }: ResolverClient): string {
    return this.#settings.resolverUser ?? loginRole;
  }

  /** The place, as text, that a client's resolvers run in. */
  databaseFor({ upstream, database: own }: ResolverClient): string {
    const database = this.hasConnections ? this.#settings.resolverDatabase ?? own : own;
    return placeText({ upstream, database });
  }

  /**
   * Something has changed: what follows from it is forgotten, and sessions are told.
   *
   * @param isCertain false: it may have. No session is ended for that alone.
   */
  invalidate(event: Invalidation, isCertain = true): void {
    this.#cache.invalidate(event);
    const { onInvalidate } = this.#settings;
    if (onInvalidate === "keep") return;
    const change = isCertain ? onInvalidate : "possible";
    for (const live of this.#live.find(event)) live.invalidated(change);
  }

  watch(question: Question, live: LiveContext): void {
    this.#live.add(question, live);
  }

  unwatch(question: Question, live: LiveContext): void {
    this.#live.remove(question, live);
  }

  /**
   * The answer to one question, from the cache, from a flight under way, or from the database.
   *
   * @throws {PgError} 28000, with the cause in the log · the signal's reason.
   */
  async ask(
    question: Question,
    call: ResolverCall,
    runner: QueryRunner | null,
    signal: AbortSignal,
  ): Promise<ResolverValues> {
    const { cacheTtl } = call.resolver;
    for (;;) {
      if (cacheTtl === 0 || this.#isPrivate(runner)) {
        return await this.#run(question, call, runner, signal);
      }
      const known = this.#cache.find(question);
      if (known !== undefined) {
        this.#cacheHits++;
        return known;
      }
      this.#cacheMisses++;
      try {
        return await this.#board(question, call, runner, signal);
      } catch (error) {
        if (!(error instanceof Deserted) || signal.aborted) throw error;
      }
    }
  }

  #board(
    question: Question,
    call: ResolverCall,
    runner: QueryRunner | null,
    signal: AbortSignal,
  ): Promise<ResolverValues> {
    const ttlMs = this.#mayKeep(question.database) ? call.resolver.cacheTtl : 0;
    const { flight, isNew } = this.#cache.fly(question, ttlMs);
    const { promise, resolve, reject } = Promise.withResolvers<ResolverValues>();
    const passenger = { answered: resolve, failed: reject };
    flight.board(passenger);
    const leave = () => {
      flight.leave(passenger);
      reject(signal.reason);
    };
    signal.addEventListener("abort", leave, { once: true });
    if (isNew) {
      // On connections of its own it is for whoever waits; on a pool's, as long as the client is
      // there whose turn it is.
      const deserted = new AbortController();
      flight.onDeserted = () => deserted.abort(new Deserted());
      const until = this.hasConnections ? deserted.signal : signal;
      this.#run(question, call, runner, until).then(
        (values) => flight.land(values),
        (error) => flight.crash(until.aborted ? new Deserted() : error),
      );
    }
    if (signal.aborted) leave();
    return promise.finally(() => signal.removeEventListener("abort", leave));
  }

  async #run(
    question: Question,
    call: ResolverCall,
    runner: QueryRunner | null,
    signal: AbortSignal,
  ): Promise<ResolverValues> {
    const [{ database }, { resolver }, connections] = [question, call, this.#connections];
    const { name } = resolver;
    const startedAt = performance.now();
    count(this.#executions, name);
    try {
      const query = queryOf(call);
      if (connections === null && runner === null) {
        throw unresolved(`"${name}" cannot be asked now`);
      }
      const replies = connections === null
        ? await runner!.run(query, signal)
        : await connections.run(database, query, signal);
      const values = valuesOf(resolver, replies);
      this.log.debug("resolver has answered", {
        ...{ resolver: name, ...parsePlace(database), rows: replies.rows.length },
        ms: Math.round(performance.now() - startedAt),
      });
      this.#listening?.listenTo(database);
      return values;
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      const isReplaced = connections !== null && connections !== this.#connections;
      if (isReplaced && this.hasConnections) return await this.#run(question, call, runner, signal);
      count(this.#errors, name);
      throw this.#failed(resolver, database, error);
    } finally {
      this.#onRun(name, performance.now() - startedAt);
    }
  }

  /**
   * On a connection with a client's context, or with what it brought, a query may find what no
   * other client may see: neither kept nor shared, whatever the question.
   */
  #isPrivate(runner: QueryRunner | null): boolean {
    return !this.hasConnections && runner?.isPrivate === true;
  }

  /** Whether it will be heard of when an answer from there is not true any more. */
  #mayKeep(database: string): boolean {
    return !this.hasConnections || this.#listening?.isListeningTo(database) === true;
  }

  /** The client learns which resolver it is; all else is the operator's. */
  #failed({ name, timeout }: PlannedResolver, database: string, error: unknown): unknown {
    const isLate = error instanceof StatementFailed && error.sqlState === QUERY_CANCELED;
    const isForeseen = error instanceof StatementFailed || error instanceof PgError ||
      error instanceof ResolverMistake;
    const isCrowded = error instanceof PgError && error.sqlState === SqlState.TooManyConnections;
    // A pool of the client's own is full: it hears that from the pool itself.
    if (!isForeseen || isCrowded && !this.hasConnections) return error;
    this.log.warn(isLate ? "resolver took too long" : "resolver failed", {
      ...{ resolver: name, ...parsePlace(database) },
      ...(isLate ? { timeout_ms: timeout } : {}),
      error: failureText(error),
    });
    const what = isLate ? `"${name}" took too long` : `"${name}" failed`;
    return unresolved(what, error);
  }

  #openConnections(): void {
    const { resolverUser: user, resolverPassword: password, resolverPoolSize: size } =
      this.#settings;
    if (user === null) return;
    const connect = this.#connect;
    this.#connections = new ResolverConnections({ connect, credentials: { user, password }, size });
    this.#listening = this.#listen(this.#connections);
  }

  async #closeConnections(): Promise<void> {
    const open = [this.#listening, this.#connections];
    this.#listening = null;
    this.#connections = null;
    await Promise.all(open.map((each) => each?.close()));
  }

  #listen(connections: ResolverConnections): Listening {
    const everything = (place: string) => ({ database: place, resolver: null, inputs: null });
    return new Listening({
      open: (place, signal) => connections.open(place, signal),
      places: () => this.#places(),
      clock: this.#clock,
    }, {
      listening: (place) => {
        this.log.info("listening for invalidations", { ...parsePlace(place) });
        this.invalidate(everything(place), false); // it may have missed something
      },
      notified: (place, payload) => {
        this.log.debug("invalidated", { ...parsePlace(place), payload });
        this.invalidate(parseInvalidation(place, payload));
      },
      deaf: (place) => this.#cache.invalidate(everything(place)),
      failed: (place, error) =>
        this.log.warn("cannot listen for invalidations; nothing is cached meanwhile", {
          ...{ ...parsePlace(place), error: failureText(error) },
        }),
    });
  }

  /** Where open sessions' answers are from, and those that new sessions may still be given. */
  #places(): Set<string> {
    const kept = [...this.#cache.places()];
    const isCurrent = (place: string) => this.#isCurrent(parsePlace(place).upstream);
    return new Set([...this.#live.databases, ...kept.filter(isCurrent)]);
  }
}

/** The query of a resolver with its inputs. */
export function queryOf({ resolver, inputs }: ResolverCall): ResolverQuery {
  const { query: sql, rows, runAs, timeout } = resolver;
  // One row more than may be: whether there is one is all that must be known.
  const rowsMax = rows === "array" ? 0 : rows === "one" ? 2 : 1;
  return { sql, inputs, rowsMax, runAs, timeout };
}

function count(counters: Map<string, number>, name: string): void {
  counters.set(name, (counters.get(name) ?? 0) + 1);
}
