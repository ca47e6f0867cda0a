// Promise: whoever types something wrong is told what, what was meant, and exit code 2.

import assert from "node:assert/strict";
import { FLAGS } from "../../src/config/config.ts";
import { pgvpd } from "../support/process_pgvpd.ts";

const WRONG: readonly [args: string[], told: RegExp][] = [
  [["--prot", "5"], /^pgvpd: unknown option '--prot'\n\(Did you mean --port\?\)\n$/],
  [["--prot=5"], /^pgvpd: unknown option '--prot'\n\(Did you mean --port\?\)\n$/],
  [["config", "check", "--log-levle=debug"], /'--log-levle'\n\(Did you mean --log-level\?\)\n$/],
  [["--port", "5", "-p", "6"], /^pgvpd: option '--port' is given twice\n$/],
  [["--port"], /^pgvpd: option '-p, --port <port>' argument missing\n$/],
  [["conifg", "check"], /^pgvpd: unknown command 'conifg'\n\(Did you mean config\?\)\n$/],
  [
    ["something"],
    /neither a command nor an option's value; the commands are serve, config, resolve, setup, /,
  ],
  [["config", "chekc"], /^pgvpd: unknown command 'chekc'\n\(Did you mean check\?\)\n$/],
  [["completions"], /^pgvpd: missing required argument 'shell'\n$/],
  [["completions", "tcsh"], /bash, zsh, fish\.\n$/],
  [["demo", "--port", "x"], /'x' is invalid\. It is a number from 0 to 65535\.\n$/],
  [["demo", "now"], /^pgvpd: too many arguments for 'demo'/],
  [["serve", "--helq"], /\n\(Did you mean --help\?\)\n$/],
  [["--nothing-like-it"], /^pgvpd: unknown option '--nothing-like-it'\n$/],
];

for (const [args, told] of WRONG) {
  Deno.test(`pgvpd ${args.join(" ")}: a sentence and exit code 2`, async () => {
    const { code, out, err } = await pgvpd(args);
    assert.match(err, told);
    assert.deepEqual([code, out], [2, ""]);
  });
}

Deno.test("a secret in a flag that is given wrongly is not repeated", async () => {
  for (
    const args of [
      ["--pool-pasword=s3cret-word"],
      ["--pool-password", "a", "--pool-password", "s3cret-word"],
      ["--pool-password=a", "--pool-password=s3cret-word"],
      ["--upstream-pasword", "s3cret-word"],
      ["--pool-password", "two", "s3cret-word"],
      ["config", "check", "--pool-password", "two", "s3cret-word"],
    ]
  ) {
    const { code, out, err } = await pgvpd(args);
    assert.equal(code, 2);
    assert(!(out + err).includes("s3cret-word"), err);
    assert.match(err, /^pgvpd: (unknown option|option '--pool-password' is given twice|a word)/);
  }
});

Deno.test("--version is one line, from deno.json", async () => {
  const { version } = JSON.parse(await Deno.readTextFile("deno.json"));
  for (const flag of ["--version", "-V"]) {
    assert.deepEqual(await pgvpd([flag]), { code: 0, out: `pgvpd ${version}\n`, err: "" });
  }
});

/** Runs pgvpd for its help: what it prints, in lines that fit a terminal. */
async function help(args: string[]): Promise<string[]> {
  const { code, out, err } = await pgvpd(args);
  assert.deepEqual([code, err], [0, ""]);
  assert.match(out, /\n {2}-c, --config <path>/);
  assert.match(out, /\n {2}-h, --help .* needed first; with --help all of them\n/);
  const lines = out.trimEnd().split("\n");
  for (const line of lines) assert([...line].length <= 100, line);
  return lines;
}

const isIn = (flag: string, lines: readonly string[]) =>
  lines.some((line) => new RegExp(` ${flag}[ \\[]`).test(line));

Deno.test("-h fits a screen of 40 lines and has the settings that are needed first", async () => {
  for (const args of [["-h"], ["serve", "-h"]]) {
    const lines = await help(args);
    assert(lines.length <= 40, `${lines.length} lines`);
    for (const { flag, setting } of FLAGS) {
      assert.equal(isIn(flag, lines), setting.common === true, flag);
    }
  }
});

Deno.test("--help has every available setting", async () => {
  for (const args of [["--help"], ["serve", "--help"], ["help"], ["-h", "--help"]]) {
    const lines = await help(args);
    for (const { flag, setting } of FLAGS) {
      assert.equal(isIn(flag, lines), setting.available, flag);
    }
  }
});

Deno.test("the other commands have their help", async () => {
  for (const command of ["demo", "config", "config check", "setup", "completions"]) {
    const { code, out } = await pgvpd([...command.split(" "), "--help"]);
    assert.equal(code, 0);
    assert.match(out, new RegExp(`^Usage: pgvpd ${command}`));
  }
});
