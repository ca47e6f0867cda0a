// ResolverCache: what resolvers have answered, for as long as it may be believed, and whose
// question is being asked right now. Time is handed in; who waits is called back.

import { type Asked, AskedIndex, type Invalidation } from "./invalidation.ts";
import type { ResolverValues } from "./resolution.ts";

/** What all answers together may take. */
const BYTES_MAX = 64 * 1024 * 1024;
/** What an entry takes beside its texts. */
const ENTRY_BYTES = 200;

/** What was asked: nothing that could make the answer another one is missing. */
export interface Question extends Asked {
  /** The role that asks. */
  readonly asker: string;
  /** The definition as a whole. */
  readonly fingerprint: string;
}

/** Whoever waits for an answer; one of the two is called, once. */
export interface Passenger {
  answered(values: ResolverValues): void;
  failed(error: unknown): void;
}

interface Entry {
  readonly question: Question;
  readonly values: ResolverValues;
  readonly expiresAt: number;
  readonly bytes: number;
}

/** One question on its way, and those who wait for its answer. */
export class Flight {
  readonly #passengers = new Set<Passenger>();
  readonly #onLanded: () => void;
  #onDeserted: () => void = () => {};

  /** @param keeps takes the answer; it is not called when that has become worthless meanwhile. */
  constructor(readonly keeps: (values: ResolverValues) => void, onLanded: () => void) {
    this.#onLanded = onLanded;
  }

  board(passenger: Passenger): void {
    this.#passengers.add(passenger);
  }

  /** Nobody may be waiting any more then. */
  leave(passenger: Passenger): void {
    if (this.#passengers.delete(passenger) && this.#passengers.size === 0) {
      this.#onLanded();
      this.#onDeserted();
    }
  }

  /** What to do when all have left. */
  set onDeserted(callback: () => void) {
    this.#onDeserted = callback;
  }

  land(values: ResolverValues): void {
    this.keeps(values);
    this.#onLanded();
    for (const passenger of this.#passengers) passenger.answered(values);
    this.#passengers.clear();
  }

  /** Errors are told to those who wait, and not kept. */
  crash(error: unknown): void {
    this.#onLanded();
    for (const passenger of this.#passengers) passenger.failed(error);
    this.#passengers.clear();
  }
}

/** Least recently used answers go first. */
export class ResolverCache {
  readonly #entries = new Map<string, Entry>();
  readonly #flights = new Map<string, { readonly question: Question; readonly flight: Flight }>();
  /** The keys of both. */
  readonly #keys = new AskedIndex<string>();
  #sizeMax: number;
  #bytes = 0;

  /** @param now in milliseconds, monotonic. */
  constructor(readonly now: () => number, sizeMax: number) {
    this.#sizeMax = sizeMax;
  }

  get size(): number {
    return this.#entries.size;
  }

  set sizeMax(sizeMax: number) {
    this.#sizeMax = sizeMax;
    this.#shrink();
  }

  /** Undefined when nothing is known; null is an answer. */
  find(question: Question): ResolverValues | undefined {
    const key = keyOf(question);
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    if (this.now() >= entry.expiresAt) {
      this.#remove(key, entry);
      return undefined;
    }
    this.#entries.delete(key); // and in again, as the one that was used last
    this.#entries.set(key, entry);
    return entry.values;
  }

  /**
   * The flight with this question; when it `isNew`, the caller must see to it that it lands or
   * crashes.
   *
   * @param ttlMs from now, when the question is asked, and not from when it is answered.
   */
  fly(question: Question, ttlMs: number): { readonly flight: Flight; readonly isNew: boolean } {
    const key = keyOf(question);
    const known = this.#flights.get(key);
    if (known !== undefined) return { flight: known.flight, isNew: false };
    const expiresAt = this.now() + ttlMs;
    const isInTheAir = () => this.#flights.get(key)?.flight === flight;
    const flight: Flight = new Flight(
      (values) => {
        if (isInTheAir()) this.#keep(key, question, values, expiresAt);
      },
      () => {
        if (isInTheAir()) this.#ground(key, question);
      },
    );
    this.#flights.set(key, { question, flight });
    this.#keys.add(question, key);
    return { flight, isNew: true };
  }

  /** Where answers are from that are kept or on their way. */
  places(): Set<string> {
    for (const [key, entry] of this.#entries) {
      if (this.now() >= entry.expiresAt) this.#remove(key, entry);
    }
    return this.#keys.databases;
  }

  /** Forgets answers; those on their way are for those who wait already, and not kept. */
  invalidate(event: Invalidation): void {
    for (const key of this.#keys.find(event)) {
      const flying = this.#flights.get(key);
      if (flying !== undefined) this.#ground(key, flying.question);
      const entry = this.#entries.get(key);
      if (entry !== undefined) this.#remove(key, entry);
    }
  }

  #ground(key: string, question: Question): void {
    this.#flights.delete(key);
    this.#unindex(key, question);
  }

  #unindex(key: string, question: Question): void {
    if (!this.#entries.has(key) && !this.#flights.has(key)) this.#keys.remove(question, key);
  }

  #keep(key: string, question: Question, values: ResolverValues, expiresAt: number): void {
    const texts = [...values ?? [], ...question.inputs, key];
    const bytes = texts.reduce((sum, text) => sum + 2 * (text?.length ?? 0), ENTRY_BYTES);
    const old = this.#entries.get(key);
    if (old !== undefined) this.#remove(key, old);
    if (this.now() >= expiresAt) return;
    this.#entries.set(key, { question, values, expiresAt, bytes });
    this.#keys.add(question, key);
    this.#bytes += bytes;
    this.#shrink();
  }

  #shrink(): void {
    for (const [key, entry] of this.#entries) {
      if (this.#entries.size <= this.#sizeMax && this.#bytes <= BYTES_MAX) return;
      this.#remove(key, entry);
    }
  }

  #remove(key: string, entry: Entry): void {
    if (!this.#entries.delete(key)) return;
    this.#bytes -= entry.bytes;
    this.#unindex(key, entry.question);
  }
}

function keyOf({ database, asker, fingerprint, inputs }: Question): string {
  return JSON.stringify([database, asker, fingerprint, inputs]);
}
