// The connections that resolvers run on: a small pool for each database, of a role of their own.

import { SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import {
  ANSWER_BYTES_MAX,
  encodeResolverQuery,
  RESOLVER_REQUESTS,
  type ResolverQuery,
  ResolverReplies,
} from "../protocol/resolver_query.ts";
import type { Backend } from "./backend.ts";
import type { UpstreamConnection } from "./connect.ts";
import { Conversation, isAsynchronous } from "./conversation.ts";
import type { ServerCredentials } from "./login.ts";
import type { Connector, Lease } from "./pool.ts";
import { PooledBackend } from "./pooled_backend.ts";
import { parsePlace } from "./place.ts";
import { Pools } from "./pools.ts";
import { converse, type Exchange, StatementFailed } from "./statements.ts";

/** The server has had this long beyond a query's own time to say that the time is up. */
const GRACE_MS = 1_000;
/** How long the server may take to let pgvpd in. */
const OPEN_MS_MAX = 15_000;
/** Databases with connections at once. */
const DATABASES_MAX = 100;
const WAITING_MAX = 10_000;
const DEAD_BACKENDS_MAX = 3;

/** The SQLSTATE of a statement that was cancelled, by its own time limit first of all. */
export const QUERY_CANCELED = "57014";

/** How resolvers reach the server. */
export interface ResolverConnectionsOptions {
  /** @param upstream that of a {@linkcode Place}. */
  readonly connect: (signal: AbortSignal, upstream: string | null) => Promise<UpstreamConnection>;
  readonly credentials: ServerCredentials;
  /** Connections for each database. */
  readonly size: number;
}

/** Runs queries of resolvers. */
export class ResolverConnections {
  readonly #options: ResolverConnectionsOptions;
  readonly #pools: Pools<PooledBackend>;

  constructor(options: ResolverConnectionsOptions) {
    this.#options = options;
    this.#pools = new Pools({
      size: options.size,
      minIdle: 0,
      maxWaiting: WAITING_MAX,
      checkoutTimeoutMs: Infinity, // whoever waits has a deadline of its own
      idleTimeoutMs: 300_000,
      maxLifetimeMs: 3_600_000,
      checkAfterIdleMs: 30_000,
      retryMsMin: 100,
      retryMsMax: 5_000,
      poolsMax: DATABASES_MAX,
      maxTotal: Infinity,
    }, (place) => this.#connector(place));
  }

  /**
   * @param place as text.
   * @throws {StatementFailed} when the server refuses the query · {PgError} when it cannot be
   * reached, or does not keep to the protocol · the signal's reason.
   */
  async run(
    place: string,
    query: ResolverQuery,
    signal: AbortSignal,
  ): Promise<ResolverReplies> {
    return await runOnFree(() => this.#pools.checkout(place, null, signal), query, signal);
  }

  /** A connection of the same role that is nobody's but the caller's. */
  open(place: string, signal: AbortSignal): Promise<PooledBackend> {
    const { upstream, database } = parsePlace(place);
    return PooledBackend.open({
      connect: (until) => this.#options.connect(until, upstream),
      credentials: this.#options.credentials,
      database,
      startupSettings: [
        { name: "client_encoding", value: "UTF8" },
        { name: "application_name", value: "pgvpd resolvers" },
      ],
      provesRoles: false,
    }, AbortSignal.any([signal, AbortSignal.timeout(OPEN_MS_MAX)]));
  }

  /** Resolves when every connection is closed. */
  close(): Promise<void> {
    return this.#pools.close();
  }

  #connector(place: string): Connector<PooledBackend> {
    return {
      open: (signal) => this.open(place, signal),
      isAlive: (member, signal) => member.isAlive(signal),
    };
  }
}

/**
 * Runs one query on a connection that is lent for it; one that turns out dead or unfit is replaced.
 *
 * @param prepare makes it as it must be; false: it cannot be used.
 * @throws as {@linkcode ResolverConnections.run}.
 */
export async function runOnFree(
  lend: () => Promise<Lease<PooledBackend>>,
  query: ResolverQuery,
  signal: AbortSignal,
  prepare: (member: PooledBackend) => Promise<boolean> = () => Promise.resolve(true),
): Promise<ResolverReplies> {
  for (let attempt = 1;; attempt++) {
    using lease = await lend();
    const { member } = lease;
    let isFit = false;
    try {
      isFit = await prepare(member) && member.backend.idle;
      if (!isFit) throw lost();
      return await runResolver(member, query, signal);
    } catch (error) {
      const isDead = error instanceof PgError && !member.backend.idle;
      const isAtFault = (!isFit || isDead) && !signal.aborted;
      if (!isAtFault || attempt >= DEAD_BACKENDS_MAX) throw error;
    } finally {
      if (!isFit) lease.discard("unclean");
      else if (member.backend.idle) lease.giveBack();
    }
  }
}

function lost(): PgError {
  return new PgError(SqlState.ConnectionFailure, "the connection to the upstream server was lost");
}

/**
 * Runs one query on a connection that is free, and leaves it as it was; one that does not answer in
 * time is closed.
 */
async function runResolver(
  { backend }: PooledBackend,
  query: ResolverQuery,
  signal: AbortSignal,
): Promise<ResolverReplies> {
  const late = Promise.withResolvers<never>();
  late.promise.catch(() => {});
  const giveUp = () => {
    late.reject(signal.aborted ? signal.reason : timedOut());
    backend.close();
  };
  const timer = setTimeout(giveUp, query.timeout + GRACE_MS);
  signal.addEventListener("abort", giveUp, { once: true });
  try {
    signal.throwIfAborted();
    const [replies] = await Promise.race([converse(backend, [asking(query)]), late.promise]);
    return succeeded(replies);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", giveUp);
  }
}

/** @throws {StatementFailed} when the server has refused the query. */
export function succeeded(replies: ResolverReplies): ResolverReplies {
  const { failure } = replies;
  if (failure !== null) throw new StatementFailed(failure.sqlState, failure.message);
  return replies;
}

function timedOut(): StatementFailed {
  return new StatementFailed(QUERY_CANCELED, "the server does not answer");
}

function asking(query: ResolverQuery): Exchange<ResolverReplies> {
  return {
    bytes: encodeResolverQuery(query),
    requests: RESOLVER_REQUESTS,
    answer: (backend) => new Asking(backend),
  };
}

class Asking extends Conversation<ResolverReplies> {
  readonly #replies = new ResolverReplies();

  constructor(backend: Backend) {
    super(backend);
  }

  protected override get messageSizeMax(): number {
    return ANSWER_BYTES_MAX;
  }

  protected message(type: number, bytes: Uint8Array, start: number, end: number): void {
    if (isAsynchronous(type)) return;
    if (this.#replies.step(type, bytes, start, end)) this.finish(this.#replies);
  }
}
