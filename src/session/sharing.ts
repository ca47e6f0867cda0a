// A client of a transaction pool: it is authenticated by pgvpd, and greeted; backends come later.

import { startupSettings } from "../context/startup_parameters.ts";
import { withTenantSettings } from "../context/tenant_settings.ts";
import type { Logger } from "../log.ts";
import type { Inbox } from "../net/buffers.ts";
import type { CancelKey } from "./cancel_keys.ts";
import type { Deadline } from "./deadline.ts";
import {
  checkLists,
  greet,
  logIn,
  negotiateVersion,
  type PoolClient,
  type Pooling,
  poolKey,
  type PoolTarget,
} from "./lending.ts";
import { Linker } from "./linking.ts";
import { whileClientStays } from "./presence.ts";

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
  const { context } = who;
  const key = poolKey(who, startup, pooling);
  const linker = new Linker(
    { key, context, settings: startup.settings },
    ofShare(pooling, who.share),
    log,
  );
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
