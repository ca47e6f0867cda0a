// `pgvpd serve`: the proxy as a process. Settings, log, listeners, signals, and an orderly end.

import denoJson from "../../deno.json" with { type: "json" };
import {
  ConfigError,
  definitionOf,
  describeEffective,
  differences,
  problemText,
  type ResolvedSettings,
  resolveSettings,
  type Settings,
} from "../config/config.ts";
import type { Control, LogLevelName, ReloadResult, SettingView } from "../control.ts";
import { configureLog, flushLog, logger } from "../log.ts";
import type { SealKey } from "../auth/seal.ts";
import { daysLeft } from "../net/certificates.ts";
import type { ResolverPlan } from "../context/resolver_plan.ts";
import { type FileContents, Proxy } from "../server.ts";
import { doctorOnStart } from "./doctor_start.ts";
import { CommandError, reasonOf } from "./failure.ts";
import { LoopDelay } from "./loop_delay.ts";
import { ServiceNotifier } from "./notify.ts";
import { Operations } from "./operations.ts";
import { writeAll } from "./output.ts";
import { requireUpstreamPermission } from "./permissions.ts";
import { loadResolvers, readResolvers } from "./resolver_file.ts";
import { loadSealKeys } from "./seal_file.ts";
import { readSources, type SettingsArguments } from "./settings.ts";
import {
  type LoadedTenants,
  loadTenantFiles,
  rereadTenantFiles,
  tenantFiles,
} from "./tenant_files.ts";
import { certificateFields, FileWatch, type LoadedTls, loadTls, tlsFiles } from "./tls_files.ts";

/** Runs the proxy until a signal ends it. Resolves to the exit code. */
export async function serve(from: SettingsArguments): Promise<number> {
  const resolved = resolveSettings(readSources(from));
  const { settings, warnings } = resolved;
  startLog(settings);
  for (const warning of warnings) logger("process").warn(warning);
  requireUpstreamPermission(settings);
  const tls = loadTls(settings);
  const tenants = loadTenantFiles(settings);
  for (const { options: { host, port } } of tenants.upstreams.values()) {
    requireUpstreamPermission({ upstreamHost: host, upstreamPort: port });
  }
  const resolvers = loadResolvers(settings);
  await doctorOnStart(settings, logger("doctor"));
  const sealKeys = loadSealKeys(settings);
  const operations = new Operations(settings);
  const proxy = await startProxy(settings, { ...tls, tenants, resolvers, sealKeys }, operations);
  const inForce = { resolved, tls, tenants, resolvers, sealKeys };
  const service = new Service(from, inForce, proxy, operations);
  await service.run();
  return 0;
}

function startLog(settings: Settings): void {
  configureLog({
    level: settings.logLevel,
    format: settings.logFormat,
    colour: Deno.stdout.isTerminal() && !Deno.noColor,
    write: (line) => writeAll(Deno.stdout, line),
  });
}

async function startProxy(
  settings: Settings,
  files: FileContents,
  operations: Operations,
): Promise<Proxy> {
  try {
    const console = () => operations.console;
    return await Proxy.start(settings, files, { observer: operations, console });
  } catch (error) {
    const hosts = settings.listenHost.join(", ");
    const { port, tlsPort } = settings;
    const ports = tlsPort === null ? `port ${port}` : `port ${port} or ${tlsPort}`;
    throw new CommandError(`Cannot listen on ${hosts} ${ports}: ${reasonOf(error)}`);
  }
}

/** NOTIFY_SOCKET, unless Deno's permissions keep it from being read. */
function notifySocket(): string | undefined {
  const variable = "NOTIFY_SOCKET";
  const { state } = Deno.permissions.querySync({ name: "env", variable });
  return state === "granted" ? Deno.env.get(variable) : undefined;
}

/** For telling them apart, never for showing. */
function keysText(keys: readonly SealKey[] | null): string {
  return keys === null ? "" : keys.map(({ name, hex }) => `${name} ${hex}`).join();
}

/** What is in force at the start. */
interface InForce {
  readonly resolved: ResolvedSettings;
  readonly tls: LoadedTls;
  readonly tenants: LoadedTenants;
  readonly resolvers: ResolverPlan | null;
  readonly sealKeys: readonly SealKey[] | null;
}

/** The running process: a proxy, the settings in force, and what signals do to them. */
class Service {
  readonly #from: SettingsArguments;
  readonly #proxy: Proxy;
  readonly #operations: Operations;
  readonly #loopDelay = new LoopDelay();
  readonly #notifier = new ServiceNotifier(notifySocket());
  readonly #log = logger("process");
  readonly #ended = Promise.withResolvers<void>();
  #resolved: ResolvedSettings;
  #settings: Settings;
  #tls: LoadedTls;
  #tenants: LoadedTenants;
  #resolvers: ResolverPlan | null;
  #sealKeys: readonly SealKey[] | null;
  #stopping = false;
  /** How often whoever may send signals has asked for the end. */
  #signals = 0;

  constructor(
    from: SettingsArguments,
    inForce: InForce,
    proxy: Proxy,
    operations: Operations,
  ) {
    this.#from = from;
    this.#operations = operations;
    this.#resolved = inForce.resolved;
    this.#settings = inForce.resolved.settings;
    this.#tls = inForce.tls;
    this.#tenants = inForce.tenants;
    this.#resolvers = inForce.resolvers;
    this.#sealKeys = inForce.sealKeys;
    this.#proxy = proxy;
  }

  /** Serves until a signal has ended it and every client has been let go. */
  async run(): Promise<void> {
    const onStop = (signal: Deno.Signal) => () => {
      this.#operations.signalled("drain", signal);
      this.#stop(signal);
    };
    Deno.addSignalListener("SIGTERM", onStop("SIGTERM"));
    Deno.addSignalListener("SIGINT", onStop("SIGINT"));
    const onReload = () => {
      const { problems, changes } = this.#reload();
      const isDone = problems.length === 0;
      this.#operations.signalled("reload", "SIGHUP", isDone ? `done, ${changes}` : "refused");
    };
    if (Deno.build.os !== "windows") Deno.addSignalListener("SIGHUP", onReload);
    const admin = await this.#startAdmin();
    this.#log.info("pgvpd is ready", {
      listening: this.#proxy.addresses.join(", "),
      upstream: `${this.#settings.upstreamHost}:${this.#settings.upstreamPort}`,
      context_variables: this.#settings.contextVariables.join(","),
      admin,
    });
    this.#logCertificates();
    this.#logResolvers();
    this.#logSealKeys();
    using _watch = new FileWatch(() => this.#files(), () => this.#reloadFiles());
    await this.#notifier.ready();
    await this.#ended.promise;
    await this.#operations.stop();
    flushLog();
    this.#log.info("pgvpd has stopped", { connections_total: this.#proxy.connectionsTotal });
  }

  async #startAdmin(): Promise<string | null> {
    try {
      return await this.#operations.start(this.#control());
    } catch (error) {
      await this.#proxy.stop(0);
      throw error;
    }
  }

  #control(): Control {
    return this.#proxy.controlIn({
      version: denoJson.version,
      startedAt: new Date(),
      eventLoopDelay: this.#loopDelay.histogram,
      settings: () => this.#settingViews(),
      certificates: () =>
        this.#tls.own.map(({ key: setting, identity: { subject, notAfter } }) => (
          { setting, subject, daysLeft: daysLeft(notAfter, new Date()) }
        )),
      reload: () => this.#reload(),
      drain: () => this.#stop("drain"),
      setLogLevel: (logLevel: LogLevelName) => startLog({ ...this.#settings, logLevel }),
      auditLost: () => this.#operations.auditLost,
      acted: (act) => this.#operations.acted(act),
    });
  }

  /** What is in force; what needs a restart keeps its old value, whatever the file says. */
  #settingViews(): SettingView[] {
    const resolved = { ...this.#resolved, settings: this.#settings };
    return describeEffective(resolved).map(({ key, value, origin }) => {
      const { default: usual, reloadable = false } = definitionOf(key);
      return { key, value, origin, default: usual, reloadable };
    });
  }

  /** @param signal or what else has been said. */
  #stop(signal: Deno.Signal | "drain"): void {
    if (signal !== "drain") this.#signals++;
    if (this.#stopping) {
      // An orchestrator drains first and sends its signal then.
      if (this.#signals < 2 || signal === "drain") return;
      this.#log.warn("second signal: ending at once", { signal });
      return this.#ended.resolve();
    }
    this.#stopping = true;
    this.#log.info("stopping: no new clients; waiting for those that are here", {
      signal,
      clients: this.#proxy.connectionsActive,
      seconds_at_most: this.#settings.shutdownTimeout / 1000,
    });
    void Promise.all([
      this.#notifier.stopping(),
      this.#proxy.stop(this.#settings.shutdownTimeout),
    ]).then(() => this.#ended.resolve());
  }

  /** Reads the configuration again and takes what can be taken; a bad one changes nothing. */
  #reload(): ReloadResult {
    if (this.#stopping) return { problems: ["pgvpd is stopping"], changes: 0 };
    void this.#notifier.reloading();
    this.#operations.reload(this.#settings); // the audit log may have been moved away
    const read = this.#readAgain();
    const isRead = "settings" in read;
    const changes = isRead ? this.#apply(read) : 0;
    void this.#notifier.ready();
    return { problems: isRead ? [] : read.problems, changes };
  }

  #readAgain(): ResolvedSettings | { readonly problems: string[] } {
    try {
      return resolveSettings(readSources(this.#from));
    } catch (error) {
      const mistakes = error instanceof ConfigError
        ? error.problems.map(problemText)
        : [error instanceof CommandError ? error.message : reasonOf(error)];
      for (const mistake of mistakes) this.#log.error(`configuration: ${mistake}`);
      this.#log.error("reload refused: the settings stay as they were", {
        problems: mistakes.length,
      });
      return { problems: mistakes };
    }
  }

  /** @returns how many settings have changed. */
  #apply(resolved: ResolvedSettings): number {
    const { settings, warnings } = resolved;
    this.#resolved = resolved;
    for (const warning of warnings) this.#log.warn(warning);
    const changes = differences(this.#settings, settings);
    for (const { key, before, after, reloadable } of changes) {
      const fields = { key, before, after };
      if (reloadable) this.#log.info("setting changed", fields);
      else this.#log.warn("setting changed in the file, which needs a restart", fields);
    }
    // What needs a restart keeps its old value, so that the next reload tells it again.
    const kept = changes.filter((change) => !change.reloadable).map((change) => change.property);
    // A token may go only with the place that needs none, which waits for the restart.
    const isPlaceKept = kept.some((property) => /^admin(Host|Port|OpenTo)$/.test(property));
    if (isPlaceKept && settings.adminToken === null) kept.push("adminToken");
    const old = this.#settings;
    this.#settings = {
      ...settings,
      ...Object.fromEntries(kept.map((property) => [property, old[property]])),
    };
    startLog(this.#settings);
    this.#operations.reload(this.#settings);
    this.#reloadFiles();
    this.#log.info("configuration reloaded", { changes: changes.length });
    return changes.length;
  }

  #reloadTenants(): void {
    const { tenants, mistakes } = rereadTenantFiles(this.#settings, this.#tenants);
    this.#tenants = tenants;
    for (const error of mistakes) {
      this.#log.error("files about tenants cannot be used: what they held before stays", { error });
    }
  }

  /** Every file that the settings name. */
  #files(): string[] {
    const { resolvers, sealKeyFile } = this.#settings;
    return [
      ...tlsFiles(this.#settings),
      ...tenantFiles(this.#settings),
      ...[resolvers, sealKeyFile].filter((path) => path !== null),
    ];
  }

  /** Takes what the files hold now; where that cannot be used, what they held before. */
  #reloadFiles(): void {
    if (this.#stopping) return;
    this.#reloadTls();
    this.#reloadTenants();
    this.#reloadResolvers();
    this.#reloadSealKeys();
    this.#proxy.reload(this.#settings, {
      ...this.#tls,
      tenants: this.#tenants,
      resolvers: this.#resolvers,
      sealKeys: this.#sealKeys,
    });
  }

  #reloadSealKeys(): void {
    try {
      const keys = loadSealKeys(this.#settings);
      const isNew = keysText(keys) !== keysText(this.#sealKeys);
      this.#sealKeys = keys;
      if (isNew) this.#logSealKeys();
    } catch (error) {
      this.#log.error("seal keys cannot be used: the old ones stay", {
        error: error instanceof CommandError ? error.message : reasonOf(error),
      });
    }
  }

  #logSealKeys(): void {
    const names = this.#sealKeys?.map(({ name }) => name).join(", ");
    if (names !== undefined) this.#log.info("contexts are sealed", { keys: names });
  }

  #reloadResolvers(): void {
    const { plan, mistakes } = readResolvers(this.#settings);
    for (const mistake of mistakes) this.#log.error(`resolvers: ${mistake}`);
    if (mistakes.length > 0) return this.#log.error("resolvers cannot be used: the old ones stay");
    const isNew = JSON.stringify(plan) !== JSON.stringify(this.#resolvers);
    this.#resolvers = plan;
    if (isNew) this.#logResolvers();
  }

  #logResolvers(): void {
    const { poolMode, resolverUser } = this.#settings;
    const resolvers = this.#resolvers?.resolvers ?? [];
    if (resolvers.length === 0) return;
    const names = resolvers.map(({ name }) => name).join(", ");
    this.#log.info("resolvers in use", { resolvers: names });
    const isPrivate = poolMode === "none" && resolverUser === null;
    if (!isPrivate || resolvers.every(({ cacheTtl }) => cacheTtl === 0)) return;
    this.#log.warn("cache_ttl means nothing without pools and resolver_user: every login asks");
  }

  #reloadTls(): void {
    try {
      const loaded = loadTls(this.#settings);
      const shown = ({ own }: LoadedTls) => own.map(({ identity }) => identity.certificates).join();
      const isNew = shown(loaded) !== shown(this.#tls);
      this.#tls = loaded;
      if (isNew) this.#logCertificates();
    } catch (error) {
      this.#log.error("certificates cannot be used: the old ones stay", {
        error: error instanceof CommandError ? error.message : reasonOf(error),
      });
    }
  }

  #logCertificates(): void {
    for (const own of this.#tls.own) {
      const { fields, isEnding } = certificateFields(own);
      if (isEnding) this.#log.warn("certificate in use ends soon", fields);
      else this.#log.info("certificate in use", fields);
    }
  }
}
