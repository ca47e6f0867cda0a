// The settings of the doctor, who looks whether isolation in the database holds.

import type { Row } from "./row.ts";
import { choice, path, roleName, text } from "./values.ts";

export const DOCTOR = {
  doctor_on_start: {
    group: "Doctor",
    type: choice(["off", "warn", "enforce"]),
    default: "off",
    sentence: "Whether the doctor looks before pgvpd starts.",
    detail: "`warn` logs each finding of `pgvpd doctor`'s lints. `enforce` does too, and refuses " +
      "to start when one is an error, or when the database cannot be looked at. See " +
      "[doctor.md](doctor.md).",
    available: true,
  },
  doctor_url: {
    group: "Doctor",
    type: text("the URL of a database"),
    default: null,
    example: '"the URL of the database"',
    sentence: "Database, and administrator, for the doctor.",
    detail:
      "As `postgres://user@host:port/database`. Without a password in it: PGPASSWORD. Unset: " +
      "the upstream, as PGUSER, PGPASSWORD and PGDATABASE say.",
    secret: true,
    available: true,
  },
  doctor_role: {
    group: "Doctor",
    type: roleName(),
    default: "app_user",
    sentence: "Role that tenants log in as, for the doctor.",
    available: true,
  },
  doctor_ignore: {
    group: "Doctor",
    type: path("a file of findings"),
    default: null,
    example: "/etc/pgvpd/doctor.toml",
    sentence: "File of findings that are known and accepted.",
    detail: "Each with its reason; see [doctor.md](doctor.md).",
    available: true,
  },
} satisfies Record<string, Row>;
