// Logging in to pools: the settings of a pooled front, SCRAM by hand, and psql with both libpqs.

import { createHash, createHmac, pbkdf2Sync, randomBytes } from "node:crypto";
import type { ProxyOptions } from "../../src/server.ts";
import { APP_PASSWORD, type Bench, DATABASE, type Front } from "./wire_bench.ts";
import { type Login, PgClient, psql, type PsqlResult } from "./wire_clients.ts";
import {
  cstring,
  errorFields,
  int32,
  message,
  RawClient,
  RawError,
  type RawMessage,
  startup,
} from "./wire_raw_client.ts";

/** The password of everybody; nobody at the server has it. */
export const POOL_PASSWORD = "password of the pool";

/** One connection to the server, so that every client is given the same. */
export const POOLED: Partial<ProxyOptions> = {
  poolMode: "session",
  poolSize: 1,
  poolPassword: POOL_PASSWORD,
  upstreamPassword: APP_PASSWORD,
  authFailureLimit: 10_000,
};

export const WHO = { user: "app_user.tenant_a", database: DATABASE };

export function loginAs(front: Front, password: string, user = WHO.user): Login {
  return { port: front.port, user, password };
}

/** What proves that the next client is served rightly: its tenant's rows; and by whom. */
export async function servedBy(login: Login): Promise<number> {
  await using client = await PgClient.connect(login);
  const names = (await client.rows("SELECT name FROM tenants ORDER BY id")).map(({ name }) => name);
  if (names.join() !== "Alice Corp,Alice LLC") throw new Error(`other rows: ${names}`);
  return Number(await client.value("SELECT pg_backend_pid()"));
}

/** Debian's libpq, and the one that came with the server. */
export type Libpq = "the installed libpq" | "libpq 18";
export const LIBPQS: readonly Libpq[] = ["the installed libpq", "libpq 18"];

export function psqlWith(
  libpq: Libpq,
  bench: Bench,
  login: Login,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<PsqlResult> {
  const own = libpq === "libpq 18"
    ? { LD_LIBRARY_PATH: `${bench.postgres.directory}/postgres/lib` }
    : {};
  return psql(login, args, { ...own, ...env });
}

/** What is done differently than RFC 5802 says. */
export interface ScramOptions {
  readonly password: string;
  readonly mechanism?: string;
  /** The gs2-header. */
  readonly header?: string;
  /** What stands behind the header in `c=`. */
  readonly binding?: Uint8Array;
  /** Changes the last message before it is sent. */
  readonly tamper?: (clientFinal: string) => string;
}

/** How the server has answered the last message: AuthenticationSASLFinal, or an ErrorResponse. */
export async function scram(raw: RawClient, options: ScramOptions): Promise<RawMessage> {
  const { password, mechanism = "SCRAM-SHA-256", header = "n,,", tamper = (same) => same } =
    options;
  const nonce = randomBytes(18).toString("base64");
  const bare = `n=,r=${nonce}`;
  await raw.send(saslInitialResponse(mechanism, header + bare));
  const serverFirst = await saslData(raw, 11);
  const [, combined = "", salt = "", iterations = ""] = /^r=(.*),s=(.*),i=(\d+)$/.exec(
    serverFirst,
  )!;
  if (!combined.startsWith(nonce)) throw new Error("the server has another nonce");
  const input = Uint8Array.from([...new TextEncoder().encode(header), ...options.binding ?? []]);
  const withoutProof = `c=${input.toBase64()},r=${combined}`;
  const salted = pbkdf2Sync(
    password,
    Uint8Array.fromBase64(salt),
    Number(iterations),
    32,
    "sha256",
  );
  const clientKey = hmac(salted, "Client Key");
  const storedKey = createHash("sha256").update(clientKey).digest();
  const signature = hmac(storedKey, `${bare},${serverFirst},${withoutProof}`);
  const proof = clientKey.map((byte, index) => byte ^ signature[index]!);
  const clientFinal = tamper(`${withoutProof},p=${Uint8Array.from(proof).toBase64()}`);
  await raw.send(message("p", new TextEncoder().encode(clientFinal)));
  const answer = await raw.next();
  if (answer === null) throw new Error("the connection ended behind the proof");
  return answer;
}

export function saslInitialResponse(mechanism: string, data: string): Uint8Array {
  const bytes = new TextEncoder().encode(data);
  return message("p", cstring(mechanism), int32(bytes.length), bytes);
}

/** The data of an authentication request of this kind; an ErrorResponse is thrown. */
export async function saslData(raw: RawClient, request: number): Promise<string> {
  const { body } = (await raw.until("R")).at(-1)!;
  const kind = new DataView(body.buffer, body.byteOffset).getInt32(0);
  if (kind !== request) throw new Error(`authentication request ${kind} instead of ${request}`);
  return new TextDecoder().decode(body.subarray(4));
}

/** A client that has sent its start-up message and been asked for SCRAM. */
export async function asked(
  front: { readonly port: number },
  user = WHO.user,
  version?: number,
): Promise<RawClient> {
  const raw = await RawClient.connect(front.port);
  await raw.send(startup({ ...WHO, user }, version));
  await saslData(raw, 10);
  return raw;
}

/** A client that may speak, and what it was greeted with. */
export async function loggedIn(
  front: { readonly port: number },
  password = POOL_PASSWORD,
  user = WHO.user,
): Promise<{ raw: RawClient; greeting: RawMessage[] }> {
  const raw = await asked(front, user);
  const { type, body } = await scram(raw, { password });
  if (type === "E") throw new RawError(errorFields(body));
  return { raw, greeting: await raw.until("Z") };
}

function hmac(key: Uint8Array, text: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(createHmac("sha256", key).update(text).digest());
}
