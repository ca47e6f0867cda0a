// The example file, the docs page and the help say what the table says.

import assert from "node:assert/strict";
import { FLAGS, problemsOf, resolveSettings, SETTINGS } from "../../src/config/config.ts";
import { parseFile } from "../../src/config/file.ts";
import { renderDocs, renderExample, renderHelp } from "../../src/config/text.ts";

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

Deno.test("the example with every line uncommented has nothing wrong with it", () => {
  const file = { path: "pgvpd.conf.example", text: uncommented() };
  const sources = { file, environment: {}, flags: {} };
  assert.deepEqual(problemsOf(sources), { problems: [], warnings: [] });
  const available = SETTINGS.filter((each) => each.available);
  assert.deepEqual(
    parseFile(file.text).entries.map((entry) => entry.key),
    available.map((each) => each.key),
  );
  const { settings } = resolveSettings(sources);
  const defaults = resolveSettings({ environment: {}, flags: {} }).settings;
  for (const { property, default: text } of available) {
    if (text !== null) assert.deepEqual(settings[property], defaults[property], property);
  }
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

Deno.test("the help has every available flag on a line of its own and fits a screen", () => {
  const lines = renderHelp().trimEnd().split("\n");
  for (const { flag, setting } of FLAGS) {
    const found = lines.filter((line) => /[ []/.test(` ${line} `.split(` ${flag}`)[1]?.[0] ?? ""));
    assert.equal(found.length, setting.available ? 1 : 0, flag);
  }
  assert.ok(lines.some((line) => line.startsWith("  -p, --port <port>")));
  assert.ok(lines.length <= 40, `${lines.length} lines`);
  assert.ok(lines.every((line) => line.length <= 100), "a line is longer than 100 characters");
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
