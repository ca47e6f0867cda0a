// `pgvpd doctor`: whether isolation in the database holds, by looking and by trying.

import denoJson from "../../deno.json" with { type: "json" };
import type { Settings } from "../config/config.ts";
import { CHECKS, ExaminationError, examine } from "../doctor/examine.ts";
import { IgnoreError, parseIgnoreFile, silence } from "../doctor/ignore.ts";
import type { IgnoreEntry } from "../doctor/ignore.ts";
import { isAtLeast, type Severity } from "../doctor/lint.ts";
import { TENANT_COLUMNS } from "../doctor/lints.ts";
import { jsonReport, type Report, textReport } from "../doctor/report.ts";
import { sarifReport } from "../doctor/sarif.ts";
import { tlsOfSettings } from "./database_tls.ts";
import { type ConnectionDefaults, DoctorDatabase, StatementRefused } from "./doctor_database.ts";
import { CommandError, reasonOf } from "./failure.ts";

/** What the command line says. */
export interface DoctorOptions {
  readonly url?: string;
  readonly appUrl?: string;
  readonly passwordFile?: string;
  readonly appPasswordFile?: string;
  readonly role?: readonly string[];
  readonly tenantColumn?: readonly string[];
  readonly json?: true;
  readonly sarif?: true;
  readonly failOn: Severity | "never";
  readonly ignore?: string;
}

const EXIT_FOUND = 1;
/** In a URL through pgvpd: where the name of the tenant goes. */
const TENANT_PLACE = /\{tenant\}|%7Btenant%7D/i;

/**
 * Examines a database and prints the report.
 *
 * @returns 0 when nothing as bad as `failOn` was found, else 1.
 * @throws {CommandError} when it could not look.
 */
export async function doctor(
  settings: Settings,
  options: DoctorOptions,
  print: (text: string) => void,
  colour = false,
): Promise<number> {
  const entries = readIgnoreFile(options.ignore ?? settings.doctorIgnore);
  const report = await examination(settings, options, entries);
  if (options.sarif) print(sarifReport(report, denoJson.version));
  else if (options.json) print(jsonReport(report));
  else print(textReport(report, { colour }));
  const { failOn } = options;
  if (failOn === "never") return 0;
  return report.findings.some(({ severity }) => isAtLeast(severity, failOn)) ? EXIT_FOUND : 0;
}

/** @throws {CommandError} when the file cannot be read or has a mistake. */
export function readIgnoreFile(path: string | null): IgnoreEntry[] {
  if (path === null) return [];
  try {
    return parseIgnoreFile(Deno.readTextFileSync(path), CHECKS);
  } catch (error) {
    if (error instanceof IgnoreError) throw new CommandError(`${path}: ${error.message}`);
    throw new CommandError(`Cannot read the ignore file "${path}": ${reasonOf(error)}`);
  }
}

async function examination(
  settings: Settings,
  options: DoctorOptions,
  entries: readonly IgnoreEntry[],
): Promise<Report> {
  await using connections = new AsyncDisposableStack();
  const { appUrl } = options;
  for (const each of [options.url, appUrl]) refusePassword(each);
  const url = options.url ?? settings.doctorUrl;
  const password = readPassword(options.passwordFile);
  const open = async () => connections.use(await connectAdmin(settings, url, password));
  const admin = await open();
  const appPassword = readPassword(options.appPasswordFile);
  const through = async (address: string) =>
    connections.use(await DoctorDatabase.connect(address, appPassword)).query;
  const hasPlace = appUrl !== undefined && TENANT_PLACE.test(appUrl);
  const tenants = hasPlace ? [crypto.randomUUID(), crypto.randomUUID()] : [];
  const named = tenants.map((tenant) => appUrl!.replace(TENANT_PLACE, tenant));
  try {
    const strangers = [];
    for (const address of named) strangers.push(await through(address));
    const result = await examine({
      admin: admin.query,
      target: {
        roles: options.role ?? [settings.doctorRole],
        tenantColumns: options.tenantColumn ?? TENANT_COLUMNS,
      },
      setRole: settings.setRole,
      variable: settings.contextVariables[0]!,
      upstream: { connect: async () => (await open()).query, where: admin.address },
      app: appUrl === undefined ? null : await through(named[0] ?? appUrl),
      strangers,
    });
    return { ...result, ...silence(result.findings, entries) };
  } catch (error) {
    throw asCommandError(error, admin.where);
  }
}

/** What the server or the examination says, as a sentence; a bug stays what it is. */
export function asCommandError(error: unknown, where: string): unknown {
  if (error instanceof ExaminationError) return new CommandError(error.message);
  if (error instanceof StatementRefused) {
    return new CommandError(`${where} refused the doctor: ${error.message} (${error.sqlState})`);
  }
  return error;
}

/** Connects as the administrator; without a URL to the upstream, as libpq's variables say. */
export async function connectAdmin(
  settings: Settings,
  url: string | null,
  password: Pick<ConnectionDefaults, "password"> = {},
): Promise<DoctorDatabase> {
  const upstream = url === null ? upstreamOf(settings) : {};
  return await DoctorDatabase.connect(url, { ...upstream, ...password });
}

/** @throws {CommandError} when a URL of the command line holds a password. */
function refusePassword(url: string | undefined): void {
  if (url === undefined || !URL.canParse(url) || new URL(url).password === "") return;
  throw new CommandError(
    "A URL on the command line holds a password, which everybody on this machine can read in the " +
      "list of processes: leave it out, and set PGPASSWORD or name a file",
  );
}

/** The first line of the file; without one PGPASSWORD counts. */
function readPassword(path: string | undefined): Pick<ConnectionDefaults, "password"> {
  return path === undefined ? {} : { password: readFile(path).split(/\r?\n/)[0]! };
}

function readFile(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    throw new CommandError(`Cannot read "${path}": ${reasonOf(error)}`);
  }
}

function upstreamOf(settings: Settings): ConnectionDefaults {
  const { upstreamHost: host, upstreamPort: port } = settings;
  return { host, port, ssl: tlsOfSettings(settings) };
}
