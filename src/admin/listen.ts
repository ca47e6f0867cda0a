// The admin API on its port.

import type { Control } from "../control.ts";
import { adminApp } from "./app.ts";
import { Guard, type GuardSettings } from "./guard.ts";
import { Metrics } from "./metrics.ts";

/** The settings, as they are at each moment. */
export interface AdminSettings extends GuardSettings {
  /** Tenants with metrics of their own. */
  readonly metricsTenants: number;
}

/** A running admin API. */
export interface AdminServer {
  /** The port that is listened on; also when a free one was asked for. */
  readonly port: number;
  /** Takes no more requests, and ends those that are under way. */
  stop(): Promise<void>;
}

/** Whoever is being answered may read on for so long. */
const LINGER_MS_MAX = 1_000;

/** Listens and serves. Throws what listening throws. */
export function startAdmin(
  control: Control,
  place: { readonly host: string; readonly port: number },
  settings: () => AdminSettings,
): AdminServer {
  const guard = new Guard(settings);
  const metrics = new Metrics(control, () => settings().metricsTenants);
  const app = adminApp(control, metrics, guard, () => settings().token !== null);
  const ended = new AbortController();
  const server = Deno.serve({
    hostname: place.host,
    port: place.port,
    signal: ended.signal,
    onListen: () => {}, // whoever starts it says so
  }, (request, { remoteAddr }) => app.fetch(request, { peer: peerOf(remoteAddr) }));
  return {
    port: server.addr.port,
    stop: async () => {
      const late = setTimeout(() => ended.abort(), LINGER_MS_MAX);
      await server.shutdown();
      clearTimeout(late);
    },
  };
}

function peerOf({ hostname, port }: Deno.NetAddr): string {
  return hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
}
