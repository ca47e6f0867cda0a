// Start-up parameters: what a tenant's client may say, and what it may not in any spelling.

import { strict as assert } from "node:assert";
import { PgError } from "../../src/codec/error.ts";
import { SessionContext } from "../../src/context/context.ts";
import {
  findParameter,
  parseOptions,
  refuseReservedParameters,
  rewriteStartup,
  startupSettings,
} from "../../src/context/startup_parameters.ts";
import { text } from "../support/messages.ts";

const VARIABLES = ["app.current_tenant_id", "app.org"];
const MARKER = "hunter2";

const parameters = (pairs: Record<string, string>) =>
  Object.entries(pairs).map(([name, value]) => ({ name, value: text(value) }));
const check = (pairs: Record<string, string>) =>
  refuseReservedParameters(parameters(pairs), VARIABLES);

function refusedWithoutItsValue(sqlState: string) {
  return (error: unknown) => {
    assert(error instanceof PgError, String(error));
    assert.equal(error.sqlState, sqlState, error.message);
    const said = new TextDecoder().decode(error.encode());
    assert(!said.includes(MARKER), `the value is in the error: ${said}`);
    return true;
  };
}

const OPTIONS: readonly [options: string, names: string[]][] = [
  ["", []],
  ["   \t\n\v\f\r ", []],
  ["-c a.b=1", ["a.b"]],
  ["-ca.b=1", ["a.b"]],
  ["--a.b=1", ["a.b"]],
  ["-ec a.b=1", ["a.b"]],
  ["-eca.b=1", ["a.b"]],
  ["-e-a.b=1", ["a.b"]],
  ["-c a.b=1 -c c.d=2 --e.f=3", ["a.b", "c.d", "e.f"]],
  ["\t-c\ta.b=1\n--c.d=2", ["a.b", "c.d"]],
  ["-c a\\.b=1", ["a.b"]],
  ["\\-c a.b=1", ["a.b"]],
  ["-c a.b=x\\ y\\\\z -c c.d=2", ["a.b", "c.d"]],
  ["-c a.b=1=2", ["a.b"]],
  ["-c a.b=", ["a.b"]],
  ["-c A.B=1", ["A.B"]],
  ["-c a-b.c=1", ["a_b.c"]],
  ["-d 3 -c a.b=1", ["a.b"]],
  ["-d3 -S 64 -fs --a.b=1", ["a.b"]],
  ["-d -c -c a.b=1", ["a.b"]],
  ["-c --a=1", ["__a"]],
];

Deno.test("parseOptions finds every name in every spelling of the server", () => {
  for (const [options, names] of OPTIONS) {
    assert.deepEqual(
      parseOptions(options).settings.map(({ name }) => name),
      names,
      JSON.stringify(options),
    );
  }
});

Deno.test("parseOptions refuses what the server would refuse, and keeps the value to itself", () => {
  const bad = [
    `--`,
    `-- a.b=${MARKER}`,
    `-`,
    `a.b=${MARKER}`,
    `-c`,
    `-c a.b`,
    `-c =${MARKER}`,
    `--=${MARKER}`,
    `-ca`,
    `-x a=${MARKER}`,
    `-c a.b=1 stray=${MARKER}`,
    `-c a.b=two ${MARKER}`,
    `-c a.b=1 \\`,
  ];
  for (const options of bad) {
    assert.throws(() => parseOptions(options), refusedWithoutItsValue("08P01"), options);
  }
});

const RESERVED_NAMES = [
  "role",
  "ROLE",
  "Session_Authorization",
  "app.current_tenant_id",
  "APP.Current_Tenant_ID",
  "app.org",
  "pgvpd.seal",
  "PGVPD.anything",
];

Deno.test("refuseReservedParameters refuses every reserved name as a parameter", () => {
  for (const name of RESERVED_NAMES) {
    const refused = refusedWithoutItsValue("42501");
    assert.throws(() => check({ user: "a.b", [name]: MARKER }), refused, name);
  }
});

Deno.test("refuseReservedParameters refuses every reserved name inside options, however spelled", () => {
  const spellings = [
    (name: string) => `-c ${name}=${MARKER}`,
    (name: string) => `-c${name}=${MARKER}`,
    (name: string) => `--${name}=${MARKER}`,
    (name: string) => `-ec ${name}=${MARKER}`,
    (name: string) => `-e-${name}=${MARKER}`,
    (name: string) => `-c\t${name}=${MARKER}`,
    (name: string) => `-c search_path=x\n\v-c ${name}=${MARKER}`,
    (name: string) => `--${name.replaceAll("_", "-")}=${MARKER}`,
    (name: string) => `-c ${name.replace(/(.)$/, "\\$1")}=${MARKER}`,
    (name: string) => `-c ${name.toUpperCase()}=${MARKER} -c ${name}=x`,
  ];
  for (const name of RESERVED_NAMES) {
    for (const spell of spellings) {
      const options = spell(name);
      assert.throws(() => check({ options }), refusedWithoutItsValue("42501"), options);
    }
  }
});

Deno.test("refuseReservedParameters reserves a configured variable whatever its case", () => {
  assert.throws(
    () => refuseReservedParameters(parameters({ "myapp.tenant_id": "x" }), ["MyApp.Tenant_ID"]),
    refusedWithoutItsValue("42501"),
  );
});

Deno.test("refuseReservedParameters names the parameter that it refuses", () => {
  assert.throws(
    () => check({ options: "-c App.Current-Tenant-Id=x" }),
    /parameter "app\.current_tenant_id" cannot be set by the client/,
  );
});

Deno.test("refuseReservedParameters lets everything else pass", () => {
  check({
    user: "app.acme",
    database: "shop",
    application_name: "role=postgres -c role=x",
    search_path: "app, public",
    client_encoding: "UTF8",
    "app.other": "1",
    "app.current_tenant_idx": "1",
    roles: "1",
    "x.role": "1",
    "x.pgvpd.": "1",
    "_pq_.option": "1",
    options: "-c search_path=app -c statement_timeout=5s --app.other=role=x -c x.y=app.org=1",
  });
});

Deno.test("refuseReservedParameters refuses replication, unless it is switched off", () => {
  for (const value of ["true", "on", "yes", "1", "database", "", "maybe", `x${MARKER}`]) {
    assert.throws(() => check({ replication: value }), refusedWithoutItsValue("0A000"), value);
  }
  for (const value of ["false", "off", "no", "0", "OFF"]) check({ replication: value });
});

Deno.test("findParameter takes an empty value for none", () => {
  const all = parameters({ user: "x", database: "" });
  assert.deepEqual(findParameter(all, "user"), text("x"));
  assert.equal(findParameter(all, "database"), null);
  assert.equal(findParameter(all, "options"), null);
});

Deno.test("rewriteStartup keeps the order, rewrites only the user, and adds the context last", () => {
  const message = {
    protocolVersion: 0x3_0002,
    parameters: parameters({ options: "-c a.b=1", user: "app.acme", User: "x", database: "d" }),
  };
  const context = new SessionContext([{ name: "app.t", value: "ä" }], "App User");
  assert.deepEqual(rewriteStartup(message, "app", context.startupParameters), {
    protocolVersion: 0x3_0002,
    parameters: [
      { name: "options", value: text("-c a.b=1") },
      { name: "user", value: text("app") },
      { name: "User", value: text("x") },
      { name: "database", value: text("d") },
      { name: "app.t", value: text("ä") },
      { name: "role", value: text("App User") },
    ],
  });
  assert.equal(rewriteStartup(message, "app", []).parameters.length, 4);
  assert.deepEqual(message.parameters[1]!.value, text("app.acme"), "what came is not changed");
});

Deno.test("startupSettings: no spelling of what a connection's start decides makes one more pool", () => {
  const only = (options: string, more: Record<string, string> = {}) => {
    return startupSettings(parameters({ options, ...more })).startupOnly;
  };
  const on = [{ name: "ignore_system_indexes", value: "on" }];
  for (const word of ["on", "ON", "t", "tru", "true", "y", "Yes", "1"]) {
    assert.deepEqual(only(`-c ignore_system_indexes=${word}`), on, word);
    assert.deepEqual(only("", { Ignore_System_Indexes: word }), on, word);
  }
  for (const word of ["off", "of", "F", "no", "0"]) {
    assert.deepEqual(only(`-c ignore_system_indexes=${word}`), [], word);
  }
  const name = "ignore-system-indexes";
  assert.deepEqual(only(`-c ${name}=off -c ${name}=on -c ${name}=on`), on, "the last one counts");
  for (const word of ["o", "", "2", "maybe"]) {
    assert.throws(() => only(`-c ignore_system_indexes=${word}`), { sqlState: "22023" });
  }
  for (const value of ["0", "00", "1"]) {
    assert.throws(() => only(`-c post_auth_delay=${value}`), { sqlState: "0A000" });
    assert.throws(() => only("", { post_auth_delay: value }), { sqlState: "0A000" });
  }
});
