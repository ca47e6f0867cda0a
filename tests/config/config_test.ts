// The layers together: what overrides what, what is told about mistakes, what is never told.

import assert from "node:assert/strict";
import {
  ConfigError,
  type ConfigSources,
  describeEffective,
  differences,
  problemsOf,
  problemText,
  resolveSettings,
  type SettingKey,
  SETTINGS,
  type Settings,
} from "../../src/config/config.ts";

interface Given {
  file?: string;
  environment?: Record<string, string | undefined>;
  flags?: Record<string, string>;
  disk?: Record<string, string>;
}

/** Sources with a file called pgvpd.conf and a disk that holds only what is given. */
function sources({ file, environment = {}, flags = {}, disk = {} }: Given): ConfigSources {
  return {
    file: file === undefined ? null : { path: "pgvpd.conf", text: file },
    environment,
    flags,
    readFile(path) {
      const text = disk[path];
      if (text === undefined) throw new Deno.errors.NotFound(`No such file: '${path}'`);
      return text;
    },
  };
}

function resolve(given: Given): ReturnType<typeof resolveSettings> {
  return resolveSettings(sources(given));
}

/** All problems, one text for each. */
function problems(given: Given): string[] {
  return problemsOf(sources(given)).problems.map(problemText);
}

Deno.test("without any layer every setting has its default", () => {
  const { settings, origins, warnings } = resolve({});
  const expected: Partial<Settings> = {
    port: 6432,
    listenHost: ["127.0.0.1"],
    upstreamHost: "127.0.0.1",
    upstreamPort: 5432,
    tenantSeparator: ".",
    contextVariables: ["app.current_tenant_id"],
    valueSeparator: ":",
    superuserBypass: ["postgres"],
    logLevel: "info",
    logFormat: "text",
    handshakeTimeout: 30_000,
    setRole: null,
    maxClientConnections: 10_000,
    shutdownTimeout: 30_000,
    unixSocketMode: 0o777,
    tcpKeepalive: true,
    poolMode: "none",
    poolSize: 20,
    poolMinIdle: 0,
    poolMaxTotal: null,
    poolMaxWaiting: 1000,
    poolMaxLifetime: 3_600_000,
    poolCheckAfter: 30_000,
    poolAuth: "scram",
    poolAuthCleartext: "tls",
    authFailureLimit: 30,
    upstreamUser: null,
    poolPassword: null,
    poolIdleTimeout: 300_000,
    poolCheckoutTimeout: 5000,
    upstreamTls: "disable",
    upstreamTlsVerify: true,
    tlsPort: null,
    adminPort: null,
    tenantAllow: null,
  };
  for (const [property, value] of Object.entries(expected)) {
    assert.deepEqual(settings[property as keyof Settings], value, property);
  }
  assert.equal(Object.keys(settings).length, SETTINGS.length);
  assert.ok([...origins.values()].every((origin) => origin.layer === "default"));
  assert.equal(origins.size, SETTINGS.length);
  assert.deepEqual(warnings, []);
});

Deno.test("the reference's names by layer", () => {
  const byFile = resolve({
    file: "listen_port=1\nhost=10.0.0.1\nseparator = '/'\ncontext=a.b\nsuperuser=root\n" +
      "handshake_timeout_secs = 7\n",
  }).settings;
  const byEnvironment = resolve({
    environment: {
      PGVPD_PORT: "1",
      PGVPD_HOST: "10.0.0.1",
      PGVPD_TENANT_SEPARATOR: "/",
      PGVPD_CONTEXT_VARIABLES: "a.b",
      PGVPD_SUPERUSER_BYPASS: "root",
      PGVPD_HANDSHAKE_TIMEOUT: "7",
    },
  }).settings;
  assert.deepEqual(byFile, byEnvironment);
  assert.deepEqual(
    [byFile.port, byFile.listenHost, byFile.tenantSeparator, byFile.handshakeTimeout],
    [1, ["10.0.0.1"], "/", 7000],
  );
  const flagOf = (key: SettingKey) => SETTINGS.find((each) => each.key === key)!.flag;
  const flags =
    (["tenant_separator", "context_variables", "superuser_bypass", "listen_host"] as const)
      .map(flagOf);
  assert.deepEqual(flags, ["--separator", "--context", "--superuser", "--listen-host"]);
});

Deno.test("a value that a higher layer replaces is still checked", () => {
  assert.deepEqual(problems({ file: "port = x", flags: { port: "7000" } }), [
    'pgvpd.conf:1: invalid value "x" for "port": must be a whole number from 0 to 65535',
  ]);
});

Deno.test("eight mistakes in a file are told at once, with lines and suggestions", () => {
  const file = [
    "# eight mistakes", //                           1
    "port = 80a", //                                 2
    "pool_sise = 5", //                              3
    "listen_host = 127.0.0.1", //                    4
    "log_level = inof # comment", //                 5
    "handshake_timeout = 0", //                      6
    "host = 10.0.0.1", //                            7
    "context_variables = app.tenant,userid", //      8
    "this line says nothing", //                     9
    "tenant_separator = ", //                       10
    "set_role = 'open", //                          11
  ].join("\r\n");
  const expected = [
    'pgvpd.conf:2: invalid value "80a" for "port": must be a whole number from 0 to 65535',
    'pgvpd.conf:3: unknown key "pool_sise"; did you mean "pool_size"?',
    'pgvpd.conf:5: invalid value "inof" for "log_level": must be "debug", "info", "warn" or ' +
    '"error"; did you mean "info"?',
    'pgvpd.conf:6: invalid value "0" for "handshake_timeout": must be a time from 1ms to 24h, ' +
    "such as 30, 500ms or 5m (units: ms, s, m, h; none means s)",
    'pgvpd.conf:7: "host" is already set as "listen_host" at pgvpd.conf:4; keep one',
    'pgvpd.conf:8: invalid value "app.tenant,userid" for "context_variables": "userid" ' +
    "is no variable name; must be like app.current_tenant_id: a dot, and each part starts " +
    'with a letter or "_" and goes on with letters, digits, "_" or "$"',
    'pgvpd.conf:9: no "=" in the line; write key = value',
    'pgvpd.conf:10: invalid value for "tenant_separator": must not be empty',
    "pgvpd.conf:11: \"set_role\": unbalanced quote; end the value with ', and write a ' inside it twice",
  ];
  assert.deepEqual(problems({ file }), expected);
  assert.throws(() => resolve({ file }), (error: Error) => {
    assert.ok(error instanceof ConfigError);
    assert.equal(error.message, expected.join("\n"));
    assert.deepEqual(error.problems.slice(0, 2).map(({ key }) => key), ["port", null]);
    return true;
  });
});

Deno.test("problems come in reading order: file, environment, flags", () => {
  const told = problems({
    flags: { port: "x", log_level: "y" },
    environment: { PGVPD_LOG_LEVEL: "z", PGVPD_COLOUR: "1" },
    file: "tls_port = 6432\nport = 6432\nnonsense = 1\n",
  });
  assert.deepEqual(told.map((text) => text.split(": ")[0]), [
    "pgvpd.conf:1",
    "pgvpd.conf:1",
    "pgvpd.conf:3",
    "environment variable PGVPD_COLOUR",
    "environment variable PGVPD_LOG_LEVEL",
    "flag --port",
    "flag --log-level",
  ]);
});

Deno.test("unknown names get the nearest spelling, and none when all are far", () => {
  const told = problems({
    file: "Port = 1\nupstream-host = a\nlog_leevl = info\nfrobnicate = 1\n",
    environment: {
      PGVPD_PROT: "1",
      PGVPD_LISTEN_HOST: "::1",
      PGVPD_XYZZY: "1",
      pgvpd_port: "1",
    },
    flags: { colour: "1" },
  });
  assert.deepEqual(told, [
    'pgvpd.conf:1: unknown key "Port"; did you mean "port"?',
    'pgvpd.conf:2: unknown key "upstream-host"; did you mean "upstream_host"?',
    'pgvpd.conf:3: unknown key "log_leevl"; did you mean "log_level"?',
    'pgvpd.conf:4: unknown key "frobnicate"',
    'environment variable PGVPD_LISTEN_HOST: unknown variable; did you mean "PGVPD_HOST"?',
    'environment variable PGVPD_PROT: unknown variable; did you mean "PGVPD_PORT"?',
    "environment variable PGVPD_XYZZY: unknown variable",
    'environment variable pgvpd_port: unknown variable; did you mean "PGVPD_PORT"?',
    "flag --colour: unknown flag",
  ]);
});

Deno.test("variables of the program, of others and of nobody are no mistakes", () => {
  const { settings } = resolve({
    environment: {
      PATH: "/bin",
      PGPORT: "1",
      PGVPD_CONFIG: "/etc/pgvpd.conf",
      PGVPD_TEST_SEED: "1",
      PGVPD_BENCH_CLIENTS: "8",
      PGVPD_LOG_LEVEL: undefined,
    },
  });
  assert.deepEqual(settings, resolve({}).settings);
});

Deno.test("an empty variable counts as not set, an empty bypass is nobody", () => {
  const environment = { PGVPD_PORT: "", PGVPD_SET_ROLE: "", PGVPD_POOL_PASSWORD_FILE: "" };
  const { settings, origins } = resolve({ file: "port = 7000\nset_role = web", environment });
  assert.deepEqual([settings.port, settings.setRole], [7000, "web"]);
  assert.equal(origins.get("port")?.layer, "file");
  const bypass = { PGVPD_SUPERUSER_BYPASS: "" };
  assert.deepEqual(resolve({ environment: bypass }).settings.superuserBypass, []);
  assert.deepEqual(resolve({ file: "superuser_bypass =" }).settings.superuserBypass, []);
  assert.deepEqual(resolve({ flags: { superuser_bypass: "" } }).settings.superuserBypass, []);
  assert.match(problems({ file: "set_role =" })[0]!, /must not be empty/);
  assert.match(problems({ file: "tenant_separator = #" })[0]!, /must not be empty.*quote it/);
});

Deno.test("what Kubernetes adds for a Service called pgvpd stops nothing", () => {
  const { settings, warnings } = resolve({
    environment: {
      PGVPD_SERVICE_HOST: "10.0.0.7",
      PGVPD_SERVICE_PORT: "6432",
      PGVPD_SERVICE_PORT_POSTGRES: "6432",
      PGVPD_PORT: "tcp://10.0.0.7:6432",
      PGVPD_PORT_6432_TCP: "tcp://10.0.0.7:6432",
      PGVPD_PORT_6432_TCP_ADDR: "10.0.0.7",
      PGVPD_METRICS_PORT: "tcp://10.0.0.8:9090",
    },
  });
  assert.equal(settings.port, 6432);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0]!, /^environment variable PGVPD_PORT: ignored.*enableServiceLinks/);
});

Deno.test("what this version does not have is refused, unless it is set to its default", () => {
  for (const { key, available, default: text, example } of SETTINGS) {
    if (available) continue;
    const disk = { [example ?? ""]: "" };
    const value = example ?? "1";
    assert.ok(
      problems({ file: `${key} = ${value}`, disk })
        .includes(`pgvpd.conf:1: "${key}" is not available in this version yet; remove it`),
      `${key} = ${value}`,
    );
    if (text !== null) assert.deepEqual(problems({ file: `${key} = ${text}` }), [], key);
  }
});

Deno.test("describeEffective() has every value and where it came from", () => {
  const resolved = resolve({
    file: "\nport = 7000\nvalue_separator = '#'",
    environment: { PGVPD_SUPERUSER_BYPASS: "" },
    flags: { handshake_timeout: "90" },
  });
  const rows = new Map(
    describeEffective(resolved).map(({ key, value, origin }) => [key, [value, origin]]),
  );
  assert.equal(rows.size, SETTINGS.length);
  assert.deepEqual(rows.get("port"), ["7000", "pgvpd.conf:2"]);
  assert.deepEqual(rows.get("value_separator"), ['"#"', "pgvpd.conf:3"]);
  assert.deepEqual(rows.get("superuser_bypass"), [
    "(none)",
    "environment variable PGVPD_SUPERUSER_BYPASS",
  ]);
  assert.deepEqual(rows.get("handshake_timeout"), ["90s", "flag --handshake-timeout"]);
  assert.deepEqual(rows.get("set_role"), ["(not set)", "default"]);
  assert.deepEqual(rows.get("pool_password"), ["(not set)", "default"]);
});

Deno.test("differences() lists what changed and whether a reload is enough", () => {
  const before = resolve({ file: "log_level = info\nset_role = a" }).settings;
  const after =
    resolve({ file: "log_level = debug\nport = 7000\nhandshake_timeout = 30" }).settings;
  assert.deepEqual(differences(before, after), [
    { key: "port", property: "port", before: "6432", after: "7000", reloadable: false },
    {
      key: "set_role",
      property: "setRole",
      before: "a",
      after: "(not set)",
      reloadable: true,
    },
    { key: "log_level", property: "logLevel", before: "info", after: "debug", reloadable: true },
  ]);
  assert.deepEqual(differences(before, before), []);
});
