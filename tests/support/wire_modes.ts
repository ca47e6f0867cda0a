// A proxy in each pool mode, and clients that log in the same way whatever it is.

import type { FileContents, ProxyOptions } from "../../src/server.ts";
import { WITHOUT_TLS } from "../../src/server.ts";
import { APP_PASSWORD, type Bench, type Front } from "./wire_bench.ts";
import { type Login, PgClient } from "./wire_clients.ts";

export const MODES = ["none", "session", "transaction"] as const;
export type Mode = typeof MODES[number];

/** With pools pgvpd knows the password that PostgreSQL knows without. */
export function modeFront(
  bench: Bench,
  poolMode: Mode,
  more: Partial<ProxyOptions> = {},
  files: FileContents = WITHOUT_TLS,
): Promise<Front> {
  const pool = { poolPassword: APP_PASSWORD, upstreamPassword: APP_PASSWORD };
  return bench.front({ poolMode, ...pool, ...more }, files);
}

export function tenantLogin(front: Front, tenant: string, more: Partial<Login> = {}): Login {
  return { ...front.app(tenant), ...more };
}

export function connectTenant(
  front: Front,
  tenant: string,
  more: Partial<Login> = {},
): Promise<PgClient> {
  return PgClient.connect(tenantLogin(front, tenant, more));
}
