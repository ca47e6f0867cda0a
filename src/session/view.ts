// How a session stands, for operators.

import type { BackendView, ClientView } from "../control.ts";
import { NO_TRAFFIC, type Traffic } from "../meters.ts";
import type { PooledBackend } from "../pool/pooled_backend.ts";
import { activityOf, type AnyRelay, usageOf } from "./activity.ts";
import type { Route } from "./lending.ts";
import type { SessionRecords } from "./records.ts";
import { Relay } from "./relay.ts";

/** A session at this moment. */
export class SessionView {
  readonly #records: SessionRecords;
  readonly #relay: AnyRelay;
  readonly #route: Route | null;
  readonly #pinned: string | null;

  /**
   * @param tenant as lists and limits know it; null for a bypass user.
   * @param pinned why it keeps its server connection.
   */
  constructor(
    records: SessionRecords,
    readonly tenant: string | null,
    relay: AnyRelay,
    route: Route | null,
    pinned: string | null,
  ) {
    this.#records = records;
    this.#relay = relay;
    this.#route = route;
    this.#pinned = pinned;
  }

  get connection(): number {
    return this.#records.options.connection;
  }

  /** What it has moved so far; nothing when that belongs to the past already. */
  get traffic(): Traffic {
    return this.#records.isOver ? NO_TRAFFIC : usageOf(this.#relay);
  }

  get state(): ClientView["state"] {
    const relay = this.#relay;
    if (relay === null) return "login";
    return relay.hold.isWaiting ? "paused" : activityOf(relay);
  }

  get client(): ClientView {
    const { facts, login, peer, startedDate } = this.#records;
    return {
      ...{ id: this.connection, peer, tenant: this.tenant, state: this.state },
      role: facts?.role ?? null,
      database: facts?.database ?? null,
      applicationName: login.applicationName,
      isEncrypted: login.isEncrypted,
      connectedAt: startedDate,
      pinned: this.#pinned,
      backend: this.member?.processId ?? null,
      ...this.traffic,
    };
  }

  /** The pooled backend that works for it now. */
  get member(): PooledBackend | null {
    const relay = this.#relay;
    return relay === null || relay instanceof Relay ? null : relay.member;
  }

  /** The server connection that is its alone; null when it has none. */
  get dedicated(): BackendView | null {
    if (!(this.#relay instanceof Relay)) return null;
    const { id, tenant, role, database, connectedAt, state } = this.client;
    return {
      ...{ pool: null, processId: null, client: id, tenant, connectedAt },
      role: role ?? "",
      database: database ?? "",
      address: this.#route?.address ?? "",
      state: state === "idle" ? "idle" : "active",
    };
  }
}
