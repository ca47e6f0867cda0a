// Every setting takes what its type allows and refuses the rest, whatever the layer.

import assert from "node:assert/strict";
import { definitionOf, type SettingKey, SETTINGS } from "../../src/config/config.ts";
import { ValueError } from "../../src/config/values.ts";

const ACCEPTED: readonly (readonly [key: SettingKey, text: string, value: unknown])[] = [
  ["port", "6432", 6432],
  ["port", "+7000", 7000],
  ["port", "0", 0],
  ["port", " 65535\n", 65535],
  ["upstream_port", "1", 1],
  ["max_client_connections", "1", 1],
  ["max_client_connections", "1000000", 1_000_000],
  ["listen_host", "127.0.0.1", ["127.0.0.1"]],
  ["listen_host", "10.0.0.1, [::1] ,db-1.example.com", ["10.0.0.1", "::1", "db-1.example.com"]],
  ["listen_host", "*", ["::"]],
  ["listen_host", "*, /run/pgvpd/", ["::", "/run/pgvpd"]],
  ["listen_host", "0.0.0.0,::1", ["0.0.0.0", "::1"]],
  ["upstream_host", "2001:DB8:0:0:0:0:0:1", "2001:db8::1"],
  ["upstream_host", "my_service", "my_service"],
  ["upstream_host", "/var/run/postgresql", "/var/run/postgresql"],
  ["upstream_host", "/", "/"],
  ["unix_socket_mode", "0777", 0o777],
  ["unix_socket_mode", "600", 0o600],
  ["handshake_timeout", "30", 30_000],
  ["handshake_timeout", "500ms", 500],
  ["handshake_timeout", "5m", 300_000],
  ["handshake_timeout", "1 h", 3_600_000],
  ["shutdown_timeout", "0", 0],
  ["tcp_keepalive", "off", false],
  ["tcp_keepalive", "YES", true],
  ["tenant_separator", "--", "--"],
  ["tenant_separator", " ", " "],
  ["value_separator", "#", "#"],
  ["context_variables", "app.current_tenant_id", ["app.current_tenant_id"]],
  ["context_variables", "a.b , _x.y$", ["a.b", "_x.y$"]],
  ["context_variables", "a.b.c1", ["a.b.c1"]],
  ["context_variables", `a.${"b".repeat(61)}`, [`a.${"b".repeat(61)}`]],
  ["superuser_bypass", "postgres, admin", ["postgres", "admin"]],
  ["superuser_bypass", "", []],
  ["superuser_bypass", " ", []],
  ["set_role", "authenticated", "authenticated"],
  ["set_role", "é".repeat(31), "é".repeat(31)],
  ["log_level", "WARNING", "warn"],
  ["log_level", "Debug", "debug"],
  ["log_format", "json", "json"],
  ["pool_mode", " Session ", "session"],
  ...["true", "Yes", "on", "1"].map((text) => ["upstream_tls", text, "true"] as const),
  ...["False", "no", "OFF", "0"].map((text) => ["upstream_tls", text, "disable"] as const),
  ["upstream_tls", "Verify-Full", "verify-full"],
  ["upstream_tls", "verify-ca", "verify-ca"],
  ["upstream_tls", "require", "require"],
  ["upstream_tls", "prefer", "prefer"],
  ["upstream_tls_verify", "OFF", false],
  ["upstream_tls_verify", "no", false],
  ["upstream_tls_verify", "0", false],
  ["tenant_allow", "acme, globex", ["acme", "globex"]],
  ["pool_password", " as # it ; is ", " as # it ; is "],
  ["pool_size", "1", 1],
  ["pool_min_idle", "0", 0],
  ["pool_max_total", "1000000", 1_000_000],
  ["pool_max_waiting", "0", 0],
  ["pool_checkout_timeout", "1ms", 1],
  ["pool_idle_timeout", "168h", 604_800_000],
  ["pool_max_lifetime", "1s", 1000],
  ["pool_check_after", "0", 0],
  ["pool_mode", "Transaction", "transaction"],
  ["query_wait_timeout", "30", 30_000],
  ["client_idle_timeout", "1h", 3_600_000],
  ["idle_transaction_timeout", "10ms", 10],
  ["transaction_timeout", "168h", 604_800_000],
  ["pool_function_calls", "yes", true],
  ["pool_roles", "app_user, web", ["app_user", "web"]],
  ["pool_databases", "app", ["app"]],
  ["pool_auth", "SCRAM", "scram"],
  ["pool_auth", "md5", "md5"],
  ["pool_auth", "cleartext", "cleartext"],
  ["pool_auth_cleartext", "anywhere", "anywhere"],
  ["auth_file", "userlist.txt", "userlist.txt"],
  ["auth_query", "SELECT a, b FROM c($1)", "SELECT a, b FROM c($1)"],
  ["auth_user", "pgvpd_auth", "pgvpd_auth"],
  ["auth_password", "#;'\"", "#;'\""],
  ["auth_database", "a b", "a b"],
  ["auth_failure_limit", "1", 1],
  ["upstream_user", "App User", "App User"],
  ["resolvers", "resolvers.toml", "resolvers.toml"],
  ["resolver_user", "Resolver", "Resolver"],
  ["resolver_password", " a", " a"],
  ["resolver_database", "a b", "a b"],
  ["resolver_pool_size", "1", 1],
  ["resolver_cache_size", "0", 0],
  ["on_invalidate", "CLOSE", "close"],
  ["upstream_password", " ", " "],
  ["client_tls", "Require", "require"],
  ["tls_port", "0", 0],
  ["tls_cert", "a.crt", "a.crt"],
  ["tls_key", "/a b.key", "/a b.key"],
  ["client_tls_ca", "ca.crt", "ca.crt"],
  ["cert_identity", "SAN-URI", "san-uri"],
  ["cert_identity_prefix", "spiffe://a/", "spiffe://a/"],
  ["upstream_tls_ca", "ca.crt", "ca.crt"],
  ["upstream_tls_direct", "yes", true],
  ["upstream_tls_cert", "a.crt", "a.crt"],
  ["upstream_tls_key", "a.key", "a.key"],
];

Deno.test("every type reads what it allows", () => {
  for (const [key, text, value] of ACCEPTED) {
    assert.deepEqual(definitionOf(key).type.parse(text), value, `${key} = ${JSON.stringify(text)}`);
  }
});

Deno.test("reading what a type has written gives the same value", () => {
  for (const [key, text] of ACCEPTED) {
    const { type } = definitionOf(key);
    const value = type.parse(text);
    assert.deepEqual(type.parse(type.format(value)), value, `${key} = ${JSON.stringify(text)}`);
  }
});

const REFUSED: readonly [key: SettingKey, text: string, reason: RegExp][] = [
  ["port", "", /a whole number from 0 to 65535/],
  ["port", "65536", /from 0 to 65535/],
  ["port", "-1", /from 0 to 65535/],
  ["port", "64 32", /from 0 to 65535/],
  ["port", "6432.0", /from 0 to 65535/],
  ["port", "0x1920", /from 0 to 65535/],
  ["port", "9".repeat(400), /from 0 to 65535/],
  ["upstream_port", "0", /from 1 to 65535/],
  ["max_client_connections", "0", /from 1 to 1000000/],
  ["max_client_connections", "1000001", /from 1 to 1000000/],
  ["pool_size", "0", /from 1 to/],
  ["tenant_max_connections", "0", /from 1 to/],
  ["tenant_rate_limit", "0", /from 1 to/],
  ["listen_host", "", /must not be empty/],
  ["listen_host", "127.0.0.1,", /an item between its commas is empty/],
  ["listen_host", "127.0.0.1:6432", /without a port/],
  ["listen_host", "[::1]:6432", /without a port/],
  ["listen_host", "[127.0.0.1]", /an IP address/],
  ["listen_host", "::1,[0:0:0:0:0:0:0:1]", /twice/],
  ["listen_host", "*,0.0.0.0", /"0.0.0.0" is already included in "::"/],
  ["listen_host", "0.0.0.0,127.0.0.1", /"127.0.0.1" is already included in "0.0.0.0"/],
  ["upstream_host", "", /must not be empty/],
  ["upstream_host", "127.0.0.300", /an IP address/],
  ["upstream_host", "1.2.3", /an IP address/],
  ["upstream_host", "1::2::3", /an IP address/],
  ["upstream_host", "-db", /an IP address/],
  ["upstream_host", "a host", /an IP address/],
  ["upstream_host", "run/postgresql", /an IP address/],
  ["upstream_host", "*", /an IP address/],
  ["upstream_host", `/${"x".repeat(92)}`, /longer than 92 bytes/],
  ["upstream_host", "/run\n/x", /control characters/],
  ["unix_socket_mode", "888", /octal/],
  ["unix_socket_mode", "1777", /octal/],
  ["unix_socket_mode", "rwx", /octal/],
  ["handshake_timeout", "0", /a time from 1ms to 24h/],
  ["handshake_timeout", "1.5s", /a time from/],
  ["handshake_timeout", "5 minutes", /a time from/],
  ["handshake_timeout", "25h", /a time from/],
  ["handshake_timeout", "-5", /a time from/],
  ["handshake_timeout", "", /a time from/],
  ["tcp_keepalive", "60s", /true/],
  ["shutdown_timeout", "forever", /a time from 0 to/],
  ["tenant_separator", "", /must not be empty/],
  ["tenant_separator", "\0", /control characters/],
  ["value_separator", "", /must not be empty/],
  ["value_separator", "a\0", /control characters/],
  ["context_variables", "", /must not be empty/],
  ["context_variables", "tenant", /no variable name/],
  ["context_variables", "app.", /no variable name/],
  ["context_variables", ".app", /no variable name/],
  ["context_variables", "app..x", /no variable name/],
  ["context_variables", "app.1x", /no variable name/],
  ["context_variables", "app.$x", /no variable name/],
  ["context_variables", "app.x-y", /no variable name/],
  ["context_variables", "app.é", /no variable name/],
  ["context_variables", "app.x'; DROP TABLE t; --", /no variable name/],
  ["context_variables", `a.${"b".repeat(62)}`, /longer than 63 bytes/],
  ["context_variables", "app.x,APP.X", /twice/],
  ["context_variables", "app.x,,app.y", /an item between its commas is empty/],
  ["context_variables", "PGVPD.context", /reserved/],
  ["superuser_bypass", "postgres,", /an item between its commas is empty/],
  ["superuser_bypass", "a,a", /twice/],
  ["superuser_bypass", "x".repeat(64), /longer than 63 bytes/],
  ["set_role", "", /must not be empty/],
  ["set_role", "None", /other than none/],
  ["set_role", "x".repeat(64), /at most 63 bytes/],
  ["set_role", "é".repeat(32), /at most 63 bytes/],
  ["set_role", "a\0b", /control characters/],
  ["log_level", "trace", /must be "debug", "info", "warn" or "error"/],
  ["log_level", "inof", /did you mean "info"\?/],
  ["log_level", "constructor", /must be/],
  ["log_format", "logfmt", /must be "text" or "json"/],
  ["pool_mode", "sesion", /did you mean "session"\?/],
  ["pool_mode", "statement", /"none", "session" or "transaction"/],
  ["query_wait_timeout", "0", /a time from 1ms/],
  ["client_idle_timeout", "1ms", /a time from 10ms/],
  ["idle_transaction_timeout", "-1", /a time from 10ms/],
  ["transaction_timeout", "200h", /a time from 10ms to 168h/],
  ["pool_function_calls", "ja", /true or false/],
  ["upstream_tls", "ja", /must be "disable", "prefer", .*"verify-full" or "true"$/],
  ["upstream_tls", "", /must be "disable"/],
  ["upstream_tls", "allow", /must be "disable"/],
  ["upstream_tls", "verify_full", /did you mean "verify-full"\?/],
  ["upstream_tls_verify", "ja", /true or false/],
  ["upstream_tls_direct", "", /true or false/],
  ["tenant_allow", "", /must not be empty/],
  ["tenant_deny", "a,,b", /an item between its commas is empty/],
  ["pool_password", "", /must not be empty/],
  ["pool_password", "two\nlines", /control characters/],
  ["tls_cert", "", /must not be empty/],
  ["tls_key", "", /must not be empty/],
  ["client_tls_ca", "", /must not be empty/],
  ["upstream_tls_ca", "a\nb", /control characters/],
  ["upstream_tls_cert", "", /must not be empty/],
  ["upstream_tls_key", "", /must not be empty/],
  ["client_tls", "prefer", /must be "disable", "allow" or "require"/],
  ["tls_port", "65536", /from 0 to 65535/],
  ["cert_identity", "san", /must be "none", "cn" or "san-uri"/],
  ["cert_identity_prefix", "", /must not be empty/],
  ["pool_min_idle", "-1", /from 0 to/],
  ["pool_max_total", "0", /from 1 to/],
  ["pool_max_waiting", "many", /from 0 to/],
  ["pool_checkout_timeout", "0", /a time from 1ms to 24h/],
  ["pool_idle_timeout", "999ms", /a time from 1s to 168h/],
  ["pool_max_lifetime", "0", /a time from 1s to 168h/],
  ["pool_check_after", "169h", /a time from 0 to 168h/],
  ["pool_roles", "", /must not be empty/],
  ["pool_roles", "x".repeat(64), /longer than 63 bytes/],
  ["pool_databases", "a,,b", /an item between its commas is empty/],
  ["pool_auth", "scram-sha-256", /must be "scram", "md5" or "cleartext"/],
  ["pool_auth_cleartext", "nowhere", /did you mean "anywhere"\?/],
  ["auth_file", "", /must not be empty/],
  ["auth_query", "", /must not be empty/],
  ["auth_query", "SELECT\n$1", /control characters/],
  ["auth_user", "none", /other than none/],
  ["auth_password", "", /must not be empty/],
  ["auth_database", "", /must not be empty/],
  ["auth_failure_limit", "0", /from 1 to/],
  ["upstream_user", "x".repeat(64), /at most 63 bytes/],
  ["resolvers", "", /must not be empty/],
  ["resolver_user", "none", /other than none/],
  ["resolver_password", "a\n", /control characters/],
  ["resolver_database", "", /must not be empty/],
  ["resolver_pool_size", "0", /from 1 to/],
  ["resolver_cache_size", "-1", /from 0 to/],
  ["on_invalidate", "refesh", /did you mean "refresh"\?/],
  ["upstream_password", "", /must not be empty/],
];

Deno.test("every type refuses the rest and says what is allowed", () => {
  for (const [key, text, reason] of REFUSED) {
    const label = `${key} = ${JSON.stringify(text)}`;
    assert.throws(() => definitionOf(key).type.parse(text), (error: Error) => {
      assert.ok(error instanceof ValueError, `${label}: ${error}`);
      assert.match(error.message, reason, label);
      return true;
    }, label);
  }
});

Deno.test("every available setting has a value that is taken and one that is refused", () => {
  for (const { key, available } of SETTINGS) {
    if (!available) continue;
    assert.ok(ACCEPTED.some(([tested]) => tested === key), `${key} is accepted nowhere`);
    assert.ok(REFUSED.some(([tested]) => tested === key), `${key} is refused nowhere`);
  }
});

Deno.test("every default and every example is valid, and a default is spelled as written back", () => {
  for (const { key, type, default: text, example } of SETTINGS) {
    assert.ok(text !== null || example !== undefined, `${key} has neither default nor example`);
    if (text !== null) assert.equal(type.format(type.parse(text)), text, key);
    if (example !== undefined) type.parse(example);
  }
});

Deno.test("no two settings share a name in any layer", () => {
  const names = SETTINGS.flatMap((each) => [
    each.key,
    ...each.aliases,
    each.environment,
    each.flag,
    ...(each.shortFlag === undefined ? [] : [each.shortFlag]),
    ...(each.secretFile === null ? [] : Object.values(each.secretFile)),
  ]);
  assert.equal(new Set(names).size, names.length);
});
