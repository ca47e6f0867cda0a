// The settings of a proxy under test, apart from the bench so that a proxy's own process can be small.

import type { ProxyOptions } from "../../src/server.ts";

export const SUPERUSER = "postgres";

export function proxyOptions(
  upstreamPort: number,
  overrides: Partial<ProxyOptions> = {},
): ProxyOptions {
  return {
    listenHost: ["127.0.0.1"],
    port: 0,
    upstreamHost: "127.0.0.1",
    upstreamPort,
    tenantSeparator: ".",
    contextVariables: ["app.current_tenant_id"],
    valueSeparator: ":",
    superuserBypass: [SUPERUSER],
    setRole: null,
    handshakeTimeout: 30_000,
    maxClientConnections: 10_000,
    tcpKeepalive: true,
    unixSocketMode: 0o777,
    ...overrides,
  };
}
