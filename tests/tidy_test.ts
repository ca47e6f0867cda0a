// Rules of style with a checker: rules without one are wishes.

import { strict as assert } from "node:assert";
import { codeOnly, readSource, type SourceFile } from "./support/source.ts";

const FILE_LINES_MAX = 400;
const FUNCTION_LINES_MAX = 70;
const LINE_COLUMNS_MAX = 100;

/** Files that run per message or per read; each says so in its second line. */
const HOT = [
  "src/codec/framer.ts",
  "src/net/buffers.ts",
  "src/net/tcp.ts",
  "src/net/tls.ts",
  "src/pool/backend.ts",
  "src/protocol/fates.ts",
  "src/protocol/ledger.ts",
  "src/session/guard.ts",
  "src/session/outgoing.ts",
  "src/session/pooled_relay.ts",
  "src/session/relay.ts",
  "src/session/request_timer.ts",
  "src/session/rewriting.ts",
  "src/session/transaction_relay.ts",
  "src/session/unnamed.ts",
];

/** Source without a test of its own at the mirrored path. May only become shorter. */
const WITHOUT_TEST: Record<string, string> = {
  "src/admin/dashboard/page.tsx": "tests/admin/dashboard/routes_test.ts",
  "src/admin/dashboard/panels.tsx": "tests/admin/dashboard/routes_test.ts",
  "src/admin/dashboard/table.tsx": "tests/admin/dashboard/routes_test.ts",
  "src/config/definitions.ts": "tests/config, through config.ts",
  "src/config/hosts.ts": "tests/config/values_test.ts",
  "src/config/layers.ts": "tests/config, through config.ts",
  "src/config/merge.ts": "tests/config, through config.ts",
  "src/config/problems.ts": "tests/config, through config.ts",
  "src/config/table.ts": "tests/config, through config.ts",
  "src/control.ts": "types alone",
  "src/server.ts": "tests/wire",
};
/** Commands are run as a whole, by tests/wire. */
const COMMANDS = "src/commands/";

interface Ban {
  readonly pattern: RegExp;
  readonly instead: string;
  readonly where: (path: string) => boolean;
  /** Comments and strings too. */
  readonly everywhere?: boolean;
}

const inProgram = (path: string) => path.startsWith("src/") || path === "main.ts";
const inHot = (path: string) => HOT.includes(path);
const HERE = "tests/tidy_test.ts"; // it names what it bans

const BANS: readonly Ban[] = [
  { pattern: /\bas any\b/, instead: "a type, or unknown and a check", where: () => true },
  {
    pattern: /\bconsole\s*\./,
    instead: "a logger from src/log.ts",
    where: (path) => inProgram(path) && path !== "main.ts" && !path.startsWith(COMMANDS),
  },
  { pattern: /\bBuffer\b/, instead: "Uint8Array", where: inProgram },
  {
    pattern: /\b(FIXME|XXX|TODO)\b/,
    instead: "an issue, or the work",
    where: () => true,
    everywhere: true,
  },
  { pattern: /\.slice\(/, instead: "subarray", where: inHot },
  { pattern: /\bnew Map\b/, instead: "fields and small tables", where: inHot },
  { pattern: /\.map\(/, instead: "a loop", where: inHot },
  { pattern: /\bJSON\./, instead: "nothing: hot code has no text", where: inHot },
];

/** Everything that is wrong with one file. */
function faultsIn({ path, text }: SourceFile): string[] {
  const lines = text.split("\n");
  const faults: string[] = [];
  if (lines.length - 1 > FILE_LINES_MAX) {
    faults.push(`${path}: ${lines.length - 1} lines, split it`);
  }
  if (!/^\/\/ \S/.test(lines[0]!)) {
    faults.push(`${path}:1: begin with a "//" comment that says what lives here`);
  }
  if (inHot(path) && !lines[1]!.startsWith("// Hot:")) {
    faults.push(`${path}:2: say "// Hot:" and what that forbids`);
  }
  lines.forEach((line, index) => {
    if ([...line].length <= LINE_COLUMNS_MAX || isUnbreakable(line)) return;
    faults.push(`${path}:${index + 1}: longer than ${LINE_COLUMNS_MAX} columns`);
  });
  // The text inside JSX is no code, and would have to be told from it.
  if (path.endsWith(".tsx")) return faults;
  return [...faults, ...longFunctionsIn(path, text), ...bannedIn(path, text)];
}

/** A string, a template or a link that `deno fmt` does not break either. */
function isUnbreakable(line: string): boolean {
  return /https?:\/\/\S{60}/.test(line) || /["'`/].{70,}["'`/]/.test(line);
}

function bannedIn(path: string, text: string): string[] {
  if (path === HERE) return [];
  const codeLines = codeOnly(text).split("\n");
  const textLines = text.split("\n");
  return BANS.filter(({ where }) => where(path)).flatMap(({ pattern, instead, everywhere }) =>
    (everywhere ? textLines : codeLines).flatMap((line, index) => {
      const found = pattern.exec(line);
      return found ? [`${path}:${index + 1}: not ${found[0]}, but ${instead}`] : [];
    })
  );
}

/** A function's body is a brace behind a parameter list, with or without a type, or behind `=>`. */
const BODY_BEGINS = /(=>|\)(\s*:\s*[^;{}()=]*(\{[^{}]*\}[^;{}()=\n]*)*(is\s+[\w.]+)?)?)\s*$/;
const NO_FUNCTION = /\b(if|for|while|switch|catch|with)\s*(await\s*)?$/;

function longFunctionsIn(path: string, text: string): string[] {
  const code = codeOnly(text);
  const open: { line: number; isFunction: boolean }[] = [];
  const faults: string[] = [];
  let line = 1;
  for (let at = 0; at < code.length; at++) {
    if (code[at] === "\n") line++;
    if (code[at] === "{") open.push({ line, isFunction: beginsFunction(code, at) });
    if (code[at] !== "}") continue;
    const begun = open.pop();
    assert(begun !== undefined, `${path}:${line}: a brace too many, or the matcher is wrong`);
    const length = line - begun.line + 1;
    if (begun.isFunction && length > FUNCTION_LINES_MAX) {
      faults.push(`${path}:${begun.line}: a function of ${length} lines, take it apart`);
    }
  }
  assert.equal(open.length, 0, `${path}: a brace is not closed, or the matcher is wrong`);
  return faults;
}

function beginsFunction(code: string, brace: number): boolean {
  const before = code.slice(Math.max(0, brace - 2_000), brace);
  const found = BODY_BEGINS.exec(before);
  if (found === null) return false;
  if (found[1] === "=>") return true;
  return !NO_FUNCTION.test(before.slice(0, parenthesisBefore(before, found.index)));
}

/** Where the parenthesis opens that closes at `closing`. */
function parenthesisBefore(code: string, closing: number): number {
  let depth = 0;
  for (let at = closing; at >= 0; at--) {
    if (code[at] === ")") depth++;
    if (code[at] === "(" && --depth === 0) return at;
  }
  return 0;
}

/** Source files without a test at the mirrored path, and entries of the list that are out of date. */
function missingTests(source: readonly string[], tests: ReadonlySet<string>): string[] {
  const mirrored = (path: string) =>
    path.replace(/^src\//, "tests/").replace(/\.tsx?$/, "_test.ts");
  const missing = source.filter((path) =>
    !path.startsWith(COMMANDS) && !(path in WITHOUT_TEST) && !tests.has(mirrored(path))
  ).map((path) => `${path}: write ${mirrored(path)}`);
  const stale = Object.keys(WITHOUT_TEST)
    .filter((path) => !source.includes(path) || tests.has(mirrored(path)))
    .map((path) => `${path}: take it off the list WITHOUT_TEST in ${HERE}`);
  return [...missing, ...stale];
}

const FILES = readSource("src", "main.ts", "tests", "bench", "packaging");

Deno.test("tidy: every file keeps the rules", () => {
  assert(FILES.length > 40, "the files were found");
  assert.deepEqual(FILES.flatMap(faultsIn), []);
});

Deno.test("tidy: every source file has its test", () => {
  const paths = FILES.map(({ path }) => path);
  const source = paths.filter((path) => path.startsWith("src/"));
  assert.deepEqual(missingTests(source, new Set(paths)), []);
});

const long = (head: string, tail = "}") => `// x\n${head}\n${"  a();\n".repeat(70)}${tail}\n`;

Deno.test("tidy: the checker finds every planted fault", () => {
  const planted: [path: string, text: string, sentence: RegExp][] = [
    ["src/x.ts", "// x\n".repeat(401), /401 lines/],
    ["src/x.ts", "const a = 1;\n", /begin with a/],
    ["src/x.ts", `// ${"long ".repeat(20)}\n`, /longer than 100/],
    ["src/codec/framer.ts", "// x\n// cold\n", /say "\/\/ Hot:"/],
    ["src/x.ts", "// x\nconst a = b as any;\n", /not as any, but a type/],
    ["src/x.ts", "// x\nconsole.log(1);\n", /not console\., but a logger/],
    ["src/x.ts", "// x\nBuffer.from(a);\n", /not Buffer, but Uint8Array/],
    ["tests/x.ts", "// x\n// TODO: later\n", /not TODO/],
    ["src/net/tcp.ts", "// x\n// Hot: x\na.slice(1);\n", /not \.slice\(, but subarray/],
    ["src/net/tcp.ts", "// x\n// Hot: x\na = new Map();\n", /not new Map/],
    ["src/net/tcp.ts", "// x\n// Hot: x\nb.map(c);\n", /not \.map\(/],
    ["src/net/tcp.ts", "// x\n// Hot: x\nJSON.parse(c);\n", /not JSON\./],
  ];
  const heads = [
    "function a() {",
    "async function a(b: (c: number) => void, d = e()): Promise<{ a: number }> {",
    "function a(b: unknown): b is C {",
    "  async *method(): AsyncGenerator<number> {",
    "const a = () => {",
    "export default async (b, { c }) => {",
    "  get a(): Map<string, number> {",
    "  constructor(readonly a: B) {",
  ];
  for (const head of heads) planted.push(["src/x.ts", long(head), /a function of 72 lines/]);
  planted.push(["tests/x.ts", long('Deno.test("x", async () => {', "});"), /72 lines/]);
  for (const [path, text, sentence] of planted) {
    const found = faultsIn({ path, text });
    assert.equal(found.length, 1, `${text.slice(0, 60)}: ${found}`);
    assert.match(found[0]!, sentence);
  }
});

Deno.test("tidy: the checker lets right things pass", () => {
  const right = [
    long("class A {"),
    long("function a(): void {\n  b;\n}\n\nexport class A implements B {"),
    long("const A = {", "};"),
    long("if (a()) {"),
    long("for await (const a of b()) {"),
    long("interface A {"),
    `// x\n${"  a();\n".repeat(200)}`,
    "// x\nconst a = `{`; // {\nconst b = /[{]/;\nconst c = '{';\n",
    `// https://example.com/${"x".repeat(100)}\n`,
    '// x\nconst a = "as any, console.log, Buffer";\n',
  ];
  for (const text of right) assert.deepEqual(faultsIn({ path: "src/x.ts", text }), []);
});

Deno.test("tidy: the checker finds a missing test and a list that is too long", () => {
  const listed = Object.keys(WITHOUT_TEST);
  const missing = missingTests([...listed, "src/codec/x.ts"], new Set());
  assert.deepEqual(missing, ["src/codec/x.ts: write tests/codec/x_test.ts"]);
  assert.equal(missingTests([...listed, "src/a/b.ts"], new Set(["tests/a/b_test.ts"])).length, 0);
  assert.equal(missingTests([], new Set()).length, listed.length);
  const tested = missingTests(listed, new Set(["tests/server_test.ts"]));
  assert.match(tested[0]!, /^src\/server\.ts: take it off/);
});
