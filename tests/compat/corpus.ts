// The corpus of SQL: reads its files, says every block, and writes down what is answered.
//
// A file is blocks with empty lines between them; a block is what is sent in one go. As it stands,
// it is one simple Query. Its first line may say otherwise:
//   --@ extended [values]      Parse, Bind, Describe, Execute, Sync; values in a JSON array
//   --@ parse name             Parse under this name, Describe, Sync
//   --@ run name [values]      Bind, Describe, Execute, Sync of what has that name
//   --@ portions name n        Bind, Execute of n rows three times, Sync
//   --@ close name             Close, Sync
//   --@ batch                  the block's lines, each Parse, Bind, Execute; one Sync for all
//   --@ copy                   a simple Query up to a line `--@ data`, and the data behind it
//   --@ copyfail               a simple Query, and CopyFail when data is asked for

import {
  concat,
  cstring,
  errorFields,
  int16,
  int32,
  message,
  type RawClient,
  type RawMessage,
} from "../support/wire_raw_client.ts";

const FOLDER = new URL("corpus/", import.meta.url);
/** From here on OIDs are of objects that a file has made. */
const FIRST_NORMAL_OID = 16384;

export interface Block {
  /** As in the file, for people. */
  readonly text: string;
  readonly bytes: Uint8Array;
  /** What is sent when data is asked for. */
  readonly data: Uint8Array;
}

export interface CorpusFile {
  readonly name: string;
  readonly blocks: readonly Block[];
}

/** Every file, in the order of their names. */
export function readCorpus(): CorpusFile[] {
  const names = [...Deno.readDirSync(FOLDER)].map(({ name }) => name).sort();
  return names.map((name) => {
    const text = Deno.readTextFileSync(new URL(name, FOLDER));
    const blocks = text.split(/\n{2,}/).map((block) => block.trim()).filter(isSaid);
    return { name: name.replace(/\.sql$/, ""), blocks: blocks.map(parseBlock) };
  });
}

function isSaid(block: string): boolean {
  return block.split("\n").some((line) => !line.startsWith("-- ")) && block !== "";
}

const SYNC = message("S");

function parseBlock(text: string): Block {
  const [, verb = "", rest = "", body = text] = /^--@ (\w+) ?(.*)\n?([^]*)$/.exec(text) ?? [];
  const [sql = "", lines = ""] = body.split("\n--@ data\n");
  const data = concat([message("d", new TextEncoder().encode(`${lines}\n`)), message("c")]);
  return {
    text,
    bytes: bytesOf(verb, rest, sql),
    data: verb === "copyfail" ? message("f", cstring("changed my mind")) : data,
  };
}

function bytesOf(verb: string, rest: string, sql: string): Uint8Array {
  const [, name = "", more = ""] = /^([\w ]*?) ?(\[.*\]|\d*)$/.exec(rest) ?? [];
  switch (verb) {
    case "":
    case "copy":
    case "copyfail":
      return message("Q", cstring(sql));
    case "extended":
      return concat([parse("", sql), bind("", valuesOf(more)), PORTAL, execute(0), SYNC]);
    case "parse":
      return concat([parse(name, sql), message("D", cstring(`S${name}`)), SYNC]);
    case "run":
      return concat([bind(name, valuesOf(more)), PORTAL, execute(0), SYNC]);
    case "portions": {
      const some = execute(Number(more));
      return concat([bind(name, []), some, some, some, SYNC]);
    }
    case "close":
      return concat([message("C", cstring(`S${name}`)), SYNC]);
    case "batch": {
      const each = sql.split("\n").map((one) => concat([parse("", one), bind("", []), execute(0)]));
      return concat([...each, SYNC]);
    }
  }
  throw new Error(`the corpus knows no ${verb}`);
}

const PORTAL = message("D", cstring("P"));

function valuesOf(json: string): (string | null)[] {
  return json === "" ? [] : JSON.parse(json);
}

function parse(name: string, sql: string): Uint8Array {
  return message("P", cstring(name), cstring(sql), int16(0));
}

function bind(name: string, values: readonly (string | null)[]): Uint8Array {
  const parameters = values.map((value) => {
    if (value === null) return int32(-1);
    const bytes = new TextEncoder().encode(value);
    return concat([int32(bytes.length), bytes]);
  });
  return message(
    "B",
    cstring(""),
    cstring(name),
    int16(0),
    int16(values.length),
    ...parameters,
    int16(0),
  );
}

function execute(rows: number): Uint8Array {
  return message("E", cstring(""), int32(rows));
}

/** What was answered to one block, a line for each message; `ended` when the connection was. */
export type Answer = readonly string[];

/** What the names of the databases begin with in which a corpus is said. */
export const CORPUS = "corpus_";
const DATABASE = new RegExp(`${CORPUS}\\w+`, "g");

/**
 * Says all blocks.
 * @param between called before a block when no transaction is open
 */
export async function say(
  client: RawClient,
  blocks: readonly Block[],
  between: () => Promise<void> = async () => {},
): Promise<Answer[]> {
  const answers: Answer[] = [];
  let status = "I";
  for (const block of blocks) {
    if (status === "I") await between();
    const lines: string[] = [];
    answers.push(lines);
    await client.send(block.bytes);
    for (let type = ""; type !== "Z";) {
      const reply = await client.next();
      if (reply === null) {
        lines.push("ended");
        return answers;
      }
      ({ type } = reply);
      lines.push(lineOf(reply));
      if (type === "G") await client.send(block.data);
      if (type === "Z") status = String.fromCharCode(reply.body[0]!);
    }
  }
  return answers;
}

/** A message as a line, without what is new in every database: its name, and numbers. */
function lineOf({ type, body }: RawMessage): string {
  const text = (from = 0) => JSON.stringify(new TextDecoder("latin1").decode(body.subarray(from)));
  if (type === "E" || type === "N") {
    return `${type} ${
      Object.entries(errorFields(body)).map(([key, value]) =>
        `${key}=${value.replaceAll(DATABASE, "this database")}`
      ).join(" ")
    }`;
  }
  if (type === "A") return `A ${text(4)}`; // behind the process number
  if (type === "T") return `T ${rowDescription(body).join(" ")}`;
  if (type === "t") return `t ${types(body).join(" ")}`;
  return `${type} ${text()}`;
}

function typeName(oid: number): string {
  return oid < FIRST_NORMAL_OID ? String(oid) : "own";
}

function types(body: Uint8Array): string[] {
  const view = new DataView(body.buffer, body.byteOffset);
  return Array.from({ length: view.getInt16(0) }, (_, n) => typeName(view.getUint32(2 + 4 * n)));
}

function rowDescription(body: Uint8Array): string[] {
  const view = new DataView(body.buffer, body.byteOffset);
  let at = 2;
  return Array.from({ length: view.getInt16(0) }, () => {
    const end = body.indexOf(0, at);
    const name = new TextDecoder().decode(body.subarray(at, end));
    at = end + 19;
    const fields = [
      view.getInt16(end + 5), // number of the column
      typeName(view.getUint32(end + 7)),
      ...[view.getInt16(end + 11), view.getInt32(end + 13), view.getInt16(end + 17)],
    ];
    return `${name}:${fields}`;
  });
}
