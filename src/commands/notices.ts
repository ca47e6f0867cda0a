// What the server says beside its answers, for the person at the terminal.

import type { Notice } from "./database.ts";

/** Collects notices, so that they come behind what was done and not between. */
export interface NoticePrinter {
  readonly take: (notice: Notice) => void;
  /** Prints what has come since. */
  readonly print: () => void;
}

/** @param warn takes warnings, which go to standard error. */
export function noticePrinter(
  print: (line: string) => void,
  warn: (line: string) => void,
): NoticePrinter {
  let waiting: Notice[] = [];
  return {
    take: (notice) => {
      // Those of PostgreSQL itself ("does not exist, skipping") are no news.
      if (notice.severity === "WARNING" || notice.message.startsWith("pgvpd: ")) {
        waiting.push(notice);
      }
    },
    print: () => {
      for (const { severity, message, hint } of waiting) {
        const line = message.replace(/^pgvpd: /, "");
        if (severity === "WARNING") warn(hint === null ? line : `${line}\n  ${hint}`);
        else print(line);
      }
      waiting = [];
    },
  };
}
