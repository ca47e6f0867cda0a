// Promise: the completion scripts are ones that their shells take, and they complete.

import assert from "node:assert/strict";
import { pgvpd, TestDirectory } from "../support/process_pgvpd.ts";

async function run(command: string, args: string[]): Promise<{ code: number; said: string }> {
  const { code, stdout, stderr } = await new Deno.Command(command, { args }).output();
  return { code, said: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
}

function missing(shell: string): boolean {
  try {
    return !new Deno.Command(shell, { args: ["--version"], stdout: "null" }).outputSync().success;
  } catch {
    console.warn(`SKIPPED: ${shell} is not installed`);
    return true;
  }
}

/** The script, printed into a file. */
async function script(shell: string, directory: TestDirectory): Promise<string> {
  const { code, out, err } = await pgvpd(["completions", shell]);
  assert.deepEqual([code, err], [0, ""]);
  assert.match(out, /pgvpd/);
  return await directory.write(`completions.${shell}`, out);
}

for (const shell of ["bash", "zsh", "fish"]) {
  Deno.test({
    name: `${shell} takes its completion script`,
    ignore: missing(shell),
    fn: async () => {
      await using directory = await TestDirectory.make();
      const path = await script(shell, directory);
      assert.deepEqual(await run(shell, ["-n", path]), { code: 0, said: "" });
    },
  });
}

const BASH: readonly [typed: string, completed: string][] = [
  ["co", "config completions"],
  ["config ", "check show --help"],
  ["config ch", "check"],
  ["--upstream-p", "--upstream-port --upstream-password --upstream-password-file"],
  ["--port 7000 --log-l", "--log-level"],
  ["config check -c some.conf --log-l", "--log-level"],
  ["completions ", "bash zsh fish --help"],
  ["completions f", "fish"],
  ["demo --o", "--once"],
  ["demo --log", ""],
];

Deno.test({
  name: "bash completes commands, options and shells, also behind an option's value",
  ignore: missing("bash"),
  fn: async () => {
    await using directory = await TestDirectory.make();
    const path = await script("bash", directory);
    const calls = BASH.map(([typed]) => {
      const words = ["pgvpd", ...typed.split(" ")];
      const quoted = words.map((word) => `'${word}'`).join(" ");
      return `COMP_WORDS=(${quoted}); COMP_CWORD=${
        words.length - 1
      }; _pgvpd; echo "\${COMPREPLY[*]}"`;
    });
    const { code, said } = await run("bash", ["-c", [`source '${path}'`, ...calls].join("\n")]);
    assert.equal(code, 0, said);
    assert.deepEqual(
      said.split("\n").slice(0, -1),
      BASH.map(([, completed]) => completed),
    );
  },
});

Deno.test({
  name: "fish completes commands and options",
  ignore: missing("fish"),
  fn: async () => {
    await using directory = await TestDirectory.make();
    const path = await script("fish", directory);
    const complete = async (typed: string) => {
      const { code, said } = await run("fish", [
        ...["--no-config", "-c", `source '${path}'; complete -C 'pgvpd ${typed}'`],
      ]);
      assert.equal(code, 0, said);
      return said.trimEnd().split("\n");
    };
    assert.deepEqual((await complete("co")).toSorted(), ["completions", "config"]);
    assert.deepEqual((await complete("config ch")).toSorted(), ["check"]);
    assert((await complete("--upstream-")).includes("--upstream-port"));
    assert((await complete("config check --log-")).includes("--log-level"));
  },
});

Deno.test({
  name: "zsh completes through bashcompinit",
  ignore: missing("zsh"),
  fn: async () => {
    await using directory = await TestDirectory.make();
    const path = await script("zsh", directory);
    const { code, said } = await run("zsh", [
      ...["-f", "-c", `autoload -U compinit && compinit -u -D; source '${path}' && echo taken`],
    ]);
    assert.deepEqual({ code, said }, { code: 0, said: "taken\n" });
  },
});
