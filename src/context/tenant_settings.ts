// Settings that an operator gives the sessions of a tenant, beside those that the client brings.

import type { Setting } from "./context.ts";
import type { StartupSettings } from "./startup_parameters.ts";

/** The settings of a pooled client with its tenant's in the place of those of the same names. */
export function withTenantSettings(
  startup: StartupSettings,
  own: readonly Setting[],
): StartupSettings {
  if (own.length === 0) return startup;
  const names = new Set(own.map(({ name }) => name.toLowerCase()));
  const others = startup.settings.filter(({ name }) => !names.has(name.toLowerCase()));
  return { ...startup, settings: [...others, ...own] };
}
