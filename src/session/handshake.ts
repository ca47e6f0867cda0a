// One client's handshake: start-up packets, identity, the connection to the server, the login.

import { SqlState } from "../codec/codes.ts";
import { PgError } from "../codec/error.ts";
import { encodeStartupMessage } from "../codec/frontend.ts";
import { SessionContext } from "../context/context.ts";
import {
  findParameter,
  refuseReservedParameters,
  rewriteStartup,
  withDatabase,
} from "../context/startup_parameters.ts";
import {
  refuseOtherSpelling,
  tenantKeyOf,
  type TenantKeyRule,
  type TenantType,
} from "../context/tenant_key.ts";
import { decodeUsername, parseUsername, type UsernameRules } from "../context/username.ts";
import type { LogFields, Logger } from "../log.ts";
import type { Meters } from "../meters.ts";
import { Inbox } from "../net/buffers.ts";
import { writeAll } from "../net/transport.ts";
import type { Sealing } from "../pool/sealing.ts";
import type { AddressLimit } from "./address_limit.ts";
import { refuseBlocked } from "./authentication.ts";
import { forwardCancel } from "./cancel.ts";
import type { CancelKeys } from "./cancel_keys.ts";
import { type ConsoleAccess, consoleUser, operate, type Operating } from "./console.ts";
import type { Deadline } from "./deadline.ts";
import { ClientGone, UpstreamRefused } from "./endings.ts";
import type { ContextHolder, LiveContext, ResolverClient } from "./live_context.ts";
import { LoginRelay, RefusedAtOnce } from "./login.ts";
import { LoginResolving } from "./login_resolving.ts";
import type { GuardOptions } from "./guard.ts";
import { lend, type Lent, type Pooling, type PoolTarget, type Route } from "./lending.ts";
import { type ClientTls, openClient, type StartupPacket } from "./opening.ts";
import { whileClientStays } from "./presence.ts";
import type { LoginSoFar, SessionFacts } from "./records.ts";
import type { Resolvers } from "./resolving.ts";
import { lendOwn } from "./own_connection.ts";
import { share as shareBackends, type Shared } from "./sharing.ts";
import type { Tenants } from "./tenants.ts";

export type { SessionFacts } from "./records.ts";

/** The largest message that is held whole during a handshake; PostgreSQL sends none near it. */
export const HANDSHAKE_MESSAGE_SIZE_MAX = 64 * 1024;
/** The same where resolvers answer, and their answers are read back; taken only when it is needed. */
const RESOLVED_MESSAGE_SIZE_MAX = 4 * 1024 * 1024;

/** What a handshake needs to know and to reach. */
export interface HandshakeOptions extends UsernameRules {
  /** User names that are passed through as they are. */
  readonly superuserBypass: readonly string[];
  /** The role of every session; null: the one in the user name. */
  readonly setRole: string | null;
  /** TLS for clients; null when it is not to be had. */
  readonly clientTls: ClientTls | null;
  /** Whether a client may log in over a connection that is not encrypted. */
  readonly clearAllowed: boolean;
  /** How tenants share server connections; null when each has its own. */
  readonly pooling: Pooling | null;
  /** What lists and limits know a tenant by. */
  readonly tenantKey: TenantKeyRule;
  readonly tenantType: TenantType;
  readonly tenants: Tenants;
  /** Failed logins, whoever has asked for the password. */
  readonly failures: AddressLimit;
  /** What derives more context; a plan of null means nothing does. */
  readonly resolvers: Resolvers;
  /** Why no client may log in now; null when it may. A cancel request is passed on all the same. */
  readonly refusal: PgError | null;
  /** Where a database is; null: where that of all is. Throws PgError when it is nowhere. */
  readonly routeOf: (upstream: string | null) => Route;
  /** What contexts are sealed with, as it is now; null: with nothing. */
  readonly sealing: () => Sealing | null;
  /** What a client's statements are looked at for; null: for nothing. */
  readonly guard: GuardOptions | null;
  readonly meters: Meters;
  /** Null without a console. */
  readonly console: ConsoleAccess | null;
  /** The keys of sessions that a cancel request may mean; null: every key is the server's. */
  readonly cancelKeys: CancelKeys | null;
}

/** A client that may speak: on a connection of its own, on one it is lent, on many; to pgvpd. */
export type Established = Dedicated | Lent | Shared | Operating;

/** A server connection that is the client's alone. */
export interface Dedicated {
  readonly upstream: Inbox;
  /** The packet that cancels what the server is doing; null when it gave no key. */
  readonly cancelRequest: Uint8Array | null;
}

/** Whose handshake it is. */
export interface HandshakeTarget extends PoolTarget, ContextHolder {
  /** What is told of it. */
  readonly login: LoginSoFar;
  /** Called once, when the start-up message has been understood. */
  identified(login: Pick<Login, "facts" | "tenant" | "route">): void;
  /** Called instead, when it is an operator who wants the console. */
  operates(user: string): void;
  /** Called at most once: the session disposes of it at its end. */
  resolvedBy(live: LiveContext): void;
}

/** What a start-up message amounts to. */
export interface Login {
  /** The name that the client has given. */
  readonly user: string;
  readonly facts: SessionFacts;
  /** As lists and limits know it; null for a bypass user. */
  readonly tenant: string | null;
  /** Where its database is. */
  readonly route: Route;
  readonly context: SessionContext | null;
  /** Who resolvers are asked about; null for nobody. */
  readonly resolved: ResolverClient | null;
  /** To the server, with the context as reset values. */
  readonly packet: Uint8Array;
  /** The same without them, for a server that refuses such parameters. */
  readonly plainPacket: Uint8Array | null;
}

/**
 * Takes a new client from its first byte to the point where it may speak.
 *
 * @returns the server's side, or null when the client only wanted a query cancelled.
 * @throws {PgError} to be told to the client · {ClientGone} · {UpstreamRefused}. Whatever was
 * opened to the server is closed again then.
 */
export async function handshake(
  client: Inbox,
  options: HandshakeOptions,
  deadline: Deadline,
  log: Logger,
  target: HandshakeTarget,
): Promise<Established | null> {
  const first = await openClient(client, options.clientTls, deadline);
  if (first.kind === "cancel") {
    const isKnown = await passCancelOn(first.packet, client.transport.peer, options, deadline);
    options.meters.cancels.add(isKnown ? "forwarded" : "unknown");
    return null;
  }
  target.login.isEncrypted = first.encryption !== null;
  if (options.refusal !== null) throw options.refusal;
  if (first.encryption === null && !options.clearAllowed) throw encryptionRequired(options);
  const said = (name: string) => findParameter(first.message.parameters, name);
  const user = said("user");
  target.login.user = user === null ? null : new TextDecoder().decode(user);
  target.login.applicationName = new TextDecoder().decode(said("application_name") ?? undefined);
  const operator = consoleUser(first, options.console);
  if (operator !== null) {
    target.operates(operator);
    return await operate(client, operator, first, options.console!, options.failures, deadline);
  }
  const login = prepareLogin(first, options);
  target.identified(login);
  target.login.context = login.context;
  if (login.context !== null) log.debug("client identified", contextFields(login.context));
  const { context, facts, tenant, route, resolved } = login;
  if (tenant !== null) options.tenants.check(tenant);
  const live = resolved === null ? null : options.resolvers.begin(resolved, target);
  if (live !== null) target.resolvedBy(live);
  if (options.pooling !== null && context !== null && tenant !== null) {
    const { role, database } = facts;
    const { settings: tenantSettings } = options.tenants.policyOf(tenant);
    const share = () => options.tenants.policyOf(tenant).share;
    target.login.method = options.pooling.method;
    const who = {
      ...{ user: login.user, role, database, context, live, startup: first },
      ...{ share, tenantSettings, route },
    };
    const serve = options.pooling.mode === "session" ? lend : shareBackends;
    return await serve(client, who, options.pooling, target, deadline, log);
  }
  refuseBlocked(options.failures, client.transport.peer);
  return await connectDedicated(client, login, live, { deadline, options, log, target });
}

/**
 * On one of pgvpd's own keys, its session decides; without pools every key is the server's.
 *
 * @returns whether somebody was told.
 */
async function passCancelOn(
  packet: Uint8Array,
  peer: string,
  { pooling, routeOf, cancelKeys }: HandshakeOptions,
  deadline: Deadline,
): Promise<boolean> {
  if (pooling === null) {
    const session = cancelKeys?.find(packet) ?? null;
    await (session?.cancel() ?? forwardCancel(packet, routeOf(null).dial, deadline));
    return true;
  }
  if (!pooling.badCancels.allows(peer)) return false;
  const session = pooling.cancelKeys.find(packet);
  // A key that fits nobody is dropped without a word.
  if (session === null) pooling.badCancels.failed(peer);
  else await session.cancel();
  return session !== null;
}

/** What a login that is relayed needs besides the client. */
interface Relaying {
  readonly deadline: Deadline;
  readonly options: HandshakeOptions;
  readonly log: Logger;
  readonly target: HandshakeTarget;
}

async function connectDedicated(
  client: Inbox,
  login: Login,
  live: LiveContext | null,
  relaying: Relaying,
): Promise<Dedicated | Lent> {
  try {
    return await attempt(client, login, live, login.packet, relaying);
  } catch (error) {
    if (!(error instanceof RefusedAtOnce)) throw error;
    if (login.plainPacket === null || !isAboutParameters(error)) return await passOn(client, error);
    relaying.log.warn(
      "upstream refuses the context as start-up parameters; connecting without them",
      {
        sqlstate: error.fields.sqlState,
        error: error.fields.message,
        consequence: "a client's RESET ALL or DISCARD ALL will leave it without a context",
      },
    );
  }
  try {
    return await attempt(client, login, live, login.plainPacket, relaying);
  } catch (error) {
    if (error instanceof RefusedAtOnce) return await passOn(client, error);
    throw error;
  }
}

function encryptionRequired(options: HandshakeOptions): PgError {
  return new PgError(
    SqlState.InvalidAuthorizationSpecification,
    "the connection is not encrypted, and pgvpd requires TLS of its clients",
    {
      hint: options.clientTls === null
        ? "TLS is not configured: set tls_cert and tls_key."
        : "Connect with sslmode=require or stricter.",
    },
  );
}

function prepareLogin(startup: StartupPacket, options: HandshakeOptions): Login {
  const { message, packet, encryption } = startup;
  const { parameters } = message;
  const user = findParameter(parameters, "user");
  if (user === null) {
    throw new PgError(
      SqlState.SqlServerRejectedConnection,
      "no PostgreSQL user name specified in startup packet",
    );
  }
  const username = decodeUsername(user);
  const database = new TextDecoder().decode(findParameter(parameters, "database") ?? undefined);
  if (options.superuserBypass.includes(username)) {
    encryption?.checkIdentity(username);
    const facts = { role: username, database: database || username, tenant: null };
    const route = options.routeOf(null);
    return {
      ...{ user: username, facts, tenant: null, route },
      ...{ context: null, resolved: null, packet, plainPacket: null },
    };
  }
  const { resolvers: { plan }, pooling, contextVariables } = options;
  const resolvesRole = plan !== null && plan.resolvesRole;
  const loginRole = pooling?.upstreamUser ?? null;
  const identity = parseUsername(username, options, resolvesRole ? loginRole ?? username : null);
  encryption?.checkIdentity(identity.values[0]!);
  refuseReservedParameters(parameters, [...contextVariables, ...plan?.variables ?? []]);
  const tenant = tenantKeyOf(identity, options.tenantKey, contextVariables);
  refuseOtherSpelling(tenant, options.tenantType);
  const policy = options.tenants.policyOf(tenant);
  const route = options.routeOf(policy.upstream);
  const known = contextVariables.map((name, index) => ({ name, value: identity.values[index]! }));
  const role = options.setRole ?? identity.role;
  const defaults = pooling === null ? policy.settings : [];
  const context = new SessionContext(known, role, defaults);
  const facts = {
    role: identity.role,
    database: database || identity.role,
    tenant: identity.values[0]!,
  };
  const routed = withDatabase(message, route.database);
  // What RESET goes back to: a role that is still to be resolved is no part of it.
  const lasting = context.startupParameters.filter(({ name }) => !resolvesRole || name !== "role");
  return {
    ...{ user: username, facts, tenant, route, context },
    resolved: plan === null ? null : {
      ...{ plan, known, role, defaults },
      upstream: route.id,
      database: route.database ?? facts.database,
      loginRole: (pooling === null ? null : route.user) ?? loginRole ?? identity.role,
    },
    packet: encodeStartupMessage(rewriteStartup(routed, identity.role, lasting)),
    plainPacket: encodeStartupMessage(rewriteStartup(routed, identity.role, [])),
  };
}

/** Every value of the context: for debugging alone, it may say more than who the tenant is. */
function contextFields({ settings }: SessionContext): LogFields {
  return { context: Object.fromEntries(settings.map(({ name, value }) => [name, value])) };
}

async function attempt(
  client: Inbox,
  { context, route }: Login,
  live: LiveContext | null,
  packet: Uint8Array,
  { deadline, options, target }: Relaying,
): Promise<Dedicated | Lent> {
  deadline.phase = `connecting to the upstream server at ${route.address}`;
  const transport = await whileClientStays(client, deadline, route.dial, (late) => late.close());
  try {
    const messageSizeMax = live === null ? HANDSHAKE_MESSAGE_SIZE_MAX : RESOLVED_MESSAGE_SIZE_MAX;
    const upstream = new Inbox(transport, messageSizeMax);
    await deadline.race(
      writeAll(transport, packet).catch((cause) => {
        throw new PgError(SqlState.ConnectionFailure, "the upstream server went away", {}, {
          cause,
        });
      }),
    );
    const onAuthenticated = () => target.authenticated();
    using resolving = live === null ? null : new LoginResolving(live, deadline);
    const { sealing } = options;
    const isSealed = sealing() !== null;
    const login = new LoginRelay(
      ...[client, upstream, context, deadline, onAuthenticated, resolving, isSealed] as const,
    );
    await login.run().finally(() => target.login.method = login.method);
    const { cancelRequest, leftContext } = login;
    if (leftContext === null || !isSealed) return { upstream, cancelRequest };
    const relayed = { client, upstream, context: leftContext, cancelRequest };
    return await lendOwn(relayed, sealing, options.cancelKeys, target, deadline);
  } catch (error) {
    transport.close();
    const isFailure = error instanceof UpstreamRefused &&
      error.fields.sqlState === SqlState.InvalidPassword;
    if (isFailure) options.failures.failed(client.transport.peer);
    throw error;
  }
}

/** SQLSTATEs with which poolers and servers refuse a start-up parameter that they do not know. */
const PARAMETER_REFUSALS: ReadonlySet<string> = new Set([
  SqlState.ProtocolViolation,
  SqlState.FeatureNotSupported,
  SqlState.InvalidParameterValue,
  "42602", // invalid_name
  "42704", // undefined_object
]);

function isAboutParameters(refusal: RefusedAtOnce): boolean {
  return PARAMETER_REFUSALS.has(refusal.fields.sqlState);
}

async function passOn(client: Inbox, refusal: RefusedAtOnce): Promise<never> {
  await writeAll(client.transport, refusal.response).catch((error) => {
    throw new ClientGone(error);
  });
  throw new UpstreamRefused(refusal.fields);
}
