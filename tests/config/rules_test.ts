// What must hold between settings: each rule accepts and refuses, on the merged values.

import assert from "node:assert/strict";
import { problemsOf, problemText } from "../../src/config/config.ts";

const CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
const KEY = "-----BEGIN EC PRIVATE KEY-----\nMIIB\n-----END EC PRIVATE KEY-----\n";
const DISK: Record<string, string> = {
  "/tls/crt": CERTIFICATE,
  "/tls/key": KEY,
  "/resolvers.toml": "",
  "/userlist.txt": "",
};

interface Told {
  problems: string[];
  warnings: readonly string[];
}

/** What is told about a file (and variables), less that features are not available yet. */
function check(file: string, environment: Record<string, string> = {}): Told {
  const { problems, warnings } = problemsOf({
    file: { path: "pgvpd.conf", text: file },
    environment,
    flags: {},
    readFile(path) {
      const text = DISK[path];
      if (text === undefined) throw new Deno.errors.NotFound(`No such file: readfile '${path}'`);
      return text;
    },
  });
  const texts = problems.map(problemText).filter((text) => !text.includes("not available"));
  return { problems: texts, warnings };
}

const TLS = "tls_cert = /tls/crt\ntls_key = /tls/key\n";
const CLIENT_CA = `${TLS}client_tls = require\nclient_tls_ca = /tls/crt\n`;
const UPSTREAM_CERT = "upstream_tls_cert = /tls/crt\nupstream_tls_key = /tls/key\n";
const POOL = "pool_mode = session\npool_password = a\nupstream_password = b\n";

Deno.test("rules that are kept", () => {
  const kept = [
    "",
    `${TLS}tls_port = 6433`,
    TLS,
    `${TLS}client_tls = require`,
    "client_tls = disable",
    CLIENT_CA,
    `${CLIENT_CA}cert_identity = cn`,
    `${CLIENT_CA}cert_identity = san-uri\ncert_identity_prefix = a/`,
    "upstream_tls = on",
    "upstream_tls = on\nupstream_tls_verify = off",
    "upstream_tls = on\nupstream_tls_ca = /tls/crt",
    "upstream_tls = prefer\nupstream_host = /run/postgresql",
    "upstream_tls = off\nupstream_host = /run/postgresql",
    `upstream_tls = require\n${UPSTREAM_CERT}`,
    "upstream_tls = require\nupstream_tls_direct = on",
    "upstream_tls = true\nupstream_tls_direct = on",
    "upstream_tls_direct = off",
    POOL,
    "pool_mode = none",
    "pool_mode = session\nauth_file = /userlist.txt\nupstream_password = b",
    "pool_mode = session\nauth_query = SELECT $1\nauth_user = a\nupstream_password = b",
    `pool_mode = session\npool_password = a\nupstream_tls = on\n${UPSTREAM_CERT}`,
    "pool_mode = session\npool_password = a\nupstream_host = /run/postgresql",
    `${POOL}auth_query = SELECT $1\nauth_user = a\nauth_password = b\nauth_database = c`,
    `${POOL}pool_auth = cleartext\npool_auth_cleartext = anywhere`,
    `${POOL}pool_min_idle = 20\npool_max_total = 20`,
    `${POOL}pool_max_total = 5`,
    "tenant_allow = a\ntenant_deny = b",
    "tenant_key = first",
    "tenant_type = uuid",
    "context_variables = app.org,app.user\ntenant_key = first\ntenant_type = integer",
    "context_variables = app.org,app.user\ntenant_key = APP.org",
    "tenant_rate_limit = 5\ntenant_rate_burst = 50",
    "resolvers = /resolvers.toml",
    "port = 5432\nupstream_host = db",
    "port = 5432\nlisten_host = 127.0.0.1\nupstream_host = 127.0.0.2",
    "port = 5432\nlisten_host = /run/pgvpd\nupstream_host = /run/postgresql",
    `${TLS}tls_port = 0\nport = 0\nadmin_port = 0`,
    `${TLS}listen_host = /run/pgvpd\nport = 7000\ntls_port = 7000`,
    "value_separator = .", // legal: the first separator ends the role
  ];
  for (const file of kept) assert.deepEqual(check(file), { problems: [], warnings: [] }, file);
});

const BROKEN: readonly [file: string, ...problems: string[]][] = [
  [
    "tls_port = 6433",
    'pgvpd.conf:1: "tls_port" is set and needs "tls_cert"',
    'pgvpd.conf:1: "tls_port" is set and needs "tls_key"',
  ],
  [
    "tls_port = 6433\ntls_cert = /tls/crt",
    'pgvpd.conf:1: "tls_port" is set and needs "tls_key"',
    'pgvpd.conf:2: "tls_cert" is set and needs "tls_key"',
  ],
  ["tls_cert = /tls/crt", 'pgvpd.conf:1: "tls_cert" is set and needs "tls_key"'],
  ["tls_key = /tls/key", 'pgvpd.conf:1: "tls_key" is set and needs "tls_cert"'],
  ["client_tls = require", 'pgvpd.conf:1: "client_tls" is require and needs "tls_cert"'],
  [
    "client_tls_ca = /tls/crt\nclient_tls = require",
    'pgvpd.conf:1: "client_tls_ca" is set and needs "tls_cert"',
    'pgvpd.conf:2: "client_tls" is require and needs "tls_cert"',
  ],
  [
    `${TLS}client_tls_ca = /tls/crt`,
    'pgvpd.conf:3: "client_tls_ca" means nothing to clients in the clear; it needs ' +
    '"client_tls" = require',
  ],
  [
    `${TLS}cert_identity = cn`,
    'pgvpd.conf:3: "cert_identity" is not none and needs "client_tls_ca"',
  ],
  [
    `${TLS}tls_port = 6433\nclient_tls = disable`,
    'pgvpd.conf:4: "client_tls" is disable, but "tls_port" is set; remove one',
  ],
  [
    "upstream_tls = on\nupstream_tls_cert = /tls/crt",
    'pgvpd.conf:2: "upstream_tls_cert" is set and needs "upstream_tls_key"',
  ],
  [
    "upstream_tls_key = /tls/key",
    'pgvpd.conf:1: "upstream_tls_key" is set and needs "upstream_tls_cert"',
  ],
  [
    "upstream_tls = require\nupstream_host = /run/postgresql",
    'pgvpd.conf:1: "upstream_tls" needs a TCP "upstream_host": PostgreSQL has no TLS on a unix ' +
    "socket",
  ],
  ...["disable", "prefer"].map((mode) =>
    [
      `upstream_tls = ${mode}\nupstream_tls_direct = on`,
      'pgvpd.conf:2: "upstream_tls_direct" needs "upstream_tls" = require or stricter',
    ] as [string, string]
  ),
  [
    `${POOL}auth_query = SELECT $1`,
    'pgvpd.conf:4: "auth_query" is set and needs "auth_user"',
  ],
  [
    `${POOL}auth_query = SELECT $10\nauth_user = a`,
    'pgvpd.conf:4: "auth_query" has no $1, which stands for the role',
  ],
  [
    `${POOL}pool_min_idle = 21`,
    'pgvpd.conf:4: "pool_min_idle" is 21, more than "pool_size" (default), which is 20',
  ],
  [
    `${POOL}pool_min_idle = 10\npool_max_total = 9`,
    'pgvpd.conf:4: "pool_min_idle" is 10, more than "pool_max_total" (pgvpd.conf:5), which is 9',
  ],
  [
    "pool_mode = session",
    'pgvpd.conf:1: "pool_mode" is not none and needs one of "pool_password", "auth_file" and ' +
    '"auth_query"',
    'pgvpd.conf:1: "pool_mode" is not none and needs "upstream_password"',
  ],
  [
    "pool_mode = session\npool_password = a",
    'pgvpd.conf:1: "pool_mode" is not none and needs "upstream_password"',
  ],
  [
    "tenant_rate_burst = 5",
    'pgvpd.conf:1: "tenant_rate_burst" is set and needs "tenant_rate_limit"',
  ],
  [
    `${TLS}tls_port = 6432`,
    'pgvpd.conf:3: "tls_port" is 6432, as is "port" (default); take another port',
  ],
  [
    "admin_port = 7000\nport = 7000",
    'pgvpd.conf:1: "admin_port" is 7000, as is "port" (pgvpd.conf:2); take another port',
  ],
  [
    `${TLS}tls_port = 7000\nadmin_port = 7000`,
    'pgvpd.conf:4: "admin_port" is 7000, as is "tls_port" (pgvpd.conf:3); take another port',
  ],
  [
    "port = 5432",
    'pgvpd.conf:1: "upstream_host" and "upstream_port" are where pgvpd itself listens',
  ],
  [
    "port = 7000\nupstream_port = 7000\nupstream_host = localhost\nlisten_host = *",
    'pgvpd.conf:2: "upstream_host" and "upstream_port" are where pgvpd itself listens',
  ],
  [
    "upstream_port = 6432\nupstream_host = /run/x/\nlisten_host = ::1,/run/x",
    'pgvpd.conf:1: "upstream_host" and "upstream_port" are where pgvpd itself listens',
  ],
  [
    "resolvers = /missing.toml",
    'pgvpd.conf:1: "resolvers" is "/missing.toml", which cannot be read: ' +
    "No such file: readfile '/missing.toml'",
  ],
  [
    "tls_port = 6433\ntls_cert = /tls/key\ntls_key = /tls/crt",
    'pgvpd.conf:2: "tls_cert" is "/tls/key", which is not a PEM certificate',
    'pgvpd.conf:3: "tls_key" is "/tls/crt", which is not a PEM private key',
  ],
  [
    "upstream_tls = on\nupstream_tls_ca = /resolvers.toml",
    'pgvpd.conf:2: "upstream_tls_ca" is "/resolvers.toml", which is not a PEM certificate',
  ],
  [
    "context_variables = app.org,app.user\ntenant_type = uuid",
    'pgvpd.conf:2: "tenant_type" is uuid, but "tenant_key" is payload: all values together',
  ],
];

Deno.test("rules that are broken, and where", () => {
  for (const [file, ...expected] of BROKEN) assert.deepEqual(check(file).problems, expected, file);
});

Deno.test("a rule is judged on what all layers together result in", () => {
  const context = { PGVPD_CONTEXT_VARIABLES: "app.tenant" };
  const told = check("context_variables = app.org\ntenant_key = app.org", context).problems;
  assert.deepEqual(told, [
    'pgvpd.conf:2: "tenant_key" is app.org, which is not in "context_variables"',
  ]);
  assert.deepEqual(check("port = 5432", { PGVPD_PORT: "7000" }).problems, []);
});

Deno.test("a value that cannot be read breaks no rule besides", () => {
  assert.equal(check("tls_port = many\nadmin_port = 6432 or so").problems.length, 2);
  assert.equal(
    check("pool_mode = session\npool_password = a\nupstream_password = 'b").problems
      .filter((text) => text.includes("needs")).length,
    1,
  );
});

const IDLE: readonly [file: string, ...warnings: string[]][] = [
  [
    `client_tls = disable\n${TLS}`,
    'pgvpd.conf:2: "tls_cert" does nothing with "client_tls" = disable',
    'pgvpd.conf:3: "tls_key" does nothing with "client_tls" = disable',
  ],
  [
    `${CLIENT_CA}cert_identity_prefix = a/`,
    'pgvpd.conf:5: "cert_identity_prefix" does nothing without "cert_identity"',
  ],
  [
    `upstream_tls_ca = /tls/crt\n${UPSTREAM_CERT}`,
    'pgvpd.conf:1: "upstream_tls_ca" does nothing without "upstream_tls"',
    'pgvpd.conf:2: "upstream_tls_cert" does nothing without "upstream_tls"',
  ],
  [
    "upstream_tls_verify = no",
    'pgvpd.conf:1: "upstream_tls_verify" does nothing without "upstream_tls" = true',
  ],
  [
    "upstream_tls = verify-full\nupstream_tls_verify = no",
    'pgvpd.conf:2: "upstream_tls_verify" does nothing without "upstream_tls" = true',
  ],
  [
    "upstream_tls = require\nupstream_tls_ca = /tls/crt",
    'pgvpd.conf:2: "upstream_tls_ca" does nothing with "upstream_tls" = require',
  ],
  [
    "upstream_tls = true\nupstream_tls_verify = no\nupstream_tls_ca = /tls/crt",
    'pgvpd.conf:3: "upstream_tls_ca" does nothing with "upstream_tls_verify" = false',
  ],
  [
    "auth_user = a\npool_size = 5\nupstream_password = b",
    'pgvpd.conf:2: "pool_size" does nothing without "pool_mode"',
    'pgvpd.conf:1: "auth_user" does nothing without "pool_mode"',
    'pgvpd.conf:3: "upstream_password" does nothing without "pool_mode"',
  ],
  ["pool_size = 20"], // its default
  [
    `${POOL}auth_user = a\nauth_password = b\nauth_database = c`,
    'pgvpd.conf:4: "auth_user" does nothing without "auth_query"',
    'pgvpd.conf:5: "auth_password" does nothing without "auth_query"',
    'pgvpd.conf:6: "auth_database" does nothing without "auth_query"',
  ],
  [
    `${POOL}pool_auth_cleartext = anywhere`,
    'pgvpd.conf:4: "pool_auth_cleartext" does nothing without "pool_auth" = cleartext',
  ],
  [
    "unix_socket_mode = 0700",
    'pgvpd.conf:1: "unix_socket_mode" does nothing without a unix socket directory in "listen_host"',
  ],
  ["unix_socket_mode = 0700\nlisten_host = /run/x"],
];

Deno.test("what is set and does nothing is warned about", () => {
  for (const [file, ...warnings] of IDLE) {
    assert.deepEqual(check(file), { problems: [], warnings }, file);
  }
});
