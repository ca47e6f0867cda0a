// A proxy with one pooled connection in front of the bench, and raw clients that log in to it.

import type { ProxyOptions } from "../../src/server.ts";
import { APP_PASSWORD, type Bench, eventually, type Front } from "./wire_bench.ts";
import type { Login } from "./wire_clients.ts";
import { cstring, message, RawClient, type RawMessage, startup } from "./wire_raw_client.ts";

export const POOL_PASSWORD = "let me in";
/** What one tenant sees of the fixture. */
export const ROWS: Record<string, readonly string[]> = {
  tenant_a: ["Alice Corp", "Alice LLC"],
  tenant_b: ["Bob Inc", "Bob Ltd"],
};
export const NAMES = "SELECT name FROM tenants ORDER BY name";

/** One server connection for everybody; raw clients give their password in the clear. */
export function poolFront(bench: Bench, overrides: Partial<ProxyOptions> = {}): Promise<Front> {
  return bench.front({
    poolMode: "session",
    poolSize: 1,
    poolPassword: POOL_PASSWORD,
    poolAuth: "cleartext",
    upstreamPassword: APP_PASSWORD,
    ...overrides,
  });
}

/** Log in to the pool as a tenant. */
export function pooled(front: Front, tenant: string, role = "trusty"): Login {
  return { port: front.port, user: `${role}.${tenant}`, password: POOL_PASSWORD };
}

/** A client of the pool, and what it was greeted with. */
export interface Pooled extends Disposable {
  readonly raw: RawClient;
  readonly greeting: readonly RawMessage[];
}

/** Logs in by cleartext password, as the only one who is being served. */
export async function connectPooled(
  front: Front,
  tenant: string,
  parameters: Record<string, string | Uint8Array> = {},
): Promise<Pooled> {
  await front.empty();
  const raw = await RawClient.connect(front.port);
  try {
    const user = `trusty.${tenant}`;
    await raw.send(startup({ user, database: "pgvpd_test", ...parameters }));
    await raw.until("R");
    await raw.send(message("p", cstring(POOL_PASSWORD)));
    const greeting = await raw.until("Z");
    return { raw, greeting, [Symbol.dispose]: () => raw.close() };
  } catch (error) {
    raw.close();
    throw error;
  }
}

/** The server's process, whatever a client may have done to the names it uses. */
export async function backendPid(raw: RawClient): Promise<string> {
  return (await raw.query("SELECT pg_catalog.pg_backend_pid()"))[0]![0]!;
}

/** Says Terminate, and waits until the proxy has done what is to be done behind it. */
export async function leave(front: Front, { raw }: Pooled): Promise<void> {
  await raw.send(message("X"));
  await raw.ended();
  raw.close();
  await front.empty();
}

/** The numbers of the only pool. */
export function onlyPool(front: Front) {
  const pools = [...front.proxy.poolStats.values()];
  if (pools.length !== 1) throw new Error(`${pools.length} pools`);
  return pools[0]!;
}

/** Every connection of the pool is at rest. */
export async function atRest(front: Front): Promise<void> {
  await eventually("the pool is at rest", () => {
    const { active, opening, checking, waiting } = onlyPool(front);
    return active + opening + checking + waiting === 0;
  });
}
