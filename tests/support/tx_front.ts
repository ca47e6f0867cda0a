// A proxy in transaction mode in front of the bench, and raw clients that log in to it.

import type { ProxyOptions } from "../../src/server.ts";
import { type Bench, DATABASE, type Front } from "./wire_bench.ts";
import type { Login } from "./wire_clients.ts";
import { cstring, message, RawClient, startup, type StartupParameters } from "./wire_raw_client.ts";

export const POOL_PASSWORD = "one for all";

/** One server connection for everybody, unless told otherwise; the server asks for no password. */
export function txFront(bench: Bench, overrides: Partial<ProxyOptions> = {}): Promise<Front> {
  return bench.front({
    poolMode: "transaction",
    poolSize: 1,
    poolPassword: POOL_PASSWORD,
    poolAuth: "cleartext",
    ...overrides,
  });
}

/** Log in to the pool as a tenant, for a real driver. */
export function txLogin(front: { readonly port: number }, tenant: string): Login {
  return { port: front.port, user: `trusty.${tenant}`, password: POOL_PASSWORD };
}

/** A raw client that may speak. */
export async function txClient(
  front: { readonly port: number },
  tenant: string,
  parameters: StartupParameters = {},
): Promise<RawClient> {
  const client = await RawClient.connect(front.port);
  try {
    await client.send(startup({ user: `trusty.${tenant}`, database: DATABASE, ...parameters }));
    await client.until("R");
    await client.send(message("p", cstring(POOL_PASSWORD)));
    await client.until("Z");
    return client;
  } catch (error) {
    client.close();
    throw error;
  }
}
