// A world for pools: a clock with hands to move, and servers that do what they are told.

import { strict as assert } from "node:assert";
import { PgError } from "../../src/codec/error.ts";
import type { Clock } from "../../src/pool/clock.ts";
import {
  type Connector,
  type Lease,
  Pool,
  type PoolMember,
  type PoolOptions,
} from "../../src/pool/pool.ts";

/** Lets everything happen that needs no time. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await Promise.resolve();
}

/** A clock that stands still until it is moved. */
export class FakeClock implements Clock {
  #now = 1_000;
  readonly #timers = new Set<{ readonly at: number; readonly callback: () => void }>();

  now(): number {
    return this.#now;
  }

  after(ms: number, callback: () => void): () => void {
    assert(ms >= 0 && ms < Infinity, `a timer of ${ms} ms`);
    const timer = { at: this.#now + ms, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Timers that have not gone off. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Moves on, and lets the timers go off in their order. */
  async advance(ms: number): Promise<void> {
    await settle();
    const end = this.#now + ms;
    for (;;) {
      const [next] = [...this.#timers].sort((a, b) => a.at - b.at);
      if (next === undefined || next.at > end) break;
      this.#now = next.at;
      this.#timers.delete(next);
      next.callback();
      await settle();
    }
    this.#now = end;
  }
}

/** A member; the test says when it dies, and what it was used for. */
export class FakeMember implements PoolMember {
  contextKey: string | null = null;
  isOpen = true;
  /** It ended by itself. */
  isDead = false;
  readonly #end = Promise.withResolvers<void>();
  readonly ended = this.#end.promise;

  constructor(readonly id: number) {}

  die(): void {
    this.isDead = true;
    this.close();
  }

  close(): void {
    this.isOpen = false;
    this.#end.resolve();
  }
}

/** Something that a server was asked and has not answered. */
export interface Question<T> {
  readonly signal: AbortSignal;
  answer(value: T): void;
  fail(error: unknown): void;
}

/** A server that answers at once, or when the test does it. */
export class FakeServer implements Connector<FakeMember> {
  readonly members: FakeMember[] = [];
  readonly opens: Question<FakeMember>[] = [];
  readonly checks: Question<boolean>[] = [];
  /** What it does with whoever opens a member; an error: it is down. */
  opening: "at once" | "asked" | Error = "at once";
  /** What it says of a member; `asked`: see `checks`. */
  checking: boolean | "asked" = true;
  attempts = 0;

  open(signal: AbortSignal): Promise<FakeMember> {
    this.attempts++;
    if (this.opening instanceof Error) return Promise.reject(this.opening);
    if (this.opening === "at once") return Promise.resolve(this.member());
    return ask(this.opens, signal);
  }

  isAlive(_member: FakeMember, signal: AbortSignal): Promise<boolean> {
    return this.checking === "asked" ? ask(this.checks, signal) : Promise.resolve(this.checking);
  }

  member(): FakeMember {
    const member = new FakeMember(this.members.length);
    this.members.push(member);
    return member;
  }

  /** Answers the open that waits for longest. */
  accept(): void {
    this.opens.shift()!.answer(this.member());
  }

  get openMembers(): number {
    return this.members.filter(({ isOpen }) => isOpen).length;
  }
}

function ask<T>(questions: Question<T>[], signal: AbortSignal): Promise<T> {
  const { promise, resolve: answer, reject: fail } = Promise.withResolvers<T>();
  questions.push({ signal, answer, fail });
  return promise;
}

/** A checkout whose end can be looked at without waiting for it. */
export class Checkout {
  lease: Lease<FakeMember> | null = null;
  error: unknown = null;
  readonly #abort: AbortController;

  constructor(
    begin: (signal: AbortSignal) => Promise<Lease<FakeMember>>,
    onEnd = (_checkout: Checkout) => {},
  ) {
    this.#abort = new AbortController();
    begin(this.#abort.signal).then(
      (lease) => this.lease = lease,
      (error) => this.error = error,
    ).then(() => onEnd(this));
  }

  get isWaiting(): boolean {
    return this.lease === null && this.error === null;
  }

  abort(): void {
    this.#abort.abort(new Error("the client went away"));
  }

  /** The lease, which must be there now. */
  get taken(): Lease<FakeMember> {
    assert(this.lease !== null, `no lease, but ${this.error ?? "waiting"}`);
    return this.lease;
  }

  /** Gives the member back, used for `contextKey`. */
  giveBack(contextKey: string | null = this.taken.member.contextKey): void {
    this.taken.member.contextKey = contextKey;
    this.taken.giveBack();
  }

  /** It was refused with this SQLSTATE; what the client reads must match too. */
  assertRefused(sqlState: string, ...patterns: readonly RegExp[]): void {
    const { error } = this;
    assert(error instanceof PgError, `no refusal, but ${error ?? "a lease or waiting"}`);
    assert.equal(error.sqlState, sqlState, error.message);
    const text = [error.message, error.fields.detail, error.fields.hint].join("\n");
    for (const pattern of patterns) assert.match(text, pattern);
  }
}

/** Settings under which nothing happens by itself. */
export const QUIET: PoolOptions = {
  size: 3,
  minIdle: 0,
  maxWaiting: 100,
  checkoutTimeoutMs: 5_000,
  idleTimeoutMs: Infinity,
  maxLifetimeMs: Infinity,
  checkAfterIdleMs: Infinity,
  retryMsMin: 100,
  retryMsMax: 1_000,
};

/** A pool with a server of its own. */
export function poolWorld(options: Partial<PoolOptions> = {}) {
  const clock = new FakeClock();
  const server = new FakeServer();
  const surroundings = { clock, random: () => 0.5 };
  const pool = new Pool("shop/app", { ...QUIET, ...options }, server, surroundings);
  const begin = (contextKey: string | null = null) =>
    new Checkout((signal) => pool.checkout(contextKey, signal));
  const checkout = async (contextKey: string | null = null) => {
    const begun = begin(contextKey);
    await settle();
    return begun;
  };
  const idle = async (...contextKeys: (string | null)[]) => {
    const taken = contextKeys.map((key) => begin(key));
    await settle();
    taken.forEach((one, index) => one.giveBack(contextKeys[index]));
    await settle();
  };
  return { clock, server, pool, begin, checkout, idle };
}
