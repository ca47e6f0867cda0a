// Which layer wins: for every setting the flag, then the environment, then the file.

import assert from "node:assert/strict";
import {
  type ConfigSources,
  formatValue,
  resolveSettings,
  type SettingKey,
  SETTINGS,
} from "../../src/config/config.ts";

/** Three texts for every available setting, neighbours different, so that layers can differ. */
const SAMPLES: Partial<Record<SettingKey, readonly string[]>> = {
  port: ["1001", "1002", "1003"],
  listen_host: ["10.0.0.1", "::1", "/run/pgvpd"],
  unix_socket_mode: ["0700", "0770", "0600"],
  max_client_connections: ["1", "2", "3"],
  handshake_timeout: ["1s", "2s", "3s"],
  tcp_keepalive: ["false", "true", "false"],
  upstream_host: ["db", "::2", "/run/postgresql"],
  upstream_port: ["1", "2", "3"],
  tenant_separator: ["#", " ; ", "@"],
  context_variables: ["a.b", "a.c", "a.b,a.c"],
  value_separator: ["|", "#", "''"],
  superuser_bypass: ["a", "", "b,c"],
  set_role: ["a", 'b"c', "d e"],
  log_level: ["debug", "warn", "error"],
  log_format: ["json", "text", "json"],
  doctor_on_start: ["warn", "enforce", "off"],
  doctor_url: ["postgres://a # b", "postgres://c ; d", "postgres://e # f"],
  doctor_role: ["a", "b c", "d"],
  doctor_ignore: ["/tls/a", "/tls/b", "/tls/c"],
  shutdown_timeout: ["0", "1m", "1500ms"],
  pool_mode: ["session", "none", "session"],
  pool_size: ["5", "6", "7"],
  pool_min_idle: ["1", "0", "20"],
  pool_max_total: ["100", "200", "300"],
  pool_max_waiting: ["0", "1", "2"],
  pool_checkout_timeout: ["1ms", "2s", "3m"],
  pool_idle_timeout: ["1s", "2m", "3h"],
  pool_max_lifetime: ["1s", "2m", "3h"],
  pool_check_after: ["0", "1s", "1m"],
  query_wait_timeout: ["1s", "2s", "3s"],
  client_idle_timeout: ["1s", "2s", "3s"],
  idle_transaction_timeout: ["1s", "2s", "3s"],
  transaction_timeout: ["1s", "2s", "3s"],
  pool_function_calls: ["true", "false", "true"],
  pool_roles: ["a", "b,c", "d"],
  pool_databases: ["a", "b,c", "d"],
  pool_auth: ["md5", "cleartext", "scram"],
  pool_auth_cleartext: ["anywhere", "tls", "anywhere"],
  session_state: ["error", "pin", "ignore"],
  max_prepared_statements: ["10", "0", "200"],
  pool_password: ["# a", "b ; c", '"d"'],
  auth_file: ["/tls/a", "/tls/b", "/tls/c"],
  auth_query: ["SELECT $1", "SELECT f($1); ", "TABLE a WHERE b = $1 -- #"],
  auth_user: ["a", "b", "c"],
  auth_password: ["# a", "b ; c", '"d"'],
  auth_database: ["a", "b", "c d"],
  auth_failure_limit: ["1", "2", "3"],
  upstream_user: ["a", "b", "c"],
  upstream_password: ["# a", "b ; c", '"d"'],
  resolvers: ["/tls/a", "/tls/b", "/tls/c"],
  seal_key_file: ["/tls/a", "/tls/b", "/tls/c"],
  seal_ttl: ["5s", "2m", "3h"],
  context_guard: ["off", "log", "block"],
  resolver_user: ["a", "b", "c"],
  resolver_password: ["# a", "b ; c", '"d"'],
  resolver_database: ["a", "b", "c d"],
  resolver_pool_size: ["1", "2", "3"],
  resolver_cache_size: ["0", "1", "2"],
  on_invalidate: ["keep", "close", "refresh"],
  client_tls: ["require", "disable", "allow"],
  tls_port: ["0", "1001", "1002"],
  tls_cert: ["/tls/a", "/tls/b", "/tls/c"],
  tls_key: ["/tls/a", "/tls/b", "/tls/c"],
  client_tls_ca: ["/tls/a", "/tls/b", "/tls/c"],
  cert_identity: ["cn", "san-uri", "none"],
  cert_identity_prefix: ["a/", "b/", "#c "],
  upstream_tls: ["true", "verify-ca", "prefer"],
  upstream_tls_verify: ["false", "true", "false"],
  upstream_tls_ca: ["/tls/a", "/tls/b", "/tls/c"],
  upstream_tls_direct: ["true", "false", "true"],
  upstream_tls_cert: ["/tls/a", "/tls/b", "/tls/c"],
  upstream_tls_key: ["/tls/a", "/tls/b", "/tls/c"],
  tenant_key: ["first", "payload", "app.current_tenant_id"],
  tenant_type: ["uuid", "integer", "text"],
  tenant_allow: ["a", "b*", "c,d"],
  tenant_allow_file: ["/tls/a", "/tls/b", "/tls/c"],
  tenant_deny: ["a", "b*", "c,d"],
  tenant_deny_file: ["/tls/a", "/tls/b", "/tls/c"],
  tenant_max_connections: ["1", "2", "3"],
  tenant_rate_limit: ["1", "2", "3"],
  tenant_rate_burst: ["1", "2", "3"],
  tenant_idle_timeout: ["1s", "2m", "3h"],
  tenant_statement_timeout: ["1s", "2m", "3h"],
  tenant_session_timeout: ["1s", "2m", "3h"],
  tenant_query_timeout: ["1s", "2m", "3h"],
  tenant_fair_shares: ["false", "true", "false"],
  tenant_weight: ["2", "3", "4"],
  tenant_pool_max: ["2", "3", "4"],
  tenant_pool_min: ["2", "3", "4"],
  tenant_queue_max: ["2", "3", "0"],
  tenants: ["/tls/a", "/tls/b", "/tls/c"],
  admin_port: ["0", "1001", "1002"],
  admin_host: ["127.0.0.2", "::1", "localhost"],
  admin_token: ["# a token, long", "b ; c, quite long", '"d and others, too"'],
  admin_open_to: ["anywhere", "loopback", "anywhere"],
  admin_names: ["a", "b,c", "d.example"],
  admin_users: ["a", "b,c", "d"],
  metrics_tenants: ["0", "1", "2"],
  audit_log: ["stdout", "off", "stdout"],
  audit_file: ["/a", "/b", "c d"],
};

const PEM = "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n";
const CLIENT_CA = { client_tls: "require", tls_cert: "/tls/a", tls_key: "/tls/a" };
/** What has to be set besides, for rules between settings. */
const COMPANIONS: Partial<Record<SettingKey, Record<string, string>>> = {
  pool_mode: { pool_password: "a", upstream_password: "b" },
  auth_query: { auth_user: "a" },
  client_tls: { tls_cert: "/tls/a", tls_key: "/tls/a" },
  tls_port: { tls_cert: "/tls/a", tls_key: "/tls/a" },
  tls_cert: { tls_key: "/tls/a" },
  tls_key: { tls_cert: "/tls/a" },
  client_tls_ca: CLIENT_CA,
  cert_identity: { ...CLIENT_CA, client_tls_ca: "/tls/a" },
  upstream_tls_direct: { upstream_tls: "require" },
  upstream_tls_cert: { upstream_tls_key: "/tls/a" },
  upstream_tls_key: { upstream_tls_cert: "/tls/a" },
  tenant_rate_burst: { tenant_rate_limit: "5" },
  admin_users: { admin_token: "one that is long" },
};

Deno.test("for every available setting each layer overrides the one below", () => {
  for (const { key, property, type, environment, available } of SETTINGS) {
    if (!available) continue;
    const samples = SAMPLES[key];
    assert.ok(samples, `${key} has no samples`);
    for (let shift = 0; shift < samples.length; shift++) {
      const [inFile, inEnvironment, inFlag] = samples.map((_, index) =>
        samples[(index + shift) % samples.length]!
      ) as [string, string, string];
      const file = `# a comment\n${key} = ${formatValue(inFile)} ; another\n`;
      const byFile = { file: { path: "pgvpd.conf", text: file } };
      const byEnvironment = { environment: { [environment]: inEnvironment } };
      const byFlag = { flags: { [key]: inFlag } };
      const layers: [Partial<ConfigSources>, string, string][] = [
        [byFile, inFile, "file"],
        [{ ...byFile, ...byEnvironment }, inEnvironment, "environment"],
        [byEnvironment, inEnvironment, "environment"],
        [{ ...byFile, ...byEnvironment, ...byFlag }, inFlag, "flag"],
        [{ ...byFile, ...byFlag }, inFlag, "flag"],
        [byFlag, inFlag, "flag"],
      ];
      for (const [given, text, layer] of layers) {
        const flags = { ...COMPANIONS[key], ...given.flags };
        const sources = { environment: {}, ...given, flags, readFile: () => PEM };
        const { settings, origins } = resolveSettings(sources);
        assert.deepEqual(settings[property], type.parse(text), `${key} from ${layer}`);
        assert.equal(origins.get(key)?.layer, layer, key);
      }
    }
  }
});
