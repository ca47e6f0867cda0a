// Promise: pgvpd serves from any directory, on a file system that it cannot write to, with cached
// modules alone and the narrow permissions of docs/configuration.md. That is what the binary sees.

import assert from "node:assert/strict";
import { smoke, SMOKE_FILES } from "../../packaging/smoke.ts";
import { TestDirectory } from "../support/process_pgvpd.ts";

const MAIN = new URL("../../main.ts", import.meta.url).pathname;

/** Everything read-only, $1 the working directory; what follows is run if that worked. */
const READ_ONLY = `
  mount -o remount,bind,ro / && mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" &&
  cd "$1" && ! touch written 2>/dev/null && shift && exec "$@"`;

/** The words in front of a command that make the file system read-only for it; null: not here. */
function readOnlyPrefix(directory: string): string[] | null {
  for (const flags of ["-m", "-Urm"]) {
    const prefix = ["unshare", flags, "sh", "-c", READ_ONLY, "sh", directory];
    try {
      const { success } = new Deno.Command(prefix[0]!, {
        args: [...prefix.slice(1), "true"],
        ...{ stdout: "null", stderr: "null" },
      }).outputSync();
      if (success) return prefix;
    } catch {
      break; // there is no unshare
    }
  }
  console.warn("SKIPPED: no read-only file system can be made here (unshare -m)");
  return null;
}

/** What Deno needs to find what it has cached, and not a word more. */
function environment(): Record<string, string> {
  const names = ["HOME", "DENO_DIR", "XDG_CACHE_HOME"];
  return Object.fromEntries(names.flatMap((name) => {
    const value = Deno.env.get(name);
    return value === undefined ? [] : [[name, value]];
  }));
}

for (const readOnly of [false, true]) {
  const where = readOnly ? "a read-only file system" : "an unrelated directory";
  Deno.test(`pgvpd serves two tenants from ${where}, with narrow permissions`, async () => {
    await using directory = await TestDirectory.make();
    await directory.write("pgvpd.conf", "log_level = info\n");
    const prefix = readOnly ? readOnlyPrefix(directory.path) : [];
    if (prefix === null) return;
    await smoke(({ port, pgPort }) => ({
      command: [
        ...[...prefix, Deno.execPath(), "run", "--quiet", "--no-prompt", "--cached-only"],
        `--allow-net=127.0.0.1:${port},127.0.0.1:${pgPort}`,
        ...[`--allow-read=pgvpd.conf,${SMOKE_FILES.join()}`, "--allow-env", MAIN],
      ],
      cwd: directory.path,
      env: environment(),
    }));
    const left = [...Deno.readDirSync(directory.path)].map(({ name }) => name).sort();
    assert.deepEqual(left, ["pgvpd.conf", ...SMOKE_FILES]);
  });
}
