// Log records: one line each, whatever a peer put into them.

import { strict as assert } from "node:assert";
import { configureLog, type LogFields, logger, type LogOptions } from "../src/log.ts";

function linesOf(
  options: Partial<LogOptions>,
  write: (log: ReturnType<typeof logger>) => void,
): string[] {
  const lines: string[] = [];
  configureLog({
    level: "debug",
    format: "text",
    colour: false,
    write: (line) => lines.push(line),
    ...options,
  });
  write(logger("test"));
  configureLog({ level: "error", format: "text", colour: false, write: () => {} });
  return lines;
}

const record = (fields: LogFields, options: Partial<LogOptions> = {}) =>
  linesOf(options, (log) => log.info("client connected", fields));

Deno.test("log writes time, level, message and fields as text", () => {
  const [line] = record({ tenant: "acme", connection: 7, peer: "127.0.0.1:5" });
  const expected =
    /^\d{4}-\d\d-\d\dT[\d:.]+Z INFO {2}client connected tenant=acme connection=7 peer=127\.0\.0\.1:5\n$/;
  assert.match(line!, expected);
});

Deno.test("log leaves out what is undefined or null and quotes what is not plain", () => {
  const [line] = record({ a: null, b: undefined, c: "", d: "two words", e: 'a"b', f: "x=y" });
  assert(line!.endsWith(' client connected c="" d="two words" e="a\\"b" f="x=y"\n'), line);
});

Deno.test("log lets nobody forge a line, a colour or a direction", () => {
  const evil = "x\n2026 INFO forged\r\x1b[31m\u2028\u2029\u202e\u2066\x7f\x9b";
  for (const format of ["text", "json"] as const) {
    const lines = record({ tenant: evil }, { format });
    assert.equal(lines.length, 1);
    const [line] = lines;
    if (format === "json") assert.equal(JSON.parse(line!).tenant, evil);
    assert.match(line!, /^[^\p{Cc}\u2028-\u202e\u2066]+\n$/u);
    assert.equal(line!.indexOf("\n"), line!.length - 1);
  }
});

Deno.test("log cuts a very long value", () => {
  const [line] = record({ tenant: "x".repeat(100_000) });
  assert(line!.length < 1_200, `${line!.length} characters`);
  assert(line!.includes("…"));
});

Deno.test("log writes JSON lines with fields at the top", () => {
  const [line] = record({ tenant: 'ac"me', connection: 7 }, { format: "json" });
  const { tenant, connection, message, level } = JSON.parse(line!);
  assert.deepEqual([tenant, connection, message, level], ['ac"me', 7, "client connected", "INFO"]);
});

Deno.test("log writes nothing below its level", () => {
  const all = (log: ReturnType<typeof logger>) => {
    for (const level of ["debug", "info", "warn", "error"] as const) log[level](level);
  };
  for (const [index, level] of (["debug", "info", "warn", "error"] as const).entries()) {
    assert.equal(linesOf({ level }, all).length, 4 - index, level);
  }
});

Deno.test("log puts the fields of with() into every record", () => {
  const [line] = linesOf({}, (log) => log.with({ connection: 3 }).warn("x", { tenant: "a" }));
  assert.match(line!, / WARN {2}x connection=3 tenant=a\n$/);
});

Deno.test("log colours the level, and only when asked", () => {
  assert(record({}, { colour: true })[0]!.includes("\x1b[32mINFO \x1b[0m"));
  assert(!record({})[0]!.includes("\x1b["));
});
