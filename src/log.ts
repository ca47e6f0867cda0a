// Log records: structured, to standard output, by way of LogTape. Nothing secret is passed here.

import {
  configureSync,
  getJsonLinesFormatter,
  getLogger,
  type LogRecord,
  type TextFormatter,
} from "@logtape/logtape";
import { FloodGate } from "./log_flood.ts";

export type LogLevel = "debug" | "info" | "warn" | "error";

/** What a record says besides its message; values are shown as they are, cut when very long. */
export type LogFields = Record<string, unknown>;

/** The part of a logger that pgvpd uses. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger that puts these fields into every record. */
  with(fields: LogFields): Logger;
}

/** How records are written. */
export interface LogOptions {
  readonly level: LogLevel;
  readonly format: "text" | "json";
  /** ANSI colours, for a terminal. */
  readonly colour: boolean;
  /** Where lines go, each with its line feed. */
  readonly write: (line: string) => void;
}

const FIELD_SIZE_MAX = 1_000;

/** Windows of the present configuration; ended when another takes its place. */
let floodGate: FloodGate | null = null;

/** Decides once, before anything is logged; a second call replaces the first. */
export function configureLog(options: LogOptions): void {
  const format = options.format === "json" ? jsonFormatter() : textFormatter(options.colour);
  floodGate?.flush();
  const gate = new FloodGate((text, count) =>
    logger("log").info("records left out in the last seconds", { count, text })
  );
  floodGate = gate;
  const isFlood = ({ level, message }: LogRecord) =>
    (level === "warning" || level === "error") && !gate.admit(message.join(""));
  configureSync({
    reset: true,
    sinks: { lines: (record) => isFlood(record) || options.write(format(record)) },
    loggers: [
      {
        category: "pgvpd",
        lowestLevel: options.level === "warn" ? "warning" : options.level,
        sinks: ["lines"],
      },
      { category: ["logtape", "meta"], lowestLevel: "error", sinks: ["lines"] },
    ],
  });
}

/** Tells now what was left out so far: before the process ends. */
export function flushLog(): void {
  floodGate?.flush();
}

/** The logger of one room. */
export function logger(room: string): Logger {
  return getLogger(["pgvpd", room]);
}

const LEVELS: Record<LogRecord["level"], readonly [name: string, colour: string]> = {
  trace: ["TRACE", "\x1b[90m"],
  debug: ["DEBUG", "\x1b[90m"],
  info: ["INFO ", "\x1b[32m"],
  warning: ["WARN ", "\x1b[33m"],
  error: ["ERROR", "\x1b[31m"],
  fatal: ["FATAL", "\x1b[31m"],
};

/** `2026-11-23T22:21:52.123Z INFO  client connected connection=7 peer=127.0.0.1:51234` */
function textFormatter(colour: boolean): TextFormatter {
  return (record) => {
    const [name, ansi] = LEVELS[record.level];
    const level = colour ? `${ansi}${name}\x1b[0m` : name;
    const fields = Object.entries(record.properties)
      .filter(([, value]) => value !== undefined && value !== null)
      .map(([key, value]) => ` ${key}=${fieldText(value)}`);
    const time = new Date(record.timestamp).toISOString();
    return `${time} ${level} ${record.message.join("")}${fields.join("")}\n`;
  };
}

/** JSON lines, in which not even a reader that splits lines at U+2028 finds more lines. */
function jsonFormatter(): TextFormatter {
  const format = getJsonLinesFormatter({
    categorySeparator: ".",
    message: "rendered",
    properties: "flatten",
  });
  return (record) => escapeUnseen(format(record));
}

/** Escapes what JSON leaves as it is, though it may end a line or turn it around. */
function escapeUnseen(json: string): string {
  return json.replace(
    /[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** A value on one line: quoted unless it is plain, control characters escaped, cut when long. */
function fieldText(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value) ?? String(value);
  const cut = text.length > FIELD_SIZE_MAX ? `${text.slice(0, FIELD_SIZE_MAX)}…` : text;
  // deno-lint-ignore no-control-regex
  return /^[^\s"=\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+$/.test(cut)
    ? cut
    : escapeUnseen(JSON.stringify(cut));
}
