// Control: a running proxy as operators see it, and what they can have it do. The admin room, and
// whoever else serves operators, knows nothing else of it.

import type { Histogram, Meters, Refusal, Traffic } from "./meters.ts";

/** How a pool stands, and what it has done since it exists. Times are in milliseconds. */
export interface PoolView {
  /** What it is named by in requests: unique, and without a meaning. */
  readonly id: string;
  readonly database: string;
  /** As whom pgvpd logs in. */
  readonly role: string;
  /** The upstream of its own; null for that of all. */
  readonly upstream: string | null;
  readonly idle: number;
  readonly active: number;
  readonly opening: number;
  readonly waiting: number;
  /** How long the first of those who wait has waited. */
  readonly longestWaitMs: number;
  /** The last attempt to connect failed. */
  readonly isFailing: boolean;
  readonly checkouts: number;
  readonly reuses: number;
  readonly contextChanges: number;
  readonly opened: number;
  readonly openFailures: number;
  readonly timeouts: number;
  readonly refusals: number;
  readonly waitMs: number;
  /** Connections closed, by reason. */
  readonly closed: Readonly<Record<string, number>>;
}

/** What pools have done since the start, those included that are not there any more. */
export interface PoolTotals {
  readonly checkouts: number;
  readonly reuses: number;
  /** Connections that were to be opened, whether that succeeded or not. */
  readonly creates: number;
  readonly checkins: number;
  /** Connections that were not fit to be used again. */
  readonly discards: number;
  readonly timeouts: number;
  readonly contextChanges: number;
}

export interface ResolverTotals {
  readonly cacheHits: number;
  readonly cacheMisses: number;
  readonly cacheSize: number;
  readonly resolvers: readonly {
    readonly name: string;
    readonly executions: number;
    readonly errors: number;
  }[];
}

/** Logins refused for what holds for tenants, and sessions ended by their time limits. */
export interface TenantTotals {
  readonly rejectedDeny: number;
  readonly rejectedLimit: number;
  readonly rejectedRate: number;
  readonly timeouts: number;
}

/** Numbers of the whole. */
export interface Totals {
  readonly connectionsTotal: number;
  readonly connectionsActive: number;
  readonly pool: PoolTotals;
  readonly resolvers: ResolverTotals;
  readonly tenant: TenantTotals;
  readonly traffic: Traffic;
  /** Of tenants alone. */
  readonly tenantTraffic: Traffic;
  readonly auditLost: number;
}

/** A client that is connected. */
export interface ClientView extends Traffic {
  readonly id: number;
  readonly peer: string;
  readonly role: string | null;
  readonly database: string | null;
  /** As lists and limits know it; null for a bypass user. */
  readonly tenant: string | null;
  readonly state: "login" | "idle" | "waiting" | "busy" | "in transaction" | "paused";
  readonly applicationName: string;
  readonly isEncrypted: boolean;
  readonly connectedAt: Date;
  /** Why it keeps its server connection; null when it does not. */
  readonly pinned: string | null;
  /** The server's process that works for it; null when none does. */
  readonly backend: number | null;
}

/** A server connection, and what holds it. */
export interface BackendView {
  /** The pool's; null for one that is a client's alone. */
  readonly pool: string | null;
  readonly database: string;
  readonly role: string;
  readonly processId: number | null;
  readonly address: string;
  readonly state: "idle" | "active";
  /** Null while nobody has it. */
  readonly client: number | null;
  readonly tenant: string | null;
  readonly connectedAt: Date;
}

/** A tenant that is here, or was. */
export interface TenantView extends Traffic {
  readonly tenant: string;
  readonly connections: number;
  readonly active: number;
  readonly waiting: number;
  readonly isPaused: boolean;
  readonly isDenied: boolean;
}

export interface Readiness {
  readonly listening: boolean;
  readonly upstream: boolean;
  readonly draining: boolean;
}

/** A setting in force; secrets are masked. */
export interface SettingView {
  readonly key: string;
  readonly value: string;
  readonly origin: string;
  readonly default: string | null;
  readonly reloadable: boolean;
}

export interface CertificateView {
  readonly setting: string;
  readonly subject: string;
  readonly daysLeft: number;
}

/** Who has an order carried out: for the audit log. */
export interface Operator {
  readonly name: string;
  readonly from: string;
  readonly via: "http" | "console" | "signal";
}

export type LogLevelName = "debug" | "info" | "warn" | "error";

/** What was asked for cannot be done; the message says why, in a sentence for the operator. */
export class ControlError extends Error {
  override readonly name = "ControlError";

  constructor(readonly kind: "unknown" | "conflict" | "invalid", message: string) {
    super(message);
  }
}

/** What a reload has come to. */
export interface ReloadResult {
  /** Mistakes in the configuration; when there are some, everything stays as it was. */
  readonly problems: readonly string[];
  readonly changes: number;
}

/** Which answers of resolvers are to be forgotten. */
export interface InvalidationOrder {
  /** Null: of every resolver. */
  readonly resolver: string | null;
  /** Null: whoever they are about. */
  readonly inputs: readonly string[] | null;
}

/** A running proxy. What it shows is of the moment; nothing of it is kept up to date. */
export interface Control {
  readonly version: string;
  readonly startedAt: Date;
  readonly poolMode: "none" | "session" | "transaction";
  readonly meters: Meters;
  readonly eventLoopDelay: Histogram;

  totals(): Totals;
  readiness(): Promise<Readiness>;
  /** Those that are here, and those whose past is remembered. */
  tenants(): TenantView[];
  /** Null when nothing is known of it. */
  tenant(tenant: string): TenantView | null;
  clients(): ClientView[];
  pools(): PoolView[];
  backends(): BackendView[];
  /** The latest last. */
  refusals(): readonly Refusal[];
  settings(): SettingView[];
  certificates(): CertificateView[];

  /** Ends the sessions of a tenant, and cancels what runs for them; returns how many there were. */
  disconnectTenant(tenant: string, by: Operator): number;
  /** Holds the new transactions of a tenant, null: of all; returns how many sessions it has. */
  pause(tenant: string | null, by: Operator): number;
  /** Lets them go. @throws {ControlError} when it was not paused. */
  resume(tenant: string | null, by: Operator): number;
  /** Lets a tenant connect no more, until the process ends; returns how many sessions end. */
  deny(tenant: string, by: Operator): number;
  /** Takes `deny` back. @throws {ControlError} when the configuration denies it. */
  allow(tenant: string, by: Operator): void;
  /** Ends one client. @throws {ControlError} when there is none of this number. */
  disconnectClient(id: number, by: Operator): void;
  /**
   * Has the connections of a pool replaced: idle ones are closed now, the others as they come back.
   *
   * @param id null: of all pools.
   * @returns how many were there. @throws {ControlError} when there is no such pool.
   */
  drainPool(id: string | null, by: Operator): number;
  invalidateResolvers(order: InvalidationOrder, by: Operator): void;
  /** What SIGHUP does. */
  reload(by: Operator): ReloadResult;
  /** What SIGTERM does. */
  drain(by: Operator): void;
  setLogLevel(level: LogLevelName, by: Operator): void;
}

/** A table, or an act that was done: what one command of the console has come to. */
export interface ConsoleAnswer {
  /** The command's tag, as `SHOW` or `PAUSE`; empty for an empty command. */
  readonly tag: string;
  /** Left out when there is no table. */
  readonly table?: ConsoleTable;
  /** Told beside it. */
  readonly notice?: string;
}

export interface ConsoleTable {
  readonly columns: readonly string[];
  /** A number is sent as a number, null as NULL. */
  readonly rows: readonly (readonly (string | number | null)[])[];
}

/** Commands as text, for clients that speak PostgreSQL's protocol. */
export interface OperatorConsole {
  /** @throws {ControlError} for a command that is unknown, or cannot be carried out. */
  run(command: string, by: Operator): ConsoleAnswer;
}
