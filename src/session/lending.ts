// A client of a pool: it is authenticated by pgvpd, lent a backend, and greeted as by a server.

import {
  encodeAuthentication,
  encodeBackendKeyData,
  encodeNegotiateProtocolVersion,
  encodeParameterStatus,
  READY_FOR_QUERY_IDLE,
} from "../codec/backend.ts";
import { AuthenticationRequest, SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import type { SessionContext, Setting } from "../context/context.ts";
import { type StartupSettings, startupSettings } from "../context/startup_parameters.ts";
import { withTenantSettings } from "../context/tenant_settings.ts";
import type { Logger } from "../log.ts";
import type { Inbox } from "../net/buffers.ts";
import { type Transport, writeAll } from "../net/transport.ts";
import type { TenantShare } from "../pool/fairness.ts";
import type { Lease } from "../pool/pool.ts";
import type { PooledBackend } from "../pool/pooled_backend.ts";
import type { AddressLimit } from "./address_limit.ts";
import { authenticate, type AuthenticationMethod, refuseBlocked } from "./authentication.ts";
import {
  CANCEL_KEY_SIZE,
  CANCEL_KEY_SIZE_3_2,
  type CancelKey,
  type CancelKeys,
  type CancelTarget,
} from "./cancel_keys.ts";
import type { ClientName, Credentials, FoundSecret } from "./credentials.ts";
import type { Deadline } from "./deadline.ts";
import { ClientGone } from "./endings.ts";
import type { Greetings } from "./greetings.ts";
import type { LiveContext } from "./live_context.ts";
import type { StartupPacket } from "./opening.ts";
import { whileClientStays } from "./presence.ts";
import { type Checkout, type PoolKey, queryRunner } from "./resolving_pooled.ts";
import type { RewritingOptions } from "./rewriting.ts";

export const PROTOCOL_3_2 = (3 << 16) | 2;
/** How many backends that turn out dead a client does not notice. */
const DEAD_BACKENDS_MAX = 3;

export type { PoolKey } from "./resolving_pooled.ts";

/** Where the database of a session is. It never changes: another definition is another route. */
export interface Route {
  /** Tells the pools of upstreams apart; null for that of all. */
  readonly id: string | null;
  /** Its address, for messages. */
  readonly address: string;
  /** Takes the place of the database that the client asks for; null: it does not. */
  readonly database: string | null;
  /** As whom pgvpd logs in to it when it pools; null: as everywhere. */
  readonly user: string | null;
  /** Opens a connection to it. Throws PgError, or the signal's reason when it aborts. */
  readonly dial: (signal: AbortSignal) => Promise<Transport>;
}

/** How clients of pools are served. */
export interface Pooling extends RewritingOptions {
  /** For how long a client is lent a backend. */
  readonly mode: "session" | "transaction";
  readonly checkout: Checkout;
  /** The same without waiting; null when that is not possible. */
  readonly checkoutNow?: (
    key: PoolKey,
    contextKey: string,
    share?: TenantShare,
  ) => Lease<PooledBackend> | null;
  readonly credentials: Credentials;
  readonly method: AuthenticationMethod;
  /** Whether a cleartext password may be asked for on a network that is not encrypted. */
  readonly cleartextAnywhere: boolean;
  /** Null: any that is subject to row-level security. */
  readonly roles: readonly string[] | null;
  /** Null: any. */
  readonly databases: readonly string[] | null;
  /** As whom pgvpd logs in; null: as the role in the user name. */
  readonly upstreamUser: string | null;
  /** Failed logins. */
  readonly failures: AddressLimit;
  /** Cancel requests that fitted nobody. */
  readonly badCancels: AddressLimit;
  readonly cancelKeys: CancelKeys;
  /** What clients of transaction pools are greeted with. */
  readonly greetings: Greetings;
}

/** Who wants to be served. */
export interface PoolClient extends ClientName {
  /** Without what resolvers add, until they have. */
  readonly context: SessionContext;
  /** Left out when no resolver has anything to add. */
  readonly live?: LiveContext | null;
  readonly startup: StartupPacket;
  /** Its tenant's share of a pool, as it is now. */
  readonly share: () => TenantShare;
  /** Settings that its tenant's sessions begin with. */
  readonly tenantSettings: readonly Setting[];
  /** Where its tenant's database is. */
  readonly route: Pick<Route, "id" | "database" | "user">;
}

/** Whom a client of a pool becomes. */
export interface PoolTarget extends CancelTarget {
  /** Called once, when the client has shown who it is. @throws {PgError} when it has no place. */
  authenticated(): void;
}

/** A backend that serves a client, until it is checked in. */
export interface Lent {
  readonly lease: Lease<PooledBackend>;
  readonly cancelKey: CancelKey;
}

/**
 * Takes a client of a pool to the point where it may speak.
 *
 * @throws {PgError} to be told to the client · {ClientGone}. Nothing is held then.
 */
export async function lend(
  client: Inbox,
  who: PoolClient,
  pooling: Pooling,
  target: PoolTarget,
  deadline: Deadline,
  log: Logger,
): Promise<Lent> {
  const own = startupSettings(who.startup.message.parameters);
  const settings = withTenantSettings(own, who.tenantSettings);
  await negotiateVersion(client, who, settings, deadline);
  await logIn(client, who, pooling, deadline);
  target.authenticated();
  checkLists(who, pooling);
  const context = await contextOf(client, who, poolKey(who, settings, pooling), pooling, deadline);
  who = { ...who, context };
  const lease = await checkoutEstablished(client, who, settings, pooling, deadline, log);
  try {
    const { parameters } = lease.member.backend;
    return { lease, cancelKey: await greet(client, who, parameters, pooling, target, deadline) };
  } catch (error) {
    await putBack(lease, deadline.signal);
    throw error;
  }
}

/** Says what a server says behind AuthenticationOk, with a cancel key of pgvpd's own. */
export async function greet(
  client: Inbox,
  { startup }: PoolClient,
  parameters: ReadonlyMap<string, string>,
  pooling: Pooling,
  target: CancelTarget,
  deadline: Deadline,
): Promise<CancelKey> {
  const isNew = startup.message.protocolVersion >= PROTOCOL_3_2;
  const keySize = isNew ? CANCEL_KEY_SIZE_3_2 : CANCEL_KEY_SIZE;
  const cancelKey = pooling.cancelKeys.issue(keySize, target);
  try {
    const greeting = [
      encodeAuthentication(AuthenticationRequest.Ok),
      ...[...parameters].map(([name, value]) => encodeParameterStatus(name, value)),
      encodeBackendKeyData(cancelKey.processId, cancelKey.secret),
      READY_FOR_QUERY_IDLE,
    ];
    await tell(client, greeting, deadline);
    return cancelKey;
  } catch (error) {
    cancelKey[Symbol.dispose]();
    throw error;
  }
}

/** A newer version, or options that are not known here: the client learns what there is. */
export async function negotiateVersion(
  client: Inbox,
  { startup }: PoolClient,
  { protocolOptions }: StartupSettings,
  deadline: Deadline,
): Promise<void> {
  const { protocolVersion } = startup.message;
  if (protocolVersion <= PROTOCOL_3_2 && protocolOptions.length === 0) return;
  const version = Math.min(protocolVersion, PROTOCOL_3_2);
  await tell(client, [encodeNegotiateProtocolVersion(version, protocolOptions)], deadline);
}

export async function logIn(
  client: Inbox,
  who: PoolClient,
  pooling: Pooling,
  deadline: Deadline,
): Promise<void> {
  const { method, failures } = pooling;
  refuseBlocked(failures, client.transport.peer);
  refuseOpenCleartext(client, who, pooling);
  deadline.phase = "looking up the client's password";
  const found: { secret: FoundSecret | null } = await whileClientStays(
    client,
    deadline,
    async (signal) => ({ secret: await pooling.credentials.find(who, signal) }),
    () => {},
  );
  const { user, startup: { encryption } } = who;
  const { secret } = found;
  await authenticate({ client, user, secret, method, encryption, failures, deadline });
}

/** Peers on the same machine: nobody listens in on the way. */
const NEARBY = /^(unix:|127\.|\[::1\]|\[::ffff:127\.)/;

function refuseOpenCleartext(client: Inbox, { startup }: PoolClient, pooling: Pooling): void {
  if (pooling.method !== "cleartext" || pooling.cleartextAnywhere) return;
  const { peer } = client.transport;
  if (startup.encryption !== null || NEARBY.test(peer)) return;
  throw new PgError(
    SqlState.InvalidAuthorizationSpecification,
    "a cleartext password is not asked for over a connection that is not encrypted",
    { hint: "Connect with sslmode=require, or set pool_auth = scram." },
  );
}

/** Which roles and databases may be used through a pool is told only to who has logged in. */
export function checkLists({ role, database, context }: PoolClient, pooling: Pooling): void {
  const refuse = (what: string, name: string, setting: string) => {
    throw new PgError(
      SqlState.InvalidAuthorizationSpecification,
      `${what} ${JSON.stringify(name)} is not available through the pool`,
      { hint: `It would have to be in ${setting}.` },
    );
  };
  const { roles, databases } = pooling;
  if (roles !== null && !roles.includes(role)) refuse("role", role, "pool_roles");
  if (roles !== null && !roles.includes(context.role)) refuse("role", context.role, "pool_roles");
  if (databases !== null && !databases.includes(database)) {
    refuse("database", database, "pool_databases");
  }
}

/** Which connections may serve a client. */
export function poolKey(
  { database, role, route }: PoolClient,
  { startupOnly: startupSettings }: StartupSettings,
  { upstreamUser }: Pooling,
): PoolKey {
  const key = {
    database: route.database ?? database,
    user: route.user ?? upstreamUser ?? role,
    startupSettings,
  };
  return route.id === null ? key : { ...key, upstream: route.id };
}

/** The client's context as a whole; waits for resolvers, and for the client's leaving. */
export async function contextOf(
  client: Inbox,
  who: PoolClient,
  key: PoolKey,
  pooling: Pooling,
  deadline: Deadline,
): Promise<SessionContext> {
  const { live = null } = who;
  if (live === null) return who.context;
  const runner = queryRunner(pooling.checkout, key, who.share);
  const context = await whileClientStays(
    client,
    deadline,
    (signal) => live.resolve(runner, signal, (phase) => deadline.phase = phase),
    () => {},
  );
  checkLists({ ...who, context }, pooling);
  return context;
}

/** A backend with the client's settings and context; one that turns out dead is replaced. */
async function checkoutEstablished(
  client: Inbox,
  who: PoolClient,
  startup: StartupSettings,
  pooling: Pooling,
  deadline: Deadline,
  log: Logger,
): Promise<Lease<PooledBackend>> {
  const { context } = who;
  const key = poolKey(who, startup, pooling);
  for (let attempt = 1;; attempt++) {
    deadline.phase = "waiting for a server connection";
    const lease = await whileClientStays(
      client,
      deadline,
      (signal) => pooling.checkout(key, context.key, signal, who.share()),
      (late) => late.giveBack(),
    );
    deadline.phase = "establishing the session context";
    const { member } = lease;
    try {
      member.contextKey = context.key;
      await member.establish(context, startup.settings, deadline.signal);
      return lease;
    } catch (error) {
      const isDead = (member.backend.isOver || isFarewell(error)) && !deadline.signal.aborted;
      await putBack(lease, deadline.signal);
      if (!isDead || attempt >= DEAD_BACKENDS_MAX) throw error;
      log.info("a pooled connection was dead; taking another", {
        error: error instanceof Error ? error.message : String(error),
      });
    }
  }
}

/** Its end has not come yet, but the server has said that it will: class 57P, operator intervention. */
function isFarewell(error: unknown): boolean {
  return error instanceof PgError && error.sqlState.startsWith("57P");
}

/** Nothing of a client was done on it: it is cleaned, or closed. */
async function putBack(lease: Lease<PooledBackend>, signal: AbortSignal): Promise<void> {
  if (await lease.member.reset(signal)) lease.giveBack();
  else lease.discard("establishing failed");
}

export async function tell(
  client: Inbox,
  messages: readonly Uint8Array[],
  deadline: Deadline,
): Promise<void> {
  const bytes = new Uint8Array(messages.reduce((sum, each) => sum + each.length, 0));
  let at = 0;
  for (const each of messages) {
    bytes.set(each, at);
    at += each.length;
  }
  await deadline.race(
    writeAll(client.transport, bytes).catch((error) => {
      throw new ClientGone(error);
    }),
  );
}
