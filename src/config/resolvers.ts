// resolvers.toml: the queries that derive more context, read and checked field by field. Whether
// they fit together is `context/resolver_plan.ts`'s affair.

import { parse, TomlError } from "smol-toml";
import { quoted, suggestion } from "./problems.ts";
import { type Place, TomlPlaces } from "./toml_places.ts";
import { duration, NAME_BYTES_MAX, roleName, ValueError, variableNames } from "./values.ts";

export type { Place } from "./toml_places.ts";

/** What becomes of one column: it is the session variable's value. */
export interface Injection {
  /** A session variable, or `role`. */
  readonly variable: string;
  readonly column: string;
}

/** What happens when an input is NULL. */
export type NullInput = "skip" | "run" | "fail";
/** How many rows a resolver may return, and what becomes of several. */
export type RowsTaken = "first" | "one" | "array";

/** One resolver as its author wrote it; times are in milliseconds. */
export interface ResolverDefinition {
  readonly name: string;
  readonly query: string;
  readonly params: readonly string[];
  readonly inject: readonly Injection[];
  readonly required: boolean;
  readonly dependsOn: readonly string[];
  /** 0: nothing is kept. */
  readonly cacheTtl: number;
  readonly timeout: number;
  readonly onNullInput: NullInput;
  readonly rows: RowsTaken;
  /** The role that runs the query; null: the one that is logged in. */
  readonly runAs: string | null;
  /** Where a field stands, or an item of it. */
  readonly placeOf: (field?: string, item?: string | number) => Place;
}

/** One mistake. */
export interface ResolverProblem extends Place {
  readonly message: string;
}

/** Resolvers in one file. */
const RESOLVERS_MAX = 100;
const TIMEOUT_MS = 5_000;
const NAME = new RegExp(`^[A-Za-z_][A-Za-z0-9_-]{0,${NAME_BYTES_MAX - 1}}$`);
const ON_NULL_INPUT: readonly NullInput[] = ["skip", "run", "fail"];
const ROWS: readonly RowsTaken[] = ["first", "one", "array"];
const FIELDS = [
  ...["name", "query", "params", "inject", "required", "depends_on", "cache_ttl", "timeout"],
  ...["on_null_input", "rows", "run_as"],
];

/** The name of the variable that is the session's role. */
export const ROLE_VARIABLE = "role";

/** Reads a resolver file; definitions are worth something only when there is no problem. */
export function parseResolvers(text: string): {
  readonly definitions: readonly ResolverDefinition[];
  readonly problems: readonly ResolverProblem[];
} {
  let file: Record<string, unknown>;
  try {
    file = parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const { line, column } = error;
    const message = error.message.split("\n")[0]!.replace(/^Invalid TOML document: /, "");
    return { definitions: [], problems: [{ line, column, message: `no valid TOML: ${message}` }] };
  }
  const places = new TomlPlaces(text);
  const problems: ResolverProblem[] = [];
  const tell = (place: Place, message: string) => void problems.push({ ...place, message });
  for (const key of Object.keys(file)) {
    if (key === "resolver") continue;
    tell(
      places.find(key),
      `unknown key ${quoted(key)}; a resolver begins with [[resolver]]`,
    );
  }
  const tables = file["resolver"];
  if (!Array.isArray(tables) || tables.length === 0) {
    tell(places.find("resolver"), "no resolver in it; each one begins with [[resolver]]");
    return { definitions: [], problems };
  }
  if (tables.length > RESOLVERS_MAX) {
    tell(places.find("resolver", RESOLVERS_MAX), `more than ${RESOLVERS_MAX} resolvers`);
  }
  const definitions = tables.slice(0, RESOLVERS_MAX).map((table, index) => {
    const placeOf: ResolverDefinition["placeOf"] = (...path) =>
      places.find("resolver", index, ...path.filter((part) => part !== undefined));
    if (isTable(table)) return readResolver(table, placeOf, tell);
    tell(placeOf(), "resolver must be a table: begin it with [[resolver]]");
    return null;
  });
  return { definitions: definitions.filter((each) => each !== null), problems };
}

type Tell = (place: Place, message: string) => void;

function readResolver(
  table: Readonly<Record<string, unknown>>,
  placeOf: ResolverDefinition["placeOf"],
  tell: Tell,
): ResolverDefinition {
  for (const key of Object.keys(table)) {
    if (FIELDS.includes(key)) continue;
    tell(placeOf(key), `unknown field ${quoted(key)}${suggestion(key, FIELDS)}`);
  }
  const fields = new Fields(table, placeOf, tell);
  const required = fields.boolean("required");
  const inject = fields.injections("inject");
  if (table["inject"] === undefined && !required) {
    tell(placeOf(), '"inject" is missing; only a resolver that is required may do without');
  }
  return {
    name: fields.text("name", checkName),
    query: fields.text("query", checkQuery),
    params: fields.texts("params", (text) => text === ROLE_VARIABLE || checkVariable(text)),
    inject,
    required,
    dependsOn: fields.texts("depends_on", checkName),
    cacheTtl: fields.time("cache_ttl", "0", 0),
    timeout: fields.time("timeout", "1ms", TIMEOUT_MS),
    onNullInput: fields.choice("on_null_input", ON_NULL_INPUT, required ? "fail" : "skip"),
    rows: fields.choice("rows", ROWS, "one"),
    runAs: table["run_as"] === undefined ? null : fields.text("run_as", (text) => {
      roleName().parse(text);
    }),
    placeOf,
  };
}

/** Throws ValueError with what is wrong. */
type Check = (text: string) => unknown;

/** Reads fields one by one; what is wrong is told, and something harmless is in its place. */
class Fields {
  constructor(
    readonly table: Readonly<Record<string, unknown>>,
    readonly placeOf: ResolverDefinition["placeOf"],
    readonly tell: Tell,
  ) {}

  text(field: string, check: Check): string {
    const value = this.table[field];
    if (value === undefined) {
      this.tell(this.placeOf(), `"${field}" is missing`);
      return "";
    }
    return this.#text(value, this.placeOf(field), `"${field}"`, check);
  }

  texts(field: string, check: Check): string[] {
    const value = this.table[field] ?? [];
    if (!Array.isArray(value)) {
      this.tell(this.placeOf(field), `"${field}" must be a list of texts`);
      return [];
    }
    return value.map((item, index) =>
      this.#text(item, this.placeOf(field, index), `"${field}"`, check)
    );
  }

  boolean(field: string): boolean {
    const value = this.table[field] ?? false;
    if (typeof value === "boolean") return value;
    this.tell(this.placeOf(field), `"${field}" must be true or false`);
    return false;
  }

  choice<Word extends string>(field: string, words: readonly Word[], otherwise: Word): Word {
    const value = this.table[field] ?? otherwise;
    const found = words.find((word) => word === value);
    if (found !== undefined) return found;
    const near = typeof value === "string" ? suggestion(value, words) : "";
    this.tell(this.placeOf(field), `"${field}" must be ${words.join(" or ")}${near}`);
    return otherwise;
  }

  /** A whole number of seconds, or a text with a unit. */
  time(field: string, min: string, otherwise: number): number {
    const value = this.table[field];
    if (value === undefined) return otherwise;
    try {
      const isWritten = typeof value === "string" || typeof value === "number";
      return duration({ min, max: "168h" }).parse(isWritten ? String(value) : "");
    } catch (error) {
      if (!(error instanceof ValueError)) throw error;
      this.tell(this.placeOf(field), `"${field}" ${error.message}`);
      return otherwise;
    }
  }

  injections(field: string): Injection[] {
    const value = this.table[field] ?? {};
    if (!isTable(value)) {
      this.tell(this.placeOf(field), `"${field}" must be a table: { "app.org_id" = "org_id" }`);
      return [];
    }
    return Object.entries(value).map(([variable, column]) => {
      const place = this.placeOf(field, variable);
      this.#text(variable, place, `"${field}"`, (text) => {
        if (text !== ROLE_VARIABLE) checkVariable(text);
      });
      return { variable, column: this.#text(column, place, `the column of ${quoted(variable)}`) };
    });
  }

  #text(value: unknown, place: Place, what: string, check: Check = () => {}): string {
    if (typeof value !== "string") {
      this.tell(place, `${what} must be text`);
      return "";
    }
    try {
      if (value === "") throw new ValueError("must not be empty");
      if (value.includes("\0")) throw new ValueError("must not contain NUL");
      check(value);
    } catch (error) {
      if (!(error instanceof ValueError)) throw error;
      this.tell(place, `${what} ${error.message}`);
    }
    return value;
  }
}

function checkName(text: string): void {
  if (NAME.test(text)) return;
  throw new ValueError(
    `must begin with a letter or "_" and go on with letters, digits, "_" or "-", ` +
      `${NAME_BYTES_MAX} at most; it is ${quoted(text)}`,
  );
}

function checkQuery(text: string): void {
  if (text.trim() === "") throw new ValueError("must not be blank");
}

function checkVariable(text: string): void {
  if (text.includes(",")) throw new ValueError(`has a name with a comma in it: ${quoted(text)}`);
  variableNames().parse(text);
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) &&
    !(value instanceof Date);
}
