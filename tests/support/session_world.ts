// A world of memory around one Session: a client, the servers it is connected to, and its log.

import type { LogFields, Logger } from "../../src/log.ts";
import { Meters } from "../../src/meters.ts";
import { AddressLimit } from "../../src/session/address_limit.ts";
import type { Route } from "../../src/session/lending.ts";
import { resolveSettings } from "../../src/config/config.ts";
import { Resolvers } from "../../src/session/resolving.ts";
import { Session, type SessionOptions } from "../../src/session/session.ts";
import { Tenants } from "../../src/session/tenants.ts";
import { TimeLimits } from "../../src/session/time_limits.ts";
import { contextReplies, readContextMessage, requestedValues } from "./context_message.ts";
import { memoryPair, type MemoryPairOptions, type MemoryTransport } from "./memory_transport.ts";
import {
  AUTHENTICATION_OK,
  BACKEND_KEY_DATA,
  join,
  parameterStatus,
  readyForQuery,
  startup,
} from "./messages.ts";
import { ScriptedPeer } from "./scripted_peer.ts";
import { tenantRules } from "./tenant_rules.ts";

/** One log record. */
export interface LogEntry {
  readonly level: string;
  readonly message: string;
  readonly fields: LogFields;
}

/** What a server does with one connection. */
export type ServerScript = (server: ScriptedPeer) => Promise<void>;

/** A session under test. */
export interface World {
  readonly session: Session;
  readonly client: ScriptedPeer;
  /** pgvpd's end of the client's connection. */
  readonly clientSide: MemoryTransport;
  /** pgvpd's ends of the connections to the server, in the order of dialling. */
  readonly upstreamSides: MemoryTransport[];
  readonly log: LogEntry[];
  /** Resolves when the session is over and every server's script too. */
  readonly over: Promise<void>;
}

export interface WorldOptions extends Partial<SessionOptions> {
  /** One for each connection, the last of them for all further ones. */
  readonly servers?: readonly ServerScript[];
  /** Instead of connecting to one of the servers. */
  readonly dial?: Route["dial"];
  /** How both connections are cut, and how much they hold. */
  readonly wire?: MemoryPairOptions;
}

const DEFAULTS: SessionOptions = {
  sealing: () => null,
  guard: null,
  tenantSeparator: ".",
  valueSeparator: ":",
  contextVariables: ["app.current_tenant_id"],
  superuserBypass: ["postgres"],
  setRole: null,
  clientTls: null,
  clearAllowed: true,
  pooling: null,
  cancelKeys: null,
  routeOf: () => {
    throw new Error("replaced");
  },
  tenantKey: "payload",
  tenantType: "text",
  tenants: new Tenants(tenantRules()),
  failures: new AddressLimit(1_000),
  limits: new TimeLimits({
    clientIdleTimeout: null,
    idleTransactionTimeout: null,
    transactionTimeout: null,
  }),
  resolvers: withoutResolvers(),
  refusal: null,
  meters: new Meters(),
  observer: null,
  console: null,
  handshakeMsMax: 3_000,
};

/** Nothing is resolved, and nothing is opened. */
export function withoutResolvers(): Resolvers {
  const { settings } = resolveSettings({ environment: {}, flags: {} });
  return new Resolvers(null, settings, () => Promise.reject(new Error("not to be called")));
}

/** Starts a session with a client that has not said anything yet. */
export function startSession(options: WorldOptions = {}): World {
  const { servers = [serveTrust()], wire = {}, dial, ...sessionOptions } = options;
  const [near, far] = memoryPair({ ...wire, peers: ["client", "pgvpd"] });
  const upstreamSides: MemoryTransport[] = [];
  const scripts: Promise<void>[] = [];
  const log: LogEntry[] = [];
  const connect = () => {
    const [there, server] = memoryPair({ ...wire, peers: ["pgvpd", "server"] });
    const script = servers[Math.min(upstreamSides.length, servers.length - 1)]!;
    upstreamSides.push(there);
    const running = script(new ScriptedPeer(server));
    running.catch(() => server.close()); // the session goes on and ends; `over` then tells
    scripts.push(running);
    return Promise.resolve(there);
  };
  const route = {
    id: null,
    address: "db.test:5432",
    database: null,
    user: null,
    dial: dial ?? connect,
  };
  const all = { ...DEFAULTS, routeOf: () => route, ...sessionOptions };
  const session = new Session(far, all, recordingLog(log));
  const over = session.run().then(async () => {
    await Promise.all(scripts);
  });
  over.catch(() => {}); // a test that fails earlier has something better to say
  return { session, client: new ScriptedPeer(near), clientSide: far, upstreamSides, log, over };
}

/** Keeps what is logged. */
export function recordingLog(entries: LogEntry[], bound: LogFields = {}): Logger {
  const write = (level: string) => (message: string, fields: LogFields = {}) => {
    entries.push({ level, message, fields: { ...bound, ...fields } });
  };
  return {
    debug: write("debug"),
    info: write("info"),
    warn: write("warn"),
    error: write("error"),
    with: (fields) => recordingLog(entries, { ...bound, ...fields }),
  };
}

export const STARTUP = startup({ user: "app.acme", database: "shop", application_name: "test" });

/** What a server says between AuthenticationOk and ReadyForQuery. */
export const GREETING = join(parameterStatus("server_version", "18.4"), BACKEND_KEY_DATA);

/** Reads the context message and confirms it. */
export async function confirmContext(server: ScriptedPeer): Promise<void> {
  const request = readContextMessage(join(...await server.expectAll("PBECS")));
  await server.send(contextReplies(requestedValues(request)));
}

/** A server that trusts everybody, confirms the context and goes on with `then`. */
export function serveTrust(then: ServerScript = untilTheEnd): ServerScript {
  return async (server) => {
    await server.expectPacket();
    await server.send(AUTHENTICATION_OK, GREETING, readyForQuery());
    await confirmContext(server);
    await then(server);
  };
}

/** Reads until the other side ends, and ends too. */
export async function untilTheEnd(server: ScriptedPeer): Promise<void> {
  while (await server.next().catch(() => null) !== null);
  server.transport.close();
}

/** A session whose client has been told that it may speak. */
export async function establish(options: WorldOptions = {}): Promise<World> {
  const world = startSession(options);
  await world.client.send(STARTUP);
  await world.client.expectAll("RSKZ");
  while (!world.log.some(({ message }) => message === "client connected")) await Promise.resolve();
  return world;
}

/** Everything that was allocated has been given back, and no read was repeated for nothing. */
export function residueOf(world: World): string[] {
  const { clientSide, upstreamSides } = world;
  const sides = [clientSide, ...upstreamSides];
  return sides.flatMap((side, index) => {
    const name = index === 0 ? "client" : `upstream ${index}`;
    const found: string[] = [];
    if (!side.closed) found.push(`${name} is not closed`);
    if (side.writesOverlapped) found.push(`${name}: two writes at once`);
    if (side.reads > side.bytesRead + 4) found.push(`${name}: ${side.reads} reads, it spins`);
    return found;
  });
}
