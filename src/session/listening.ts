// Listening: one listener for each place whose answers are believed, and none for longer than
// anything hangs on its answers.

import { type Clock, systemClock } from "../pool/clock.ts";
import { InvalidationListener } from "../pool/invalidation_listener.ts";
import type { PooledBackend } from "../pool/pooled_backend.ts";

/** Places that are listened to at once; answers from further ones are not kept. */
const LISTENERS_MAX = 100;
const LOOK_EVERY_MS = 60_000;
/** Who asks now and then shall find answers that are kept: that takes a listener beforehand. */
const UNUSED_MS_MAX = 300_000;

/** What is heard, and of which place; see `InvalidationEvents`. */
export interface ListeningEvents {
  listening(place: string): void;
  notified(place: string, payload: string): void;
  deaf(place: string): void;
  failed(place: string, error: unknown): void;
}

/** What the listeners stand in. */
export interface ListeningOptions {
  /** Opens a connection that is the caller's. */
  readonly open: (place: string, signal: AbortSignal) => Promise<PooledBackend>;
  /** The places that something hangs on now. */
  readonly places: () => ReadonlySet<string>;
  readonly clock?: Clock;
}

interface Listener {
  readonly listener: InvalidationListener;
  /** When something hung on it, or was asked there, for the last time that is known. */
  usedAt: number;
}

/** The listeners of one role. */
export class Listening {
  readonly #events: ListeningEvents;
  readonly #options: ListeningOptions;
  readonly #clock: Clock;
  readonly #listeners = new Map<string, Listener>();
  /** Listeners that are not needed any more, until their connections have ended. */
  readonly #closing = new Set<Promise<void>>();
  #isClosed = false;
  #cancelLook: (() => void) | null = null;

  constructor(options: ListeningOptions, events: ListeningEvents) {
    this.#options = options;
    this.#events = events;
    this.#clock = options.clock ?? systemClock;
  }

  /** Something was asked there: from now on, as far as there is room, it is listened to. */
  listenTo(place: string): void {
    const known = this.#listeners.get(place);
    if (known !== undefined) known.usedAt = this.#clock.now();
    if (known !== undefined || this.#isClosed) return;
    if (this.#listeners.size >= LISTENERS_MAX && !this.#closeUnused(0)) return;
    const { open } = this.#options;
    const listener = new InvalidationListener((signal) => open(place, signal), {
      listening: () => this.#events.listening(place),
      notified: (payload) => this.#events.notified(place, payload),
      deaf: () => this.#events.deaf(place),
      failed: (error) => this.#events.failed(place, error),
    });
    this.#listeners.set(place, { listener, usedAt: this.#clock.now() });
    this.#cancelLook ??= this.#clock.after(LOOK_EVERY_MS, () => this.#look());
  }

  /** Whether everything that happens there is heard. */
  isListeningTo(place: string): boolean {
    return this.#listeners.get(place)?.listener.isListening === true;
  }

  /** Resolves when every connection is closed. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelLook?.();
    for (const place of [...this.#listeners.keys()]) this.#close(place);
    await Promise.all(this.#closing);
  }

  #look(): void {
    this.#closeUnused(UNUSED_MS_MAX);
    const isEmpty = this.#listeners.size === 0;
    this.#cancelLook = isEmpty ? null : this.#clock.after(LOOK_EVERY_MS, () => this.#look());
  }

  /** Closes those that nothing has hung on for so long; says whether there was one. */
  #closeUnused(unusedMs: number): boolean {
    const now = this.#clock.now();
    const places = this.#options.places();
    const before = this.#listeners.size;
    for (const [place, listener] of this.#listeners) {
      if (places.has(place)) listener.usedAt = now;
      else if (now - listener.usedAt >= unusedMs) this.#close(place);
    }
    return this.#listeners.size < before;
  }

  #close(place: string): void {
    const closing = this.#listeners.get(place)!.listener.close();
    this.#listeners.delete(place);
    this.#closing.add(closing);
    void closing.then(() => this.#closing.delete(closing));
  }
}
