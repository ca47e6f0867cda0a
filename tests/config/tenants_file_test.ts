// parseTenantsFile: what a file of tenants may say, and what is said of mistakes.

import assert from "node:assert/strict";
import { parseTenantsFile } from "../../src/config/tenants_file.ts";

const VARIABLES = ["app.current_tenant_id"];

const GOOD = `
[upstreams.big]
host = "db2.internal"
port = 5433
database = "acme"
tls = "require"
password_file = "/run/secrets/big"

[classes.free]
max_connections = 5
idle_timeout = "5m"
settings = { statement_timeout = "5s", work_mem = "4MB", app.plan = "free" }

[tenants.acme]
upstream = "big"
max_connections = "none"
weight = 10

[tenants."trial-*"]
class = "free"
settings.enable_seqscan = false
settings.Jit_Above_Cost = 5
`;

Deno.test("a whole file, read", () => {
  const { file, problems } = parseTenantsFile(GOOD, VARIABLES);
  assert.deepEqual(problems, []);
  const [acme, trial] = file.tenants;
  assert.deepEqual([acme!.pattern, acme!.upstream, acme!.className], ["acme", "big", null]);
  assert.deepEqual(acme!.limits, { max_connections: null, weight: 10 });
  assert.deepEqual([trial!.pattern, trial!.className], ["trial-*", "free"]);
  assert.deepEqual([...trial!.settings], [["enable_seqscan", "false"], ["jit_above_cost", "5"]]);
  const free = file.classes.get("free")!;
  assert.deepEqual(free.limits, { max_connections: 5, idle_timeout: 300_000 });
  assert.deepEqual([...free.settings], [
    ...[["statement_timeout", "5s"], ["work_mem", "4MB"], ["app.plan", "free"]],
  ]);
  const { settings, database, passwordFile } = file.upstreams.get("big")!;
  const { upstreamHost, upstreamPort, upstreamTls } = settings;
  assert.deepEqual([upstreamHost, upstreamPort, upstreamTls], ["db2.internal", 5433, "require"]);
  assert.deepEqual([database, passwordFile], ["acme", "/run/secrets/big"]);
  assert.deepEqual(parseTenantsFile("", VARIABLES).problems, []);
});

Deno.test("every mistake has its place", () => {
  const cases: [string, string][] = [
    ["[tenants.a\n", "1:11: no valid TOML"],
    ["x = 1", '1:1: unknown key "x"'],
    ["[tenant.a]", '1:1: unknown key "tenant"; did you mean "tenants"?'],
    ['[tenants.""]', "1:1: a tenant has a name"],
    [
      "[classes.a]\npool_max = 2\npool_min = 3",
      '3:1: "pool_min" is 3, more than "pool_max", which is 2',
    ],
    ["[tenants]\na = 1", '2:1: "a" must be a table, as in [tenants.a]'],
    ["[tenants.a]\n  max_conections = 1", '2:3: unknown key "max_conections"; did you mean "max_'],
    ["[tenants.a]\nmax_connections = 0", '2:1: invalid value "0" for "max_connections": must be'],
    ["[tenants.a]\nweight = 'none'", '2:1: invalid value "none" for "weight": must be'],
    ["[tenants.a]\nidle_timeout = [1]", '2:1: "idle_timeout" must be a time'],
    ["[tenants.a]\nclass = 'fre'\n[classes.free]", "2:1: there is no [classes.fre]; did you mean"],
    ["[tenants.a]\nupstream = 1", "2:1: there is no [upstreams.1]"],
    ["[classes.a]\nclass = 'a'", '2:1: unknown key "class"'],
    ["[tenants.a]\nsettings = 1", '2:1: "settings" must be a table'],
    ["[tenants.a]\nsettings.role = 'x'", '2:1: "role" is part of who a session is'],
    [
      "[tenants.a]\nsettings.App.Current_tenant_ID = 'x'",
      '2:1: "App.Current_tenant_ID" is part of',
    ],
    ["[tenants.a.settings]\npgvpd.x = 'x'", '2:1: "pgvpd.x" is part of who a session is'],
    ['[tenants.a.settings]\n"work_mem; DROP" = 1', '2:1: "work_mem; DROP" is no name of a setting'],
    ["[tenants.a.settings]\nwork_mem = [1]", '2:1: "work_mem" must be text, a number'],
    ["[upstreams.a]\nport = 1", '1:1: "host" is missing'],
    ["[upstreams.a]\nhost = 'b'\nport = 0", '3:1: invalid value "0" for "port": must be'],
    ["[upstreams.a]\nhost = 'b'\ndatabase = ''", '3:1: "database" must be text that is not empty'],
    ["[upstreams.a]\nhost = 'b'\npassword = 'x'\npassword_file = 'y'", '4:1: "password" and "pass'],
  ];
  for (const [text, expected] of cases) {
    const [first] = parseTenantsFile(text, VARIABLES).problems;
    const told = first === undefined ? "" : `${first.line}:${first.column}: ${first.message}`;
    assert(told.startsWith(expected), `${JSON.stringify(text)}: ${told}`);
  }
});

Deno.test("a password is in no message", () => {
  const text = "[upstreams.a]\nhost = 'b'\npassword = \"hush\\n\"";
  const { problems } = parseTenantsFile(text, VARIABLES);
  assert.equal(problems.length, 1);
  assert(!problems[0]!.message.includes("hush"), problems[0]!.message);
});

Deno.test("ten thousand tenants are read in no time", () => {
  const text = Array.from({ length: 10_000 }, (_, index) => `[tenants.t${index}]\nweight = 2\n`);
  const begun = performance.now();
  assert.equal(parseTenantsFile(text.join(""), VARIABLES).file.tenants.length, 10_000);
  assert(performance.now() - begun < 3_000);
});
