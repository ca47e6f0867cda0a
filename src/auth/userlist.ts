// PgBouncer's auth_file, usually named userlist.txt: users and their passwords, one to a line.
// https://www.pgbouncer.org/config.html#authentication-file-format and PgBouncer's src/loader.c

import { binaryBytes, binaryText } from "./bytes.ts";
import { parseStoredPassword, type StoredPassword, StoredPasswordError } from "./password.ts";

/** The largest file, in bytes. */
export const USERLIST_SIZE_MAX = 16 * 1024 * 1024;
/** The longest user name, in bytes, and the longest password: PgBouncer's limits. */
export const USERLIST_USER_SIZE_MAX = 127;
export const USERLIST_PASSWORD_SIZE_MAX = 2047;
/** How much of a line is looked at, in bytes; the rest is ignored, or too much. */
const LINE_SIZE_MAX = 8192;

const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
/** What `isspace` of C takes for white space, but for the line feed. */
const BLANK = "[ \\t\\v\\f\\r]*";
/** A quote that is followed by another is never the last one. */
const FIELD = '"((?:[^"]|"")*)"(?!")';
const ENTRY = new RegExp(`^${BLANK}${FIELD}${BLANK}${FIELD}`);
const COMMENT = new RegExp(`^${BLANK};`);
const EMPTY = new RegExp(`^${BLANK}$`);

/** A line that is wrong. The message shows what the line should have, and never what it has. */
export class UserlistError extends Error {
  override readonly name = "UserlistError";

  /** @param line Counted from 1. */
  constructor(readonly line: number, reason: string) {
    super(`line ${line}: ${reason}`);
  }
}

/**
 * Reads `"user" "password"` lines. `""` stands for a quote; the rest of a line is ignored, and so
 * is a line that is blank or begins with `;`. A user with an empty password is known, and has null.
 *
 * Stricter than PgBouncer, which stops reading at its first mistake: fields do not go over the end
 * of a line, only blanks stand between them, and no user comes twice.
 *
 * @throws {UserlistError} at the first line that is wrong.
 */
export function parseUserlist(file: Uint8Array): Map<string, StoredPassword | null> {
  if (file.length > USERLIST_SIZE_MAX) {
    throw new UserlistError(1, `the file is larger than ${USERLIST_SIZE_MAX} bytes`);
  }
  const users = new Map<string, StoredPassword | null>();
  const firstLines = new Map<string, number>();
  binaryText(file).split("\n").forEach((whole, index) => {
    const line = index + 1;
    const text = whole.slice(0, LINE_SIZE_MAX);
    if (text.includes("\0")) throw new UserlistError(line, "a zero byte");
    if (COMMENT.test(text) || EMPTY.test(whole)) return;
    const { user, password } = parseEntry(line, text);
    const firstLine = firstLines.get(user);
    if (firstLine !== undefined) {
      throw new UserlistError(line, `the same user as in line ${firstLine}`);
    }
    firstLines.set(user, line);
    users.set(user, password);
  });
  return users;
}

function parseEntry(line: number, text: string) {
  const fields = ENTRY.exec(text);
  if (fields === null) {
    throw new UserlistError(line, 'expected "user" "password", each in double quotes');
  }
  const user = unquote(fields[1]!);
  const password = unquote(fields[2]!);
  if (user.length === 0) throw new UserlistError(line, "the user name is empty");
  if (user.length > USERLIST_USER_SIZE_MAX) {
    throw new UserlistError(line, `the user name has more than ${USERLIST_USER_SIZE_MAX} bytes`);
  }
  if (password.length > USERLIST_PASSWORD_SIZE_MAX) {
    throw new UserlistError(line, `the password has more than ${USERLIST_PASSWORD_SIZE_MAX} bytes`);
  }
  return { user: decode(line, user), password: storedPassword(line, password) };
}

function unquote(field: string): Uint8Array {
  return binaryBytes(field.replaceAll('""', '"'));
}

function decode(line: number, user: Uint8Array): string {
  try {
    return DECODER.decode(user);
  } catch {
    throw new UserlistError(line, "the user name is not valid UTF-8");
  }
}

function storedPassword(line: number, password: Uint8Array): StoredPassword | null {
  try {
    return parseStoredPassword(password);
  } catch (error) {
    if (error instanceof StoredPasswordError) throw new UserlistError(line, error.message);
    throw error;
  }
}
