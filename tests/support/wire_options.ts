// The settings of a proxy under test, apart from the bench so that a proxy's own process can be small.

import { resolveSettings } from "../../src/config/config.ts";
import type { ProxyOptions } from "../../src/server.ts";

export const SUPERUSER = "postgres";

export function proxyOptions(
  upstreamPort: number,
  overrides: Partial<ProxyOptions> = {},
): ProxyOptions {
  const { settings } = resolveSettings({ environment: {}, flags: {} });
  return { ...settings, port: 0, upstreamPort, superuserBypass: [SUPERUSER], ...overrides };
}
