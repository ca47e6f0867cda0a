// Time limits of sessions in pools: who is silent, or takes a backend, for too long.

import { SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { type Clock, systemClock } from "../pool/clock.ts";

/** The limits in milliseconds; null means none. The names are those of the settings. */
export interface TimeLimitSettings {
  /** Silence outside a transaction. */
  readonly clientIdleTimeout: number | null;
  /** Silence inside a transaction. */
  readonly idleTransactionTimeout: number | null;
  /** A transaction as a whole, running statements included. */
  readonly transactionTimeout: number | null;
}

/** What a session is doing. */
export type Activity =
  /** Nothing is under way. */
  | "idle"
  /** It waits for a server connection. */
  | "waiting"
  /** The server works for it, or it is sending. */
  | "busy"
  /** It is in a transaction, and the server waits for it. */
  | "in transaction";

/** A session, as far as limits need to see it. */
export interface LimitedSession {
  readonly activity: Activity;
  /** Bytes that it has moved so far: as long as that stays the same, it is silent. */
  readonly traffic: number;
  /** Changes with every transaction. */
  readonly transactions: number;
  /** Ends it with an error; what the server does for it is cancelled. */
  end(reason: PgError): void;
}

interface Watched {
  readonly session: LimitedSession;
  activity: Activity;
  traffic: number;
  transactions: number;
  silentSince: number;
  transactionSince: number;
}

/** How often sessions are looked at, at most and at least. */
const LOOK_MS_MIN = 10;
const LOOK_MS_MAX = 1_000;
/** In the time of the shortest limit they are looked at so often: how exact the limits are. */
const LOOKS_PER_LIMIT = 10;

/** Looks at all sessions now and then; sessions themselves do nothing for it, and nothing costs. */
export class TimeLimits {
  readonly #watched = new Set<Watched>();
  readonly #clock: Clock;
  #settings: TimeLimitSettings;
  #cancelLook: (() => void) | null = null;

  constructor(settings: TimeLimitSettings, clock: Clock = systemClock) {
    this.#settings = settings;
    this.#clock = clock;
  }

  /** New limits hold for sessions that are there already. */
  set settings(settings: TimeLimitSettings) {
    this.#settings = settings;
    this.#arrange();
  }

  /** Watches a session until what is returned is disposed of. */
  watch(session: LimitedSession): Disposable {
    const now = this.#clock.now();
    const watched: Watched = {
      session,
      activity: session.activity,
      traffic: session.traffic,
      transactions: session.transactions,
      silentSince: now,
      transactionSince: now,
    };
    this.#watched.add(watched);
    this.#arrange();
    return {
      [Symbol.dispose]: () => {
        this.#watched.delete(watched);
        if (this.#watched.size === 0) this.#stop();
      },
    };
  }

  /** Looks again in a while, when there are limits and somebody they could be for. */
  #arrange(): void {
    const { clientIdleTimeout, idleTransactionTimeout, transactionTimeout } = this.#settings;
    const limits = [clientIdleTimeout, idleTransactionTimeout, transactionTimeout]
      .filter((limit) => limit !== null);
    if (limits.length === 0 || this.#watched.size === 0) return this.#stop();
    if (this.#cancelLook !== null) return;
    const pause = Math.min(...limits) / LOOKS_PER_LIMIT;
    this.#cancelLook = this.#clock.after(
      Math.max(LOOK_MS_MIN, Math.min(LOOK_MS_MAX, pause)),
      () => {
        this.#cancelLook = null;
        for (const watched of this.#watched) this.#look(watched);
        this.#arrange();
      },
    );
  }

  #stop(): void {
    this.#cancelLook?.();
    this.#cancelLook = null;
  }

  #look(watched: Watched): void {
    const now = this.#clock.now();
    const { session } = watched;
    const { activity, traffic, transactions } = session;
    if (traffic !== watched.traffic || activity !== watched.activity) watched.silentSince = now;
    if (transactions !== watched.transactions || !isInTransaction(watched.activity)) {
      watched.transactionSince = now;
    }
    watched.traffic = traffic;
    watched.activity = activity;
    watched.transactions = transactions;
    const reason = this.#broken(
      activity,
      now - watched.silentSince,
      now - watched.transactionSince,
    );
    if (reason === null) return;
    this.#watched.delete(watched);
    session.end(reason);
  }

  /** The limit that has been passed, in PostgreSQL's own words. */
  #broken(activity: Activity, silentMs: number, transactionMs: number): PgError | null {
    const { clientIdleTimeout, idleTransactionTimeout, transactionTimeout } = this.#settings;
    const isOver = (ms: number, limit: number | null) => limit !== null && ms >= limit;
    if (isInTransaction(activity) && isOver(transactionMs, transactionTimeout)) {
      return limit(SqlState.TransactionTimeout, "transaction timeout", "transaction_timeout");
    }
    if (activity === "in transaction" && isOver(silentMs, idleTransactionTimeout)) {
      return limit(
        SqlState.IdleInTransactionSessionTimeout,
        "idle-in-transaction timeout",
        "idle_transaction_timeout",
      );
    }
    if (activity === "idle" && isOver(silentMs, clientIdleTimeout)) {
      return limit(SqlState.IdleSessionTimeout, "idle-session timeout", "client_idle_timeout");
    }
    return null;
  }
}

function isInTransaction(activity: Activity): boolean {
  return activity === "busy" || activity === "in transaction";
}

function limit(sqlState: SqlState, what: string, setting: string): PgError {
  return new PgError(sqlState, `terminating connection due to ${what}`, {
    hint: `${setting} of pgvpd is what has ended it.`,
  });
}
