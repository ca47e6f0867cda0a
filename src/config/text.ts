// The table of settings as text: the example file, the docs page and the grouped help.
// Pure: docs/generate.ts writes the files, a test compares them.

import { FLAGS, type SettingDefinition, SETTINGS } from "./definitions.ts";
import { GROUPS } from "./table.ts";

const UNAVAILABLE = "not yet available";

function definitionsOf(group: string, isAvailable: boolean): SettingDefinition[] {
  return SETTINGS.filter((each) => each.group === group && each.available === isAvailable);
}

const EXAMPLE_HEAD = `\
## pgvpd.conf: every setting with its default.
##
## Lines with "##" are prose. Remove the "# " in front of a line to set it. Each setting can also be
## given as an environment variable or a flag (pgvpd --help), which win over this file.
## Values in quotes keep everything as it is: "a # and a "" in a value". docs/configuration.md
## explains the rest. Check your file with: pgvpd config check
`;

/**
 * `pgvpd.conf.example`. Prose starts with `## `, settings with `# `: a file whose lines lost their
 * `# ` is one that sets every available setting.
 */
export function renderExample(): string {
  const parts = [EXAMPLE_HEAD];
  for (const group of GROUPS) {
    parts.push(`\n## ${group}\n`);
    for (const each of definitionsOf(group, true)) parts.push(exampleOf(each));
    const missing = definitionsOf(group, false);
    if (missing.length === 0) continue;
    parts.push(`\n## (${UNAVAILABLE}; setting one of these is an error)\n`);
    for (const each of missing) {
      parts.push(`##   ${exampleLine(each)}\n##       ${each.sentence}\n`);
      if (each.secretFile !== null) {
        parts.push(`##   ${each.secretFile.key} = /run/secrets/${each.key}\n`);
        parts.push(`##       The same, from a file.\n`);
      }
    }
  }
  return parts.join("");
}

function exampleOf(definition: SettingDefinition): string {
  const unset = definition.default === null ? " Unset by default." : "";
  const lines = [`\n## ${definition.sentence}${unset}`, `# ${exampleLine(definition)}`];
  return lines.join("\n") + "\n";
}

function exampleLine(definition: SettingDefinition): string {
  return `${definition.key} = ${definition.default ?? definition.example ?? ""}`;
}

/** The settings for `--help`: one line each under their groups, available ones only. */
export function renderHelp(): string {
  const flags = FLAGS.filter((each) => each.setting.available);
  const left = flags.map(({ flag, shortFlag, placeholder, valueIsOptional }) => {
    const value = valueIsOptional ? `[=<${placeholder}>]` : ` <${placeholder}>`;
    return `  ${shortFlag === null ? "    " : `${shortFlag}, `}${flag}${value}`;
  });
  const width = Math.max(...left.map((text) => text.length)) + 2;
  const lines: string[] = [];
  for (const group of GROUPS) {
    const members = flags.flatMap((each, index) => each.setting.group === group ? [index] : []);
    if (members.length === 0) continue;
    if (lines.length > 0) lines.push("");
    lines.push(`${group}:`);
    for (const index of members) {
      const { sentence, setting } = flags[index]!;
      const known = setting.default === null ? "" : ` [${setting.default}]`;
      lines.push(left[index]!.padEnd(width) + sentence.replace(/\.$/, "") + known);
    }
  }
  return lines.join("\n") + "\n";
}

const DOCS_HEAD = `\
# Configuration

<!-- Made from src/config/table.ts by: deno run -A docs/generate.ts -->

A setting comes from the highest of these layers that has it:

1. flags (\`--upstream-port 5433\`, \`--upstream-port=5433\`),
2. environment variables (\`PGVPD_UPSTREAM_PORT=5433\`),
3. the configuration file (\`upstream_port = 5433\`), \`pgvpd.conf\` in the working directory unless
   \`--config\` or \`PGVPD_CONFIG\` names another one,
4. the default.

A layer replaces the whole value of the one below; lists are not merged. \`pgvpd config show\` prints
every effective value and the layer it came from, \`pgvpd config check\` every mistake with its place,
and exits with 1 if there is one. \`pgvpd.conf.example\` has every setting with its default.

## The file

- One \`key = value\` on a line. There are no sections, no escapes and no values of several lines.
- Lines that start with \`#\` or \`;\` are comments. In a line, a \`#\` or \`;\` that follows white space
  starts a comment, unless it is in quotes: \`pass#word\` is whole, \`pass #word\` is not. A secret that
  would be cut like that is an error.
- A value that starts with \`"\` or \`'\` ends with the same quote and is taken as it is in between. A
  quote of that kind inside is written twice: \`"say ""hi"""\` is \`say "hi"\`.
- UTF-8; a byte order mark and Windows line ends are accepted.
- A setting must not appear twice, under its aliases neither.
- An empty value is an error, except for \`superuser_bypass\`, where it means nobody. To unset a
  setting, remove its line.

## The environment

Variables that start with \`PGVPD_\` and are not in the tables below are errors, except \`PGVPD_CONFIG\`
and those that start with \`PGVPD_TEST_\` or \`PGVPD_BENCH_\`. An empty variable counts as not set (Docker
Compose passes those), except \`PGVPD_SUPERUSER_BYPASS\`, where empty means nobody. What Kubernetes adds
for a Service called \`pgvpd\` (\`PGVPD_SERVICE_HOST\`, \`PGVPD_PORT=tcp://…\`) is ignored.

## Values

- Times: a whole number and \`ms\`, \`s\`, \`m\` or \`h\`; without a unit it is seconds.
- Booleans: \`true\`, \`yes\`, \`on\`, \`1\` and \`false\`, \`no\`, \`off\`, \`0\`, in any case. As a flag,
  \`--upstream-tls\` alone means true.
- Lists: separated by commas; blanks around the items do not count.
- Paths: absolute, or relative to the working directory.

## Secrets

Every secret has a twin whose name ends in \`_file\` (\`pool_password_file\`, \`PGVPD_POOL_PASSWORD_FILE\`,
\`--pool-password-file\`): the content of that file, less one line end, is the secret. A secret and its
twin in one layer are an error; of two layers the higher one counts, whichever of the two it has. A
secret is not empty and has no control characters. It never appears in a message or in
\`pgvpd config show\`. As a flag it is accepted with a warning, because the process list shows it.

## Reloading

SIGHUP reads the file again. What is marked *reload* below changes for new connections; of the rest
pgvpd says that it needs a restart. A file with a mistake changes nothing.
`;

/** `docs/configuration.md`. */
export function renderDocs(): string {
  return DOCS_HEAD + GROUPS.map(groupDocs).join("");
}

function groupDocs(group: string): string {
  const members = SETTINGS.filter((each) => each.group === group);
  const rows = members.map((each) =>
    row([
      code(each.key),
      each.default === null ? "*unset*" : code(each.default),
      code(each.environment),
      [each.shortFlag, each.flag].filter((flag) => flag !== undefined).map((flag) => code(flag!))
        .join(", "),
      each.sentence + (each.available ? "" : ` **(${UNAVAILABLE})**`),
    ])
  );
  const head = row(["Setting", "Default", "Environment", "Flag", "Meaning"]);
  const rule = row(["---", "---", "---", "---", "---"]);
  const notes = members.map(noteOf);
  return `\n## ${group}\n\n${[head, rule, ...rows].join("\n")}\n\n${notes.join("\n")}\n`;
}

function noteOf(definition: SettingDefinition): string {
  const { aliases, secretFile, detail, reloadable } = definition;
  const facts = [sentenceCase(definition.type.allowed) + "."];
  if (detail !== undefined) facts.push(detail);
  if (aliases.length > 0) facts.push(`In the file also ${aliases.map(code).join(", ")}.`);
  if (secretFile !== null) {
    facts.push(
      `A secret; twin: ${code(secretFile.key)}, ${code(secretFile.environment)}, ` +
        `${code(secretFile.flag)}.`,
    );
  }
  if (reloadable === true) facts.push("*Reload.*");
  if (!definition.available) facts.push(`**Not yet available**: setting it is an error.`);
  return `- ${code(definition.key)}: ${facts.join(" ")}`;
}

function row(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}

function code(text: string): string {
  return "`" + text + "`";
}

function sentenceCase(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}
