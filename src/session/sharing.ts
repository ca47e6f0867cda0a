// A client of a transaction pool: it is authenticated by pgvpd, and greeted; backends come later.

import { unresolved } from "../context/resolution.ts";
import { startupSettings } from "../context/startup_parameters.ts";
import { withTenantSettings } from "../context/tenant_settings.ts";
import type { Logger } from "../log.ts";
import type { Inbox } from "../net/buffers.ts";
import type { CancelKey } from "./cancel_keys.ts";
import type { Deadline } from "./deadline.ts";
import {
  checkLists,
  contextOf,
  greet,
  logIn,
  negotiateVersion,
  type PoolClient,
  type Pooling,
  type PoolKey,
  poolKey,
  type PoolTarget,
} from "./lending.ts";
import { type LinkedClient, Linker } from "./linking.ts";
import type { LiveContext, QueryRunner } from "./live_context.ts";
import { whileClientStays } from "./presence.ts";
import { queryRunner } from "./resolving_pooled.ts";

/** How long a transaction waits for a context that is derived anew. */
const RENEWAL_MS_MAX = 30_000;

/** A client that may speak, and is linked to a backend when it does. */
export interface Shared {
  readonly linker: Linker;
  readonly cancelKey: CancelKey;
}

/**
 * Takes a client of a transaction pool to the point where it may speak.
 *
 * @throws {PgError} to be told to the client · {ClientGone}. Nothing is held then.
 */
export async function share(
  client: Inbox,
  who: PoolClient,
  pooling: Pooling,
  target: PoolTarget,
  deadline: Deadline,
  log: Logger,
): Promise<Shared> {
  const own = startupSettings(who.startup.message.parameters);
  const startup = withTenantSettings(own, who.tenantSettings);
  await negotiateVersion(client, who, startup, deadline);
  await logIn(client, who, pooling, deadline);
  target.authenticated();
  checkLists(who, pooling);
  const key = poolKey(who, startup, pooling);
  const context = await contextOf(client, who, key, pooling, deadline);
  who = { ...who, context };
  const { settings } = startup;
  const linked = { key, context, settings, renewContext: contextRenewal(who, key, pooling) };
  const linker = new Linker(linked, ofShare(pooling, who.share), log);
  const parameters = await parametersFor(client, who, linker, startup.settings, pooling, deadline);
  linker.greeted(parameters);
  return { linker, cancelKey: await greet(client, who, parameters, pooling, target, deadline) };
}

/** The pools, with the tenant's share of them. */
function ofShare(
  { checkout, checkoutNow }: Pooling,
  share: PoolClient["share"],
): Pick<Pooling, "checkout" | "checkoutNow"> {
  return {
    checkout: (key, contextKey, signal) => checkout(key, contextKey, signal, share()),
    checkoutNow: (key, contextKey) => checkoutNow?.(key, contextKey, share()) ?? null,
  };
}

/** How the context is looked at when a transaction begins. */
function contextRenewal(
  who: PoolClient,
  key: PoolKey,
  pooling: Pooling,
): LinkedClient["renewContext"] {
  const { live = null } = who;
  if (live === null) return undefined;
  const runner = queryRunner(pooling.checkout, key, who.share);
  const renew = async (signal: AbortSignal) => {
    const context = await renewed(live, runner, signal);
    checkLists({ ...who, context }, pooling);
    return context;
  };
  return (signal) => live.stale ? renew(signal) : null;
}

/** @throws {PgError} also when it takes too long: nobody else watches the time here. */
async function renewed(live: LiveContext, runner: QueryRunner, signal: AbortSignal) {
  const late = AbortSignal.timeout(RENEWAL_MS_MAX);
  try {
    return await live.resolve(runner, AbortSignal.any([signal, late]));
  } catch (error) {
    throw late.aborted && !signal.aborted ? unresolved("it took too long", error) : error;
  }
}

/** What others like this client were told, or, for the first of them, what a backend says. */
async function parametersFor(
  client: Inbox,
  { database, role, context, route }: PoolClient,
  linker: Linker,
  settings: readonly { readonly name: string; readonly value: string }[],
  pooling: Pooling,
  deadline: Deadline,
): Promise<ReadonlyMap<string, string>> {
  const alike = settings.map(({ name, value }) => [name, value]);
  const key = JSON.stringify([database, role, context.role, alike, route.id]);
  const known = pooling.greetings.find(key);
  if (known !== null) return known;
  deadline.phase = "waiting for a server connection";
  const lease = await whileClientStays(
    client,
    deadline,
    async (signal) => await linker.link(signal),
    (late) => late.giveBack(),
  );
  const { parameters } = lease.member.backend;
  const greeting = pooling.greetings.learn(key, parameters);
  linker.unlinked(lease.member);
  lease.giveBack();
  return greeting;
}
