// The types a setting can have: how its text is read, what is allowed, how it is written.
// Every parser throws ValueError; reading what `format` wrote gives the same value.

import { quoted, suggestion } from "./problems.ts";

/** What is wrong with a value, without the value: `must be a whole number from 1 to 65535`. */
export class ValueError extends Error {
  override readonly name = "ValueError";
}

/** How the text of a setting becomes its value. */
export interface ValueType<Value> {
  /** What stands for the value in help: `<port>`. */
  readonly placeholder: string;
  /** What may be written, as an operator reads it; completes "must be …". */
  readonly allowed: string;
  /** The words to choose from, when that is all there is (for completions). */
  readonly choices: readonly string[] | null;
  /** Whether the value names a file that must be readable, and what must be in it. */
  readonly file: { readonly contains: RegExp; readonly what: string } | null;
  /** What the flag means without a value; left out when it needs one. */
  readonly bareFlag?: string;
  /** Throws ValueError. */
  parse(text: string): Value;
  format(value: Value): string;
}

const NO_CHOICES = { choices: null, file: null } as const;

/** Whole numbers from `min` to `max`. */
export function integer(min: number, max: number, placeholder = "n"): ValueType<number> {
  const allowed = `a whole number from ${min} to ${max}`;
  return {
    ...NO_CHOICES,
    placeholder,
    allowed,
    parse(text) {
      const digits = text.trim();
      const value = /^\+?[0-9]{1,15}$/.test(digits) ? Number(digits) : NaN;
      if (!(value >= min && value <= max)) throw new ValueError(`must be ${allowed}`);
      return value;
    },
    format: String,
  };
}

/** A TCP port; 0 stands for any free one where it is allowed. */
export function portNumber(min: 0 | 1): ValueType<number> {
  return integer(min, 65_535, "port");
}

/** How many there may be. */
export function count(min: 0 | 1): ValueType<number> {
  return integer(min, 1_000_000);
}

/** A permission mask in octal, as chmod takes it. */
export function fileMode(): ValueType<number> {
  const allowed = "an octal file mode from 0000 to 0777";
  return {
    ...NO_CHOICES,
    placeholder: "mode",
    allowed,
    parse(text) {
      const digits = text.trim();
      if (!/^0?[0-7]{3}$/.test(digits)) throw new ValueError(`must be ${allowed}`);
      return Number.parseInt(digits, 8);
    },
    format: (value) => value.toString(8).padStart(4, "0"),
  };
}

const TRUE_WORDS = ["true", "yes", "on", "1"];
const FALSE_WORDS = ["false", "no", "off", "0"];

/** `true`, `false` and their usual other spellings. */
export function boolean(): ValueType<boolean> {
  return {
    placeholder: "boolean",
    allowed: "true or false (yes, no, on, off, 1 and 0 do as well)",
    choices: ["true", "false"],
    file: null,
    bareFlag: "true",
    parse(text) {
      const word = text.trim().toLowerCase();
      if (TRUE_WORDS.includes(word)) return true;
      if (FALSE_WORDS.includes(word)) return false;
      throw new ValueError(`must be ${this.allowed}`);
    },
    format: String,
  };
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

export interface DurationOptions {
  /** As an operator writes it, with a unit. */
  readonly min: string;
  readonly max: string;
}

/** A span of time. A number without a unit is in seconds; the value is in milliseconds. */
export function duration(options: DurationOptions): ValueType<number> {
  const min = milliseconds(options.min);
  const max = milliseconds(options.max);
  const allowed = `a time from ${options.min} to ${options.max}, ` +
    "such as 30, 500ms or 5m (units: ms, s, m, h; none means s)";
  return {
    ...NO_CHOICES,
    placeholder: "time",
    allowed,
    parse(text) {
      const value = milliseconds(text.trim());
      const fits = value >= min && value <= max;
      if (!fits) throw new ValueError(`must be ${allowed}`);
      return value;
    },
    format: durationText,
  };
}

function milliseconds(text: string): number {
  const match = /^\+?([0-9]{1,12}) ?(ms|s|m|h)?$/.exec(text);
  return match === null ? NaN : Number(match[1]) * UNIT_MS[match[2] ?? "s"]!;
}

/** Milliseconds in the largest unit that needs no decimals: `30s`, `5m`, `1500ms`; zero is `0`. */
export function durationText(value: number): string {
  if (value === 0) return "0";
  const unit = ["h", "m", "s"].find((name) => value % UNIT_MS[name]! === 0) ?? "ms";
  return `${value / UNIT_MS[unit]!}${unit}`;
}

export interface ChoiceOptions<Word extends string> {
  /** Other spellings and what they stand for. */
  readonly synonyms?: Readonly<Record<string, string>>;
  /** Words that a later version will take. */
  readonly planned?: readonly string[];
  /** What the flag means without a value. */
  readonly bareFlag?: Word;
}

/** One of a few words, in any case. */
export function choice<const Word extends string>(
  words: readonly Word[],
  options: ChoiceOptions<Word> = {},
): ValueType<Word> {
  const others = words.slice(0, -1).map((word) => quoted(word)).join(", ");
  const allowed = `${others} or ${quoted(words.at(-1) ?? "")}`;
  const synonyms = options.synonyms ?? {};
  return {
    placeholder: words.length <= 2 ? words.join("|") : "word",
    allowed,
    choices: words,
    file: null,
    ...(options.bareFlag === undefined ? {} : { bareFlag: options.bareFlag }),
    parse(text) {
      const written = text.trim().toLowerCase();
      const word = Object.hasOwn(synonyms, written) ? synonyms[written] : written;
      const found = words.find((candidate) => candidate === word);
      if (found !== undefined) return found;
      if (options.planned?.includes(written)) {
        throw new ValueError(`is not available in this version yet; must be ${allowed}`);
      }
      throw new ValueError(`must be ${allowed}${suggestion(written, words)}`);
    },
    format: (value) => value,
  };
}

/** Any text that is not empty and has no control characters. */
export function text(allowed = "text that is not empty", placeholder = "text"): ValueType<string> {
  return {
    ...NO_CHOICES,
    placeholder,
    allowed,
    parse(value) {
      checkText(value);
      return value;
    },
    format: (value) => value,
  };
}

function checkText(value: string): void {
  if (value === "") throw new ValueError("must not be empty");
  // deno-lint-ignore no-control-regex
  if (/[\x00-\x1f\x7f]/.test(value)) {
    throw new ValueError("must not contain control characters such as line breaks");
  }
}

/** The path of a readable file; `contains` is looked for in it. */
export function path(
  what: string,
  contains: RegExp = /(?:)/,
): ValueType<string> {
  return {
    ...text(`the path of ${what}`, "path"),
    file: { contains, what },
  };
}

/** PostgreSQL cuts longer names (NAMEDATALEN less the end mark). */
export const NAME_BYTES_MAX = 63;

/** A database role that SET ROLE can name. */
export function roleName(): ValueType<string> {
  const allowed = `a role name of at most ${NAME_BYTES_MAX} bytes other than none`;
  return {
    ...text(allowed, "role"),
    parse(value) {
      checkText(value);
      // SET ROLE none would mean "the login role", whoever that is.
      if (value.toLowerCase() === "none" || byteLength(value) > NAME_BYTES_MAX) {
        throw new ValueError(`must be ${allowed}`);
      }
      return value;
    },
  };
}

/** Names separated by commas, without doubles. `emptyAllowed` takes an empty text for none. */
export function nameList(
  what: string,
  options: { emptyAllowed?: boolean; itemBytesMax?: number } = {},
): ValueType<readonly string[]> {
  const itemBytesMax = options.itemBytesMax ?? Infinity;
  return list(`${what}, separated by commas`, (item) => {
    checkText(item);
    if (byteLength(item) > itemBytesMax) {
      throw new ValueError(`${quoted(item)} is longer than ${itemBytesMax} bytes`);
    }
    return item;
  }, { emptyAllowed: options.emptyAllowed ?? false, keyOf: (item) => item });
}

const VARIABLE_NAME = /^[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)+$/;
const RESERVED_PREFIX = "pgvpd.";

/**
 * Custom PostgreSQL variables: the server's own rule (`valid_custom_variable_name` in guc.c, 14 and
 * later), in ASCII and within 63 bytes.
 *
 * The server takes longer names through set_config(), but SQL text cuts every identifier at 63
 * bytes: `SET` or `SHOW` of a longer name would mean another variable than a policy reads.
 */
export function variableNames(): ValueType<readonly string[]> {
  return list("variable names with a dot, separated by commas", (item) => {
    if (!VARIABLE_NAME.test(item)) {
      throw new ValueError(
        `${quoted(item)} is no variable name; must be like app.current_tenant_id: ` +
          `a dot, and each part starts with a letter or "_" and goes on with letters, digits, "_" or "$"`,
      );
    }
    if (item.length > NAME_BYTES_MAX) {
      throw new ValueError(`${quoted(item)} is longer than ${NAME_BYTES_MAX} bytes`);
    }
    if (item.toLowerCase().startsWith(RESERVED_PREFIX)) {
      throw new ValueError(`${quoted(item)} is reserved, as is every name starting with "pgvpd."`);
    }
    return item;
  }, { emptyAllowed: false, keyOf: (item) => item.toLowerCase() });
}

/** The part of a user name that tenants are known by. */
export function tenantKey(): ValueType<string> {
  const allowed = '"payload", "first" or one of "context_variables"';
  return {
    ...text(allowed, "word"),
    choices: ["payload", "first"],
    parse(value) {
      const written = value.trim();
      const word = written.toLowerCase();
      if (word === "payload" || word === "first") return word;
      if (!VARIABLE_NAME.test(written)) throw new ValueError(`must be ${allowed}`);
      return written;
    },
  };
}

/** Comma separated; an item's parser throws ValueError; items with one key are doubles. */
export function list(
  allowed: string,
  parseItem: (item: string) => string,
  options: { emptyAllowed: boolean; keyOf: (item: string) => string },
): ValueType<readonly string[]> {
  return {
    ...NO_CHOICES,
    placeholder: "list",
    allowed,
    parse(value) {
      if (value.trim() === "") {
        if (options.emptyAllowed) return [];
        throw new ValueError(`must not be empty; must be ${allowed}`);
      }
      const seen = new Set<string>();
      return value.split(",").map((written) => {
        const item = written.trim();
        if (item === "") throw new ValueError("an item between its commas is empty");
        const parsed = parseItem(item);
        const key = options.keyOf(parsed);
        if (seen.has(key)) throw new ValueError(`${quoted(item)} is in it twice`);
        seen.add(key);
        return parsed;
      });
    },
    format: (items) => items.join(","),
  };
}

/** Bytes in UTF-8. */
export function byteLength(value: string): number {
  return new TextEncoder().encode(value).length;
}
