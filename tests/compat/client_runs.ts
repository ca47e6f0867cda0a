// One run of one client through one proxy: its results, and what it must have left behind.

import { type Bench, eventually } from "../support/wire_bench.ts";
import { atRest } from "../support/wire_pool.ts";
import { type Command, output } from "./clients.ts";
import type { Fronts, Place } from "./places.ts";

export const CHECKS = [
  "isolation",
  "transaction",
  "rollback",
  "prepared statements",
  "large parameter",
  "error",
  "cancel",
  "pool return",
  "percent-encoded URL",
] as const;
export type Check = typeof CHECKS[number];

/** `none`: the client has no such thing. */
export type Result = "pass" | "fail" | "none";

export interface ClientRun {
  readonly version: string;
  /** The runtime and its version. */
  readonly on: string;
  readonly results: ReadonlyMap<Check, Result>;
  /** A sentence for everything that failed. */
  readonly failures: readonly string[];
}

interface Fact {
  readonly version?: string;
  readonly on?: string;
  readonly check?: Check;
  readonly result?: Result;
  readonly why?: string;
  readonly pids?: Readonly<Record<"a" | "b", readonly unknown[]>>;
}

const RUN_MS_MAX = 300_000;

/** Runs a client's program; a program that breaks off has failed what it has not said. */
export async function runClient(
  bench: Bench,
  fronts: Fronts,
  place: Place,
  command: Command,
): Promise<ClientRun> {
  await bench.admin.run("DELETE FROM tenants WHERE name !~ '^(Alice|Bob) '");
  const done = (await output(command.args, {
    cwd: command.cwd,
    env: place.environment(fronts),
    signal: AbortSignal.timeout(RUN_MS_MAX),
  }))!;
  const facts = done.out.split("\n").filter((line) => line.startsWith("{")).map((line) =>
    JSON.parse(line) as Fact
  );
  const results = new Map<Check, Result>(CHECKS.map((check) => [check, "fail"]));
  const failures: string[] = [];
  for (const { check, result, why } of facts) {
    if (check === undefined) continue;
    results.set(check, result!);
    if (result === "fail") failures.push(`${check}: ${why}`);
  }
  const unsaid = CHECKS.filter((check) => !facts.some((fact) => fact.check === check));
  if (unsaid.length > 0) failures.push(`nothing about ${unsaid}: ${done.err.slice(-2_000)}`);
  const left = await leftBehind(bench, fronts, place, facts);
  if (left !== null) {
    results.set("pool return", "fail");
    failures.push(`pool return: ${left}`);
  }
  const { version = "?", on = "?" } = facts.find((fact) => fact.version !== undefined) ?? {};
  return { version, on, results, failures };
}

/** What is wrong with what a client left, or with the proof that there was anything to leak. */
async function leftBehind(
  bench: Bench,
  fronts: Fronts,
  place: Place,
  facts: readonly Fact[],
): Promise<string | null> {
  try {
    for (const front of [fronts.front, fronts.serial]) {
      await front.empty();
      if (place.mode !== "none") await atRest(front);
    }
    await eventually("no transaction is left open", async () =>
      Number(
        await bench.admin.value(
          "SELECT count(*)::int FROM pg_stat_activity WHERE usename = 'app_user' AND state <> 'idle'",
        ),
      ) === 0);
  } catch (error) {
    return (error as Error).message;
  }
  const pids = facts.find((fact) => fact.pids !== undefined)?.pids;
  if (pids === undefined) return "the program told of no backend";
  const ofA = new Set(pids.a.map(String));
  const shared = pids.b.some((pid) => ofA.has(String(pid)));
  if (place.mode === "none" || shared) return null;
  return `the tenants shared no backend, so this proves nothing: ${JSON.stringify(pids)}`;
}
