// The table of settings as text: the example file, the docs page and the grouped help.
// Pure: docs/generate.ts writes the files, a test compares them.

import { type FlagDefinition, FLAGS, type SettingDefinition, SETTINGS } from "./definitions.ts";
import { GROUPS } from "./row.ts";

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

/** The available settings for `pgvpd --help`: one line each, under their groups. */
export function renderHelp(): string {
  const lines = helpLines(FLAGS.filter(({ setting }) => setting.available));
  return GROUPS.flatMap((group) => {
    const members = lines.filter(({ setting }) => setting.group === group);
    return members.length === 0 ? [] : [`${group}:\n${textOf(members)}`];
  }).join("\n");
}

/** The settings that people need first, for `pgvpd -h`: one line each. */
export function renderShortHelp(): string {
  return textOf(helpLines(FLAGS.filter(({ setting }) => setting.common === true)));
}

interface HelpLine {
  readonly setting: SettingDefinition;
  readonly text: string;
}

function helpLines(flags: readonly FlagDefinition[]): HelpLine[] {
  const left = flags.map(({ flag, shortFlag, placeholder, valueIsOptional }) => {
    const value = valueIsOptional ? `[=<${placeholder}>]` : ` <${placeholder}>`;
    return `  ${shortFlag === null ? "    " : `${shortFlag}, `}${flag}${value}`;
  });
  const width = Math.max(...left.map((text) => text.length)) + 2;
  return flags.map(({ sentence, setting }, index) => {
    const known = setting.default === null ? "" : ` [${setting.default}]`;
    return { setting, text: left[index]!.padEnd(width) + sentence.replace(/\.$/, "") + known };
  });
}

function textOf(lines: readonly HelpLine[]): string {
  return lines.map(({ text }) => `${text}\n`).join("");
}

/** `docs/configuration.md`, of which the prose is in `docs/configuration.intro.md`. */
export function renderDocs(intro: string): string {
  return intro + GROUPS.map(groupDocs).join("");
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
