// The audit log: who logged in, who was refused, and what operators did, as JSON lines. Nothing
// secret is passed here. A disk that is full or gone stops nobody, and that is said loudly.

import type { Logger } from "./log.ts";

/** Where records go. */
export type AuditTarget =
  | { readonly kind: "off" }
  | { readonly kind: "stdout"; readonly write: (line: string) => void }
  | { readonly kind: "file"; readonly path: string };

/** What a record says besides its time and its kind. */
export type AuditFields = Readonly<Record<string, unknown>>;

/** Longer texts are cut: names come from clients. */
const TEXT_LENGTH_MAX = 1_000;
/** Behind a failure a file is opened again, but not more often. */
const RETRY_MS = 1_000;

/** Writes one line for each record. Nothing here throws but the constructor. */
export class AuditLog {
  /** Records that could not be written. */
  lost = 0;
  readonly #log: Logger;
  readonly #now: () => Date;
  #target: AuditTarget;
  #file: Deno.FsFile | null = null;
  #retryAt = -Infinity;

  /** @throws what opening the file throws: a log that never begins is a mistake of the operator's. */
  constructor(target: AuditTarget, log: Logger, now: () => Date = () => new Date()) {
    this.#target = target;
    this.#log = log;
    this.#now = now;
    if (target.kind === "file") this.#file = open(target.path);
  }

  get isOn(): boolean {
    return this.#target.kind !== "off";
  }

  /** One record. @param event `login`, `act` or `guard`. */
  record(event: string, fields: AuditFields): void {
    if (!this.isOn) return;
    const line = `${JSON.stringify({ time: this.#now(), event, ...fields }, cutText)}\n`;
    try {
      this.#write(line);
    } catch (error) {
      this.lost++;
      this.#fileFailed(error);
    }
  }

  /** After the file has been moved away: the next record begins a new one. Another target may come. */
  reopen(target: AuditTarget = this.#target): void {
    this.#close();
    this.#target = target;
    this.#retryAt = -Infinity;
    if (target.kind !== "file") return;
    try {
      this.#file = open(target.path);
    } catch (error) {
      this.#fileFailed(error);
    }
  }

  [Symbol.dispose](): void {
    this.#close();
    this.#target = { kind: "off" };
  }

  #write(line: string): void {
    const target = this.#target;
    if (target.kind === "stdout") return target.write(line);
    if (target.kind !== "file") return;
    if (this.#file === null) {
      if (performance.now() < this.#retryAt) throw new Error("it is being waited for");
      this.#file = open(target.path);
    }
    const bytes = new TextEncoder().encode(line);
    let at = 0;
    while (at < bytes.length) at += this.#file.writeSync(bytes.subarray(at));
  }

  #fileFailed(error: unknown): void {
    this.#close();
    if (performance.now() < this.#retryAt) return;
    this.#retryAt = performance.now() + RETRY_MS;
    this.#log.error("the audit log cannot be written: records are lost", {
      path: this.#target.kind === "file" ? this.#target.path : "stdout",
      lost: this.lost,
      error: error instanceof Error ? error.message : String(error),
    });
  }

  #close(): void {
    try {
      this.#file?.close();
    } catch {
      // It is gone already.
    }
    this.#file = null;
  }
}

/** Readable to its owner alone: it says who is whose user. */
function open(path: string): Deno.FsFile {
  return Deno.openSync(path, { append: true, create: true, mode: 0o600 });
}

/** For JSON.stringify. */
function cutText(_key: string, value: unknown): unknown {
  if (typeof value !== "string" || value.length <= TEXT_LENGTH_MAX) return value;
  return `${value.slice(0, TEXT_LENGTH_MAX)}…`;
}
