// Broken builds: a copy of the program with one line changed, in front of which the soak must fail.

import { strict as assert } from "node:assert";
import type { SoakOptions } from "./soak_world.ts";

/** One change to one file. */
export interface Mutant {
  readonly name: string;
  readonly file: string;
  /** Text that is there exactly once. */
  readonly from: string;
  readonly to: string;
}

export const MUTANTS: readonly Mutant[] = [
  {
    name: "context not changed",
    file: "src/session/linking.ts",
    from: "    if (!isOurs || this.#wanted === null) {",
    to: "    member.contextKey = this.contextKey; if (this.#wanted === null) {",
  },
  {
    name: "context not confirmed",
    file: "src/pool/pooled_backend.ts",
    from: "    await this.#bounded(converse(backend, exchanges), signal).catch(refusedSetting);\n" +
      "    if (!backend.idle) throw lost();\n    this.confirmedContext = context;",
    to: "    converse(backend, exchanges).catch(() => {});\n    this.confirmedContext = context;",
  },
  {
    name: "clean-up skipped",
    file: "src/pool/pooled_backend.ts",
    from: "[scrub(), residueCheck(), ...preparation(context, settings, true)]",
    to: "preparation(context, settings, true)",
  },
  {
    name: "clean-up without temporary tables",
    file: "src/pool/scrub.ts",
    from: "DISCARD TEMP; ",
    to: "DISCARD SEQUENCES; ",
  },
  {
    name: "clean-up without SQL's statements",
    file: "src/pool/scrub.ts",
    from: "DEALLOCATE ALL; ",
    to: "DISCARD SEQUENCES; ",
  },
  {
    name: "clean-up without LISTEN",
    file: "src/pool/scrub.ts",
    from: "UNLISTEN *; ",
    to: "DISCARD SEQUENCES; ",
  },
  {
    name: "settings do not follow",
    file: "src/session/linking.ts",
    from: "      if (changes.length > 0) await member.adjust(changes, signal);",
    to: "",
  },
  {
    name: "context not restored",
    file: "src/session/transaction_relay.ts",
    from: "      this.#restoring = member.restore(this.#linker.settingsAfterReset(member));",
    to: "",
  },
  {
    name: "ledger off by one",
    file: "src/protocol/ledger.ts",
    from: "    return this.#owed === 0 && !this.batchOpen",
    to: "    return this.#owed <= 1 && !this.batchOpen",
  },
  {
    name: "released one ReadyForQuery too early",
    file: "src/session/transaction_relay.ts",
    from: "    if (member === null || !member.backend.idle || this.ending !== null) return;",
    to: "    if (member === null || member.backend.ledger.transactionStatus !== 73 || " +
      "!member.backend.atBoundary || member.backend.ledger.batchOpen || this.ending !== null) return;",
  },
  {
    name: "released in a transaction",
    file: "src/pool/backend.ts",
    from: "this.ledger.settled && this.ledger.transactionStatus === TransactionStatus.Idle &&",
    to: "this.ledger.settled &&",
  },
  {
    name: "stale cancel",
    file: "src/pool/pooled_backend.ts",
    from: "    const sending = send(this.cancelRequest);",
    to: "    const request = this.cancelRequest; setTimeout(() => send(request), 20); return;\n" +
      "    const sending = send(this.cancelRequest);",
  },
  {
    name: "fates off by one",
    file: "src/protocol/prepared.ts",
    from: "while (this.#units.length > 0 && this.#units[0]! <= this.#done) {",
    to: "while (this.#units.length > 0 && this.#units[0]! < this.#done) {",
  },
  {
    name: "statements of the backend not forgotten",
    file: "src/pool/pooled_backend.ts",
    from: "    this.contextKey = null;\n    this.statements.clear();",
    to: "    this.contextKey = null;",
  },
  {
    name: "unnamed statement of another",
    file: "src/session/rewriting.ts",
    from: "      if (member.unnamedOwner === this) return this.#pass(bytes, at, member);",
    to: "      return this.#pass(bytes, at, member);",
  },
];

const ROOT = new URL("../../", import.meta.url).pathname;

/** Runs the soak against the broken program, in a process of its own. */
export async function breakAndRun(
  { file, from, to }: Mutant,
  options: SoakOptions,
): Promise<{ code: number; output: string }> {
  const copy = await Deno.makeTempDir({ prefix: "pgvpd-mutant-" });
  try {
    for (const name of ["src", "tests/support", "tests/soak", "deno.json", "deno.lock"]) {
      await copyAll(`${ROOT}${name}`, `${copy}/${name}`);
    }
    const text = await Deno.readTextFile(`${copy}/${file}`);
    assert.equal(text.split(from).length, 2, `${file} has this text once: ${from}`);
    await Deno.writeTextFile(`${copy}/${file}`, text.replace(from, () => to));
    const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
    const run = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "-A", `${copy}/tests/soak/isolation.ts`, ...args],
    }).output();
    const decoder = new TextDecoder();
    return { code: run.code, output: decoder.decode(run.stdout) + decoder.decode(run.stderr) };
  } finally {
    await Deno.remove(copy, { recursive: true });
  }
}

async function copyAll(from: string, to: string): Promise<void> {
  if ((await Deno.stat(from)).isFile) {
    await Deno.mkdir(to.slice(0, to.lastIndexOf("/")), { recursive: true });
    return await Deno.copyFile(from, to);
  }
  for await (const { name } of Deno.readDir(from)) {
    await copyAll(`${from}/${name}`, `${to}/${name}`);
  }
}
