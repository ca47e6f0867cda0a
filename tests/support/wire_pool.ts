// A pool on the wire: a proxy that pools sessions, and raw clients that log in to it.

import { strict as assert } from "node:assert";
import type { PoolStats } from "../../src/pool/pool.ts";
import type { ProxyOptions } from "../../src/server.ts";
import { APP_PASSWORD, type Bench, DATABASE, eventually, type Front } from "./wire_bench.ts";
import type { Login } from "./wire_clients.ts";
import {
  type CancelKey,
  cancelKey,
  cstring,
  message,
  PROTOCOL_3_0,
  RawClient,
  startup,
  type StartupParameters,
} from "./wire_raw_client.ts";

/** Clients give their password in the clear, which costs nothing; the server asks for none. */
export const POOLED: Partial<ProxyOptions> = {
  poolMode: "session",
  poolPassword: APP_PASSWORD,
  poolAuth: "cleartext",
  poolSize: 1,
};

export function pooledFront(bench: Bench, overrides: Partial<ProxyOptions> = {}): Promise<Front> {
  return bench.front({ ...POOLED, ...overrides });
}

/** Log in as a tenant through the pool, for a real driver. */
export function pooled(front: { readonly port: number }, tenant: string): Login {
  return { port: front.port, user: `trusty.${tenant}`, password: APP_PASSWORD };
}

/** Sends the start-up message and answers the request for a password, without reading more. */
export async function beginLogin(
  client: RawClient,
  parameters: StartupParameters,
  version: number = PROTOCOL_3_0,
): Promise<void> {
  await client.send(startup(parameters, version));
  const asked = (await client.until("R"))[0]!;
  assert.equal(asked.body[3], 3, "a password in the clear is asked for");
  await client.send(message("p", cstring(APP_PASSWORD)));
}

/** A client that may speak. */
export interface PooledClient extends Disposable {
  readonly client: RawClient;
  readonly key: CancelKey;
}

export async function connectPooled(
  port: number,
  tenant: string,
  parameters: StartupParameters = {},
  version: number = PROTOCOL_3_0,
): Promise<PooledClient> {
  const client = await RawClient.connect(port);
  try {
    await beginLogin(
      client,
      { user: `trusty.${tenant}`, database: DATABASE, ...parameters },
      version,
    );
    const key = cancelKey(await client.until("Z"));
    return { client, key, [Symbol.dispose]: () => client.close() };
  } catch (error) {
    client.close();
    throw error;
  }
}

/** The process that serves a client now. */
export async function processOf(client: RawClient): Promise<number> {
  return Number((await client.query("SELECT pg_backend_pid()"))[0]![0]);
}

/** Says goodbye and waits until it is heard. */
export async function terminate(client: RawClient): Promise<void> {
  await client.send(message("X"));
  await client.ended();
  client.close();
}

/** One number of all pools together. */
export function sumOf(front: Front, name: keyof PoolStats): number {
  let sum = 0;
  for (const stats of front.proxy.poolStats.values()) sum += Number(stats[name]);
  return sum;
}

/** Waits until no client holds anything or waits for anything. */
export async function atRest(front: Front, ms = 10_000): Promise<void> {
  await eventually(
    `the pools are at rest: ${JSON.stringify([...front.proxy.poolStats])}`,
    () =>
      sumOf(front, "active") + sumOf(front, "waiting") + sumOf(front, "opening") +
            sumOf(front, "checking") === 0 && front.proxy.connectionsActive === 0,
    ms,
  ).catch((error) => {
    throw new Error(`${error.message}: ${JSON.stringify([...front.proxy.poolStats])}`);
  });
}
