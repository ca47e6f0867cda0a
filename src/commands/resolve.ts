// `pgvpd resolve`: runs the resolvers for one user name and shows every step, for writing them.

import type { Settings } from "../config/config.ts";
import type { Setting } from "../context/context.ts";
import {
  Resolution,
  type ResolverAnswer,
  type ResolverCall,
  ResolverMistake,
  type Value,
  valuesOf,
} from "../context/resolution.ts";
import type { ResolverPlan } from "../context/resolver_plan.ts";
import { refuseOtherSpelling, tenantKeyOf } from "../context/tenant_key.ts";
import { type Identity, parseUsername } from "../context/username.ts";
import { PgError } from "../codec/error.ts";
import { connectUpstream } from "../pool/connect.ts";
import { QUERY_CANCELED, ResolverConnections } from "../pool/resolver_connections.ts";
import { StatementFailed } from "../pool/statements.ts";
import type { NamedUpstream } from "../server_routes.ts";
import { queryOf } from "../session/resolving.ts";
import { TenantPolicies } from "../session/tenant_policies.ts";
import { CommandError } from "./failure.ts";
import { loadResolvers } from "./resolver_file.ts";
import { loadTenantFiles } from "./tenant_files.ts";
import { loadTls } from "./tls_files.ts";

const ROWS_SHOWN = 5;
const VALUE_LENGTH_SHOWN = 100;
const CONNECT_MS_MAX = 30_000;

/** For whom the resolvers are run. */
export interface ResolveOptions {
  /** As a client would give it. */
  readonly username: string;
  /** Null: that of the role, as in PostgreSQL. */
  readonly database: string | null;
}

type Print = (line: string) => void;

/** Returns whether a client with this user name would be let in. */
export async function resolve(
  settings: Settings,
  { username, database }: ResolveOptions,
  print: Print,
): Promise<boolean> {
  const plan = loadResolvers(settings);
  if (plan === null) throw new CommandError('There are no resolvers: "resolvers" is not set');
  const { upstreamUser, contextVariables, resolverUser } = settings;
  const identity = readIdentity(settings, plan, username);
  const known = contextVariables.map((name, index) => ({ name, value: identity.values[index]! }));
  const routed = upstreamOf(settings, identity);
  const user = resolverUser ?? routed?.user ?? upstreamUser ?? identity.role;
  const own = resolverUser === null
    ? routed?.password ?? settings.upstreamPassword
    : settings.resolverPassword;
  const where = (resolverUser === null ? null : settings.resolverDatabase) ?? routed?.database ??
    database ?? identity.role;
  const server = routed?.options ?? {
    ...{ host: settings.upstreamHost, port: settings.upstreamPort },
    tls: loadTls(settings).upstream,
  };
  const connections = new ResolverConnections({
    connect: (signal) => connectUpstream({ ...server, keepAlive: settings.tcpKeepalive }, signal),
    credentials: { user, password: own ?? environmentPassword() },
    size: 1,
  });
  print(`In database ${JSON.stringify(where)} as ${JSON.stringify(user)}:`);
  for (const { name, value } of known) print(`  ${name} = ${shown(value)}`);
  try {
    const resolution = await runPlan(plan, known, (call) => ask(connections, where, call), print);
    if (resolution === null) return false;
    const role = settings.setRole ?? identity.role;
    printContext([...known, ...resolution.settings], resolution.role ?? role, print);
    return true;
  } catch (error) {
    if (!(error instanceof PgError)) throw error;
    print(`\nA client would be refused: ${error.message} (${error.sqlState})`);
    return false;
  } finally {
    await connections.close();
  }
}

/** The tenant's own upstream; null: it has none. */
function upstreamOf(settings: Settings, identity: Identity): NamedUpstream | null {
  const { file, upstreams } = loadTenantFiles(settings);
  const tenant = tenantKeyOf(identity, settings.tenantKey, settings.contextVariables);
  refuseOtherSpelling(tenant, settings.tenantType);
  const { upstream } = new TenantPolicies(settings, file).of(tenant);
  return upstream === null ? null : upstreams.get(upstream)!;
}

/** Where neither resolver_password nor upstream_password says it: as psql, from PGPASSWORD. */
function environmentPassword(): string | null {
  const variable = "PGPASSWORD";
  const { state } = Deno.permissions.querySync({ name: "env", variable });
  return state === "granted" ? Deno.env.get(variable) ?? null : null;
}

function readIdentity(settings: Settings, plan: ResolverPlan, username: string) {
  const bareRole = plan.resolvesRole ? settings.upstreamUser ?? username : null;
  try {
    return parseUsername(username, settings, bareRole);
  } catch (error) {
    if (!(error instanceof PgError)) throw error;
    throw new CommandError(`${error.message}. ${error.fields.hint ?? ""}`);
  }
}

type Ask = (call: ResolverCall) => Promise<ResolverAnswer>;

/** Runs one resolver after the other; null when one has failed. */
async function runPlan(
  plan: ResolverPlan,
  known: readonly Setting[],
  askFor: Ask,
  print: Print,
): Promise<Resolution | null> {
  const resolution = new Resolution(plan, known);
  let told = 0;
  while (!resolution.isOver) {
    const calls = resolution.begin();
    for (const { name } of resolution.skipped.slice(told)) {
      print(`\n${name}: not asked, an input is NULL`);
    }
    told = resolution.skipped.length;
    for (const call of calls) {
      if (!await runOne(resolution, call, askFor, print)) return null;
    }
  }
  return resolution;
}

async function runOne(
  resolution: Resolution,
  call: ResolverCall,
  askFor: Ask,
  print: Print,
): Promise<boolean> {
  const { resolver, inputs } = call;
  const startedAt = performance.now();
  try {
    const answer = await askFor(call);
    const ms = performance.now() - startedAt;
    const count = answer.rows.length;
    print(`\n${resolver.name}: ${ms.toFixed(1)} ms, ${count} row${count === 1 ? "" : "s"}`);
    printInputs(call, print);
    printRows(answer, print);
    const values = valuesOf(resolver, answer);
    resolver.inject.forEach(({ variable }, index) => {
      print(`  → ${variable} = ${shown(values?.[index] ?? null)}`);
    });
    resolution.answer(resolver, values);
    return true;
  } catch (error) {
    const isForeseen = error instanceof StatementFailed || error instanceof ResolverMistake;
    if (!isForeseen) throw error;
    const isLate = error instanceof StatementFailed && error.sqlState === QUERY_CANCELED;
    print(`\n${resolver.name}: failed after ${(performance.now() - startedAt).toFixed(1)} ms`);
    printInputs({ resolver, inputs }, print);
    print(`  ${error.message}${isLate ? ` (timeout: ${resolver.timeout} ms)` : ""}`);
    print(`\nA client would be refused: ${resolver.name} has failed (28000)`);
    return false;
  }
}

function printInputs({ resolver, inputs }: ResolverCall, print: Print): void {
  inputs.forEach((input, index) => {
    print(`  $${index + 1} ${resolver.params[index]} = ${shown(input)}`);
  });
}

function printRows({ columns, rows }: ResolverAnswer, print: Print): void {
  for (const row of rows.slice(0, ROWS_SHOWN)) {
    print(`  ${row.map((value, index) => `${columns![index]}: ${shown(value)}`).join(", ")}`);
  }
  if (rows.length > ROWS_SHOWN) print(`  … and ${rows.length - ROWS_SHOWN} more`);
}

function printContext(settings: readonly Setting[], role: string, print: Print): void {
  print("\nThe session would begin with:");
  for (const { name, value } of settings) {
    print(`  SELECT set_config(${literal(name)}, ${literal(value)}, false);`);
  }
  print(`  SET ROLE ${identifier(role)};`);
}

function ask(
  connections: ResolverConnections,
  database: string,
  call: ResolverCall,
): Promise<ResolverAnswer> {
  const signal = AbortSignal.timeout(call.resolver.timeout + CONNECT_MS_MAX);
  return connections.run(database, queryOf(call), signal);
}

function shown(value: Value): string {
  if (value === null) return "NULL";
  const cut = value.length > VALUE_LENGTH_SHOWN ? `${value.slice(0, VALUE_LENGTH_SHOWN)}…` : value;
  return JSON.stringify(cut);
}

/** For standard_conforming_strings = on, which is the default. */
function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
