// The example file, the docs page and the help say what the table says.

import assert from "node:assert/strict";
import { FLAGS, problemsOf, resolveSettings, SETTINGS } from "../../src/config/config.ts";
import { parseFile } from "../../src/config/file.ts";
import { renderDocs, renderExample, renderHelp, renderShortHelp } from "../../src/config/text.ts";

const STALE = "is stale; run: deno run -A docs/generate.ts";

function fileText(path: string): string {
  return Deno.readTextFileSync(new URL(`../../${path}`, import.meta.url));
}

Deno.test("docs/configuration.md is what the table makes", () => {
  assert.equal(
    fileText("docs/configuration.md"),
    renderDocs(fileText("docs/configuration.intro.md")),
    `docs/configuration.md ${STALE}`,
  );
});

Deno.test("pgvpd.conf.example is what the table makes", () => {
  assert.equal(fileText("pgvpd.conf.example"), renderExample(), `pgvpd.conf.example ${STALE}`);
});

/** The example with every setting's line uncommented, as an operator would. */
function uncommented(): string {
  return renderExample().replace(/^# /gm, "");
}

Deno.test("the example as it is sets nothing", () => {
  assert.deepEqual(parseFile(renderExample()), { entries: [], faults: [] });
});

/** Defaults under which some of the examples would contradict or do nothing, and what lets them. */
const FEATURES: Readonly<Record<string, string>> = {
  pool_mode: "session",
  client_tls: "require",
  cert_identity: "cn",
  upstream_tls: "verify-full",
  audit_log: "file",
};

Deno.test("the example with every line uncommented and the features on has nothing wrong with it", () => {
  const text = uncommented().replace(
    /^(\w+) = .*$/gm,
    (line, key) => key in FEATURES ? `${key} = ${FEATURES[key]}` : line,
  );
  const paths = new Set(SETTINGS.map((each) => each.example));
  const sources = {
    file: { path: "pgvpd.conf.example", text },
    environment: {},
    flags: {},
    readFile(path: string) {
      assert.ok(paths.has(path), path);
      return "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n";
    },
  };
  const { problems, warnings, settings } = problemsOf(sources);
  assert.deepEqual({ problems, warnings }, { problems: [], warnings: [] });
  const available = SETTINGS.filter((each) => each.available);
  assert.deepEqual(
    parseFile(text).entries.map((entry) => entry.key),
    available.map((each) => each.key),
  );
  for (const { key, property, type, default: byDefault, example } of available) {
    const written = FEATURES[key] ?? byDefault ?? example!.replaceAll('"', "");
    assert.deepEqual(settings[property], type.parse(written), key);
  }
});

Deno.test("the example with every default uncommented is what pgvpd does without a file", () => {
  const keys = SETTINGS.filter((each) => each.default !== null).map((each) => each.key as string);
  const text = uncommented().split("\n").filter((line) => keys.includes(line.split(" ")[0]!));
  const file = { path: "pgvpd.conf.example", text: text.join("\n") };
  const { settings, warnings } = resolveSettings({ file, environment: {}, flags: {} });
  assert.deepEqual(settings, resolveSettings({ environment: {}, flags: {} }).settings);
  assert.deepEqual(warnings, []);
});

Deno.test("the docs have every setting with all its names, its default and its availability", () => {
  const lines = renderDocs(fileText("docs/configuration.intro.md")).split("\n");
  for (const each of SETTINGS) {
    const row = lines.find((line) => line.startsWith(`| \`${each.key}\` |`));
    assert.ok(row, `${each.key} has no row`);
    for (const name of [each.environment, each.flag, each.sentence]) {
      assert.ok(row.includes(name), `${each.key} lacks ${name}`);
    }
    assert.ok(row.includes(each.default === null ? "*unset*" : `\`${each.default}\``), each.key);
    assert.equal(row.includes("not yet available"), !each.available, each.key);
    const note = lines.find((line) => line.startsWith(`- \`${each.key}\`:`)) ?? "";
    for (const name of [...each.aliases, ...Object.values(each.secretFile ?? {})]) {
      assert.ok(note.includes(`\`${name}\``), `${each.key} lacks ${name}`);
    }
    assert.equal(note.includes("*Reload.*"), each.reloadable === true, each.key);
  }
});

Deno.test("the example has every setting, the unavailable ones as prose that says so", () => {
  const text = renderExample();
  for (const { key, available } of SETTINGS) {
    const line = new RegExp(`^${available ? "# " : "## {3}"}${key} = `, "m");
    assert.match(text, line, key);
  }
  const groups = new Set(SETTINGS.filter((each) => !each.available).map((each) => each.group));
  assert.equal(text.split("(not yet available;").length - 1, groups.size);
});

/** The lines that a flag stands in, as a word of its own. */
function linesWith(flag: string, lines: readonly string[]): string[] {
  return lines.filter((line) => /[ []/.test(` ${line} `.split(` ${flag}`)[1]?.[0] ?? ""));
}

Deno.test("the help has every available flag on a line of its own, under its group", () => {
  const text = renderHelp();
  const lines = text.trimEnd().split("\n");
  for (const { flag, setting } of FLAGS) {
    assert.equal(linesWith(flag, lines).length, setting.available ? 1 : 0, flag);
    if (!setting.available) continue;
    const part = text.split("\n\n").find((part) => part.startsWith(`${setting.group}:\n`));
    assert.ok(part?.includes(` ${flag}`), flag);
  }
  assert.ok(lines.some((line) => line.startsWith("  -p, --port <port>")));
  for (const line of lines) assert.ok(line.length <= 100, line);
});

Deno.test("the short help has the settings that are needed first, in a few lines", () => {
  const lines = renderShortHelp().trimEnd().split("\n");
  for (const { flag, setting } of FLAGS) {
    assert.equal(linesWith(flag, lines).length, setting.common === true ? 1 : 0, flag);
  }
  const needed = SETTINGS.filter((each) => each.common === true);
  assert.ok(needed.every((each) => each.available), "common, but not available");
  assert.ok(needed.length >= 15 && lines.length <= 25, `${lines.length} lines`);
  for (const line of lines) assert.ok(line.length <= 100, line);
});

Deno.test("sentences are short and end as sentences do", () => {
  for (const { key, sentence } of SETTINGS) assert.match(sentence, /^[A-Z].{5,60}\.$/, key);
});

Deno.test("flags stand for settings and their twins", () => {
  const keys = FLAGS.map((each) => each.key);
  assert.deepEqual(
    keys.toSorted(),
    SETTINGS.flatMap((each) => each.secretFile ? [each.key, each.secretFile.key] : [each.key])
      .toSorted(),
  );
  const byKey = new Map(FLAGS.map((each) => [each.key, each]));
  assert.equal(byKey.get("pool_password_file")?.flag, "--pool-password-file");
  assert.equal(byKey.get("upstream_tls")?.valueIsOptional, true);
  assert.equal(byKey.get("port")?.shortFlag, "-p");
});
