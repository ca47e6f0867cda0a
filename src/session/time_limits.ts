// Time limits of sessions: who is silent, or takes a backend, or is there, for too long.

import { SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { type Clock, systemClock } from "../pool/clock.ts";
import type { TenantTimeouts } from "./tenant_policies.ts";

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
  /** Changes with every statement. */
  readonly answers: number;
  /** It is served from a pool, whose limits hold for it. */
  readonly isPooled: boolean;
  /** What holds for its tenant now; null for who belongs to none. */
  readonly tenantTimeouts: TenantTimeouts | null;
  /** Ends it with an error; what the server does for it is cancelled. */
  end(reason: PgError): void;
  /** Ends it with an error as soon as nothing is under way. */
  drain(reason: PgError): void;
  /** Has the server cancel the statement that it runs; the session goes on. */
  cancelStatement(limitMs: number): void;
}

interface Watched {
  readonly session: LimitedSession;
  readonly since: number;
  activity: Activity;
  traffic: number;
  transactions: number;
  answers: number;
  silentSince: number;
  transactionSince: number;
  statementSince: number;
  /** When it was told to end at the next opportunity. */
  drainedAt: number | null;
}

/** How often sessions are looked at, at most and at least. */
const LOOK_MS_MIN = 10;
const LOOK_MS_MAX = 1_000;
/** In the time of the shortest limit they are looked at so often: how exact the limits are. */
const LOOKS_PER_LIMIT = 10;
/** An old session that is never outside a transaction ends so much later. */
export const DRAIN_MS_MAX = 60_000;

/** Looks at all sessions now and then; sessions themselves do nothing for it, and nothing costs. */
export class TimeLimits {
  readonly #watched = new Set<Watched>();
  readonly #clock: Clock;
  #settings: TimeLimitSettings;
  #tenantShortest: number | null = null;
  #cancelLook: (() => void) | null = null;
  /** Statements that were cancelled, and sessions that were ended, by a limit of their tenant. */
  tenantTimeouts = 0;

  constructor(settings: TimeLimitSettings, clock: Clock = systemClock) {
    this.#settings = settings;
    this.#clock = clock;
  }

  /** New limits hold for sessions that are there already. */
  set settings(settings: TimeLimitSettings) {
    this.#settings = settings;
    this.#arrangeAnew();
  }

  /** The shortest timeout that any tenant has; null: none has one. */
  set tenantShortest(shortest: number | null) {
    this.#tenantShortest = shortest;
    this.#arrangeAnew();
  }

  /** Watches a session until what is returned is disposed of. */
  watch(session: LimitedSession): Disposable {
    const now = this.#clock.now();
    const watched: Watched = {
      session,
      since: now,
      activity: session.activity,
      traffic: session.traffic,
      transactions: session.transactions,
      answers: session.answers,
      silentSince: now,
      transactionSince: now,
      statementSince: now,
      drainedAt: null,
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
    const limits = [
      ...[clientIdleTimeout, idleTransactionTimeout, transactionTimeout],
      this.#tenantShortest,
    ].filter((limit) => limit !== null);
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

  #arrangeAnew(): void {
    this.#stop();
    this.#arrange();
  }

  #stop(): void {
    this.#cancelLook?.();
    this.#cancelLook = null;
  }

  #look(watched: Watched): void {
    const now = this.#clock.now();
    this.#notice(watched, now);
    const { session } = watched;
    let reason = session.isPooled ? this.#poolLimit(watched, now) : null;
    if (reason === null) {
      reason = this.#tenantLimit(watched, session.tenantTimeouts, now);
      if (reason !== null) this.tenantTimeouts++;
    }
    if (reason === null) return;
    this.#watched.delete(watched);
    session.end(reason);
  }

  /** What has changed since the last look. */
  #notice(watched: Watched, now: number): void {
    const { activity, traffic, transactions, answers } = watched.session;
    const isOther = transactions !== watched.transactions;
    if (traffic !== watched.traffic || activity !== watched.activity) watched.silentSince = now;
    if (isOther || !isInTransaction(watched.activity)) watched.transactionSince = now;
    if (isOther || answers !== watched.answers || watched.activity !== "busy") {
      watched.statementSince = now;
    }
    Object.assign(watched, { activity, traffic, transactions, answers });
  }

  /** The limit of pools that has been passed, in PostgreSQL's own words. */
  #poolLimit(watched: Watched, now: number): PgError | null {
    const { clientIdleTimeout, idleTransactionTimeout, transactionTimeout } = this.#settings;
    const { activity } = watched;
    const silentMs = now - watched.silentSince;
    if (isInTransaction(activity) && isOver(now - watched.transactionSince, transactionTimeout)) {
      return limit(SqlState.TransactionTimeout, "transaction timeout", "transaction_timeout");
    }
    if (activity === "in transaction" && isOver(silentMs, idleTransactionTimeout)) {
      return idleInTransaction("idle_transaction_timeout");
    }
    if (activity === "idle" && isOver(silentMs, clientIdleTimeout)) {
      return idle("client_idle_timeout");
    }
    return null;
  }

  #tenantLimit(watched: Watched, limits: TenantTimeouts | null, now: number): PgError | null {
    if (limits === null) return null;
    const { activity, session } = watched;
    const silentMs = now - watched.silentSince;
    if (activity === "idle" && isOver(silentMs, limits.idleTimeout)) {
      return idle("tenant_idle_timeout");
    }
    if (activity === "in transaction" && isOver(silentMs, limits.idleTimeout)) {
      return idleInTransaction("tenant_idle_timeout");
    }
    if (activity !== "waiting" && isOver(silentMs, limits.silenceTimeout)) {
      return limit(SqlState.IdleSessionTimeout, "inactivity", "tenant_query_timeout");
    }
    const { statementTimeout } = limits;
    if (activity === "busy" && isOver(now - watched.statementSince, statementTimeout)) {
      watched.statementSince = now; // should it miss, it is tried again
      this.tenantTimeouts++;
      session.cancelStatement(statementTimeout!);
    }
    if (!isOver(now - watched.since, limits.sessionTimeout)) return null;
    const reason = limit(SqlState.AdminShutdown, "session timeout", "tenant_session_timeout");
    if (watched.drainedAt === null) {
      watched.drainedAt = now;
      session.drain(reason);
    }
    return now - watched.drainedAt >= DRAIN_MS_MAX ? reason : null;
  }
}

function isOver(ms: number, limit: number | null): boolean {
  return limit !== null && ms >= limit;
}

function isInTransaction(activity: Activity): boolean {
  return activity === "busy" || activity === "in transaction";
}

function idle(setting: string): PgError {
  return limit(SqlState.IdleSessionTimeout, "idle-session timeout", setting);
}

function idleInTransaction(setting: string): PgError {
  return limit(SqlState.IdleInTransactionSessionTimeout, "idle-in-transaction timeout", setting);
}

function limit(sqlState: SqlState, what: string, setting: string): PgError {
  return new PgError(sqlState, `terminating connection due to ${what}`, {
    hint: `${setting} of pgvpd is what has ended it.`,
  });
}
