// seal_key_file: read by serve, written by seal-key, and kept from everybody else.

import { parseSealKeys, type SealKey, SealKeyError } from "../auth/seal.ts";
import type { Settings } from "../config/config.ts";
import { CommandError, reasonOf } from "./failure.ts";

/** Permissions of a key file that its user has made. */
export const KEY_FILE_MODE = 0o600;
const OTHERS = 0o077;
/** Root may give a file to a group, as for the key files of PostgreSQL. */
const OTHERS_OF_ROOT = 0o027;
/** Two keys and a page of comments; what is behind it is not looked at. */
const FILE_SIZE_MAX = 16 * 1024;

/**
 * The keys that contexts are sealed with; null when there is no file.
 *
 * @throws {CommandError} with a sentence when the file cannot be used, or others may read it.
 */
export function loadSealKeys({ sealKeyFile }: Pick<Settings, "sealKeyFile">) {
  return sealKeyFile === null ? null : readSealKeys(sealKeyFile);
}

/** @throws {CommandError} as `loadSealKeys`. */
export function readSealKeys(path: string): readonly SealKey[] {
  let text: string;
  try {
    // What is looked at is what is read, whatever the path leads to a moment later.
    using file = Deno.openSync(path);
    refuseOthers(path, file.statSync());
    text = readAll(file);
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw new CommandError(`Cannot read "${path}": ${reasonOf(error)}`);
  }
  try {
    return parseSealKeys(text);
  } catch (error) {
    if (!(error instanceof SealKeyError)) throw error;
    throw new CommandError(`${path}:${error.line}: ${error.message}`);
  }
}

function readAll(file: Deno.FsFile): string {
  const bytes = new Uint8Array(FILE_SIZE_MAX);
  let size = 0;
  for (;;) {
    const count = file.readSync(bytes.subarray(size));
    if (count === null || count === 0) return new TextDecoder().decode(bytes.subarray(0, size));
    size += count;
  }
}

function refuseOthers(path: string, { mode, uid }: Deno.FileInfo): void {
  if (mode === null) return; // not on this system
  const forbidden = uid === 0 ? OTHERS_OF_ROOT : OTHERS;
  if ((mode & forbidden) === 0) return;
  const shown = (mode & 0o777).toString(8).padStart(4, "0");
  throw new CommandError(
    `"${path}" has mode ${shown}: others than its owner could be any tenant; run chmod 0600`,
  );
}
