// LiveContext: one session's context, how it was derived, and whether it is still true.

import { assert } from "../assert.ts";
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

/**
 * What became of the things that a context was derived from: they may have changed; they have; they
 * have, and the session is to end.
 */
export type ContextChange = "possible" | "refresh" | "close";

/** The stronger one last. */
const CHANGES: readonly (ContextChange | null)[] = [null, "possible", "refresh", "close"];

/** Who has a context. */
export interface ContextHolder {
  /** `live.stale` says so until it is renewed. */
  contextInvalidated(change: ContextChange): void;
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
  /** Whether it can answer without a runner. */
  readonly hasConnections: boolean;
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

/** A context as it was derived, and not yet the session's. */
interface Derived {
  readonly context: SessionContext;
  readonly questions: Question[];
  /** Every event up to this one came before anything was asked. */
  readonly events: number;
}

/** Belongs to one session, which disposes of it. */
export class LiveContext implements Disposable {
  /** Null until it has been resolved. */
  #context: SessionContext | null = null;
  readonly #oracle: Oracle;
  readonly #onDispose: () => void;
  /** What it was derived from. */
  #questions: Question[] = [];
  /** What is being asked: a look at it and its renewal may overlap. */
  readonly #underWay = new Set<Question[]>();
  /** Events that concerned it, and how many of them it was derived behind. */
  #events = 0;
  #eventsSeen = 0;
  /** The strongest that the session was told since the context was asked for last. */
  #told: ContextChange | null = null;
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

  /** Something that it was derived from has changed since it was asked. */
  get stale(): boolean {
    return this.#eventsSeen < this.#events;
  }

  /** As it was derived last; null before. */
  get context(): SessionContext | null {
    return this.#context;
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
    return this.#adopt(await this.#derive(runner, signal, onPhase));
  }

  /**
   * Whether it would be another one now; also when that cannot be found out. Where nobody can be
   * asked, it counts as true still: without connections for resolvers nobody hears of changes.
   */
  async hasChanged(signal: AbortSignal): Promise<boolean> {
    if (!this.#oracle.hasConnections) return false;
    try {
      const derived = await this.#derive(null, signal, () => {});
      const isSame = derived.context.key === this.#context?.key;
      const isOld = derived.events < this.#eventsSeen; // it has been renewed meanwhile
      if (isSame && !isOld) this.#adopt(derived);
      else this.#settle(derived.questions, this.#questions);
      return !isSame && !isOld;
    } catch {
      return this.#oracle.hasConnections;
    }
  }

  /** Tells the session, unless it has been told as much since the context was asked for. */
  invalidated(change: ContextChange): void {
    this.#events++;
    if (CHANGES.indexOf(change) <= CHANGES.indexOf(this.#told)) return;
    this.#told = change;
    this.holder.contextInvalidated(change);
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    for (const question of [this.#questions, ...this.#underWay].flat()) {
      this.#oracle.unwatch(question, this);
    }
    this.#onDispose();
  }

  async #derive(
    runner: QueryRunner | null,
    signal: AbortSignal,
    onPhase: (phase: string) => void,
  ): Promise<Derived> {
    const events = this.#events;
    const questions: Question[] = [];
    this.#told = null;
    this.#underWay.add(questions);
    const { plan, known, role, defaults } = this.client;
    const failed = new AbortController();
    const until = AbortSignal.any([signal, failed.signal]);
    const running = new Map<string, Promise<void>>();
    try {
      const resolution = new Resolution(plan, known);
      for (;;) {
        for (const call of resolution.begin()) {
          const { name } = call.resolver;
          const answered = this.#ask(call, questions, runner, until).then((values) => {
            resolution.answer(call.resolver, values);
            running.delete(name); // one that has failed stays, so that it is found below
          });
          answered.catch(() => {}); // the first failure is told
          running.set(name, answered);
        }
        if (running.size === 0) break;
        onPhase(`running resolver ${[...running.keys()].join(", ")}`);
        await Promise.race(running.values());
      }
      assert(resolution.isOver, "a context is derived only when every resolver has answered");
      const settings = [...known, ...resolution.settings];
      const names = new Set(settings.map(({ name }) => name.toLowerCase()));
      const own = defaults.filter(({ name }) => !names.has(name.toLowerCase()));
      return {
        context: new SessionContext(settings, resolution.role ?? role, own),
        ...{ questions, events },
      };
    } catch (error) {
      failed.abort(error);
      this.#settle(questions, this.#questions);
      throw error;
    }
  }

  #adopt({ context, questions, events }: Derived): SessionContext {
    this.#settle(questions, questions);
    this.#eventsSeen = events;
    if (this.#context?.key === context.key) return this.#context;
    return this.#context = context;
  }

  /** These have been answered. From now on only those count that the context hangs on. */
  #settle(answered: Question[], hangsOn: Question[]): void {
    this.#underWay.delete(answered);
    const dropped = answered === hangsOn ? this.#questions : answered;
    this.#questions = hangsOn;
    if (dropped.length === 0 || this.#isDisposed) return;
    for (const question of dropped) this.#oracle.unwatch(question, this);
    // Some of them are among those that stay.
    for (const question of [hangsOn, ...this.#underWay].flat()) this.#oracle.watch(question, this);
  }

  #ask(
    call: ResolverCall,
    questions: Question[],
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
      questions.push(question);
      this.#oracle.watch(question, this);
    }
    return this.#oracle.ask(question, call, runner, signal);
  }
}
