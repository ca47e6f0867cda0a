// The files about tenants that the settings name: read and checked.

import type { Settings } from "../config/config.ts";
import { parseTenantList, TenantListError } from "../config/tenant_list.ts";
import type { TenantFiles } from "../server.ts";
import { CommandError, reasonOf } from "./failure.ts";

/**
 * Reads every file.
 *
 * @throws {CommandError} with the place of the first mistake.
 */
export function loadTenantFiles(settings: Settings): TenantFiles {
  return { allow: list(settings.tenantAllowFile), deny: list(settings.tenantDenyFile) };
}

/** Every file that `loadTenantFiles` reads. */
export function tenantFiles(settings: Settings): string[] {
  return [settings.tenantAllowFile, settings.tenantDenyFile].filter((path) => path !== null);
}

function list(path: string | null): readonly string[] | null {
  if (path === null) return null;
  try {
    return parseTenantList(Deno.readTextFileSync(path));
  } catch (error) {
    if (error instanceof TenantListError) {
      throw new CommandError(`"${path}", line ${error.line}: ${error.message}`);
    }
    throw new CommandError(`Cannot read "${path}": ${reasonOf(error)}`);
  }
}
