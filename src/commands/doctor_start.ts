// The doctor at the start of the proxy: doctor_on_start = off, warn or enforce.

import type { Settings } from "../config/config.ts";
import { lintDatabase } from "../doctor/examine.ts";
import { silence } from "../doctor/ignore.ts";
import { type Finding, isAtLeast } from "../doctor/lint.ts";
import { TENANT_COLUMNS } from "../doctor/lints.ts";
import type { Logger } from "../log.ts";
import { asCommandError, connectAdmin, readIgnoreFile } from "./doctor.ts";
import { CommandError, reasonOf } from "./failure.ts";

/** Findings beyond that are only counted. */
const LOGGED_MAX = 100;

/**
 * Runs the lints as the settings say, and logs what they find.
 *
 * @throws {CommandError} with `enforce`: an error was found, or the doctor could not look.
 */
export async function doctorOnStart(
  settings: Settings,
  log: Pick<Logger, "info" | "warn">,
): Promise<void> {
  const { doctorOnStart: mode } = settings;
  if (mode === "off") return;
  let findings: readonly Finding[];
  try {
    findings = await lint(settings);
  } catch (error) {
    if (mode === "enforce" || !(error instanceof CommandError)) throw error;
    log.warn("the doctor could not look at the database", { error: reasonOf(error) });
    return;
  }
  const faults = findings.filter(({ severity }) => isAtLeast(severity, "warning"));
  for (const { lint, name, severity, object, detail, fix } of faults.slice(0, LOGGED_MAX)) {
    log.warn("doctor: finding", { lint, name, severity, object, detail, fix });
  }
  const errors = faults.filter(({ severity }) => isAtLeast(severity, "error")).length;
  log.info("doctor: the database was looked at", {
    ...{ errors, warnings: faults.length - errors, notes: findings.length - faults.length },
  });
  if (mode !== "enforce" || errors === 0) return;
  throw new CommandError(
    `The doctor has found ${errors} error${errors === 1 ? "" : "s"} in the database, and ` +
      "doctor_on_start is enforce; `pgvpd doctor` shows how to fix them",
  );
}

async function lint(settings: Settings): Promise<readonly Finding[]> {
  const entries = readIgnoreFile(settings.doctorIgnore);
  await using admin = await connectAdmin(settings, settings.doctorUrl);
  const target = { roles: [settings.doctorRole], tenantColumns: TENANT_COLUMNS };
  try {
    return silence(await lintDatabase(admin.query, target), entries).findings;
  } catch (error) {
    throw asCommandError(error, admin.where);
  }
}
