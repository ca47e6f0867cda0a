// What must hold between settings, on the values that all layers together result in.

import { definitionOf, type SettingKey, SETTINGS, type Settings } from "./definitions.ts";
import { isLocalHost, isLoopback, isSocketDirectory } from "./hosts.ts";
import { type Origin, originText, type Problem } from "./problems.ts";

/** The merged values and where each came from. */
export interface Merged {
  readonly settings: Settings;
  readonly origins: ReadonlyMap<SettingKey, Origin>;
  /** Settings whose values could not be read; no rule judges them. */
  readonly unreadable: ReadonlySet<SettingKey>;
}

interface Rule {
  readonly keys: readonly SettingKey[];
  /** Null when the rule holds, else the key to blame and what is wrong. */
  check(settings: Settings, name: (key: SettingKey) => string): [SettingKey, string] | null;
}

/** A setting that means nothing unless another one is set. */
function needs(key: SettingKey, other: SettingKey, why: string, applies: Applies): Rule {
  return {
    keys: [key, other],
    check: (settings) =>
      applies(settings) && settings[definitionOf(other).property] === null
        ? [key, `"${key}" ${why} needs "${other}"`]
        : null,
  };
}
type Applies = (settings: Settings) => boolean;

const hasCertIdentity: Applies = (settings) => settings.certIdentity !== "none";
const usesUpstreamTls: Applies = (settings) => settings.upstreamTls !== "disable";
const isPooling: Applies = (settings) => settings.poolMode !== "none";

/** A setting that needs another one as soon as it is set itself. */
function setNeeds(key: SettingKey, other: SettingKey): Rule {
  return needs(
    key,
    other,
    "is set and",
    (settings) => settings[definitionOf(key).property] !== null,
  );
}

const TLS_RULES: readonly Rule[] = [
  setNeeds("tls_port", "tls_cert"),
  setNeeds("tls_port", "tls_key"),
  setNeeds("tls_cert", "tls_key"),
  setNeeds("tls_key", "tls_cert"),
  needs("client_tls", "tls_cert", "is require and", (settings) => settings.clientTls === "require"),
  setNeeds("client_tls_ca", "tls_cert"),
  {
    keys: ["client_tls_ca", "client_tls"],
    check: (settings) =>
      settings.clientTlsCa !== null && settings.clientTls !== "require"
        ? [
          "client_tls_ca",
          '"client_tls_ca" means nothing to clients in the clear; it needs ' +
          '"client_tls" = require',
        ]
        : null,
  },
  needs("cert_identity", "client_tls_ca", "is not none and", hasCertIdentity),
  {
    keys: ["client_tls", "tls_port"],
    check: (settings) =>
      settings.clientTls === "disable" && settings.tlsPort !== null
        ? ["client_tls", '"client_tls" is disable, but "tls_port" is set; remove one']
        : null,
  },
  setNeeds("upstream_tls_cert", "upstream_tls_key"),
  setNeeds("upstream_tls_key", "upstream_tls_cert"),
  {
    keys: ["upstream_tls", "upstream_host"],
    check: (settings) =>
      usesUpstreamTls(settings) && settings.upstreamTls !== "prefer" &&
        isSocketDirectory(settings.upstreamHost)
        ? [
          "upstream_tls",
          '"upstream_tls" needs a TCP "upstream_host": PostgreSQL has no TLS on ' +
          "a unix socket",
        ]
        : null,
  },
  {
    keys: ["upstream_tls_direct", "upstream_tls"],
    check: (settings) =>
      settings.upstreamTlsDirect && ["disable", "prefer"].includes(settings.upstreamTls)
        ? [
          "upstream_tls_direct",
          '"upstream_tls_direct" needs "upstream_tls" = require or stricter',
        ]
        : null,
  },
];

const POOLING_RULES: readonly Rule[] = [
  {
    keys: ["pool_mode", "pool_password", "auth_file", "auth_query"],
    check: (settings) =>
      isPooling(settings) && settings.poolPassword === null && settings.authFile === null &&
        settings.authQuery === null
        ? [
          "pool_mode",
          '"pool_mode" is not none and needs one of "pool_password", "auth_file" and "auth_query"',
        ]
        : null,
  },
  {
    ...needs(
      "pool_mode",
      "upstream_password",
      "is not none and",
      (settings) =>
        isPooling(settings) && settings.upstreamTlsCert === null &&
        !isSocketDirectory(settings.upstreamHost),
    ),
    keys: ["pool_mode", "upstream_password", "upstream_tls_cert", "upstream_host"],
  },
  setNeeds("auth_query", "auth_user"),
  {
    keys: ["auth_query"],
    check: (settings) =>
      settings.authQuery !== null && !/\$1(?!\d)/.test(settings.authQuery)
        ? ["auth_query", '"auth_query" has no $1, which stands for the role']
        : null,
  },
  atMost("pool_min_idle", "pool_size"),
  atMost("pool_min_idle", "pool_max_total"),
  atMost("tenant_pool_min", "tenant_pool_max"),
];

/** A number that must not be above another one, when both are set. */
function atMost(key: SettingKey, other: SettingKey): Rule {
  return {
    keys: [key, other],
    check: (settings, name) => {
      const value = settings[definitionOf(key).property];
      const limit = settings[definitionOf(other).property];
      return value !== null && limit !== null && value > limit
        ? [key, `"${key}" is ${value}, more than ${name(other)}, which is ${limit}`]
        : null;
    },
  };
}

const ADMIN_RULES: readonly Rule[] = [
  {
    keys: ["admin_port", "admin_host"],
    check: ({ adminPort, adminHost }) =>
      adminPort !== null && isSocketDirectory(adminHost)
        ? ["admin_host", '"admin_host" must be an address: the admin API has no unix socket']
        : null,
  },
  {
    keys: ["admin_host", "admin_port", "admin_token", "admin_open_to"],
    check: ({ adminPort, adminHost, adminToken, adminOpenTo }) =>
      adminPort !== null && adminToken === null && adminOpenTo !== "anywhere" &&
        !isLoopback(adminHost)
        ? [
          "admin_host",
          '"admin_host" is not this machine alone and needs "admin_token" ' +
          '(or "admin_open_to" = anywhere, which lets everybody who reaches it stop pgvpd)',
        ]
        : null,
  },
  {
    keys: ["admin_users", "admin_token", "auth_file"],
    check: ({ adminUsers, adminToken, authFile }) =>
      adminUsers !== null && adminToken === null && authFile === null
        ? ["admin_users", '"admin_users" is set and needs "admin_token" or "auth_file"']
        : null,
  },
  needs("audit_log", "audit_file", "is file and", (settings) => settings.auditLog === "file"),
];

const RULES: readonly Rule[] = [
  ...TLS_RULES,
  ...POOLING_RULES,
  ...ADMIN_RULES,
  {
    keys: ["tenant_key", "context_variables"],
    check: ({ tenantKey, contextVariables }) => {
      const words = ["payload", "first", ...contextVariables.map((name) => name.toLowerCase())];
      return words.includes(tenantKey.toLowerCase())
        ? null
        : ["tenant_key", `"tenant_key" is ${tenantKey}, which is not in "context_variables"`];
    },
  },
  {
    keys: ["tenant_type", "tenant_key", "context_variables"],
    check: ({ tenantType, tenantKey, contextVariables }) =>
      tenantType !== "text" && tenantKey === "payload" && contextVariables.length > 1
        ? [
          "tenant_type",
          `"tenant_type" is ${tenantType}, but "tenant_key" is payload: all values together`,
        ]
        : null,
  },
  setNeeds("tenant_rate_burst", "tenant_rate_limit"),
  samePort("tls_port", "port", (settings) => settings.tlsPort === settings.port),
  samePort("admin_port", "port", (settings) => settings.adminPort === settings.port),
  samePort("admin_port", "tls_port", (settings) => settings.adminPort === settings.tlsPort),
  {
    keys: ["upstream_host", "upstream_port", "listen_host", "port"],
    check: (settings) =>
      settings.upstreamPort === settings.port && listensOnUpstream(settings)
        ? ["upstream_port", '"upstream_host" and "upstream_port" are where pgvpd itself listens']
        : null,
  },
];

/** Two listeners on one port. Zero takes a free port; a directory has no port. */
function samePort(key: SettingKey, other: SettingKey, isSame: Applies): Rule {
  return {
    keys: [key, other, "listen_host"],
    check: (settings, name) => {
      const port = settings[definitionOf(key).property];
      if (port === null || port === 0 || !isSame(settings)) return null;
      const isTcp = settings.listenHost.some((host) => !isSocketDirectory(host));
      return isTcp ? [key, `"${key}" is ${port}, as is ${name(other)}; take another port`] : null;
    },
  };
}

function listensOnUpstream(settings: Settings): boolean {
  const { listenHost, upstreamHost } = settings;
  if (listenHost.includes(upstreamHost)) return true;
  if (!isLocalHost(upstreamHost)) return false;
  // Two different loopback addresses are two different places; a wildcard is all of them.
  return listenHost.some((host) => host === "::" || host === "0.0.0.0") ||
    upstreamHost === "localhost" && listenHost.some(isLocalHost) ||
    listenHost.includes("localhost");
}

/** Every rule that is broken. */
export function ruleProblems(merged: Merged): Problem[] {
  const { settings, origins, unreadable } = merged;
  const originOf = (key: SettingKey): Origin => origins.get(key) ?? { layer: "default" };
  const name = (key: SettingKey) => `"${key}" (${originText(originOf(key))})`;
  return RULES.flatMap((rule) => {
    if (rule.keys.some((key) => unreadable.has(key))) return [];
    const broken = rule.check(settings, name);
    if (broken === null) return [];
    const origin = originOf(blamedKey(rule, broken[0], originOf));
    return [{ origin, key: broken[0], message: broken[1] }];
  });
}

/** The key itself, or, when it has its default, the first one of the rule that somebody set. */
function blamedKey(rule: Rule, key: SettingKey, originOf: (key: SettingKey) => Origin): SettingKey {
  if (originOf(key).layer !== "default") return key;
  return rule.keys.find((other) => originOf(other).layer !== "default") ?? key;
}

function isDefault(settings: Settings, key: SettingKey): boolean {
  const { type, property, default: text } = definitionOf(key);
  const value = settings[property];
  return text !== null && value !== null && type.format(value) === type.format(type.parse(text));
}

/** A warning for each of the keys that somebody set. */
type Idle = (keys: readonly SettingKey[], why: string) => string[];

/** Settings that are set and do nothing, because of another one. */
export function ruleWarnings(merged: Merged): string[] {
  const { settings, origins } = merged;
  const idle: Idle = (keys, why) =>
    keys.flatMap((key) => {
      const origin = origins.get(key);
      if (origin === undefined || origin.layer === "default" || isDefault(settings, key)) return [];
      return [`${originText(origin)}: "${key}" does nothing ${why}`];
    });
  return [
    ...(settings.clientTls === "disable"
      ? idle(["tls_cert", "tls_key"], 'with "client_tls" = disable')
      : []),
    ...(hasCertIdentity(settings) ? [] : idle(["cert_identity_prefix"], 'without "cert_identity"')),
    ...(usesUpstreamTls(settings)
      ? []
      : idle(["upstream_tls_ca", "upstream_tls_cert"], 'without "upstream_tls"')),
    ...(settings.upstreamTls === "true"
      ? []
      : idle(["upstream_tls_verify"], 'without "upstream_tls" = true')),
    ...(["prefer", "require"].includes(settings.upstreamTls)
      ? idle(["upstream_tls_ca"], `with "upstream_tls" = ${settings.upstreamTls}`)
      : []),
    ...(settings.upstreamTls === "true" && !settings.upstreamTlsVerify
      ? idle(["upstream_tls_ca"], 'with "upstream_tls_verify" = false')
      : []),
    ...(isPooling(settings)
      ? poolingWarnings(settings, idle)
      : idle([...POOLING_KEYS, "tenant_fair_shares", ...SHARE_KEYS], NOT_POOLING)),
    ...(settings.sealKeyFile === null ? idle(["seal_ttl"], 'without "seal_key_file"') : []),
    ...(settings.resolvers === null
      ? idle(RESOLVER_KEYS, 'without "resolvers"')
      : settings.resolverUser === null
      ? idle(["resolver_password", "resolver_database"], 'without "resolver_user"')
      : []),
    ...(settings.adminPort === null
      ? idle(["admin_host", "admin_open_to", "admin_names"], 'without "admin_port"')
      : []),
    ...(settings.auditLog === "file" ? [] : idle(["audit_file"], 'without "audit_log" = file')),
    ...(settings.listenHost.some(isSocketDirectory)
      ? []
      : idle(["unix_socket_mode"], 'without a unix socket directory in "listen_host"')),
  ];
}

const RESOLVER_KEYS = SETTINGS
  .filter(({ group, key }) => group === "Resolvers" && key !== "resolvers").map(({ key }) => key);
const NOT_POOLING = 'without "pool_mode"';
const POOLING_KEYS = SETTINGS
  .filter(({ group, key }) => group === "Pooling" && key !== "pool_mode").map(({ key }) => key);

const SHARE_KEYS: readonly SettingKey[] = [
  ...["tenant_weight", "tenant_pool_max", "tenant_pool_min", "tenant_queue_max"] as const,
];

function poolingWarnings(settings: Settings, idle: Idle): string[] {
  return [
    ...(settings.tenantFairShares ? [] : idle(SHARE_KEYS, 'with "tenant_fair_shares" = false')),
    ...(settings.authQuery === null
      ? idle(["auth_user", "auth_password", "auth_database"], 'without "auth_query"')
      : []),
    ...(settings.poolAuth === "cleartext"
      ? []
      : idle(["pool_auth_cleartext"], 'without "pool_auth" = cleartext')),
  ];
}
