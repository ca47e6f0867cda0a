// LiveContext: one session's context, how it was derived, and whether it is still true.

import { SessionContext, type Setting } from "../context/context.ts";
import { Resolution, type ResolverCall, type ResolverValues } from "../context/resolution.ts";
import type { Question } from "../context/resolver_cache.ts";
import type { ResolverPlan } from "../context/resolver_plan.ts";
import type { ResolverQuery, ResolverReplies } from "../protocol/resolver_query.ts";

/** Runs queries where no connections for resolvers are configured. */
export interface QueryRunner {
  /** It is one client's own connection: what it answers may be true for that client alone. */
  readonly isPrivate: boolean;
  run(query: ResolverQuery, signal: AbortSignal): Promise<ResolverReplies>;
}

/** Who has a context. */
export interface ContextHolder {
  /** What the context was derived from has changed; `live.stale` says so until it is renewed. */
  contextInvalidated(policy: "refresh" | "close"): void;
}

/** Whose context is to be resolved. */
export interface ResolverClient {
  /** The plan of the moment when it came. */
  readonly plan: ResolverPlan;
  /** The route's id; null for the upstream of all. */
  readonly upstream: string | null;
  /** The one that the client has asked for, or its route's. */
  readonly database: string;
  /** The role that its server connection is logged in as. */
  readonly loginRole: string;
  /** What the user name says. */
  readonly known: readonly Setting[];
  /** The session's role, unless a resolver says which. */
  readonly role: string;
  /** Settings of its tenant that the session begins with; what resolvers say goes before them. */
  readonly defaults: readonly Setting[];
}

/** Answers questions, from wherever it has the answers. */
export interface Oracle {
  /** The role that resolvers run as, for this client. */
  askerFor(client: ResolverClient): string;
  /** The place, as text, that a client's resolvers run in. */
  databaseFor(client: ResolverClient): string;
  ask(
    question: Question,
    call: ResolverCall,
    runner: QueryRunner | null,
    signal: AbortSignal,
  ): Promise<ResolverValues>;
  /** From now on the session hears when an answer to the question is not true any more. */
  watch(question: Question, live: LiveContext): void;
  unwatch(question: Question, live: LiveContext): void;
}

/** Belongs to one session, which disposes of it. */
export class LiveContext implements Disposable {
  /** Something that it was derived from has changed since it was asked. */
  stale = false;
  /** Null until it has been resolved. */
  #context: SessionContext | null = null;
  readonly #oracle: Oracle;
  readonly #onDispose: () => void;
  /** What it was derived from. */
  #questions: Question[] = [];
  #isDisposed = false;

  constructor(
    oracle: Oracle,
    readonly client: ResolverClient,
    readonly holder: ContextHolder,
    onDispose: () => void,
  ) {
    this.#oracle = oracle;
    this.#onDispose = onDispose;
  }

  /**
   * Derives the context. When it is the same as before, it is the same object.
   *
   * @param runner where there are no connections for resolvers; null: there is no way then.
   * @param onPhase is told what is being waited for.
   * @throws {PgError} 28000 · the signal's reason.
   */
  async resolve(
    runner: QueryRunner | null,
    signal: AbortSignal,
    onPhase: (phase: string) => void = () => {},
  ): Promise<SessionContext> {
    this.stale = false;
    this.#forgetQuestions();
    const { plan, known, role, defaults } = this.client;
    const resolution = new Resolution(plan, known);
    const failed = new AbortController();
    const until = AbortSignal.any([signal, failed.signal]);
    const running = new Map<string, Promise<void>>();
    try {
      for (;;) {
        for (const call of resolution.begin()) {
          const { name } = call.resolver;
          const answered = this.#ask(call, runner, until).then((values) => {
            running.delete(name);
            resolution.answer(call.resolver, values);
          });
          answered.catch(() => {}); // the first failure is told
          running.set(name, answered);
        }
        if (running.size === 0) break;
        onPhase(`running resolver ${[...running.keys()].join(", ")}`);
        await Promise.race(running.values());
      }
    } catch (error) {
      failed.abort(error);
      throw error;
    }
    const settings = [...known, ...resolution.settings];
    const names = new Set(settings.map(({ name }) => name.toLowerCase()));
    const context = new SessionContext(
      settings,
      resolution.role ?? role,
      defaults.filter(({ name }) => !names.has(name.toLowerCase())),
    );
    if (this.#context?.key === context.key) return this.#context;
    return this.#context = context;
  }

  /** Whether it would be another one now; also when that cannot be found out. */
  async hasChanged(signal: AbortSignal): Promise<boolean> {
    const before = this.#context;
    try {
      return await this.resolve(null, signal) !== before;
    } catch {
      return true;
    }
  }

  /** Tells the session; once, until the context is derived anew. */
  invalidated(policy: "refresh" | "close"): void {
    if (this.stale) return;
    this.stale = true;
    this.holder.contextInvalidated(policy);
  }

  [Symbol.dispose](): void {
    this.#forgetQuestions();
    this.#isDisposed = true;
    this.#onDispose();
  }

  #forgetQuestions(): void {
    for (const question of this.#questions) this.#oracle.unwatch(question, this);
    this.#questions = [];
  }

  #ask(
    call: ResolverCall,
    runner: QueryRunner | null,
    signal: AbortSignal,
  ): Promise<ResolverValues> {
    const { name, fingerprint } = call.resolver;
    const question = {
      database: this.#oracle.databaseFor(this.client),
      asker: this.#oracle.askerFor(this.client),
      resolver: name,
      fingerprint,
      inputs: call.inputs,
    };
    if (!this.#isDisposed) {
      this.#questions.push(question);
      this.#oracle.watch(question, this);
    }
    return this.#oracle.ask(question, call, runner, signal);
  }
}
