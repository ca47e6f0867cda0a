// What is told of one session: log records for operators, one record of its login for whoever
// observes, and what it has measured.

import { SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import type { SessionContext } from "../context/context.ts";
import type { LogFields, Logger } from "../log.ts";
import { LOGIN_PHASES, type LoginPhase, type Meters, type Traffic } from "../meters.ts";
import { failureText } from "../pool/invalidation_listener.ts";
import { ClientGone, reportOf, UpstreamRefused } from "./endings.ts";
import { SUSPICIOUS } from "./guard.ts";

/** Who is connected, as log records and admission know it. */
export interface SessionFacts {
  readonly role: string;
  readonly database: string;
  /** The first of the context's values; null for a bypass user. */
  readonly tenant: string | null;
}

/** How a login has ended. It holds no secret, but who it was and what the session may see. */
export interface LoginRecord extends Partial<SessionFacts> {
  readonly connection: number;
  readonly peer: string;
  readonly isEncrypted: boolean;
  /** The name that the client has given; null when it did not come to that. */
  readonly user: string | null;
  /** The settings that make the context; null for a bypass user, and for who has none yet. */
  readonly context: Readonly<Record<string, string>> | null;
  /** How it was asked who it is; null when it was not. */
  readonly method: string | null;
  readonly result: "accepted" | "refused";
  /** Null when it was accepted. */
  readonly sqlState: string | null;
  readonly reason: string | null;
  readonly startedAt: Date;
  readonly ms: number;
}

/** A session has tried what its context guard does not let it. It holds no value of the context. */
export interface GuardRecord extends Partial<SessionFacts> {
  readonly connection: number;
  readonly peer: string;
  readonly user: string | null;
  /** What was tried, in a few words of pgvpd's own. */
  readonly what: string;
}

/** Whoever wants to hear of logins, and of what guards have caught. */
export interface SessionObserver {
  loginEnded(record: LoginRecord): void;
  guardHit?(record: GuardRecord): void;
}

/** What is known of a login before it has ended. */
export interface LoginSoFar {
  user: string | null;
  context: SessionContext | null;
  method: string | null;
  isEncrypted: boolean;
  /** As the client has called itself at the start. */
  applicationName: string;
}

/** Where a session is told of. */
export interface RecordOptions {
  readonly connection: number;
  readonly meters: Meters;
  readonly observer: SessionObserver | null;
}

/** Beginnings of what a handshake waits for, as `Deadline.phase` has it. */
const PHASES: readonly (readonly [beginning: string, phase: LoginPhase])[] = [
  ["waiting for the client's startup packet", "startup"],
  ["negotiating TLS", "tls"],
  ["connecting to the upstream server", "connect"],
  ["waiting for the client to answer", "authentication"],
  ["waiting for the upstream server to authenticate", "authentication"],
  ["looking up the client's password", "authentication"],
  ["waiting for the upstream server to become ready", "greeting"],
  ["running resolver", "resolvers"],
  ["waiting for a server connection", "checkout"],
  ["establishing the session context", "context"],
];

/** The stage that waiting for this belongs to; null: none of a login. */
export function loginPhase(waitedFor: string): LoginPhase | null {
  return PHASES.find(([beginning]) => waitedFor.startsWith(beginning))?.[1] ?? null;
}

/** What is remembered of texts that clients choose. */
const TEXT_LENGTH_MAX = 200;

/** Of a session's guard, so many catches are told at once, and then one each second. */
const HITS_TOLD_MAX = 10;
const HIT_PAUSE_MS = 1_000;

/** Tells of one session. */
export class SessionRecords {
  facts: SessionFacts | null = null;
  readonly login: LoginSoFar = {
    ...{ user: null, context: null, method: null, isEncrypted: false, applicationName: "" },
  };
  readonly startedAt = performance.now();
  readonly startedDate = new Date();
  /** What it has moved belongs to the past. */
  isOver = false;
  /** What a guard has caught costs its client little and a log a line: not all of it is told. */
  #hitsLeft = HITS_TOLD_MAX;
  #hitAt = 0;
  #hitsUntold = 0;
  /** Its login has ended, one way or the other. */
  #isTold = false;

  constructor(
    readonly log: Logger,
    readonly peer: string,
    readonly options: RecordOptions,
  ) {}

  /** The client may speak. @param times how long it took, by what was waited for. */
  connected(times: ReadonlyMap<string, number>, more: LogFields = {}): void {
    this.log.info("client connected", { ...this.fields(), ...more });
    const { meters } = this.options;
    meters.login.observeMs(performance.now() - this.startedAt);
    const byPhase = new Map<LoginPhase, number>();
    for (const [waitedFor, ms] of times) {
      const phase = loginPhase(waitedFor);
      if (phase !== null) byPhase.set(phase, (byPhase.get(phase) ?? 0) + ms);
    }
    for (const phase of LOGIN_PHASES) {
      const ms = byPhase.get(phase);
      if (ms !== undefined) meters.loginPhases[phase].observeMs(ms);
    }
    this.#tell("accepted", null, null);
  }

  /** @param traffic as a whole: from now on the session has none. */
  disconnected(endedBy: string, farewell: PgError | null, traffic: Traffic): void {
    this.isOver = true;
    this.log.info("client disconnected", {
      ...this.fields(),
      ended_by: endedBy,
      ...(farewell === null ? {} : { reason: farewell.message }),
      bytes_in: traffic.bytesIn,
      bytes_out: traffic.bytesOut,
    });
  }

  /** pgvpd itself had a reason to end it while it was served. */
  unserved(failure: PgError | null): void {
    if (failure === null) return;
    this.options.meters.ownErrors.add(failure.sqlState.slice(0, 2));
    this.log.warn("client could not be served any longer", {
      ...this.fields(),
      sqlstate: failure.sqlState,
      error: failure.message,
    });
  }

  /** It is ended now, whatever it does. */
  endedNow(why: string, reason: PgError): void {
    this.options.meters.ownErrors.add(reason.sqlState.slice(0, 2));
    this.log.info(why, {
      ...this.fields(),
      sqlstate: reason.sqlState,
      reason: reason.message,
    });
  }

  /** It ended while the server worked for it: nobody waits for the result any more. */
  async abandoned(cancel: () => Promise<void>): Promise<void> {
    try {
      await cancel();
      this.log.info("abandoned query cancelled");
    } catch (error) {
      this.cancelFailed("abandoned query", error);
    }
  }

  /** The session's context guard has caught something. */
  guardHit(what: string): void {
    const now = performance.now();
    this.#hitsLeft = Math.min(HITS_TOLD_MAX, this.#hitsLeft + (now - this.#hitAt) / HIT_PAUSE_MS);
    this.#hitAt = now;
    if (this.#hitsLeft < 1) return void this.#hitsUntold++;
    this.#hitsLeft--;
    const untold = this.#hitsUntold > 0 ? { untold: this.#hitsUntold } : {};
    this.#hitsUntold = 0;
    this.log.warn(SUSPICIOUS, { ...this.fields(), sql: what, ...untold });
    const { connection, observer } = this.options;
    const { user } = this.login;
    observer?.guardHit?.({ connection, peer: this.peer, user, ...this.facts, what });
  }

  cancelFailed(what: string, error: unknown): void {
    this.log.warn(`${what} could not be cancelled`, { error: failureText(error) });
  }

  /**
   * It is over before it was served, or by a bug.
   *
   * @param farewell why it was to end anyway; null when it was not.
   * @returns what the client is to be told; null: it has been told; undefined: it is not there.
   */
  failed(error: unknown, farewell: PgError | null): Uint8Array | null | undefined {
    if (error instanceof PgError && error === farewell) {
      this.log.info("client let go", this.fields());
      this.#tell("refused", error.sqlState, error.message);
      return error.encode();
    }
    const { level, message, fields, lastWord } = reportOf(error);
    this.log[level](message, { ...this.fields(), ...fields });
    if (error instanceof ClientGone) return lastWord;
    const { meters } = this.options;
    const isUpstreams = error instanceof UpstreamRefused;
    const sqlState = isUpstreams
      ? error.fields.sqlState
      : error instanceof PgError
      ? error.sqlState
      : SqlState.InternalError;
    (isUpstreams ? meters.serverErrors : meters.ownErrors).add(sqlState.slice(0, 2));
    const isForeseen = isUpstreams || error instanceof PgError;
    this.#tell("refused", sqlState, isForeseen ? error.message : "internal error in pgvpd");
    return lastWord;
  }

  /** What every record of this session says. */
  fields(): LogFields {
    return {
      peer: this.peer,
      ...this.facts,
      ms: Math.round(performance.now() - this.startedAt),
    };
  }

  #remember(sqlState: string, reason: string): void {
    const { connection, meters } = this.options;
    const cut = (text: string) => text.slice(0, TEXT_LENGTH_MAX);
    const user = this.login.user === null ? null : cut(this.login.user);
    const refusal = { connection, peer: this.peer, user, sqlState, reason: cut(reason) };
    meters.refusals.add({ ...refusal, at: new Date() });
  }

  #tell(result: LoginRecord["result"], sqlState: string | null, reason: string | null): void {
    if (this.#isTold) return;
    this.#isTold = true;
    const { connection, meters, observer } = this.options;
    meters.logins.add(result);
    if (sqlState !== null) this.#remember(sqlState, reason ?? "");
    if (observer === null) return;
    const { user, context, method, isEncrypted } = this.login;
    observer.loginEnded({
      ...{ connection, peer: this.peer, isEncrypted, user, method, result, sqlState, reason },
      ...this.facts,
      context: context === null
        ? null
        : Object.fromEntries(context.settings.map(({ name, value }) => [name, value])),
      startedAt: this.startedDate,
      ms: performance.now() - this.startedAt,
    });
  }
}
