// Builds what a release consists of: `deno task compile` for this machine, `deno task release` for
// all of them, with archives, checksums, an SBOM and notes. Writes to dist/.

import { PACKAGES_ROOT, type Sbom, sbom } from "./sbom.ts";

/** A platform that there is a binary for. */
export interface Target {
  /** Of the archive, without `.tar.gz`. */
  readonly name: string;
  /** As `deno compile --target` calls it. */
  readonly triple: string;
  /** Of the file inside the archive. */
  readonly program: string;
}

/** Named as the Rust program's archives are, so that scripts that download them go on working. */
export const TARGETS: readonly Target[] = [
  { name: "pgvpd-linux-x86_64", triple: "x86_64-unknown-linux-gnu", program: "pgvpd" },
  { name: "pgvpd-linux-aarch64", triple: "aarch64-unknown-linux-gnu", program: "pgvpd" },
  { name: "pgvpd-macos-x86_64", triple: "x86_64-apple-darwin", program: "pgvpd" },
  { name: "pgvpd-macos-aarch64", triple: "aarch64-apple-darwin", program: "pgvpd" },
  { name: "pgvpd-windows-x86_64", triple: "x86_64-pc-windows-msvc", program: "pgvpd.exe" },
];

/**
 * What the binary may do. Not run another program, load a library, or ask: the operating system
 * narrows the rest (see packaging/pgvpd.service).
 */
export const PERMISSIONS = [
  "--allow-net",
  "--allow-read",
  "--allow-write",
  "--allow-env",
  "--allow-sys",
];

/** The arguments of `deno` that compile the program into `output`. */
export function compileArguments(output: string, triple?: string): string[] {
  return [
    ...["compile", "--quiet", "--frozen", "--no-prompt"],
    // Only what main.ts imports; no cache that is written where the program runs.
    ...["--exclude-unused-npm", "--no-code-cache"],
    ...PERMISSIONS,
    ...(triple === undefined ? [] : ["--target", triple]),
    ...["--output", output, "main.ts"],
  ];
}

/**
 * The section of a version in CHANGELOG.md, without its heading.
 *
 * @throws when there is none or it is empty: a release without notes is a mistake.
 */
export function releaseNotes(changelog: string, version: string): string {
  const sections = changelog.split(/^## /m).slice(1);
  const isOf = (heading: string) =>
    heading === version || heading.startsWith(`${version} `) || heading === `[${version}]`;
  const section = sections.find((each) => isOf(each.split("\n")[0]!.trim()));
  const notes = section?.slice(section.indexOf("\n")).trim() ?? "";
  if (notes === "") throw new Error(`CHANGELOG.md says nothing about ${version}`);
  return `${notes}\n`;
}

/** A line of SHA256SUMS, as `sha256sum --check` reads it. */
export async function checksumLine(bytes: Uint8Array<ArrayBuffer>, name: string): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return `${digest.toHex()}  ${name}\n`;
}

async function deno(args: readonly string[]): Promise<string> {
  const command = new Deno.Command(Deno.execPath(), { args: [...args], stderr: "inherit" });
  const { success, stdout } = await command.output();
  if (!success) throw new Error(`deno ${args.join(" ")} failed`);
  return new TextDecoder().decode(stdout);
}

async function archive(target: Target, directory: string): Promise<string> {
  const name = `${target.name}.tar.gz`;
  const { success } = await new Deno.Command("tar", {
    args: ["-C", directory, "-czf", `dist/${name}`, target.program],
  }).output();
  if (!success) throw new Error(`tar could not write dist/${name}`);
  return name;
}

/** The SBOM of this source tree. */
export async function currentSbom(version: string): Promise<Sbom> {
  const graph = JSON.parse(await deno(["info", "--json", PACKAGES_ROOT]));
  const lock = JSON.parse(await Deno.readTextFile("deno.lock"));
  return sbom({ version, graph, lock, deno: Deno.version.deno });
}

async function release(version: string): Promise<void> {
  await Deno.mkdir("dist", { recursive: true });
  const notes = releaseNotes(await Deno.readTextFile("CHANGELOG.md"), version);
  let sums = "";
  for (const target of TARGETS) {
    const directory = `dist/${target.name}`;
    await deno(compileArguments(`${directory}/${target.program}`, target.triple));
    const name = await archive(target, directory);
    sums += await checksumLine(await Deno.readFile(`dist/${name}`), name);
    console.log(`dist/${name}`);
  }
  await Deno.writeTextFile("dist/SHA256SUMS", sums);
  await Deno.writeTextFile("dist/notes.md", notes);
  await Deno.writeTextFile(
    "dist/pgvpd.cdx.json",
    `${JSON.stringify(await currentSbom(version), null, 2)}\n`,
  );
}

/** `compile` is this machine's binary, or that of a target; `release` is everything. */
async function run([word, triple]: readonly string[]): Promise<void> {
  const { version } = JSON.parse(await Deno.readTextFile("deno.json"));
  if (word === "compile") await deno(compileArguments("dist/pgvpd", triple));
  else if (word === "release") await release(version);
  else throw new Error("say compile or release");
}

if (import.meta.main) {
  Deno.chdir(new URL("../", import.meta.url));
  await run(Deno.args);
}
