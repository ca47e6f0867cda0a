// Promise: no mistake in the configuration is silent, whichever layer it is in.

import assert from "node:assert/strict";
import { SETTINGS } from "../../src/config/config.ts";
import { EXPIRED, makeCa, makeClient, makeServer } from "../support/certificates.ts";
import { pgvpd, TestDirectory } from "../support/process_pgvpd.ts";

const MISTAKES: readonly [line: string, told: RegExp][] = [
  ["prot = 6432", /:1: unknown key "prot"; did you mean "port"\?/],
  ["upstream_port = 70000", /:2: invalid value "70000" for "upstream_port": .* 1 to 65535/],
  ["handshake_timeout = 30 parsecs", /:3: .*"30 parsecs".* ms, s, m, h/],
  ["tcp_keepalive = maybe", /:4: .*"maybe".*true or false/],
  ["context_variables = tenant", /:5: .*"tenant" is no variable name/],
  ['tenant_separator = ""', /:6: .*"tenant_separator": must not be empty/],
  ["log_level = verbos", /:7: .*"verbos".*"debug", "info", "warn" or "error"/],
  ["max_client_connection = 5", /:8: unknown key .*did you mean "max_client_connections"\?/],
];

Deno.test("config check tells all of eight mistakes, with line and what to do", async () => {
  await using directory = await TestDirectory.make();
  const path = await directory.write("bad.conf", MISTAKES.map(([line]) => line).join("\n"));
  const { code, out, err } = await pgvpd(["config", "check", "--config", path]);
  assert.equal(code, 1);
  assert.equal(out, "");
  const lines = err.trimEnd().split("\n");
  assert.equal(lines.length, MISTAKES.length + 1, err);
  for (const [index, [, told]] of MISTAKES.entries()) assert.match(lines[index]!, told);
  assert.equal(lines.at(-1), "pgvpd: 8 problems.");
});

Deno.test("config check tells mistakes of all layers, an unreadable file among them", async () => {
  const { code, err } = await pgvpd(
    ["config", "check", "--config", "/nowhere/pgvpd.conf", "--log-level", "loud"],
    { env: { PGVPD_PROT: "1", PGVPD_PORT: "x" } },
  );
  assert.equal(code, 1);
  assert.match(err, /"\/nowhere\/pgvpd\.conf": there is no such file/);
  assert.match(err, /PGVPD_PROT: unknown variable; did you mean "PGVPD_PORT"\?/);
  assert.match(err, /PGVPD_PORT: invalid value "x"/);
  assert.match(err, /flag --log-level: invalid value "loud"/);
  assert.match(err, /\npgvpd: 4 problems\.\n$/);
});

/** The files that the example names, in a directory. */
async function writeExampleFiles(directory: TestDirectory): Promise<void> {
  const ca = await makeCa("example");
  const [server, client] = [await makeServer(ca), await makeClient(ca, "pgvpd")];
  const files = {
    "server.crt": server.pem,
    "server.key": server.keyPem,
    "client-ca.crt": ca.pem,
    "upstream-ca.crt": ca.pem,
    "client.crt": client.pem,
    "client.key": client.keyPem,
    "userlist.txt": '"app_user" "x"\n',
    "tenants.allow": "acme\nglobex-* # and all like it\n",
    "tenants.deny": "initech\n",
    "tenants.toml": "",
    "doctor.toml": "",
    "resolvers.toml": await Deno.readTextFile(
      new URL("../../resolvers.toml.example", import.meta.url),
    ),
  };
  for (const [name, text] of Object.entries(files)) await directory.write(name, text);
  await Deno.chmod(await directory.write("seal.key", `k1 ${"0".repeat(64)}\n`), 0o600);
}

const FEATURES: readonly [from: string, to: string][] = [
  ["pool_mode = none", "pool_mode = session"],
  ["client_tls = allow", "client_tls = require"],
  ["cert_identity = none", "cert_identity = cn"],
  ["upstream_tls = disable", "upstream_tls = verify-full"],
  ["audit_log = off", "audit_log = file"],
];

Deno.test("config check finds a good file good, and the example with every line set", async () => {
  await using directory = await TestDirectory.make();
  await writeExampleFiles(directory);
  const example = await Deno.readTextFile(new URL("../../pgvpd.conf.example", import.meta.url));
  let uncommented = example.replaceAll(/^# (?=\w+ = )/gm, "");
  const available = SETTINGS.filter(({ available }) => available);
  assert.equal(uncommented.match(/^\w+ = /gm)?.length, available.length, "every line was set");
  for (const [from, to] of FEATURES) {
    assert(uncommented.includes(from));
    uncommented = uncommented.replace(from, to);
  }
  uncommented = uncommented.replaceAll("/etc/pgvpd/", `${directory.path}/`);
  for (const text of ["port = 7000\n", uncommented]) {
    const path = await directory.write("good.conf", text);
    const { code, out, err } = await pgvpd(["config", "check", "-c", path]);
    assert.deepEqual([code, out, err], [0, "The configuration is good.\n", ""]);
  }
});

Deno.test("config check looks into the file of the doctor's findings", async () => {
  await using directory = await TestDirectory.make();
  const path = await directory.write("doctor.toml", '[[ignore]]\nlint = "T02"\nobject = "a"\n');
  const { code, err } = await pgvpd(["config", "check", "--doctor-ignore", path]);
  assert.equal(code, 1);
  assert.match(err, /^pgvpd: .*doctor\.toml: entry 1 lacks its reason\npgvpd: 1 problem\.\n$/);
});

Deno.test("config check looks into the certificates, beside other mistakes too", async () => {
  await using directory = await TestDirectory.make();
  const ca = await makeCa("example");
  const one = await makeServer(ca);
  const files = [
    await directory.write("one.crt", one.pem),
    await directory.write("other.key", (await makeServer(ca)).keyPem),
    await directory.write("old.crt", (await makeServer(ca, { ...EXPIRED, keys: one.keys })).pem),
    await directory.write("one.key", one.keyPem),
  ] as const;
  const check = (certificate: string, key: string, more: string[] = []) =>
    pgvpd(["config", "check", "--tls-cert", certificate, "--tls-key", key, ...more]);
  const other = await check(files[0], files[1], ["--port", "x"]);
  assert.match(other.err, /^pgvpd: flag --port: .*\npgvpd: .*other\.key.*\npgvpd: 2 problems\.\n$/);
  const old = await check(files[2], files[3]);
  assert.match(old.err, /^pgvpd: .*old\.crt.*\npgvpd: 1 problem\.\n$/);
  assert.deepEqual([old.code, (await check(files[0], files[3])).code], [1, 0]);
  const missing = await check(files[0], "/nowhere.key");
  assert.match(missing.err, /cannot be read.*\npgvpd: 1 problem\.\n$/, "told once");
});

Deno.test("config check looks into the file of seal keys, and who may read it", async () => {
  await using directory = await TestDirectory.make();
  const path = await directory.write("seal.key", `k1 ${"0".repeat(64)}\n`);
  const check = () => pgvpd(["config", "check", "--seal-key-file", path]);
  await Deno.chmod(path, 0o644);
  assert.match((await check()).err, /seal\.key" has mode 0644.*chmod 0600/);
  await Deno.chmod(path, 0o600);
  assert.deepEqual([(await check()).code, (await check()).err], [0, ""]);
  await Deno.writeTextFile(path, "\nk1 secret\n");
  const { code, err } = await check();
  assert.match(err, /seal\.key:2: this is not a name of two letters/);
  assert(code === 1 && !err.includes("secret"));
});

Deno.test("config check tells an auth_file that cannot be read", async () => {
  const { code, err } = await pgvpd(["config", "check", "--auth-file", "/nowhere/userlist.txt"]);
  assert.equal(code, 1);
  assert.match(err, /flag --auth-file: "auth_file" is "\/nowhere\/userlist\.txt", which cannot be/);
});

Deno.test("config show masks secrets and names where every value comes from", async () => {
  await using directory = await TestDirectory.make();
  const path = await directory.write("x.conf", "upstream_port = 1111\nlog_level = warn\n");
  const { code, out, err } = await pgvpd(["config", "show", "-c", path, "--log-format=json"], {
    env: { PGVPD_LOG_LEVEL: "debug" },
  });
  assert.equal(code, 0, err);
  const origin = (key: string) => new RegExp(`^${key} += (.+?) +# (.+)$`, "m").exec(out)?.slice(1);
  assert.deepEqual(origin("upstream_port"), ["1111", `${path}:1`]);
  assert.deepEqual(origin("log_level"), ["debug", "environment variable PGVPD_LOG_LEVEL"]);
  assert.deepEqual(origin("log_format"), ["json", "flag --log-format"]);
  assert.deepEqual(origin("port"), ["6432", "default"]);
  assert.equal(out.trimEnd().split("\n").length, SETTINGS.length);
});

Deno.test("a secret as a flag is warned about, and printed nowhere", async () => {
  const { err, out } = await pgvpd(["config", "check", "--pool-password", "s3cret-word"]);
  assert.match(err, /warning: flag --pool-password: the process list shows this secret/);
  assert(!(err + out).includes("s3cret-word"), err + out);
});

Deno.test("a named file must exist; the default one may be absent, and is read", async () => {
  await using directory = await TestDirectory.make();
  const show = (args: string[], env: Record<string, string> = {}) =>
    pgvpd(["config", "show", ...args], { cwd: directory.path, env });
  const port = ({ out }: { out: string }) => /^port += (\d+) /m.exec(out)?.[1];

  assert.equal(port(await show([])), "6432");
  await directory.write("pgvpd.conf", "port = 1001\n");
  await directory.write("other.conf", "port = 1002\n");
  assert.equal(port(await show([])), "1001");
  assert.equal(port(await show([], { PGVPD_CONFIG: "other.conf" })), "1002");
  assert.equal(port(await show(["-c", "pgvpd.conf"], { PGVPD_CONFIG: "other.conf" })), "1001");
  assert.equal(port(await show(["--no-config"], { PGVPD_CONFIG: "other.conf" })), "6432");
  assert.equal(port(await show([], { PGVPD_PORT: "1003" })), "1003");
  assert.equal(port(await show(["--port", "1004"], { PGVPD_PORT: "1003" })), "1004");

  for (const [args, env] of [[["-c", "none.conf"], {}], [[], { PGVPD_CONFIG: "none.conf" }]]) {
    const { code, out, err } = await show(args as string[], env as Record<string, string>);
    assert.deepEqual([code, out], [1, ""]);
    assert.equal(err, 'pgvpd: Cannot read configuration file "none.conf": there is no such file\n');
  }
});

Deno.test("config check tells the mistakes in the files about tenants, each with its place", async () => {
  await using directory = await TestDirectory.make();
  const names = ["allow", "tenants.toml", "pgvpd.conf"];
  const text = (paths: string[]) => `tenant_allow_file = ${paths[0]}\ntenants = ${paths[1]}\n`;
  const check = async (allow: string, toml: string) => {
    const paths = [await directory.write(names[0]!, allow), await directory.write(names[1]!, toml)];
    const path = await directory.write(names[2]!, text(paths));
    return await pgvpd(["config", "check", "--config", path]);
  };
  const good = await check("acme", "[tenants.acme]\nweight = 2");
  assert.deepEqual([good.code, good.err], [0, ""]);
  const toml = await check("acme", "[tenants.acme]\nwieght = 2\n\n[upstreams.a]\nport = 0");
  assert.equal(toml.code, 1);
  assert.match(toml.err, /tenants\.toml:2:1: unknown key "wieght"; did you mean "weight"\?\n/);
  assert.match(toml.err, /tenants\.toml:4:1: "host" is missing\n/);
  assert.match(toml.err, /tenants\.toml:5:1: invalid value "0" for "port"/);
  assert.match(toml.err, /\npgvpd: 3 problems\.\n$/);
  const login = await check("acme", '[upstreams.a]\nhost = "b"\npassword = "hush"');
  assert.match(login.err, /tenants\.toml:1:1: \[upstreams\.a\] has a user or a password, which/);
  assert(!login.err.includes("hush"));
  const list = await check("acme\nx\x01y", "");
  assert.match(list.err, /allow:2: a tenant has no control characters/);
  const both = await check("x\x01y", "[tenants.a]\nwieght = 2");
  assert.match(
    both.err,
    /^pgvpd: .*allow:1: .*\npgvpd: .*tenants\.toml:2:1: .*\npgvpd: 2 problems\./,
  );
});
