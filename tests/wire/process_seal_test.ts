// seal_key_file and the process: refused when others may read it, read again when it changes, and
// never in the log.

import { strict as assert } from "node:assert";
import { formatSealKeys, SealKey } from "../../src/auth/seal.ts";
import { pgvpd, PgvpdProcess, TestDirectory } from "../support/process_pgvpd.ts";

const KEYS = [SealKey.random("k1"), SealKey.random("k2")] as const;

async function keyFile(directory: TestDirectory, keys: readonly SealKey[]): Promise<string> {
  const path = await directory.write("seal.key", formatSealKeys(keys));
  await Deno.chmod(path, 0o600);
  return path;
}

Deno.test("serve refuses a file of seal keys that others may read, or that holds none", async () => {
  await using directory = await TestDirectory.make();
  const path = await keyFile(directory, [KEYS[0]]);
  await Deno.chmod(path, 0o604);
  const open = await pgvpd(["--port", "0", "--seal-key-file", path]);
  assert.equal(open.code, 1);
  assert.match(open.err, /seal\.key" has mode 0604: others than its owner could be any tenant/);
  await Deno.chmod(path, 0o600);
  await Deno.writeTextFile(path, `k1 ${KEYS[0].hex}x\n`);
  const bad = await pgvpd(["--port", "0", "--seal-key-file", path]);
  assert.equal(bad.code, 1);
  assert.match(bad.err, /seal\.key:1: this is not a name/);
  assert(!(bad.err + bad.out).includes(KEYS[0].hex));
});

Deno.test("SIGHUP takes other keys; what cannot be used changes nothing", async () => {
  await using directory = await TestDirectory.make();
  const path = await keyFile(directory, [KEYS[0]]);
  await using process = await PgvpdProcess.serve(["--port", "0", "--seal-key-file", path]);
  const sealed = () => process.entries("contexts are sealed").map(({ keys }) => keys);
  await process.logged("contexts are sealed", 1);
  assert.deepEqual(sealed(), ["k1"]);
  await keyFile(directory, [KEYS[1], KEYS[0]]);
  process.kill("SIGHUP");
  await process.logged("contexts are sealed", 2);
  assert.deepEqual(sealed(), ["k1", "k2, k1"]);
  await Deno.writeTextFile(path, "nothing\n");
  process.kill("SIGHUP");
  await process.logged("seal keys cannot be used: the old ones stay", 1);
  assert.equal(sealed().length, 2);
  for (const { hex } of KEYS) assert(!(process.out + process.err).includes(hex));
});
