// The files about tenants that the settings name: read and checked.

import type { Settings } from "../config/config.ts";
import { parseTenantList, TenantListError } from "../config/tenant_list.ts";
import {
  NO_TENANTS,
  parseTenantsFile,
  type TenantsFile,
  type UpstreamOverride,
} from "../config/tenants_file.ts";
import type { TenantFiles } from "../server.ts";
import type { NamedUpstream } from "../server_routes.ts";
import { CommandError, reasonOf } from "./failure.ts";
import { loadTls } from "./tls_files.ts";

/** What the files hold. */
export interface LoadedTenants extends TenantFiles {
  readonly upstreams: ReadonlyMap<string, NamedUpstream>;
}

/**
 * Reads every file.
 *
 * @throws {CommandError} with the places of the mistakes.
 */
export function loadTenantFiles(settings: Settings): LoadedTenants {
  const { tenants, mistakes } = rereadTenantFiles(settings, NOTHING);
  if (mistakes.length > 0) throw new CommandError(mistakes.join("\n"));
  return tenants;
}

const NOTHING: LoadedTenants = { allow: null, deny: null, file: NO_TENANTS, upstreams: new Map() };

/**
 * The same, file by file: one that cannot be used is as it was, and holds no other one up. Who has
 * been denied must not come in because something else is wrong.
 */
export function rereadTenantFiles(settings: Settings, before: LoadedTenants): {
  readonly tenants: LoadedTenants;
  /** For each file that cannot be used, what is wrong with it. */
  readonly mistakes: readonly string[];
} {
  const mistakes: string[] = [];
  const read = <Part extends Partial<LoadedTenants>>(load: () => Part): Part | null => {
    try {
      return load();
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      mistakes.push(error.message);
      return null;
    }
  };
  const tenants = {
    ...before,
    ...read(() => ({ allow: list(settings.tenantAllowFile) })),
    ...read(() => ({ deny: list(settings.tenantDenyFile) })),
    ...read(() => overrides(settings)),
  };
  return { tenants, mistakes };
}

/** What tenants.toml says. */
function overrides(settings: Settings): Required<Pick<LoadedTenants, "file" | "upstreams">> {
  const file = tenantsFile(settings);
  const upstreams = new Map(
    [...file.upstreams].map(([name, upstream]) => [name, named(settings, name, upstream)]),
  );
  return { file, upstreams };
}

/** Every file that `loadTenantFiles` reads, as far as the settings name it. */
export function tenantFiles(settings: Settings): string[] {
  return [settings.tenantAllowFile, settings.tenantDenyFile, settings.tenants]
    .filter((path) => path !== null);
}

function list(path: string | null): readonly string[] | null {
  if (path === null) return null;
  try {
    return parseTenantList(read(path));
  } catch (error) {
    if (!(error instanceof TenantListError)) throw error;
    throw new CommandError(`${path}:${error.line}: ${error.message}`);
  }
}

function tenantsFile({ tenants: path, contextVariables }: Settings): TenantsFile {
  if (path === null) return NO_TENANTS;
  const { file, problems } = parseTenantsFile(read(path), contextVariables);
  if (problems.length === 0) return file;
  const sorted = problems.toSorted((a, b) => a.line - b.line || a.column - b.column);
  throw new CommandError(
    sorted.map(({ line, column, message }) => `${path}:${line}:${column}: ${message}`).join("\n"),
  );
}

/** What is left out is as for the upstream of all. */
function named(settings: Settings, name: string, upstream: UpstreamOverride): NamedUpstream {
  const { line, column } = upstream.place;
  const refuse = (message: string): never => {
    throw new CommandError(`${settings.tenants}:${line}:${column}: [upstreams.${name}] ${message}`);
  };
  const { upstreamUser: user = null, upstreamPassword: password = null } = upstream.settings;
  const hasLogin = user !== null || password !== null || upstream.passwordFile !== null;
  if (settings.poolMode === "none" && hasLogin) {
    refuse("has a user or a password, which need pool_mode: clients log in as themselves");
  }
  const merged = { ...settings, ...upstream.settings };
  if (merged.upstreamHost.startsWith("/") && upstream.settings.upstreamTls !== undefined) {
    refuse("has a unix socket, on which PostgreSQL has no TLS");
  }
  try {
    return {
      options: {
        host: merged.upstreamHost,
        port: merged.upstreamPort,
        tls: loadTls({ ...merged, authFile: null, tlsCert: null, tlsKey: null }).upstream,
      },
      database: upstream.database,
      user: merged.upstreamUser,
      password: upstream.passwordFile === null
        ? merged.upstreamPassword
        : read(upstream.passwordFile).replace(/\r?\n$/, ""),
    };
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    return refuse(error.message);
  }
}

function read(path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Deno.readFileSync(path));
  } catch (error) {
    const reason = error instanceof TypeError ? "it is not UTF-8 text" : reasonOf(error);
    throw new CommandError(`Cannot read "${path}": ${reason}`);
  }
}
