// `pgvpd serve`: the proxy as a process. Settings, log, listeners, signals, and an orderly end.

import {
  ConfigError,
  differences,
  problemText,
  type ResolvedSettings,
  resolveSettings,
  type Settings,
} from "../config/config.ts";
import { configureLog, flushLog, logger } from "../log.ts";
import type { ResolverPlan } from "../context/resolver_plan.ts";
import { type FileContents, Proxy } from "../server.ts";
import { doctorOnStart } from "./doctor_start.ts";
import { CommandError, reasonOf } from "./failure.ts";
import { ServiceNotifier } from "./notify.ts";
import { writeAll } from "./output.ts";
import { requireUpstreamPermission } from "./permissions.ts";
import { loadResolvers, readResolvers } from "./resolver_file.ts";
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
  const { settings, warnings } = resolveSettings(readSources(from));
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
  const proxy = await startProxy(settings, { ...tls, tenants, resolvers });
  const service = new Service(from, { settings, tls, tenants, resolvers }, proxy);
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

async function startProxy(settings: Settings, files: FileContents): Promise<Proxy> {
  try {
    return await Proxy.start(settings, files);
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

/** What is in force at the start. */
interface InForce {
  readonly settings: Settings;
  readonly tls: LoadedTls;
  readonly tenants: LoadedTenants;
  readonly resolvers: ResolverPlan | null;
}

/** The running process: a proxy, the settings in force, and what signals do to them. */
class Service {
  readonly #from: SettingsArguments;
  readonly #proxy: Proxy;
  readonly #notifier = new ServiceNotifier(notifySocket());
  readonly #log = logger("process");
  readonly #ended = Promise.withResolvers<void>();
  #settings: Settings;
  #tls: LoadedTls;
  #tenants: LoadedTenants;
  #resolvers: ResolverPlan | null;
  #stopping = false;

  constructor(from: SettingsArguments, inForce: InForce, proxy: Proxy) {
    this.#from = from;
    this.#settings = inForce.settings;
    this.#tls = inForce.tls;
    this.#tenants = inForce.tenants;
    this.#resolvers = inForce.resolvers;
    this.#proxy = proxy;
  }

  /** Serves until a signal has ended it and every client has been let go. */
  async run(): Promise<void> {
    const onStop = (signal: Deno.Signal) => () => this.#stop(signal);
    Deno.addSignalListener("SIGTERM", onStop("SIGTERM"));
    Deno.addSignalListener("SIGINT", onStop("SIGINT"));
    if (Deno.build.os !== "windows") Deno.addSignalListener("SIGHUP", () => this.#reload());
    this.#log.info("pgvpd is ready", {
      listening: this.#proxy.addresses.join(", "),
      upstream: `${this.#settings.upstreamHost}:${this.#settings.upstreamPort}`,
      context_variables: this.#settings.contextVariables.join(","),
    });
    this.#logCertificates();
    this.#logResolvers();
    using _watch = new FileWatch(() => this.#files(), () => this.#reloadFiles());
    await this.#notifier.ready();
    await this.#ended.promise;
    flushLog();
    this.#log.info("pgvpd has stopped", { connections_total: this.#proxy.connectionsTotal });
  }

  #stop(signal: Deno.Signal): void {
    if (this.#stopping) {
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
  #reload(): void {
    if (this.#stopping) return;
    void this.#notifier.reloading();
    const read = this.#readAgain();
    if (read !== null) this.#apply(read);
    void this.#notifier.ready();
  }

  #readAgain(): ResolvedSettings | null {
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
      return null;
    }
  }

  #apply({ settings, warnings }: ResolvedSettings): void {
    for (const warning of warnings) this.#log.warn(warning);
    const changes = differences(this.#settings, settings);
    for (const { key, before, after, reloadable } of changes) {
      const fields = { key, before, after };
      if (reloadable) this.#log.info("setting changed", fields);
      else this.#log.warn("setting changed in the file, which needs a restart", fields);
    }
    // What needs a restart keeps its old value, so that the next reload tells it again.
    const kept = changes.filter((change) => !change.reloadable).map((change) => change.property);
    const old = this.#settings;
    this.#settings = {
      ...settings,
      ...Object.fromEntries(kept.map((property) => [property, old[property]])),
    };
    startLog(this.#settings);
    this.#reloadFiles();
    this.#log.info("configuration reloaded", { changes: changes.length });
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
    const { resolvers } = this.#settings;
    return [
      ...tlsFiles(this.#settings),
      ...tenantFiles(this.#settings),
      ...(resolvers === null ? [] : [resolvers]),
    ];
  }

  /** Takes what the files hold now; where that cannot be used, what they held before. */
  #reloadFiles(): void {
    if (this.#stopping) return;
    this.#reloadTls();
    this.#reloadTenants();
    this.#reloadResolvers();
    this.#proxy.reload(this.#settings, {
      ...this.#tls,
      tenants: this.#tenants,
      resolvers: this.#resolvers,
    });
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
