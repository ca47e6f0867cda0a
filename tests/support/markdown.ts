// The documents as the tests see them: fenced blocks, code spans, links, anchors of headings.

const ROOT = new URL("../../", import.meta.url);

/** A fenced block. */
export interface Block {
  /** From the root of the project: `docs/tls.md`. */
  readonly page: string;
  /** Of its first line of text. */
  readonly line: number;
  /** The first word behind the fence: `sql`, `ini`, … */
  readonly language: string;
  /** The other words. */
  readonly words: readonly string[];
  readonly text: string;
}

/** A page with what can be checked in it. */
export interface Page {
  readonly path: string;
  readonly text: string;
  readonly blocks: readonly Block[];
  /** Outside of blocks, with the number of the line. */
  readonly prose: readonly { readonly line: number; readonly text: string }[];
  /** What a link can name behind `#`. */
  readonly anchors: ReadonlySet<string>;
}

/** Every page that people read: those at the root, and docs/ as a whole. */
export function readPages(): Page[] {
  const roots = [...Deno.readDirSync(ROOT)].map(({ name }) => name).filter((name) =>
    name.endsWith(".md")
  );
  return [...roots, ...below("docs")].sort().map(readPage);
}

function below(directory: string): string[] {
  return [...Deno.readDirSync(new URL(directory, ROOT))].flatMap(({ name, isDirectory }) => {
    const path = `${directory}/${name}`;
    return isDirectory ? below(path) : name.endsWith(".md") ? [path] : [];
  });
}

/** @throws when a fence is not closed. */
export function parsePage(path: string, text: string): Page {
  const blocks: Block[] = [];
  const prose: { line: number; text: string }[] = [];
  let open: { line: number; info: string; indent: string; lines: string[] } | null = null;
  text.split("\n").forEach((line, index) => {
    const fence = /^(\s*)```(.*)$/.exec(line);
    if (open === null && fence !== null) {
      open = { line: index + 2, info: fence[2]!.trim(), indent: fence[1]!, lines: [] };
    } else if (open !== null && fence !== null && fence[2]!.trim() === "") {
      const [language = "", ...words] = open.info.split(/\s+/);
      blocks.push({ page: path, line: open.line, language, words, text: open.lines.join("\n") });
      open = null;
    } else if (open !== null) open.lines.push(line.replace(open.indent, ""));
    else prose.push({ line: index + 1, text: line });
  });
  if (open !== null) throw new Error(`${path}: a fence is not closed`);
  return { path, text, blocks, prose, anchors: anchorsOf(prose.map((each) => each.text)) };
}

/** One page of the project. */
export function readPage(path: string): Page {
  return parsePage(path, Deno.readTextFileSync(new URL(path, ROOT)));
}

/** As GitHub makes them: small letters, blanks to dashes, punctuation gone, repeats numbered. */
function anchorsOf(lines: readonly string[]): Set<string> {
  const anchors = new Set<string>();
  for (const line of lines) {
    const heading = /^#{1,6} (.+?)\s*$/.exec(line)?.[1];
    if (heading === undefined) continue;
    const plain = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
    const slug = plain.replace(/[^\p{L}\p{N}\p{M}_ -]/gu, "").replaceAll(" ", "-");
    let unique = slug;
    for (let count = 1; anchors.has(unique); count++) unique = `${slug}-${count}`;
    anchors.add(unique);
  }
  return anchors;
}

/** A code span. */
export interface Span {
  readonly line: number;
  readonly text: string;
}

/** What stands between backticks, outside of blocks; a span may reach over a line's end. */
export function spansOf({ prose }: Page): Span[] {
  const spans: Span[] = [];
  let paragraph = "";
  let begins = 0;
  for (const { line, text } of [...prose, { line: 0, text: "" }]) {
    if (text.trim() !== "") {
      if (paragraph === "") begins = line;
      paragraph += `${text}\n`;
      continue;
    }
    for (const { index, 2: inside } of paragraph.matchAll(/(`+)(.+?)\1(?!`)/gs)) {
      const line = begins + paragraph.slice(0, index).split("\n").length - 1;
      spans.push({ line, text: inside!.replaceAll("\n", " ").trim() });
    }
    paragraph = "";
  }
  return spans;
}

/** A link to something inside the project. */
export interface Link {
  readonly line: number;
  /** From the root of the project. */
  readonly path: string;
  readonly anchor: string | null;
}

/** The links of a page that lead into the project. */
export function linksOf({ path, prose }: Page): Link[] {
  const directory = new URL(path, "file:///");
  return prose.flatMap(({ line, text }) =>
    [...text.replace(/`[^`]*`/g, "").matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target]) => {
      if (/^[a-z]+:/.test(target!)) return [];
      const { pathname, hash } = new URL(target!, directory);
      return [{ line, path: pathname.slice(1), anchor: hash ? hash.slice(1) : null }];
    })
  );
}
