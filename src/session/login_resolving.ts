// Resolvers during a login that is relayed: they have answered before the context is established.
// Where they have no connections of their own, they ask on the client's, between its greeting and
// its context, one after the other.

import { BackendMessage } from "../codec/codes.ts";
import type { SessionContext } from "../context/context.ts";
import { succeeded } from "../pool/resolver_connections.ts";
import {
  encodeResolverQuery,
  type ResolverQuery,
  ResolverReplies,
} from "../protocol/resolver_query.ts";
import type { Deadline } from "./deadline.ts";
import type { LiveContext, QueryRunner } from "./live_context.ts";

interface Asked {
  readonly query: ResolverQuery;
  readonly replies: ResolverReplies;
  resolve(replies: ResolverReplies): void;
  reject(error: unknown): void;
}

/** Belongs to one attempt to log in, which disposes of it. */
export class LoginResolving implements Disposable {
  readonly #live: LiveContext;
  readonly #deadline: Deadline;
  readonly #abandoned = new AbortController();
  readonly #waiting: Asked[] = [];
  #asked: Asked | null = null;
  #context: SessionContext | null = null;
  #failure: { readonly error: unknown } | null = null;
  #phase = "running resolvers";
  #change = Promise.withResolvers<void>();
  /** It has the client's context already, and what the client brought. */
  readonly #runner: QueryRunner = {
    isPrivate: true,
    run: (query, signal) => this.#run(query, signal),
  };

  constructor(live: LiveContext, deadline: Deadline) {
    this.#live = live;
    this.#deadline = deadline;
  }

  /** What is being waited for, to follow "while". */
  get phase(): string {
    return this.#phase;
  }

  /** Resolves when there is something to be asked, or all is known. */
  get changed(): Promise<void> {
    return this.#change.promise;
  }

  /** The client has logged in. */
  start(): void {
    const signal = AbortSignal.any([this.#deadline.signal, this.#abandoned.signal]);
    this.#live.resolve(this.#runner, signal, (phase) => this.#phase = phase).then((context) => {
      this.#context = context;
      this.#tell();
    }, (error) => {
      this.#failure = { error };
      this.#tell();
    });
  }

  /** The context, as soon as all is known; throws why it cannot be. */
  outcome(): SessionContext | null {
    if (this.#failure !== null) throw this.#failure.error;
    return this.#context;
  }

  /** What is to be sent to the server now; null: nothing. */
  nextQuery(): Uint8Array | null {
    this.#change = Promise.withResolvers();
    if (this.#asked !== null) return null;
    this.#asked = this.#waiting.shift() ?? null;
    return this.#asked === null ? null : encodeResolverQuery(this.#asked.query);
  }

  /** Takes a message of the server; false when it answers nothing that was asked here. */
  takes(type: number, bytes: Uint8Array, start: number, end: number): boolean {
    const asked = this.#asked;
    if (asked === null) return false;
    // Settings are changed for a query and changed back: the client need not know.
    const isAside = type === BackendMessage.NoticeResponse ||
      type === BackendMessage.NotificationResponse || type === BackendMessage.ParameterStatus;
    if (isAside || !asked.replies.step(type, bytes, start, end)) return true;
    this.#asked = null;
    try {
      asked.resolve(succeeded(asked.replies));
    } catch (error) {
      asked.reject(error);
    }
    this.#tell();
    return true;
  }

  [Symbol.dispose](): void {
    this.#abandoned.abort();
  }

  #run(query: ResolverQuery, signal: AbortSignal): Promise<ResolverReplies> {
    const { promise, resolve, reject } = Promise.withResolvers<ResolverReplies>();
    this.#waiting.push({ query, replies: new ResolverReplies(), resolve, reject });
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    if (signal.aborted) reject(signal.reason);
    this.#tell();
    return promise;
  }

  #tell(): void {
    this.#change.resolve();
  }
}
