// Label values of metrics: clients choose names of tenants, databases and roles, of any length and
// with any character in them. Quotes and line feeds are escaped where the text is written.

import { createHash } from "node:crypto";

/** Longer values are cut, and told apart by a digest. */
export const LABEL_LENGTH_MAX = 100;
/** What stands for all that have no series of their own. */
export const OTHER = "other";

/** The value for a name: the same for the same name, another for another, and never `other`. */
export function labelOf(name: string): string {
  if (name !== OTHER && name.length <= LABEL_LENGTH_MAX && name.isWellFormed()) return name;
  const digest = createHash("sha256").update(name).digest("hex").slice(0, 8);
  return `${name.slice(0, LABEL_LENGTH_MAX).toWellFormed()}#${digest}`;
}
