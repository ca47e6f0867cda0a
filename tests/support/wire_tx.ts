// A transaction pool on the wire: one backend for everybody unless said otherwise.

import { strict as assert } from "node:assert";
import type { ProxyOptions } from "../../src/server.ts";
import { type Bench, DATABASE, type Front } from "./wire_bench.ts";
import { type Login, PgClient } from "./wire_clients.ts";
import { cstring, message, RawClient, type RawMessage, startup } from "./wire_raw_client.ts";

const PASSWORD = "in the clear";
const KEPT = "client keeps its server connection";

/** Runs the SQL that it is given backwards, so that nothing in its text tells what it leaves. */
export const SLIP = `
CREATE OR REPLACE FUNCTION slip(sdrawkcab text) RETURNS void LANGUAGE plpgsql AS
  $$ BEGIN EXECUTE reverse(sdrawkcab); END $$`;

export function slip(sql: string): string {
  return `SELECT slip('${[...sql].reverse().join("").replaceAll("'", "''")}')`;
}

export function txFront(bench: Bench, overrides: Partial<ProxyOptions> = {}): Promise<Front> {
  return bench.front({
    poolMode: "transaction",
    poolSize: 1,
    poolPassword: PASSWORD,
    poolAuth: "cleartext",
    ...overrides,
  });
}

export function txLogin(front: Front, tenant: string): Login {
  return { port: front.port, user: `trusty.${tenant}`, password: PASSWORD };
}

export function connectTx(front: Front, tenant: string, options?: string): Promise<PgClient> {
  const login = txLogin(front, tenant);
  return PgClient.connect(options === undefined ? login : { ...login, options });
}

/** Both are served by one server process: without that a test of leaks proves nothing. */
export async function sameBackend(...clients: readonly PgClient[]): Promise<number> {
  const pids: number[] = [];
  for (const client of clients) pids.push(Number(await client.value("SELECT pg_backend_pid()")));
  assert.equal(new Set(pids).size, 1, `one backend, and not ${pids}`);
  return pids[0]!;
}

/** Why clients keep their backends, in the order in which that was found. */
export function keptReasons(front: Front): unknown[] {
  return front.entries(KEPT).map(({ reason }) => reason);
}

/** A raw client, and what it has been told of the server's parameters. */
export class TxClient implements Disposable {
  readonly told = new Map<string, string>();
  greeting: readonly RawMessage[] = [];

  private constructor(readonly raw: RawClient) {}

  static async connect(
    front: Front,
    tenant: string,
    parameters: Record<string, string> = {},
  ): Promise<TxClient> {
    const client = new TxClient(await RawClient.connect(front.port));
    const { raw } = client;
    try {
      await raw.send(startup({ user: `trusty.${tenant}`, database: DATABASE, ...parameters }));
      await raw.until("R");
      await raw.send(message("p", cstring(PASSWORD)));
      client.greeting = await raw.until("Z");
      client.learn(client.greeting);
      return client;
    } catch (error) {
      raw.close();
      throw error;
    }
  }

  learn(messages: readonly RawMessage[]): void {
    for (const { type, body } of messages) {
      if (type !== "S") continue;
      const [name, value] = new TextDecoder().decode(body).split("\0");
      this.told.set(name!, value!);
    }
  }

  /** Runs statements as one simple query, each row as an array of texts. */
  async run(sql: string): Promise<string[][]> {
    await this.raw.send(message("Q", cstring(sql)));
    const replies = await this.raw.until("Z");
    this.learn(replies);
    return replies.filter(({ type }) => type === "D").map(({ body }) => texts(body));
  }

  async value(sql: string): Promise<string> {
    return (await this.run(sql))[0]![0]!;
  }

  [Symbol.dispose](): void {
    this.raw.close();
  }
}

function texts(body: Uint8Array): string[] {
  const view = new DataView(body.buffer, body.byteOffset);
  let at = 2;
  return Array.from({ length: view.getInt16(0) }, () => {
    const size = Math.max(view.getInt32(at), 0);
    at += 4 + size;
    return new TextDecoder().decode(body.subarray(at - size, at));
  });
}
