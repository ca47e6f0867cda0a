// Secrets: where they may come from, and that nothing ever repeats one.

import assert from "node:assert/strict";
import {
  describeEffective,
  differences,
  problemText,
  resolveSettings,
  SETTINGS,
  type Settings,
} from "../../src/config/config.ts";
import { type ConfigSources, type MergedLayers, mergeLayers } from "../../src/config/merge.ts";

const SECRET = "hunter2Sesame";
const SECRET_KEYS = SETTINGS.filter((each) => each.secret === true);

interface Given {
  file?: string;
  environment?: Record<string, string>;
  flags?: Record<string, string>;
  disk?: Record<string, string>;
}

function merge({ file, environment = {}, flags = {}, disk = {} }: Given): MergedLayers {
  const sources: ConfigSources = {
    file: file === undefined ? null : { path: "pgvpd.conf", text: file },
    environment,
    flags,
    readFile(path) {
      const text = disk[path];
      if (text === undefined) throw new Deno.errors.NotFound(`No such file: readfile '${path}'`);
      return text;
    },
  };
  return mergeLayers(sources);
}

function mistakes(merged: MergedLayers): string[] {
  return merged.problems.map(problemText);
}

Deno.test("the secrets are known, and each has a twin in every layer", () => {
  assert.deepEqual(
    SECRET_KEYS.map(({ key, secretFile }) => [key, secretFile]),
    [
      ...["pool_password", "auth_password", "upstream_password", "resolver_password"],
      ...["admin_token", "doctor_url"],
    ].map((key) => [key, {
      key: `${key}_file`,
      environment: `PGVPD_${key.toUpperCase()}_FILE`,
      flag: `--${key.replace("_", "-")}-file`,
    }]),
  );
});

Deno.test("a twin's file, less one line end, is the secret", () => {
  const disk = { "/run/a": `${SECRET}\n`, "/run/b": `${SECRET}\r\n`, "/run/c": SECRET };
  for (const path of Object.keys(disk)) {
    const given: Given[] = [
      { file: `pool_password_file = ${path}` },
      { environment: { PGVPD_POOL_PASSWORD_FILE: path } },
      { flags: { pool_password_file: path } },
    ];
    for (const each of given) {
      const pooling = { PGVPD_POOL_MODE: "session", PGVPD_UPSTREAM_PASSWORD: "x" };
      const merged = merge({ ...each, environment: { ...pooling, ...each.environment }, disk });
      assert.deepEqual(mistakes(merged), []);
      assert.equal(merged.settings.poolPassword, SECRET, path);
      assert.deepEqual(merged.warnings, []);
    }
  }
  const tooMany = merge({ file: "pool_password_file = /a", disk: { "/a": `${SECRET}\n\n` } });
  assert.match(mistakes(tooMany)[0]!, /^pgvpd.conf:1: .*control characters such as line breaks$/);
  const empty = merge({ file: "pool_password_file = /a", disk: { "/a": "\n" } });
  assert.match(mistakes(empty)[0]!, /must not be empty$/);
});

Deno.test("of a secret and its twin the higher layer counts, within one layer neither", () => {
  const disk = { "/run/secret": "from a file" };
  const overridden = merge({
    file: "pool_password = plain\nupstream_password_file = /run/missing",
    environment: { PGVPD_POOL_PASSWORD_FILE: "/run/secret", PGVPD_UPSTREAM_PASSWORD: "plain" },
    disk,
  });
  assert.deepEqual(mistakes(overridden), []);
  assert.equal(overridden.settings.poolPassword, "from a file");
  assert.equal(overridden.settings.upstreamPassword, "plain");
  const [told] = mistakes(merge({
    file: `pool_password = ${SECRET}\n\npool_password_file = /run/secret`,
    disk,
  }));
  assert.equal(
    told,
    'pgvpd.conf:3: "pool_password_file" and "pool_password" (pgvpd.conf:1) exclude each other; ' +
      "keep one",
  );
  const variables = { PGVPD_POOL_PASSWORD: SECRET, PGVPD_POOL_PASSWORD_FILE: "/run/secret" };
  assert.match(mistakes(merge({ environment: variables, disk }))[0]!, /exclude each other/);
  const flags = { pool_password: SECRET, pool_password_file: "/run/secret" };
  assert.match(mistakes(merge({ flags, disk }))[0]!, /exclude each other/);
});

Deno.test("a secret that a comment would cut is an error, quoted it is whole", () => {
  for (const comment of ["#", ";"]) {
    const cut = merge({ file: `pool_password = ${SECRET} ${comment}x` });
    assert.deepEqual(mistakes(cut), [
      'pgvpd.conf:1: "pool_password" is cut at a "#" or ";" behind white space; ' +
      "put the value in quotes",
    ]);
    const whole = merge({ file: `pool_password = "${SECRET} ${comment}x" ${comment} comment` });
    assert.deepEqual(mistakes(whole), []);
    assert.equal(whole.settings.poolPassword, `${SECRET} ${comment}x`);
    const inside = merge({ file: `pool_password = a${comment}${SECRET}` });
    assert.equal(inside.settings.poolPassword, `a${comment}${SECRET}`);
  }
});

Deno.test("a secret as a flag is taken with a warning", () => {
  const environment = { PGVPD_POOL_MODE: "session", PGVPD_POOL_PASSWORD: "x" };
  const merged = merge({ environment, flags: { upstream_password: SECRET } });
  assert.equal(merged.settings.upstreamPassword, SECRET);
  assert.deepEqual(merged.warnings, [
    "flag --upstream-password: the process list shows this secret to every local user; " +
    "use --upstream-password-file or PGVPD_UPSTREAM_PASSWORD",
  ]);
});

/** Right ways of writing a secret, which may be warned about. */
function rightWays(key: string, variable: string): Given[] {
  return [
    { file: `${key} = ${SECRET}` },
    { environment: { [variable]: SECRET } },
    { flags: { [key]: SECRET } },
  ];
}

/** Every wrong way of writing a secret that came to mind. */
function wrongWays(key: string, variable: string): Given[] {
  const lines = [
    `${key} = ${SECRET} # x`,
    `${key} = x #${SECRET}`,
    `${key} = "${SECRET}`,
    `${key} = "x" ${SECRET}`,
    `${key} = 'x'${SECRET}`,
    `${key} ${SECRET}`,
    `${key}: ${SECRET}`,
    `${key} = ${SECRET}\x01`,
    `${SECRET}`,
    `[${SECRET}]`,
    `= ${SECRET}`,
    `${key} = a\n${key} = ${SECRET}`,
    `${key} = ${SECRET}\n${key}_file = /run/secret`,
    `${key}_file = ${SECRET}`,
    `${key}_file = /run/broken`,
    `${key.slice(1)} = ${SECRET}`,
    `nonsense = ${SECRET}`,
    `-----BEGIN KEY-----\n${SECRET}/+abc==\n-----END KEY-----`,
    `pool_mode = session\n${key} = ${SECRET}`,
  ];
  return [
    ...lines.map((file) => ({ file })),
    { environment: { [variable]: `${SECRET}\n` } },
    { environment: { [`${variable}S`]: SECRET } },
    { environment: { [`${variable}_FILE`]: SECRET } },
    { environment: { [`${variable}_FILE`]: "/run/broken" } },
    { flags: { [key]: `${SECRET}\x7f` } },
    { flags: { [`${key}_file`]: SECRET } },
    { flags: { [`${key}x`]: SECRET } },
  ];
}

Deno.test("no problem, warning or message repeats a secret", () => {
  const disk = { "/run/secret": SECRET, "/run/broken": `${SECRET}\0\n\n` };
  for (const { key, environment } of SECRET_KEYS) {
    const right = rightWays(key, environment);
    const ways = [...right, ...wrongWays(key, environment)];
    for (const way of ways) {
      const { problems, warnings } = merge({ ...way, disk });
      assert.equal(problems.length === 0, right.includes(way), JSON.stringify(way));
      const told = JSON.stringify({ problems, warnings, texts: problems.map(problemText) });
      assert.ok(!told.includes(SECRET), `${JSON.stringify(way)} tells ${told}`);
    }
    const file = { path: "pgvpd.conf", text: ways.map((way) => way.file ?? "").join("\n") };
    assert.throws(() => resolveSettings({ file, environment: {}, flags: {} }), (error: Error) => {
      assert.ok(!`${error.stack}${error.message}${JSON.stringify(error)}`.includes(SECRET));
      return true;
    });
  }
});

Deno.test("no rendering shows a secret", () => {
  const resolved = resolveSettings({ environment: {}, flags: {} });
  const hidden = Object.fromEntries(SECRET_KEYS.map(({ property }) => [property, SECRET]));
  const settings = { ...resolved.settings, ...hidden } as Settings;
  const rows = describeEffective({ ...resolved, settings });
  const changes = [
    ...differences(resolved.settings, settings),
    ...differences(settings, { ...settings, poolPassword: `${SECRET}2` }),
  ];
  assert.ok(!JSON.stringify([rows, changes]).includes(SECRET));
  assert.equal(rows.find(({ key }) => key === "pool_password")?.value, "(set)");
  assert.equal(changes.length, SECRET_KEYS.length + 1);
  assert.deepEqual(changes.at(-1), {
    key: "pool_password",
    property: "poolPassword",
    before: "(set)",
    after: "(set)",
    reloadable: true,
  });
});

Deno.test("describeEffective() names the file that a secret came from", () => {
  const { settings, origins } = merge({ file: "pool_password_file = /a", disk: { "/a": SECRET } });
  const rows = describeEffective({ settings, origins, warnings: [] });
  const row = rows.find(({ key }) => key === "pool_password");
  assert.deepEqual(row, { key: "pool_password", value: "(set)", origin: "pgvpd.conf:1, from /a" });
});
