// The settings of the sealed context, and of the alarm that goes before it.

import type { Row } from "./row.ts";
import { choice, duration, path } from "./values.ts";

export const SEAL = {
  seal_key_file: {
    group: "Identity",
    type: path("a file of seal keys"),
    default: null,
    example: "/etc/pgvpd/seal.key",
    sentence: "Keys that prove the context to the database.",
    detail: "`pgvpd seal-key new` makes it. Only its owner may read it, or, when root owns it, a " +
      "group too. It is read again when it changes. Every database that clients use must have " +
      "`sql/sealed.sql` then; see [sealed.md](sealed.md).",
    reloadable: true,
    available: true,
  },
  seal_ttl: {
    group: "Identity",
    type: duration({ min: "5s", max: "24h" }),
    default: null,
    example: "30s",
    sentence: "How long a token of the sealed context is good for.",
    detail: "It ends at the start of a transaction, never in one, and is made anew when half of " +
      "the time is over. Unset: `5m`, in transaction mode `10s`.",
    reloadable: true,
    available: true,
  },
  context_guard: {
    group: "Identity",
    type: choice(["off", "log", "block"]),
    default: null,
    example: "block",
    sentence: "What becomes of SQL that openly changes the context.",
    detail: "`SET`, `RESET` and `set_config` of a context variable or a role, as the first words " +
      "of a statement, are logged, or refused (42501). An alarm and no wall: SQL has endless " +
      "other ways to say the same. Unset: `log`, and `off` with `seal_key_file`.",
    reloadable: true,
    available: true,
  },
} satisfies Record<string, Row>;
