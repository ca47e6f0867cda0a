// Promise: whoever types something wrong is told what, what was meant, and exit code 2.

import assert from "node:assert/strict";
import { pgvpd } from "../support/process_pgvpd.ts";

const WRONG: readonly [args: string[], told: RegExp][] = [
  [["--prot", "5"], /^pgvpd: unknown option '--prot'\n\(Did you mean --port\?\)\n$/],
  [["--prot=5"], /^pgvpd: unknown option '--prot'\n\(Did you mean --port\?\)\n$/],
  [["config", "check", "--log-levle=debug"], /'--log-levle'\n\(Did you mean --log-level\?\)\n$/],
  [["--port", "5", "-p", "6"], /^pgvpd: option '--port' is given twice\n$/],
  [["--port"], /^pgvpd: option '-p, --port <port>' argument missing\n$/],
  [["conifg", "check"], /^pgvpd: unknown command 'conifg'\n\(Did you mean config\?\)\n$/],
  [["something"], /neither a command nor an option's value; the commands are serve, config, demo/],
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

Deno.test("-h fits a screen of 40 lines and 100 columns, and has every available setting", async () => {
  const { FLAGS } = await import("../../src/config/config.ts");
  for (const args of [["-h"], ["--help"], ["serve", "--help"], ["help"]]) {
    const { code, out, err } = await pgvpd(args);
    assert.deepEqual([code, err], [0, ""]);
    const lines = out.trimEnd().split("\n");
    assert(lines.length <= 40, `${lines.length} lines`);
    for (const line of lines) assert([...line].length <= 100, line);
    for (const { flag, setting } of FLAGS) {
      assert.equal(new RegExp(` ${flag}[ \\[]`).test(out), setting.available, flag);
    }
    assert.match(out, /\n {2}-c, --config <path>/);
  }
});

Deno.test("the other commands have their help", async () => {
  for (const command of ["demo", "config", "config check", "completions"]) {
    const { code, out } = await pgvpd([...command.split(" "), "--help"]);
    assert.equal(code, 0);
    assert.match(out, new RegExp(`^Usage: pgvpd ${command}`));
  }
});
