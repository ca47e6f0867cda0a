// What operators are told and can do while pgvpd runs: the audit log and the admin API.

import { AuditLog, type AuditTarget } from "../audit.ts";
import type { Settings } from "../config/config.ts";
import { AdminConsole } from "../admin/console.ts";
import type { Control, OperatorConsole } from "../control.ts";
import { logger } from "../log.ts";
import { endpoint } from "../net/tcp.ts";
import type { Act } from "../server_control.ts";
import type { GuardRecord, LoginRecord, SessionObserver } from "../session/records.ts";
import { CommandError, reasonOf } from "./failure.ts";
import { writeAll } from "./output.ts";
import { loadTelemetry } from "./telemetry.ts";

/** Records what happens; the admin API begins when there is a proxy to be seen. */
export class Operations implements SessionObserver {
  readonly #audit: AuditLog;
  #settings: Settings;
  /** Null until there is a proxy to be seen. */
  #console: OperatorConsole | null = null;
  #telemetry: SessionObserver | null = null;
  #admin: { readonly port: number; stop(): Promise<void> } | null = null;

  /** @throws {CommandError} when the audit log cannot be begun. */
  constructor(settings: Settings) {
    this.#settings = settings;
    try {
      this.#audit = new AuditLog(auditTarget(settings), logger("audit"));
    } catch (error) {
      throw new CommandError(`Cannot write audit_file "${settings.auditFile}": ${reasonOf(error)}`);
    }
  }

  get console(): OperatorConsole | null {
    return this.#console;
  }

  /** Records of the audit log that could not be written. */
  get auditLost(): number {
    return this.#audit.lost;
  }

  loginEnded(record: LoginRecord): void {
    this.#telemetry?.loginEnded(record);
    if (!this.#audit.isOn) return;
    const { connection, peer, isEncrypted, user, role, database, tenant, context } = record;
    const { method, result, sqlState, reason, ms } = record;
    this.#audit.record("login", {
      ...{ result, connection, peer, tls: isEncrypted, user, role, database, tenant },
      ...{ context, method, sqlstate: sqlState, reason, ms: Math.round(ms) },
    });
  }

  guardHit({ what, connection, peer, user, role, database, tenant }: GuardRecord): void {
    this.#audit.record("guard", { what, connection, peer, user, role, database, tenant });
  }

  /** An operator has done something, or was not allowed to. */
  acted({ act, target, outcome, by: { name, from, via } }: Act): void {
    logger("admin").info("act of an operator", { act, target, outcome, by: name, from, via });
    this.#audit.record("act", { act, target, outcome, operator: name, from, via });
  }

  /** Whoever may send signals has done so. */
  signalled(act: string, signal: Deno.Signal, outcome = "done"): void {
    const operator = { operator: "signal", from: signal, via: "signal" };
    this.#audit.record("act", { act, target: null, outcome, ...operator });
  }

  /**
   * Begins to answer operators: on the console, and with the admin API, when it is configured.
   *
   * @returns where the API is; null when it is not.
   * @throws {CommandError} when it cannot be listened there.
   */
  async start(control: Control): Promise<string | null> {
    this.#console = new AdminConsole(control);
    this.#telemetry = await loadTelemetry(control);
    const { adminPort, adminHost: host } = this.#settings;
    if (adminPort === null) return null;
    const { startAdmin } = await import("../admin/listen.ts");
    try {
      this.#admin = startAdmin(control, { host, port: adminPort }, () => ({
        token: this.#settings.adminToken,
        names: this.#settings.adminNames ?? [],
        metricsTenants: this.#settings.metricsTenants,
      }));
    } catch (error) {
      throw new CommandError(
        `Cannot listen on admin_host ${host} admin_port ${adminPort}: ${reasonOf(error)}`,
      );
    }
    return endpoint(host, this.#admin.port);
  }

  /** New settings; the audit log is opened again, also when they are the old ones. */
  reload(settings: Settings): void {
    this.#settings = settings;
    this.#audit.reopen(auditTarget(settings));
  }

  /** Resolves when nobody is answered any more. */
  async stop(): Promise<void> {
    await this.#admin?.stop();
    this.#audit[Symbol.dispose]();
  }
}

function auditTarget({ auditLog: kind, auditFile: path }: Settings): AuditTarget {
  if (kind === "file" && path !== null) return { kind, path };
  if (kind === "stdout") return { kind, write: (line) => writeAll(Deno.stdout, line) };
  return { kind: "off" };
}
