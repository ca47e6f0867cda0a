// The settings of tenants: who may come, how many, how fast, for how long.

import type { Row } from "./row.ts";
import { boolean, choice, count, duration, nameList, path, tenantKey } from "./values.ts";

const LISTS = {
  tenant_key: {
    group: "Tenant limits",
    type: tenantKey(),
    default: "payload",
    sentence: "The tenant: payload, first or a variable.",
    detail: "`payload` is everything behind the separator in the user name, `first` the first " +
      "context value, and the name of one of `context_variables` that one's value. Lists, limits " +
      "and `tenants` know tenants by it.",
    reloadable: true,
    available: true,
  },
  tenant_type: {
    group: "Tenant limits",
    type: choice(["text", "uuid", "integer"]),
    default: "text",
    sentence: "What a tenant is in the database.",
    detail:
      "PostgreSQL takes many spellings of one uuid or integer (`A0EE…`, `a0ee…`; `042`, `42`). " +
      "With `uuid` or `integer` a client must write its tenant as PostgreSQL does, so that none " +
      "goes round lists and limits; lists and `tenants` may have any spelling.",
    reloadable: true,
    available: true,
  },
  tenant_allow: {
    group: "Tenant limits",
    type: nameList("tenants"),
    default: null,
    example: "acme,globex-*",
    sentence: "Only these tenants may connect.",
    detail: "Names, and patterns with `*` and `?`; a backslash makes a letter of them. With " +
      "`tenant_allow_file` both count. Who is in `tenant_deny` as well may not connect.",
    reloadable: true,
    available: true,
  },
  tenant_allow_file: {
    group: "Tenant limits",
    type: path("a list of tenants"),
    default: null,
    example: "/etc/pgvpd/tenants.allow",
    sentence: "File of tenants that may connect, one a line.",
    detail: "Written as in `tenant_allow`; `#` begins a comment. It is read again when it changes.",
    reloadable: true,
    available: true,
  },
  tenant_deny: {
    group: "Tenant limits",
    type: nameList("tenants"),
    default: null,
    example: "initech,trial-*",
    sentence: "These tenants may not connect.",
    detail:
      "Written as in `tenant_allow`. On a reload the sessions of tenants that may not connect " +
      "any more end, and their queries are cancelled.",
    reloadable: true,
    available: true,
  },
  tenant_deny_file: {
    group: "Tenant limits",
    type: path("a list of tenants"),
    default: null,
    example: "/etc/pgvpd/tenants.deny",
    sentence: "File of tenants that may not connect, one a line.",
    detail: "Written as in `tenant_allow_file`, and read again when it changes.",
    reloadable: true,
    available: true,
  },
} as const satisfies Record<string, Row>;

const LIMITS = {
  tenant_max_connections: {
    group: "Tenant limits",
    type: count(1),
    default: null,
    example: "50",
    sentence: "Connections of one tenant at once.",
    detail: "A connection counts from the moment it has authenticated.",
    reloadable: true,
    available: true,
  },
  tenant_rate_limit: {
    group: "Tenant limits",
    type: count(1),
    default: null,
    example: "10",
    sentence: "New connections of one tenant in a second.",
    reloadable: true,
    available: true,
  },
  tenant_rate_burst: {
    group: "Tenant limits",
    type: count(1),
    default: null,
    example: "50",
    sentence: "New connections of a tenant at once, after a rest.",
    detail: "Unset, it is `tenant_rate_limit`.",
    reloadable: true,
    available: true,
  },
} as const satisfies Record<string, Row>;

const TIMEOUTS = {
  tenant_idle_timeout: {
    group: "Tenant limits",
    type: duration({ min: "1ms", max: "168h" }),
    default: null,
    example: "30m",
    sentence: "Silence of a tenant's session while nothing runs.",
    detail: "The session ends with 57P05, or with 25P03 inside a transaction. Users in " +
      "`superuser_bypass` have no such limits.",
    reloadable: true,
    available: true,
  },
  tenant_statement_timeout: {
    group: "Tenant limits",
    type: duration({ min: "1ms", max: "168h" }),
    default: null,
    example: "60s",
    sentence: "Time for one statement of a tenant.",
    detail: "One that takes longer is cancelled in PostgreSQL (57014); the session goes on.",
    reloadable: true,
    available: true,
  },
  tenant_session_timeout: {
    group: "Tenant limits",
    type: duration({ min: "1ms", max: "8760h" }),
    default: null,
    example: "24h",
    sentence: "Age at which a tenant's session ends.",
    detail: "With 57P01 as soon as it is outside a transaction, and a minute later in any case.",
    reloadable: true,
    available: true,
  },
  tenant_query_timeout: {
    group: "Tenant limits",
    type: duration({ min: "1ms", max: "168h" }),
    default: null,
    example: "60s",
    sentence: "Silence before a tenant's connection is ended.",
    detail: "The old name, with its old meaning: no byte moved either way, whether a statement " +
      "runs or not. `tenant_idle_timeout` and `tenant_statement_timeout` tell the two apart.",
    reloadable: true,
    available: true,
  },
} as const satisfies Record<string, Row>;

const SHARES = {
  tenant_fair_shares: {
    group: "Tenant limits",
    type: boolean(),
    default: "true",
    sentence: "Share the connections of a pool among tenants.",
    detail:
      "Who waits, waits behind others of its own tenant, and tenants take turns by the time " +
      "they have used. `false`: first come, first served, whoever it is.",
    reloadable: true,
    available: true,
  },
  tenant_weight: {
    group: "Tenant limits",
    type: count(1),
    default: "1",
    sentence: "Share of a tenant, beside those of others.",
    reloadable: true,
    available: true,
  },
  tenant_pool_max: {
    group: "Tenant limits",
    type: count(1),
    default: null,
    example: "10",
    sentence: "Connections of a pool for one tenant at once.",
    reloadable: true,
    available: true,
  },
  tenant_pool_min: {
    group: "Tenant limits",
    type: count(0),
    default: "0",
    sentence: "Connections that a tenant gets before others.",
    detail: "While a tenant that waits has fewer, the next that is free is its.",
    reloadable: true,
    available: true,
  },
  tenant_queue_max: {
    group: "Tenant limits",
    type: count(0),
    default: null,
    example: "100",
    sentence: "Clients of a tenant that wait for one pool.",
    reloadable: true,
    available: true,
  },
  tenants: {
    group: "Tenant limits",
    type: path("a file of tenants"),
    default: null,
    example: "/etc/pgvpd/tenants.toml",
    sentence: "File of what holds for single tenants.",
    detail:
      "Limits, settings of PostgreSQL and other upstreams, by name, pattern or class, in TOML. " +
      "It is read again when it changes. See docs/tenants.md.",
    reloadable: true,
    available: true,
  },
} as const satisfies Record<string, Row>;

/** In the order in which they are shown. */
export const TENANTS = { ...LISTS, ...LIMITS, ...TIMEOUTS, ...SHARES };
