// Proxy: the running whole. Listeners, accept loops, the sessions, and how everything ends.

import { SqlState } from "./codec/codes.ts";
import { PgError } from "./codec/error.ts";
import { logger } from "./log.ts";
import { addressText, dial, listen } from "./net/address.ts";
import type { Listener } from "./net/tcp.ts";
import type { Transport } from "./net/transport.ts";
import { Admission, type Slot } from "./session/admission.ts";
import { Session, type SessionOptions } from "./session/session.ts";

/** What a proxy needs; the names are those of the settings, times are in milliseconds. */
export interface ProxyOptions {
  readonly listenHost: readonly string[];
  readonly port: number;
  readonly upstreamHost: string;
  readonly upstreamPort: number;
  readonly tenantSeparator: string;
  readonly contextVariables: readonly string[];
  readonly valueSeparator: string;
  readonly superuserBypass: readonly string[];
  readonly setRole: string | null;
  readonly handshakeTimeout: number;
  readonly maxClientConnections: number;
  readonly tcpKeepalive: boolean;
  readonly unixSocketMode: number;
}

/** Waiting times after a failed accept: doubled each time, so that a lasting fault costs nothing. */
const ACCEPT_RETRY_MS_MIN = 50;
const ACCEPT_RETRY_MS_MAX = 1_000;
/** Clients that may be told at once that the house is full; beyond, sockets are just closed. */
const REFUSALS_MAX = 100;

const SHUTDOWN = new PgError(
  SqlState.AdminShutdown,
  "terminating connection because pgvpd is shutting down",
  { hint: "Reconnect." },
);

/** A running proxy. */
export class Proxy {
  readonly #listeners: readonly Listener[];
  readonly #admission: Admission;
  #sessionOptions: SessionOptions;
  readonly #sessions = new Map<Session, Promise<void>>();
  readonly #log = logger("server");
  /** The accept loops: a unix socket's file is removed when its loop has ended. */
  #accepting: readonly Promise<void>[] = [];
  #connectionsTotal = 0;
  #refusals = 0;
  #stopping = false;

  private constructor(options: ProxyOptions, listeners: readonly Listener[]) {
    this.#admission = new Admission(options.maxClientConnections);
    this.#sessionOptions = sessionOptions(options);
    this.#listeners = listeners;
  }

  /** Listens and serves. Throws what listening throws, with nothing left open. */
  static async start(options: ProxyOptions): Promise<Proxy> {
    const proxy = new Proxy(options, await listenOnAll(options));
    proxy.#accepting = proxy.#listeners.map((listener) => proxy.#acceptFrom(listener));
    return proxy;
  }

  /**
   * Takes new settings for the sessions that begin from now on; those that are open keep theirs.
   * Where it listens, and what it has accepted, stays.
   */
  reload(options: ProxyOptions): void {
    this.#admission.clientsMax = options.maxClientConnections;
    this.#sessionOptions = sessionOptions(options);
  }

  /** Where clients connect. */
  get addresses(): string[] {
    return this.#listeners.map((listener) => listener.address);
  }

  /** The port that is listened on; also when a free one was asked for. */
  get port(): number {
    return this.#listeners[0]!.port;
  }

  /** Clients connected now. */
  get connectionsActive(): number {
    return this.#admission.active;
  }

  /** Every client that was ever accepted. */
  get connectionsTotal(): number {
    return this.#connectionsTotal;
  }

  /**
   * Stops accepting, ends each session when nothing it asked for is under way, and the rest when
   * `graceMs` is over. Resolves when every session has ended.
   */
  async stop(graceMs: number): Promise<void> {
    this.#stopListening();
    for (const session of this.#sessions.keys()) session.drain(SHUTDOWN);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const overdue = new Promise((resolve) => timer = setTimeout(resolve, graceMs));
    await Promise.race([overdue, Promise.all(this.#sessions.values())]);
    clearTimeout(timer);
    await Promise.all([...this.#sessions.keys()].map((session) => session.close(SHUTDOWN)));
    await Promise.all([...this.#sessions.values(), ...this.#accepting]);
  }

  #stopListening(): void {
    if (this.#stopping) return;
    this.#stopping = true;
    for (const listener of this.#listeners) listener.close();
  }

  async #acceptFrom(listener: Listener): Promise<void> {
    let retryMs = ACCEPT_RETRY_MS_MIN;
    while (!this.#stopping) {
      try {
        const client = await listener.accept();
        retryMs = ACCEPT_RETRY_MS_MIN;
        this.#admit(client);
      } catch (error) {
        if (this.#stopping) return;
        // Descriptors may be exhausted, or the peer was gone before we came to it: go on.
        this.#log.error("could not accept a connection", {
          listener: listener.address,
          error: error instanceof Error ? error.message : String(error),
          retry_in_ms: retryMs,
        });
        await new Promise((resolve) => setTimeout(resolve, retryMs));
        retryMs = Math.min(retryMs * 2, ACCEPT_RETRY_MS_MAX);
      }
    }
  }

  #admit(client: Transport): void {
    const connection = ++this.#connectionsTotal;
    const { slot, refusal } = this.#takeSlot();
    if (slot === null) {
      this.#log.warn("client closed without a word: too many are being refused", {
        peer: client.peer,
      });
      return client.close();
    }
    const log = logger("session").with({ connection });
    const session = new Session(client, { ...this.#sessionOptions, refusal }, log);
    const life = session.run().finally(() => {
      slot[Symbol.dispose]();
      this.#sessions.delete(session);
    });
    this.#sessions.set(session, life);
  }

  /** A place for a client, or, when the house is full, for the time it takes to tell it so. */
  #takeSlot(): { slot: Slot | null; refusal: PgError | null } {
    try {
      return { slot: this.#admission.admit(), refusal: null };
    } catch (error) {
      if (!(error instanceof PgError)) throw error;
      if (this.#refusals >= REFUSALS_MAX) return { slot: null, refusal: error };
      this.#refusals++;
      return { slot: { [Symbol.dispose]: () => void this.#refusals-- }, refusal: error };
    }
  }
}

function sessionOptions(options: ProxyOptions): SessionOptions {
  const { upstreamHost, upstreamPort, tcpKeepalive } = options;
  return {
    tenantSeparator: options.tenantSeparator,
    contextVariables: options.contextVariables,
    valueSeparator: options.valueSeparator,
    superuserBypass: options.superuserBypass,
    setRole: options.setRole,
    handshakeMsMax: options.handshakeTimeout,
    refusal: null,
    upstreamAddress: addressText(upstreamHost, upstreamPort),
    dial: (signal) => dial(upstreamHost, upstreamPort, signal, { keepAlive: tcpKeepalive }),
  };
}

async function listenOnAll(options: ProxyOptions): Promise<Listener[]> {
  const { port, tcpKeepalive: keepAlive, unixSocketMode } = options;
  const listeners: Listener[] = [];
  try {
    for (const host of options.listenHost) {
      listeners.push(await listen(host, port, { keepAlive, unixSocketMode }));
    }
  } catch (error) {
    for (const listener of listeners) listener.close();
    throw error;
  }
  return listeners;
}
