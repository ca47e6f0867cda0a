// `pgvpd seal-key`: keys for the sealed context, in a file for pgvpd and in a database's table.

import { formatSealKeys, nextKeyName, SealKey } from "../auth/seal.ts";
import { inTransaction, type Place, placeText } from "./database.ts";
import { CommandError, reasonOf } from "./failure.ts";
import { KEY_FILE_MODE, readSealKeys } from "./seal_file.ts";
import { putSealKeys } from "./sealed.ts";

type Print = (line: string) => void;

/**
 * Makes a file with a first key.
 *
 * @param place a database that is to know it; null: none yet.
 * @throws {CommandError} when the file is there already, or a step fails.
 */
export async function newSealKey(
  path: string,
  place: Place | null,
  print: Print,
): Promise<void> {
  const key = SealKey.random(nextKeyName([]));
  try {
    Deno.writeTextFileSync(path, formatSealKeys([key]), { createNew: true, mode: KEY_FILE_MODE });
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw cannotWrite(path, error);
    throw new CommandError(
      `"${path}" is there already, and a key that is overwritten locks everybody out; ` +
        "pgvpd seal-key rotate puts another in its place",
    );
  }
  print(`Key ${key.name} is in ${path}, which only its owner may read.`);
  if (place !== null) await put(path, place, [key], print);
  print("Next:");
  if (place === null) print(`  pgvpd seal-key put ${path} --url …   in each database`);
  print(`  seal_key_file = ${path}   in pgvpd.conf, and reload or restart pgvpd`);
}

/**
 * Puts another key in front of that of a file. The one before stays until the next time, for what
 * is still under way, and for databases that do not know the new one yet.
 *
 * @param place a database that is to know both; null: none yet.
 * @throws {CommandError} when a step fails; the file is as it was then.
 */
export async function rotateSealKey(
  path: string,
  place: Place | null,
  print: Print,
): Promise<void> {
  const [current] = readSealKeys(path);
  const keys = [SealKey.random(nextKeyName(readSealKeys(path).map(({ name }) => name))), current!];
  // First the database: a key that pgvpd signs with before it is known there costs a round trip.
  if (place !== null) await put(path, place, keys, print);
  replaceFile(path, formatSealKeys(keys));
  print(`Key ${keys[0]!.name} is in ${path}, in front of ${keys[1]!.name}.`);
  print("Next:");
  if (place === null) print(`  pgvpd seal-key put ${path} --url …   in each database`);
  print("  pgvpd reads the file again by itself within seconds.");
  print(`  The next rotation takes ${keys[1]!.name} out.`);
}

/**
 * Puts the keys of a file into a database, and takes all others out.
 *
 * @throws {CommandError} when a step fails.
 */
export async function putSealKey(path: string, place: Place, print: Print): Promise<void> {
  await put(path, place, readSealKeys(path), print);
}

async function put(
  path: string,
  place: Place,
  keys: readonly SealKey[],
  print: Print,
): Promise<void> {
  const names = keys.map(({ name }) => name).join(" and ");
  let mayBeLogged = false;
  try {
    await inTransaction(place, () => {}, async (transaction) => {
      ({ mayBeLogged } = await putSealKeys(transaction, keys));
      return "commit";
    });
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    throw new CommandError(
      `Cannot put ${names} of "${path}" into ${placeText(place)}:\n${error.message}`,
    );
  }
  print(`${placeText(place).replace(/^d/, "D")}, knows ${names}.`);
  if (!mayBeLogged) return;
  print(
    "WARNING: the server logs what statements are called with, and only a superuser can keep this " +
      "out of its log. Take the keys out of the log, or rotate twice with that logging off " +
      "(log_statement, log_min_duration_statement).",
  );
}

/** In one step, with the owner and the permissions of the file before. */
function replaceFile(path: string, text: string): void {
  const other = `${path}.new`;
  try {
    const { mode, uid, gid } = Deno.statSync(path);
    Deno.writeTextFileSync(other, text, { createNew: true, mode: KEY_FILE_MODE });
    if (uid !== null && gid !== null) Deno.chownSync(other, uid, gid);
    if (mode !== null) Deno.chmodSync(other, mode & 0o777);
    Deno.renameSync(other, path);
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) removeQuietly(other);
    throw cannotWrite(path, error);
  }
}

function removeQuietly(path: string): void {
  try {
    Deno.removeSync(path);
  } catch {
    // It was never there.
  }
}

function cannotWrite(path: string, error: unknown): CommandError {
  return new CommandError(`Cannot write "${path}": ${reasonOf(error)}`);
}
