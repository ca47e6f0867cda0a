// Where pgvpd answers otherwise than PostgreSQL, each with its reason; docs/compatibility.md has both.

import type { Mode } from "../support/wire_modes.ts";

export interface Difference {
  /** Of the corpus, without `.sql`. */
  readonly file: string;
  /** The block as it stands there, once. */
  readonly block: string;
  readonly modes: readonly Mode[];
  /** A sentence for people. */
  readonly why: string;
}

const RENAMED = "The error names the statement as pgvpd has named it on the server connection.";

const SLIPPED =
  "What a function does to the session without its text telling is not recognised; another " +
  "tenant has used the connection since, which was cleaned for it.";

export const DIFFERENCES: readonly Difference[] = [
  { file: "prepared", block: "--@ run by_id []", modes: ["transaction"], why: RENAMED },
  { file: "prepared", block: '--@ run by_id ["1", "2"]', modes: ["transaction"], why: RENAMED },
  {
    file: "prepared",
    block: "--@ parse by_id\nSELECT 'already there'",
    modes: ["transaction"],
    why: RENAMED,
  },
  {
    file: "prepared",
    block: "--@ run star []\n-- with a column more than when it was parsed",
    modes: ["transaction"],
    why: "Another tenant has used the connection in between, and the statement is prepared anew: " +
      'it works where PostgreSQL says "cached plan must not change result type".',
  },
  {
    file: "hidden_state",
    block: "SELECT nullif(current_setting('app.hidden', true), '') AS behind_a_function",
    modes: ["transaction"],
    why: SLIPPED,
  },
  { file: "hidden_state", block: "SELECT * FROM hidden", modes: ["transaction"], why: SLIPPED },
];
