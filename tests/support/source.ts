// The source of pgvpd as text, for the tests about the source itself.

/** One file. */
export interface SourceFile {
  /** From the root of the project, with slashes: `src/codec/framer.ts`. */
  readonly path: string;
  readonly text: string;
}

const ROOT = new URL("../../", import.meta.url);

/** Every TypeScript file at or below these paths; what is not there is left out. */
export function readSource(...paths: readonly string[]): SourceFile[] {
  return paths.flatMap((path) => {
    try {
      return [...filesAt(path)];
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw error;
    }
  });
}

function* filesAt(path: string): Generator<SourceFile> {
  if (Deno.statSync(new URL(path, ROOT)).isFile) {
    yield { path, text: Deno.readTextFileSync(new URL(path, ROOT)) };
    return;
  }
  const entries = [...Deno.readDirSync(new URL(path, ROOT))];
  entries.sort((a, b) => a.name < b.name ? -1 : 1);
  for (const { name, isDirectory } of entries) {
    if (name === "node_modules") continue; // of tests/compat, where it has been run
    if (isDirectory || /\.tsx?$/.test(name)) yield* filesAt(`${path}/${name}`);
  }
}

/** What a character of source belongs to. */
type Place = "code" | "line comment" | "block comment" | "regex" | '"' | "'" | "`";

/**
 * The same text with every comment, string, template and regular expression blanked out, line feeds
 * kept: what is left is code. Code inside a template's `${}` is blanked out too.
 */
export function codeOnly(text: string, keepStrings = false): string {
  let code = "";
  let place: Place = "code";
  let inClass = false;
  for (let at = 0; at < text.length; at++) {
    const character = text[at]!;
    const next = text[at + 1];
    if (place === "code") {
      place = placeAt(character, next, code);
      code += place === "code" || (keepStrings && place.length === 1) ? character : " ";
      inClass = false;
      continue;
    }
    const visible = character === "\n" || (keepStrings && place.length === 1);
    code += visible ? character : " ";
    if (place === "line comment" && character === "\n") place = "code";
    else if (place === "block comment" && character === "*" && next === "/") {
      code += " ";
      at++;
      place = "code";
    } else if (place === "line comment" || place === "block comment") continue;
    else if (character === "\\") {
      code += keepStrings && place.length === 1 ? text[++at]! : text[++at] === "\n" ? "\n" : " ";
    } else if (place === "regex" && character === "[") inClass = true;
    else if (place === "regex" && character === "]") inClass = false;
    else if (place === "regex" ? character === "/" && !inClass : character === place) {
      place = "code";
    }
  }
  return code;
}

function placeAt(character: string, next: string | undefined, before: string): Place {
  if (character === '"' || character === "'" || character === "`") return character;
  if (character !== "/") return "code";
  if (next === "/") return "line comment";
  if (next === "*") return "block comment";
  // Behind a value a slash divides; behind anything else it begins a regular expression.
  return /([\w$)\]}"'`]|\+\+|--)\s*$/.test(before) && !/\b(return|typeof|case)\s*$/.test(before)
    ? "code"
    : "regex";
}
