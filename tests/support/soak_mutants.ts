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

export const MUTANTS: readonly Mutant[] = [];

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
  for await (const { name } of Deno.readDir(from)) await copyAll(`${from}/${name}`, `${to}/${name}`);
}
