// What a row of the table of settings is, and the groups that rows belong to.

import type { ValueType } from "./values.ts";

/** The groups in the order in which help, example and docs show them. */
export const GROUPS = [
  "Listening",
  "Upstream",
  "Identity",
  "Pooling",
  "TLS",
  "Tenant limits",
  "Resolvers",
  "Admin",
  "Doctor",
  "Logging",
  "Process",
] as const;
export type Group = typeof GROUPS[number];

/** A row of the table as it is written; what is left out follows from the key. */
export interface Row {
  readonly group: Group;
  // deno-lint-ignore no-explicit-any -- a table of many types; the rows below keep their own
  readonly type: ValueType<any>;
  /** As an operator writes it; null when the setting is unset unless somebody sets it. */
  readonly default: string | null;
  /** What the example file shows for a setting that has no default. */
  readonly example?: string;
  readonly sentence: string;
  /** More for the docs page. */
  readonly detail?: string;
  readonly aliases?: readonly string[];
  readonly environment?: string;
  readonly flag?: string;
  readonly shortFlag?: string;
  /** Whether SIGHUP can change it. */
  readonly reloadable?: true;
  /** Never shown; has a `…_file` twin. */
  readonly secret?: true;
  /** Among the few that `pgvpd -h` shows. */
  readonly common?: true;
  /** Whether this version has the feature. Setting what it does not have is an error. */
  readonly available: boolean;
}
