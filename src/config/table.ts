// The one table of settings. The file reader, the environment, the flags, the help, the example
// file, the docs page and the tests are made from it (through definitions.ts) or checked
// against it.

import { host, listenHosts } from "./hosts.ts";
import {
  boolean,
  choice,
  duration,
  fileMode,
  integer,
  nameList,
  path,
  roleName,
  text,
  type ValueType,
  variableNames,
} from "./values.ts";

/** The groups in the order in which help, example and docs show them. */
export const GROUPS = [
  "Listening",
  "Upstream",
  "Identity",
  "Pooling",
  "TLS",
  "Tenant limits",
  "Resolvers",
  "Admin",
  "Logging",
  "Process",
] as const;
export type Group = typeof GROUPS[number];

/** A row of the table as it is written; what is left out follows from the key. */
export interface Row {
  readonly group: Group;
  // deno-lint-ignore no-explicit-any -- a table of many types; the rows below keep their own
  readonly type: ValueType<any>;
  /** As an operator writes it; null when the setting is unset unless somebody sets it. */
  readonly default: string | null;
  /** What the example file shows for a setting that has no default. */
  readonly example?: string;
  readonly sentence: string;
  /** More for the docs page. */
  readonly detail?: string;
  readonly aliases?: readonly string[];
  readonly environment?: string;
  readonly flag?: string;
  readonly shortFlag?: string;
  /** Whether SIGHUP can change it. */
  readonly reloadable?: true;
  /** Never shown; has a `…_file` twin. */
  readonly secret?: true;
  /** Whether this version has the feature. Setting what it does not have is an error. */
  readonly available: boolean;
}

const PORT_MAX = 65535;
const COUNT_MAX = 1_000_000;
const ROLE_BYTES_MAX = 63;
const CERTIFICATE = /-----BEGIN (TRUSTED )?CERTIFICATE-----/;
const PRIVATE_KEY = /-----BEGIN ([A-Z]+ )*PRIVATE KEY-----/;

/** Every setting, in the order in which it is shown. The other names follow from the key. */
export const TABLE = {
  port: {
    group: "Listening",
    type: integer(0, PORT_MAX, "port"),
    default: "6432",
    sentence: "Port to listen on; 0 takes a free one.",
    aliases: ["listen_port"],
    shortFlag: "-p",
    available: true,
  },
  listen_host: {
    group: "Listening",
    type: listenHosts(),
    default: "127.0.0.1",
    sentence: "Addresses or socket directories to listen on.",
    detail: "`*` is every address, IPv6 and IPv4 (`::`). A directory holds `.s.PGSQL.<port>`.",
    aliases: ["host"],
    environment: "PGVPD_HOST",
    available: true,
  },
  unix_socket_mode: {
    group: "Listening",
    type: fileMode(),
    default: "0777",
    sentence: "Permissions of a unix socket, in octal.",
    available: true,
  },
  max_client_connections: {
    group: "Listening",
    type: integer(1, COUNT_MAX),
    default: "10000",
    sentence: "Clients connected at once; more are refused.",
    reloadable: true,
    available: true,
  },
  handshake_timeout: {
    group: "Listening",
    type: duration({ min: "1ms", max: "24h" }),
    default: "30s",
    sentence: "Time for start-up, authentication and context.",
    aliases: ["handshake_timeout_secs"],
    reloadable: true,
    available: true,
  },
  tcp_keepalive: {
    group: "Listening",
    type: boolean(),
    default: "true",
    sentence: "Have the kernel probe peers that fell silent.",
    detail: "When and how often is the kernel's setting: `net.ipv4.tcp_keepalive_time` on Linux.",
    reloadable: true,
    available: true,
  },
  upstream_host: {
    group: "Upstream",
    type: host(),
    default: "127.0.0.1",
    sentence: "PostgreSQL's host or unix socket directory.",
    available: true,
  },
  upstream_port: {
    group: "Upstream",
    type: integer(1, PORT_MAX, "port"),
    default: "5432",
    sentence: "PostgreSQL's port.",
    available: true,
  },
  tenant_separator: {
    group: "Identity",
    type: text(),
    default: ".",
    sentence: "Between role and tenant in a user name.",
    aliases: ["separator"],
    flag: "--separator",
    reloadable: true,
    available: true,
  },
  context_variables: {
    group: "Identity",
    type: variableNames(),
    default: "app.current_tenant_id",
    sentence: "Session variables for the values.",
    detail: "The names PostgreSQL takes for custom parameters, in ASCII, of at most 63 bytes " +
      "(SQL cuts longer ones). Names starting with `pgvpd.` are reserved.",
    aliases: ["context"],
    flag: "--context",
    reloadable: true,
    available: true,
  },
  value_separator: {
    group: "Identity",
    type: text(),
    default: ":",
    sentence: "Between the values for several variables.",
    reloadable: true,
    available: true,
  },
  superuser_bypass: {
    group: "Identity",
    type: nameList("user names", { emptyAllowed: true, itemBytesMax: ROLE_BYTES_MAX }),
    default: "postgres",
    sentence: "Users who pass without a tenant; empty is nobody.",
    detail: "The only setting that an empty value switches off, in every layer: " +
      "`superuser_bypass =` and `PGVPD_SUPERUSER_BYPASS=` both mean nobody.",
    aliases: ["superuser"],
    flag: "--superuser",
    reloadable: true,
    available: true,
  },
  set_role: {
    group: "Identity",
    type: roleName(),
    default: null,
    example: "authenticated",
    sentence: "Role for every tenant instead of the login role.",
    reloadable: true,
    available: true,
  },
  pool_mode: {
    group: "Pooling",
    type: choice(["none", "session"], { planned: ["transaction"] }),
    default: "none",
    sentence: "Whether clients share server connections.",
    available: false,
  },
  pool_size: {
    group: "Pooling",
    type: integer(1, COUNT_MAX),
    default: "20",
    sentence: "Server connections for each database and role.",
    reloadable: true,
    available: false,
  },
  pool_password: {
    group: "Pooling",
    type: text("a password", "password"),
    default: null,
    example: '"the password of the clients"',
    sentence: "Password that clients give in pool mode.",
    reloadable: true,
    secret: true,
    available: false,
  },
  upstream_password: {
    group: "Pooling",
    type: text("a password", "password"),
    default: null,
    example: '"the password of the login role"',
    sentence: "Password that pgvpd gives to PostgreSQL.",
    reloadable: true,
    secret: true,
    available: false,
  },
  pool_idle_timeout: {
    group: "Pooling",
    type: duration({ min: "1s", max: "168h" }),
    default: "5m",
    sentence: "Idle time before a server connection is closed.",
    reloadable: true,
    available: false,
  },
  pool_checkout_timeout: {
    group: "Pooling",
    type: duration({ min: "1ms", max: "24h" }),
    default: "5s",
    sentence: "Time to wait for a server connection.",
    reloadable: true,
    available: false,
  },
  client_tls: {
    group: "TLS",
    type: choice(["disable", "allow", "require"]),
    default: "allow",
    sentence: "Whether clients may or must use TLS.",
    detail: "`allow` offers it as soon as `tls_cert` and `tls_key` are set. `require` also holds " +
      "for bypass users. A CancelRequest is taken in the clear: libpq before 17 sends it so.",
    reloadable: true,
    available: true,
  },
  tls_port: {
    group: "TLS",
    type: integer(0, PORT_MAX, "port"),
    default: null,
    example: "6433",
    sentence: "Another port, for TLS clients alone.",
    detail:
      "Both ports take TLS that is asked for (`sslmode=require`) and TLS from the first byte " +
      "(`sslnegotiation=direct`).",
    available: true,
  },
  tls_cert: {
    group: "TLS",
    type: path("a PEM certificate", CERTIFICATE),
    default: null,
    example: "/etc/pgvpd/server.crt",
    sentence: "Certificate shown to clients.",
    detail:
      "With those of its intermediate authorities behind it. This file, and the others with " +
      "certificates and keys, is read again when it changes.",
    reloadable: true,
    available: true,
  },
  tls_key: {
    group: "TLS",
    type: path("a PEM private key", PRIVATE_KEY),
    default: null,
    example: "/etc/pgvpd/server.key",
    sentence: "Private key of the certificate.",
    reloadable: true,
    available: true,
  },
  client_tls_ca: {
    group: "TLS",
    type: path("a PEM certificate", CERTIFICATE),
    default: null,
    example: "/etc/pgvpd/client-ca.crt",
    sentence: "Clients need a certificate from these authorities.",
    reloadable: true,
    available: true,
  },
  cert_identity: {
    group: "TLS",
    type: choice(["none", "cn", "san-uri"]),
    default: "none",
    sentence: "Name in a client's certificate that must be its tenant.",
    detail: "`cn` is the common name, `san-uri` a URI among the alternative names. The tenant is " +
      "the first context value; for a bypass user it is the user name.",
    reloadable: true,
    available: true,
  },
  cert_identity_prefix: {
    group: "TLS",
    type: text(),
    default: null,
    example: "spiffe://example.com/tenant/",
    sentence: "What stands before the tenant in that name.",
    reloadable: true,
    available: true,
  },
  upstream_tls: {
    group: "TLS",
    type: choice(["disable", "prefer", "require", "verify-ca", "verify-full", "true"], {
      synonyms: { yes: "true", on: "true", "1": "true", false: "disable", no: "disable" },
      bareFlag: "true",
    }),
    default: "disable",
    sentence: "TLS towards PostgreSQL, as libpq's sslmode.",
    detail:
      "`true` is `verify-full`, or `require` with `upstream_tls_verify = false`; `false` is " +
      "`disable`. `prefer` and `require` encrypt, but do not find out with whom.",
    reloadable: true,
    available: true,
  },
  upstream_tls_verify: {
    group: "TLS",
    type: boolean(),
    default: "true",
    sentence: "Check PostgreSQL's certificate, with upstream_tls = true.",
    reloadable: true,
    available: true,
  },
  upstream_tls_ca: {
    group: "TLS",
    type: path("a PEM certificate", CERTIFICATE),
    default: null,
    example: "/etc/pgvpd/upstream-ca.crt",
    sentence: "The only authorities that PostgreSQL's may come from.",
    detail:
      "Several certificates may stand in it, also the server's own self-signed one. Without " +
      "it the authorities count that Deno trusts (`DENO_TLS_CA_STORE=system` for the system's).",
    reloadable: true,
    available: true,
  },
  upstream_tls_direct: {
    group: "TLS",
    type: boolean(),
    default: "false",
    sentence: "Begin with TLS, without asking (PostgreSQL 17).",
    reloadable: true,
    available: true,
  },
  upstream_tls_cert: {
    group: "TLS",
    type: path("a PEM certificate", CERTIFICATE),
    default: null,
    example: "/etc/pgvpd/client.crt",
    sentence: "Certificate that pgvpd shows to PostgreSQL.",
    reloadable: true,
    available: true,
  },
  upstream_tls_key: {
    group: "TLS",
    type: path("a PEM private key", PRIVATE_KEY),
    default: null,
    example: "/etc/pgvpd/client.key",
    sentence: "Private key of that certificate.",
    reloadable: true,
    available: true,
  },
  tenant_allow: {
    group: "Tenant limits",
    type: nameList("tenants"),
    default: null,
    example: "acme,globex",
    sentence: "Only these tenants may connect.",
    reloadable: true,
    available: false,
  },
  tenant_deny: {
    group: "Tenant limits",
    type: nameList("tenants"),
    default: null,
    example: "initech",
    sentence: "These tenants may not connect.",
    reloadable: true,
    available: false,
  },
  tenant_max_connections: {
    group: "Tenant limits",
    type: integer(1, COUNT_MAX),
    default: null,
    example: "50",
    sentence: "Connections of one tenant at once.",
    reloadable: true,
    available: false,
  },
  tenant_rate_limit: {
    group: "Tenant limits",
    type: integer(1, COUNT_MAX),
    default: null,
    example: "10",
    sentence: "New connections of one tenant in a second.",
    reloadable: true,
    available: false,
  },
  tenant_query_timeout: {
    group: "Tenant limits",
    type: duration({ min: "1ms", max: "168h" }),
    default: null,
    example: "60s",
    sentence: "Silence before a tenant's connection is ended.",
    reloadable: true,
    available: false,
  },
  resolvers: {
    group: "Resolvers",
    type: path("a resolver file"),
    default: null,
    example: "/etc/pgvpd/resolvers.toml",
    sentence: "File of the queries that derive more context.",
    reloadable: true,
    available: false,
  },
  admin_port: {
    group: "Admin",
    type: integer(0, PORT_MAX, "port"),
    default: null,
    example: "9090",
    sentence: "Port for health, metrics and status over HTTP.",
    available: false,
  },
  log_level: {
    group: "Logging",
    type: choice(["debug", "info", "warn", "error"], { synonyms: { warning: "warn" } }),
    default: "info",
    sentence: "Least severity that is logged.",
    reloadable: true,
    available: true,
  },
  log_format: {
    group: "Logging",
    type: choice(["text", "json"]),
    default: "text",
    sentence: "Text for people or JSON lines.",
    available: true,
  },
  shutdown_timeout: {
    group: "Process",
    type: duration({ min: "0", max: "24h" }),
    default: "30s",
    sentence: "Time for clients to finish after SIGTERM.",
    reloadable: true,
    available: true,
  },
} satisfies Record<string, Row>;
