// Where a setting came from, what can be wrong with it, and the nearest spelling of a name.
// Knows nothing of the settings themselves.

/**
 * Where a value was written. Line 0 means the file as a whole; `secretPath` is the file that a
 * `…_file` twin named.
 */
export type Origin =
  | { readonly layer: "default" }
  | {
    readonly layer: "file";
    readonly path: string;
    readonly line: number;
    readonly secretPath?: string;
  }
  | { readonly layer: "environment"; readonly variable: string; readonly secretPath?: string }
  | { readonly layer: "flag"; readonly flag: string; readonly secretPath?: string };

/** The layers from lowest to highest: each replaces the whole value of the one before. */
export const LAYERS = ["default", "file", "environment", "flag"] as const;

/** One thing that is wrong, said to an operator. Never holds a secret. */
export interface Problem {
  readonly origin: Origin;
  /** The setting's key, or null when no setting is meant (a line without "=", say). */
  readonly key: string | null;
  /** A sentence without its place: `unknown key "pool_sise"; did you mean "pool_size"?`. */
  readonly message: string;
}

/** All problems of a configuration; the message is one line for each, in reading order. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";

  constructor(readonly problems: readonly Problem[]) {
    super(problems.map(problemText).join("\n"));
  }
}

/** `pgvpd.conf:12`, `environment variable PGVPD_PORT`, `flag --port` or `default`. */
export function originText(origin: Origin): string {
  switch (origin.layer) {
    case "default":
      return "default";
    case "file":
      return origin.line === 0 ? origin.path : `${origin.path}:${origin.line}`;
    case "environment":
      return `environment variable ${origin.variable}`;
    case "flag":
      return `flag ${origin.flag}`;
  }
}

/** One line: where, then what. */
export function problemText(problem: Problem): string {
  return `${originText(problem.origin)}: ${problem.message}`;
}

/** File by line, then environment, then flags; problems of one place keep their order. */
export function inReadingOrder(problems: readonly Problem[]): Problem[] {
  const place = (origin: Origin) => origin.layer === "file" ? origin.line : 0;
  return problems.toSorted((a, b) =>
    LAYERS.indexOf(a.origin.layer) - LAYERS.indexOf(b.origin.layer) ||
    place(a.origin) - place(b.origin)
  );
}

const QUOTED_LENGTH_MAX = 100;

/** A value as it appears in a problem: quoted, on one line, of bounded length. */
export function quoted(value: string): string {
  const shown = value.length > QUOTED_LENGTH_MAX ? `${value.slice(0, QUOTED_LENGTH_MAX)}…` : value;
  return JSON.stringify(shown);
}

/** `; did you mean "port"?`, or nothing when no name is near. */
export function suggestion(name: string, names: Iterable<string>): string {
  const near = nearest(name, names);
  return near === null ? "" : `; did you mean ${quoted(near)}?`;
}

const EDITS_MAX = 3;

/**
 * The name that is the fewest typing mistakes away, or null when all are too far.
 * Case and the difference between `-` and `_` cost nothing. A third of the letters, at most three,
 * may be wrong.
 */
export function nearest(name: string, names: Iterable<string>): string | null {
  const plain = normalize(name);
  let best: string | null = null;
  let bestDistance = Math.min(EDITS_MAX, Math.max(1, Math.floor(plain.length / 3))) + 1;
  for (const candidate of names) {
    const distance = typingDistance(plain, normalize(candidate));
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function normalize(name: string): string {
  return name.toLowerCase().replaceAll("-", "_");
}

/** Damerau-Levenshtein: insertions, deletions, substitutions, swaps of neighbours. */
function typingDistance(a: string, b: string): number {
  const columns = b.length + 1;
  const cost = new Uint16Array((a.length + 1) * columns);
  const at = (row: number, column: number) => cost[row * columns + column]!;
  for (let row = 0; row <= a.length; row++) cost[row * columns] = row;
  for (let column = 0; column <= b.length; column++) cost[column] = column;
  for (let row = 1; row <= a.length; row++) {
    for (let column = 1; column <= b.length; column++) {
      const differs = a[row - 1] === b[column - 1] ? 0 : 1;
      let least = Math.min(
        at(row - 1, column) + 1,
        at(row, column - 1) + 1,
        at(row - 1, column - 1) + differs,
      );
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] &&
        a[row - 2] === b[column - 1];
      if (swapped) least = Math.min(least, at(row - 2, column - 2) + 1);
      cost[row * columns + column] = least;
    }
  }
  return at(a.length, b.length);
}
