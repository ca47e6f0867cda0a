// `pgvpd sql`: the SQL files that an operator installs, for those who have the binary alone.

import helpersSql from "../../sql/helpers.sql" with { type: "text" };
import sealedSql from "../../sql/sealed.sql" with { type: "text" };
import setupSql from "../../sql/setup.sql" with { type: "text" };
import unsealedSql from "../../sql/unsealed.sql" with { type: "text" };

/** The files by the name they are asked for with: `pgvpd sql setup` is `sql/setup.sql`. */
export const SQL_FILES: Readonly<Record<string, string>> = {
  setup: setupSql,
  helpers: helpersSql,
  sealed: sealedSql,
  unsealed: unsealedSql,
};
