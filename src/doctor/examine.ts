// One whole examination: the lints, and every proof that the connections at hand allow.

import { byWeight, type Check, type Finding } from "./lint.ts";
import { UNUSED } from "./ignore.ts";
import { LINTS, type Query, runLints, type Target } from "./lints.ts";
import { type Connect, POOLER, PROBE_COUNT, probePoolers } from "./poolers.ts";
import {
  PROOFS,
  proveContext,
  proveRoles,
  proveTables,
  readScene,
  type Scene,
  type TablesProof,
} from "./proofs.ts";
import { type Disguise, inDisguise, type Trial } from "./session.ts";

/** Everything that may be found, in the order of the docs. */
export const CHECKS: readonly Check[] = [...LINTS, ...PROOFS, POOLER, UNUSED];

const LINTS_MS_MAX = 60_000;

/** Something that the examination needs is not as it was said. */
export class ExaminationError extends Error {
  override readonly name = "ExaminationError";
}

/** Connections, and what is known of the application. */
export interface Patient {
  readonly admin: Query;
  readonly target: Target;
  /** pgvpd's `set_role`. */
  readonly setRole: string | null;
  /** The session variable that holds the tenant. */
  readonly variable: string;
  /** On the way that pgvpd's connections take; null: not known. */
  readonly upstream: { readonly connect: Connect; readonly where: string } | null;
  /** Through pgvpd, as the application; null: no URL was given. */
  readonly app: Query | null;
  /** Likewise, as tenants who do not exist. */
  readonly strangers: readonly Query[];
}

/** What an examination came to. */
export interface Examination {
  readonly server: string;
  readonly database: string;
  readonly roles: readonly string[];
  readonly findings: readonly Finding[];
  /** Sentences: what was tried, and what could not be. */
  readonly tried: readonly string[];
  readonly untried: readonly string[];
}

interface Facts {
  readonly server: string;
  readonly database: string;
  readonly isSuperuser: boolean;
}

/**
 * The lints alone: what the catalogues say.
 *
 * @throws {ExaminationError} when a role is not there.
 */
export async function lintDatabase(query: Query, target: Target): Promise<Finding[]> {
  return await looking(query, async () => {
    await requireRoles(query, target);
    return (await runLints(query, target)).toSorted(byWeight);
  });
}

/** @throws {ExaminationError} when a role is not there. */
export async function examine(patient: Patient): Promise<Examination> {
  const { admin, target } = patient;
  const { facts, scene, linted } = await looking(admin, async () => {
    await requireRoles(admin, target);
    return {
      facts: await readFacts(admin),
      linted: await runLints(admin, target),
      scene: await readScene(admin, target),
    };
  });
  const notes = new Notes();
  notes.tried.push(`${LINTS.length} lints`);
  notes.add(linted);
  for (const login of target.roles) await proveAsAdmin(patient, login, facts, scene, notes);
  if (patient.app === null) {
    notes.untried.push("nothing was tried through pgvpd: --app-url names no user of it");
  } else {
    await proveThroughPgvpd(patient, patient.app, scene, notes);
  }
  if (patient.upstream !== null) {
    const { connect, where } = patient.upstream;
    notes.add(await probePoolers(connect, where));
    notes.tried.push(`${PROBE_COUNT} probes for a pooler at ${where}`);
  }
  const { server, database } = facts;
  return { ...notes.end(), server, database, roles: target.roles };
}

/** What has been found so far; the same fault found in two ways is one finding. */
class Notes {
  readonly tried: string[] = [];
  readonly untried: string[] = [];
  readonly #findings = new Map<string, Finding>();

  add(findings: readonly Finding[]): void {
    for (const finding of findings) {
      const key = JSON.stringify([finding.lint, finding.object, finding.detail]);
      this.#findings.set(key, finding);
    }
  }

  addTables({ findings, explained, read }: TablesProof, count: number, who: string): void {
    this.add(findings);
    const reading = read > 0 ? `, ${read} read as tenants who do not exist` : "";
    this.tried.push(`${explained} of ${count} protected tables explained${reading}, ${who}`);
  }

  end(): Pick<Examination, "findings" | "tried" | "untried"> {
    const findings = [...this.#findings.values()].toSorted(byWeight);
    return { findings, tried: this.tried, untried: this.untried };
  }
}

async function looking<T>(query: Query, work: () => Promise<T>): Promise<T> {
  await query("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY");
  try {
    await query("SET LOCAL search_path = pg_catalog, pg_temp");
    await query(`SET LOCAL statement_timeout = ${LINTS_MS_MAX}`);
    return await work();
  } finally {
    await query("ROLLBACK");
  }
}

async function requireRoles(query: Query, { roles }: Target): Promise<void> {
  const missing = await query(
    `SELECT name FROM json_array_elements_text($1::text::json) AS name
      WHERE name NOT IN (SELECT rolname FROM pg_roles)`,
    [JSON.stringify(roles)],
  );
  if (missing.length === 0) return;
  throw new ExaminationError(
    `There is no role "${missing[0]!["name"]}"; --role names the one that tenants log in as`,
  );
}

async function readFacts(query: Query): Promise<Facts> {
  const [row] = await query(
    `SELECT current_setting('server_version') AS server, current_database()::text AS database,
            current_setting('is_superuser') AS superuser`,
  );
  return {
    server: row!["server"]!,
    database: row!["database"]!,
    isSuperuser: row!["superuser"] === "on",
  };
}

/** Two tenants who do not exist, one after the other, in the administrator's own session. */
async function proveAsAdmin(
  { admin, setRole, variable }: Patient,
  login: string,
  { isSuperuser }: Facts,
  scene: Scene,
  notes: Notes,
): Promise<void> {
  const disguise: Disguise = { login, wholeSession: isSuperuser, setRole };
  const who = `as ${login}`;
  await noting(notes, who, () =>
    inDisguise(admin, disguise, async (trial) => {
      await proveForTwo(trial, scene, { variable, who }, notes);
      if (isSuperuser) await proveEscapes(trial, scene, { setRole, isLogin: false, who }, notes);
      else notes.untried.push(`changes of role ${who}: that takes a superuser, or --app-url`);
      await proveForgery(trial, scene, { variable, who }, notes);
    }));
}

async function proveForTwo(
  trial: Trial,
  scene: Scene,
  { variable, who }: { variable: string; who: string },
  notes: Notes,
): Promise<void> {
  const trusted = scene.tables.filter(({ isTrusted }) => isTrusted);
  const first = await proveTables(trial, trusted, { variable, reads: true });
  const second = await proveTables(trial, trusted, { variable, reads: true });
  notes.add(first.findings);
  notes.addTables(second, scene.tables.length, `${who}, for two tenants`);
  const strange = scene.tables.length - trusted.length;
  if (strange === 0) return;
  notes.untried.push(
    `${strange} protected tables ${who}: they run code of roles that are neither ` +
      "superusers nor you, which could use your rights; --app-url tries them safely",
  );
}

async function proveThroughPgvpd(
  { strangers, setRole, variable }: Patient,
  app: Query,
  scene: Scene,
  notes: Notes,
): Promise<void> {
  const itself: Disguise = { login: null, wholeSession: false, setRole: null };
  const who = "through pgvpd";
  await noting(notes, who, () =>
    inDisguise(app, itself, async (trial) => {
      const proof = await proveTables(trial, scene.tables, { variable: null, reads: false });
      notes.addTables(proof, scene.tables.length, who);
      await proveEscapes(trial, scene, { setRole, isLogin: true, who }, notes);
      await proveForgery(trial, scene, { variable, who }, notes);
    }));
  for (const stranger of strangers) {
    const name = `${who} as a tenant who does not exist`;
    await noting(notes, name, () =>
      inDisguise(stranger, itself, async (trial) => {
        const proof = await proveTables(trial, scene.tables, { variable: null, reads: true });
        notes.addTables(proof, scene.tables.length, name);
      }));
  }
}

async function proveEscapes(
  trial: Trial,
  { roles }: Scene,
  { who, ...how }: { setRole: string | null; isLogin: boolean; who: string },
  notes: Notes,
): Promise<void> {
  const { findings, tried } = await proveRoles(trial, roles, how);
  notes.add(findings);
  notes.tried.push(`${tried} changes of role, ${who}`);
}

async function proveForgery(
  trial: Trial,
  scene: Scene,
  { variable, who }: { variable: string; who: string },
  notes: Notes,
): Promise<void> {
  const findings = await proveContext(trial, scene, variable);
  if (findings === null) {
    notes.untried.push(
      `a forged context ${who}: an administrator has no function current_tenant_id()`,
    );
    return;
  }
  notes.add(findings);
  notes.tried.push(`a forged context, ${who}`);
}

/** What the server refuses to let be tried is told, and is no end of the examination. */
async function noting(notes: Notes, what: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Error && "sqlState" in error)) throw error;
    notes.untried.push(`proofs ${what}: ${error.message}`);
  }
}
