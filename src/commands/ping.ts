// `pgvpd ping`: whether pgvpd answers where it is configured to listen. For health checks of
// containers, load balancers and scripts, which have neither psql nor a password.

import type { Settings } from "../config/config.ts";
import { addressText } from "../net/address.ts";
import { CommandError, reasonOf } from "./failure.ts";

/** Length 8, then the code of an SSLRequest: protocol-message-formats of PostgreSQL's docs. */
const SSL_REQUEST = new Uint8Array([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
const YES = "S".charCodeAt(0);
const NO = "N".charCodeAt(0);
const ANSWER_MS_MAX = 5_000;

/**
 * Asks the first address that pgvpd listens on whether it speaks TLS. Any answer is one.
 *
 * @returns the address, as text.
 * @throws {CommandError} with a sentence when nobody answers within five seconds.
 */
export async function ping(
  { listenHost, port }: Pick<Settings, "listenHost" | "port">,
  msMax = ANSWER_MS_MAX,
): Promise<string> {
  const host = reachable(listenHost[0]!);
  const address = addressText(host, port);
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), msMax);
  try {
    await ask(host, port, late.signal);
    return address;
  } catch (error) {
    const reason = late.signal.aborted ? `no answer within ${msMax / 1000} s` : reasonOf(error);
    throw new CommandError(`pgvpd does not answer at ${address}: ${reason}`);
  } finally {
    clearTimeout(timer);
  }
}

async function ask(host: string, port: number, signal: AbortSignal): Promise<void> {
  using connection = host.startsWith("/")
    ? await Deno.connect({ transport: "unix", path: addressText(host, port) })
    : await Deno.connect({ hostname: host, port, signal });
  const hangUp = () => connection.close(); // which ends the read
  signal.addEventListener("abort", hangUp);
  await connection.write(SSL_REQUEST);
  const answer = new Uint8Array(1);
  const length = await connection.read(answer);
  signal.removeEventListener("abort", hangUp);
  if (length === null) throw new Error("the connection was closed");
  if (answer[0] !== YES && answer[0] !== NO) throw new Error("what answers is not PostgreSQL");
}

/** An address of this machine for one that stands for all of them. */
function reachable(host: string): string {
  if (host === "0.0.0.0") return "127.0.0.1";
  return host === "::" ? "::1" : host;
}
