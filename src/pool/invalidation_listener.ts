// InvalidationListener: one connection that is told what resolvers must forget, and kept up.

import { BackendMessage, FrontendMessage } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { encodeQuery } from "../codec/frontend.ts";
import { MessageReader } from "../codec/reader.ts";
import { type Clock, systemClock } from "./clock.ts";
import { Conversation, isAsynchronous, malformedReply } from "./conversation.ts";
import type { PooledBackend } from "./pooled_backend.ts";
import { StatementFailed } from "./statements.ts";

/** The channel; `pgvpd_invalidate()` of sql/helpers.sql notifies it. */
export const INVALIDATION_CHANNEL = "pgvpd_invalidate";

const LISTEN = encodeQuery(`LISTEN ${INVALIDATION_CHANNEL}`);
const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 5_000;
/** A connection that has died without a word is found out so. */
const PING_EVERY_MS = 30_000;
const PING_MS_MAX = 10_000;

/** Who is told. */
export interface InvalidationEvents {
  /** From now on every notification comes; what happened before did not. */
  listening(): void;
  notified(payload: string): void;
  /** From now on none comes. Called once for each `listening`. */
  deaf(): void;
  /** It could not be opened, or was lost; the next attempt follows. */
  failed(error: unknown): void;
}

/** Opens the connection, and opens it again, until it is closed. */
export class InvalidationListener {
  readonly #open: (signal: AbortSignal) => Promise<PooledBackend>;
  readonly #events: InvalidationEvents;
  readonly #clock: Clock;
  readonly #closed = new AbortController();
  #isListening = false;
  #life: Promise<void>;

  constructor(
    open: (signal: AbortSignal) => Promise<PooledBackend>,
    events: InvalidationEvents,
    clock: Clock = systemClock,
  ) {
    this.#open = open;
    this.#events = events;
    this.#clock = clock;
    this.#life = this.#run();
  }

  get isListening(): boolean {
    return this.#isListening;
  }

  /** It is deaf at once. Resolves when the connection is closed. */
  close(): Promise<void> {
    this.#closed.abort();
    this.#turnDeaf();
    return this.#life;
  }

  #turnDeaf(): void {
    if (!this.#isListening) return;
    this.#isListening = false;
    this.#events.deaf();
  }

  async #run(): Promise<void> {
    const { signal } = this.#closed;
    let retryMs = RETRY_MS_MIN;
    while (!signal.aborted) {
      try {
        const member = await this.#open(signal);
        retryMs = RETRY_MS_MIN;
        await this.#listen(member, signal);
      } catch (error) {
        if (!signal.aborted) this.#events.failed(error);
      }
      this.#turnDeaf();
      if (signal.aborted) return;
      await this.#pause(retryMs * (1 + Math.random()) / 2);
      retryMs = Math.min(retryMs * 2, RETRY_MS_MAX);
    }
  }

  /** Rejects when the connection is over. */
  async #listen(member: PooledBackend, signal: AbortSignal): Promise<void> {
    const close = () => member.close();
    signal.addEventListener("abort", close, { once: true });
    if (signal.aborted) close(); // while it was opened, and too late for that to hear of it
    const ear = new Ear(member, this.#clock, () => {
      if (signal.aborted) return;
      this.#isListening = true;
      this.#events.listening();
    }, (payload) => this.#events.notified(payload));
    try {
      await ear.result;
    } finally {
      ear.stop();
      signal.removeEventListener("abort", close);
      member.close();
      await member.ended;
    }
  }

  #pause(ms: number): Promise<void> {
    const { signal } = this.#closed;
    return new Promise((resolve) => {
      const end = () => {
        cancel();
        signal.removeEventListener("abort", end);
        resolve();
      };
      const cancel = this.#clock.after(ms, end);
      signal.addEventListener("abort", end);
    });
  }
}

/** Says LISTEN, and says it again now and then: the answer shows that somebody is there. */
class Ear extends Conversation<never> {
  readonly #clock: Clock;
  readonly #onListening: () => void;
  readonly #onNotified: (payload: string) => void;
  #cancelTimer = () => {};
  #answered = false;

  constructor(
    member: PooledBackend,
    clock: Clock,
    onListening: () => void,
    onNotified: (payload: string) => void,
  ) {
    super(member.backend);
    this.#clock = clock;
    this.#onListening = onListening;
    this.#onNotified = onNotified;
    this.#say();
  }

  protected message(type: number, bytes: Uint8Array, start: number, end: number): void {
    switch (type) {
      case BackendMessage.NotificationResponse: {
        const reader = new MessageReader(bytes, start, end);
        reader.int32();
        const channel = reader.cstring();
        if (channel === INVALIDATION_CHANNEL) this.#onNotified(reader.cstring());
        return;
      }
      case BackendMessage.CommandComplete:
        return;
      case BackendMessage.ReadyForQuery:
        this.#cancelTimer();
        this.#cancelTimer = this.#clock.after(PING_EVERY_MS, () => this.#say());
        if (!this.#answered) this.#onListening();
        this.#answered = true;
        return;
    }
    if (!isAsynchronous(type)) throw malformedReply();
  }

  /** Says nothing any more. */
  stop(): void {
    this.#cancelTimer();
  }

  #say(): void {
    this.#cancelTimer = this.#clock.after(PING_MS_MAX, () => this.backend.close());
    this.backend.ledger.request(FrontendMessage.Query);
    this.backend.send(LISTEN).catch(() => this.backend.close());
  }
}

/** Why, for the log. */
export function failureText(error: unknown): string {
  if (error instanceof PgError || error instanceof StatementFailed) {
    return `${error.message} (${error.sqlState})`;
  }
  return error instanceof Error ? error.message : String(error);
}
