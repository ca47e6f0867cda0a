// Whether something between pgvpd and PostgreSQL hands server connections round: five probes.
//
// Another transaction pooler there makes all that pgvpd does void: what it sets on one connection
// then counts for another. Whoever runs this must connect as pgvpd does, and not through pgvpd.

import { type Check, type Finding, findingOf } from "./lint.ts";
import type { Query } from "./lints.ts";
import { literal } from "./session.ts";

export const POOLER: Check = {
  id: "E05",
  name: "pooler_in_between",
  severity: "error",
  finds: "another pooler between pgvpd and PostgreSQL (a warning when it keeps to sessions)",
  why: "A transaction pooler gives the connection with one tenant's context to the next tenant.",
  remedy: "Have upstream_host and upstream_port name PostgreSQL itself, or the provider's direct " +
    "(session) endpoint.",
};

/** Opens a connection on the way that pgvpd's take. */
export type Connect = () => Promise<Query>;

interface Pair {
  readonly one: Query;
  /** In a transaction for as long as a probe looks. */
  readonly other: Query;
  readonly connect: Connect;
}
type Probe = (pair: Pair) => Promise<boolean>;

const NAME = "pgvpd_doctor_probe";
const NO_SUCH_STATEMENT = "26000";

const PROBES: Readonly<Record<string, Probe>> = {
  "the process ID changes": async ({ one, other }) => {
    const before = await value(one, "SELECT pg_backend_pid()");
    return await whileBusy(
      other,
      async () =>
        await value(other, "SELECT pg_backend_pid()") === before ||
        await value(one, "SELECT pg_backend_pid()") !== before,
    );
  },
  "a setting gets lost, or to another connection": async ({ one, other }) => {
    const wanted = crypto.randomUUID();
    await one(`SET ${NAME}.value = ${literal(wanted)}`);
    const read = `SELECT current_setting('${NAME}.value', true)`;
    const moved = await whileBusy(
      other,
      async () => await value(other, read) === wanted || await value(one, read) !== wanted,
    );
    await one(`RESET ${NAME}.value`);
    return moved;
  },
  "a prepared statement gets lost": async ({ one, other }) => {
    await one(`PREPARE ${NAME} AS SELECT 1`);
    const lost = await whileBusy(other, async () => {
      await value(other, "SELECT 1");
      return await isRefused(one, `EXECUTE ${NAME}`, NO_SUCH_STATEMENT);
    });
    await isRefused(one, `DEALLOCATE ${NAME}`, NO_SUCH_STATEMENT);
    return lost;
  },
  "a lock of the session keeps nobody out": async ({ one, other }) => {
    const key = crypto.getRandomValues(new Int32Array(2)).join();
    const take = `SELECT pg_try_advisory_lock(${key})`;
    const give = `SELECT pg_advisory_unlock(${key})`;
    if (await value(one, take) !== "true") return false; // somebody else's, by chance
    const shared = await whileBusy(other, async () => {
      const both = await value(other, take) === "true";
      if (both) await other(give);
      return both;
    });
    const isGiven = await value(
      one,
      "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' " +
        "AND pid = pg_backend_pid()",
    ) === "1";
    if (isGiven) await one(give);
    return shared;
  },
  "a server process is older than its connection": async ({ one, connect }) => {
    const now = await value(one, "SELECT clock_timestamp()::text");
    const fresh = await connect();
    const isOlder = await value(
      fresh,
      `SELECT (backend_start < ${literal(now!)}::timestamptz)::text
         FROM pg_stat_activity WHERE pid = pg_backend_pid()`,
    );
    return isOlder === "true";
  },
};

/** How many probes there are. */
export const PROBE_COUNT = Object.keys(PROBES).length;
/** The one that a session pooler too does not stand. */
const OF_SESSIONS = Object.keys(PROBES).at(-1)!;

/**
 * Runs the probes. A connection that fails fails the whole.
 *
 * @param object what to call the way that was tried.
 */
export async function probePoolers(connect: Connect, object: string): Promise<Finding[]> {
  const pair = { one: await connect(), other: await connect(), connect };
  const noticed: string[] = [];
  for (const [sentence, probe] of Object.entries(PROBES)) {
    if (await probe(pair)) noticed.push(sentence);
  }
  if (noticed.length === 0) return [];
  const isOfSessions = noticed.every((sentence) => sentence === OF_SESSIONS);
  return [findingOf(POOLER, {
    object,
    detail: noticed.join("; "),
    ...(isOfSessions ? { severity: "warning" } : {}),
  })];
}

async function value(query: Query, text: string): Promise<string | null> {
  const [row] = await query(text);
  return row === undefined ? null : Object.values(row)[0]!;
}

/** Has a transaction open on `other`, so that a pooler cannot give its connection away. */
async function whileBusy(other: Query, look: () => Promise<boolean>): Promise<boolean> {
  await other("BEGIN");
  try {
    return await look();
  } finally {
    await other("ROLLBACK");
  }
}

async function isRefused(query: Query, text: string, sqlState: string): Promise<boolean> {
  try {
    await query(text);
    return false;
  } catch (error) {
    if (error instanceof Error && "sqlState" in error && error.sqlState === sqlState) return true;
    throw error;
  }
}
