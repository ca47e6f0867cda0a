// What must hold between settings: each rule accepts and refuses, on the merged values.

import assert from "node:assert/strict";
import { problemsOf, problemText } from "../../src/config/config.ts";

const CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
const KEY = "-----BEGIN EC PRIVATE KEY-----\nMIIB\n-----END EC PRIVATE KEY-----\n";
const DISK: Record<string, string> = {
  "/tls/crt": CERTIFICATE,
  "/tls/key": KEY,
  "/resolvers.toml": "",
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

Deno.test("rules that are kept", () => {
  const kept = [
    "",
    `${TLS}tls_port = 6433`,
    "pool_mode = session\npool_password = a\nupstream_password = b",
    "pool_mode = none",
    "tenant_allow = a",
    "tenant_deny = a",
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
  ],
  [
    "pool_mode = session",
    'pgvpd.conf:1: "pool_mode" is not none and needs "pool_password"',
    'pgvpd.conf:1: "pool_mode" is not none and needs "upstream_password"',
  ],
  [
    "pool_mode = session\npool_password = a",
    'pgvpd.conf:1: "pool_mode" is not none and needs "upstream_password"',
  ],
  [
    "tenant_allow = a\ntenant_deny = b",
    'pgvpd.conf:2: "tenant_deny" and "tenant_allow" (pgvpd.conf:1) exclude each other; keep one',
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
];

Deno.test("rules that are broken, and where", () => {
  for (const [file, ...expected] of BROKEN) assert.deepEqual(check(file).problems, expected, file);
});

Deno.test("a rule is judged on what all layers together result in", () => {
  const told = check("tenant_allow = a", { PGVPD_TENANT_DENY: "b" }).problems;
  assert.deepEqual(told, [
    'environment variable PGVPD_TENANT_DENY: "tenant_deny" and "tenant_allow" (pgvpd.conf:1) ' +
    "exclude each other; keep one",
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

Deno.test("what is set and does nothing is warned about", () => {
  assert.deepEqual(check(TLS).warnings, [
    'pgvpd.conf:1: "tls_cert" does nothing without "tls_port"',
    'pgvpd.conf:2: "tls_key" does nothing without "tls_port"',
  ]);
  assert.deepEqual(check("upstream_tls_verify = no").warnings, [
    'pgvpd.conf:1: "upstream_tls_verify" does nothing without "upstream_tls"',
  ]);
  assert.deepEqual(check("unix_socket_mode = 0700").warnings, [
    'pgvpd.conf:1: "unix_socket_mode" does nothing without a unix socket directory in "listen_host"',
  ]);
  assert.deepEqual(check("unix_socket_mode = 0700\nlisten_host = /run/x").warnings, []);
});
