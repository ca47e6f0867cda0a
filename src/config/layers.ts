// The layers above the defaults: file, environment, flags. Each becomes a list of assignments and
// of problems with names; values are not looked at here.

import { type SettingDefinition, SETTINGS } from "./definitions.ts";
import { type FileEntry, type FileFault, parseFile } from "./file.ts";
import { nearest, type Origin, originText, type Problem, suggestion } from "./problems.ts";

/** A setting that a layer sets. */
export interface Assignment {
  readonly definition: SettingDefinition;
  /** The key as it was written: the key itself, an alias or the `…_file` twin. */
  readonly name: string;
  /** True when `text` is the path of a file that holds the secret. */
  readonly isSecretFile: boolean;
  readonly text: string;
  readonly origin: Origin;
  /** True when an unquoted value in a file ended at a comment. */
  readonly cut: boolean;
}

/** What a layer says, in the order in which it says it. */
export interface Layer {
  readonly assignments: readonly Assignment[];
  readonly problems: readonly Problem[];
  readonly warnings: readonly string[];
}

interface Name {
  readonly definition: SettingDefinition;
  readonly isSecretFile: boolean;
}

/** Variables that belong to the program itself, not to a setting. */
const OTHER_VARIABLES = ["PGVPD_CONFIG"];
const OTHER_PREFIXES = ["PGVPD_TEST_", "PGVPD_BENCH_"];

/**
 * What Kubernetes puts into every container for a Service called `pgvpd` or `pgvpd-…`:
 * `PGVPD_SERVICE_HOST`, `PGVPD_PORT_6432_TCP_ADDR`, and `PGVPD_PORT` with a URL in it.
 */
const SERVICE_LINK_NAME =
  /_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$|_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/;
const SERVICE_LINK_TEXT = /^(tcp|udp|sctp):\/\/[^ ]+$/;

const FILE_NAMES = new Map<string, Name>();
const VARIABLE_NAMES = new Map<string, Name>();
/** What somebody may type for a variable, and what they should have typed. */
const VARIABLE_GUESSES = new Map<string, string>();

for (const definition of SETTINGS) {
  const name = { definition, isSecretFile: false };
  for (const key of [definition.key, ...definition.aliases]) {
    FILE_NAMES.set(key, name);
    VARIABLE_GUESSES.set(`PGVPD_${key.toUpperCase()}`, definition.environment);
  }
  VARIABLE_NAMES.set(definition.environment, name);
  if (definition.secretFile === null) continue;
  const twin = { definition, isSecretFile: true };
  FILE_NAMES.set(definition.secretFile.key, twin);
  VARIABLE_NAMES.set(definition.secretFile.environment, twin);
}
for (const variable of [...VARIABLE_NAMES.keys(), ...OTHER_VARIABLES]) {
  VARIABLE_GUESSES.set(variable, variable);
}

/** Reads the text of a configuration file; `path` is how problems name it. */
export function fileLayer(path: string, text: string): Layer {
  const { entries, faults } = parseFile(text);
  const assignments: Assignment[] = [];
  const problems = faults.map((fault) => faultProblem(path, fault));
  for (const entry of entries) {
    const origin: Origin = { layer: "file", path, line: entry.line };
    const name = FILE_NAMES.get(entry.key);
    if (name === undefined) problems.push({ origin, key: null, message: unknownKey(entry.key) });
    else assignments.push(fileAssignment(entry, name, origin));
  }
  problems.push(...doubles(assignments));
  return { assignments, problems, warnings: [] };
}

function fileAssignment(entry: FileEntry, name: Name, origin: Origin): Assignment {
  return { ...name, name: entry.key, text: entry.value, origin, cut: entry.cut };
}

function faultProblem(path: string, fault: FileFault): Problem {
  // Only a known name is shown: the words of a broken line may be a secret's.
  const known = FILE_NAMES.has(fault.firstWord) ? fault.firstWord : null;
  const message = known === null ? fault.message : `"${known}": ${fault.message}`;
  const key = FILE_NAMES.get(fault.firstWord)?.definition.key ?? null;
  return { origin: { layer: "file", path, line: fault.line }, key, message };
}

/** What neither resembles a key nor has a key's shape (a line of a PEM file) is not repeated. */
function unknownKey(key: string): string {
  const hint = suggestion(key, FILE_NAMES.keys());
  if (hint !== "" || /^[a-z][a-z0-9_.-]{0,39}$/.test(key)) return `unknown key "${key}"${hint}`;
  return "unknown key (not shown: it does not look like one)";
}

/** The same setting twice in one layer, under whatever names. */
function doubles(assignments: readonly Assignment[]): Problem[] {
  const first = new Map<string, Assignment>();
  const problems: Problem[] = [];
  for (const assignment of assignments) {
    const { key } = assignment.definition;
    const earlier = first.get(key);
    if (earlier === undefined) first.set(key, assignment);
    else {problems.push({
        origin: assignment.origin,
        key,
        message: doubleText(assignment, earlier),
      });}
  }
  return problems;
}

function doubleText(assignment: Assignment, earlier: Assignment): string {
  const where = originText(earlier.origin);
  if (assignment.isSecretFile !== earlier.isSecretFile) {
    return `"${assignment.name}" and "${earlier.name}" (${where}) exclude each other; keep one`;
  }
  const otherName = assignment.name === earlier.name ? "" : ` as "${earlier.name}"`;
  return `"${assignment.name}" is already set${otherName} at ${where}; keep one`;
}

/**
 * Reads the `PGVPD_*` variables. An empty one counts as not set, because Docker Compose passes
 * those for variables the host does not have; except where empty has a meaning of its own
 * (`superuser_bypass`: nobody).
 */
export function environmentLayer(environment: Record<string, string | undefined>): Layer {
  const assignments: Assignment[] = [];
  const problems: Problem[] = [];
  const warnings: string[] = [];
  for (const variable of Object.keys(environment).toSorted()) {
    const text = environment[variable];
    if (text === undefined || !/^pgvpd_/i.test(variable) || isOtherVariable(variable)) continue;
    const name = VARIABLE_NAMES.get(variable);
    const origin: Origin = { layer: "environment", variable };
    if (isServiceLink(variable, text)) {
      if (name !== undefined) warnings.push(`${originText(origin)}: ${SERVICE_LINK_WARNING}`);
    } else if (name === undefined) {
      problems.push({ origin, key: null, message: `unknown variable${variableHint(variable)}` });
    } else if (text !== "" || takesEmpty(name.definition)) {
      const key = name.isSecretFile ? name.definition.secretFile!.key : name.definition.key;
      assignments.push({ ...name, name: key, text, origin, cut: false });
    }
  }
  problems.push(...doubles(assignments));
  return { assignments, problems, warnings };
}

const SERVICE_LINK_WARNING =
  "ignored, because it is Kubernetes's link to a Service of this name; " +
  "enableServiceLinks: false in the pod keeps it out";

function isServiceLink(variable: string, text: string): boolean {
  return SERVICE_LINK_NAME.test(variable) ||
    variable.endsWith("_PORT") && SERVICE_LINK_TEXT.test(text);
}

function isOtherVariable(variable: string): boolean {
  return OTHER_VARIABLES.includes(variable) ||
    OTHER_PREFIXES.some((prefix) => variable.startsWith(prefix));
}

/** The prefix is right by definition, so only the rest is compared. */
function variableHint(variable: string): string {
  const rest = (name: string) => name.slice("PGVPD_".length);
  const guesses = new Map([...VARIABLE_GUESSES].map(([guess, meant]) => [rest(guess), meant]));
  const near = nearest(rest(variable), guesses.keys());
  return near === null ? "" : `; did you mean "${guesses.get(near)}"?`;
}

function takesEmpty(definition: SettingDefinition): boolean {
  try {
    definition.type.parse("");
    return true;
  } catch {
    return false;
  }
}

/** Reads flags as the command line left them: key (with `_`) → text. */
export function flagLayer(flags: Readonly<Record<string, string>>): Layer {
  const assignments: Assignment[] = [];
  const problems: Problem[] = [];
  for (const [key, text] of Object.entries(flags)) {
    const name = FILE_NAMES.get(key);
    if (name === undefined) {
      const origin: Origin = { layer: "flag", flag: `--${key.replaceAll("_", "-")}` };
      problems.push({ origin, key: null, message: "unknown flag" });
      continue;
    }
    const { definition, isSecretFile } = name;
    const flag = isSecretFile ? definition.secretFile!.flag : definition.flag;
    assignments.push({ ...name, name: key, text, origin: { layer: "flag", flag }, cut: false });
  }
  problems.push(...doubles(assignments));
  return { assignments, problems, warnings: secretFlagWarnings(assignments) };
}

function secretFlagWarnings(assignments: readonly Assignment[]): string[] {
  return assignments
    .filter(({ definition, isSecretFile }) => definition.secret === true && !isSecretFile)
    .map(({ definition, origin }) =>
      `${originText(origin)}: the process list shows this secret to every local user; ` +
      `use ${definition.secretFile!.flag} or ${definition.environment}`
    );
}
