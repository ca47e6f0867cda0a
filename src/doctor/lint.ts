// What a lint is and what it finds: the words that every part of the doctor shares.

/** From worst to mildest. What is `info` is a note: true, worth knowing, and no fault by itself. */
export const SEVERITIES = ["critical", "error", "warning", "info"] as const;
export type Severity = typeof SEVERITIES[number];

/** One question to the catalogues. */
export interface Lint {
  /** A letter for the subject and two digits; never given to another lint. */
  readonly id: string;
  readonly name: string;
  readonly severity: Severity;
  /** What it finds; completes "finds …". */
  readonly finds: string;
  /** What could happen. */
  readonly why: string;
  /** What to do where no statement can be given. */
  readonly remedy: string;
  /**
   * A SELECT over the relations of catalogue.ts. Each row is a finding, with the columns `object`,
   * `detail`, and, where the row knows better than the lint, `fix` (statements) and `severity`.
   */
  readonly sql: string;
}

/** A proof is a lint that is tried instead of looked up. */
export type Check = Omit<Lint, "sql">;

/** One thing that is wrong, or worth knowing. */
export interface Finding {
  readonly lint: string;
  readonly name: string;
  readonly severity: Severity;
  readonly object: string;
  readonly detail: string;
  readonly why: string;
  /** Statements, or a sentence that says what to do. */
  readonly fix: string;
}

/** Whether `severity` is `least` or worse. */
export function isAtLeast(severity: Severity, least: Severity): boolean {
  return SEVERITIES.indexOf(severity) <= SEVERITIES.indexOf(least);
}

/** The worst first, then by lint and object. */
export function byWeight(one: Finding, other: Finding): number {
  return SEVERITIES.indexOf(one.severity) - SEVERITIES.indexOf(other.severity) ||
    (one.lint < other.lint ? -1 : one.lint > other.lint ? 1 : 0) ||
    (one.object < other.object ? -1 : one.object > other.object ? 1 : 0);
}

/** A finding of this check, in the check's words where it has none of its own. */
export function findingOf(
  check: Check,
  { object, detail, fix, severity }: {
    readonly object: string;
    readonly detail: string;
    readonly fix?: string | null;
    readonly severity?: Severity | null;
  },
): Finding {
  return {
    ...{ lint: check.id, name: check.name, severity: severity ?? check.severity, object, detail },
    ...{ why: check.why, fix: fix ?? check.remedy },
  };
}
