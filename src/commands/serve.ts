// `pgvpd serve`: the proxy as a process. Settings, log, listeners, signals, and an orderly end.

import { resolveSettings, type Settings } from "../config/config.ts";
import { configureLog, logger } from "../log.ts";
import { Proxy, type ProxyOptions } from "../server.ts";
import { CommandError, reasonOf } from "./failure.ts";
import { writeAll } from "./output.ts";
import { readSources, type SettingsArguments } from "./settings.ts";

/** Runs the proxy until a signal ends it. Resolves to the exit code. */
export async function serve(from: SettingsArguments): Promise<number> {
  const resolved = resolveSettings(readSources(from));
  const { settings } = resolved;
  startLog(settings);
  const log = logger("process");
  for (const warning of resolved.warnings) log.warn(warning);
  const proxy = startProxy(settings);
  log.info("pgvpd is ready", {
    listening: proxy.addresses.join(", "),
    upstream: `${settings.upstreamHost}:${settings.upstreamPort}`,
    context_variables: settings.contextVariables.join(","),
  });
  await endedBySignal(proxy, settings);
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

function startProxy(settings: Settings): Proxy {
  const options: ProxyOptions = settings;
  try {
    return Proxy.start(options);
  } catch (error) {
    const hosts = settings.listenHost.join(", ");
    throw new CommandError(`Cannot listen on ${hosts} port ${settings.port}: ${reasonOf(error)}`);
  }
}

async function endedBySignal(proxy: Proxy, settings: Settings): Promise<void> {
  const log = logger("process");
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  let stopping = false;
  const onSignal = (signal: Deno.Signal) => {
    if (stopping) {
      log.warn("second signal: ending at once", { signal });
      return end();
    }
    stopping = true;
    log.info("stopping: no new clients; waiting for those that are here", {
      signal,
      clients: proxy.connectionsActive,
      seconds_at_most: settings.shutdownTimeout / 1000,
    });
    void proxy.stop(settings.shutdownTimeout).then(end);
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    Deno.addSignalListener(signal, () => onSignal(signal));
  }
  await ended;
  log.info("pgvpd has stopped", { connections_total: proxy.connectionsTotal });
}
