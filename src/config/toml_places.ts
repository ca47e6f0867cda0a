// Where in a TOML file each key and each item stands, for messages about what is wrong with it. The
// text has been parsed already: here nothing is judged.

/** Both count from 1. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

type Path = readonly (string | number)[];

/** The places in one file. */
export class TomlPlaces {
  readonly #text: string;
  readonly #places = new Map<string, Place>();
  /** Tables of each array so far. */
  readonly #tables = new Map<string, number>();
  #at = 0;
  #line = 1;
  #lineStart = 0;

  constructor(text: string) {
    this.#text = text;
    let table: Path = [];
    for (;;) {
      this.#skipBlank(true);
      if (this.#at >= text.length) return;
      if (text[this.#at] === "[") table = this.#header();
      else this.#assignment(table);
    }
  }

  /** The place of a key or item, or of the nearest thing around it. */
  find(...path: Path): Place {
    for (let length = path.length; length > 0; length--) {
      const place = this.#places.get(JSON.stringify(path.slice(0, length)));
      if (place !== undefined) return place;
    }
    return { line: 1, column: 1 };
  }

  #mark(path: Path, place: Place = this.#here): void {
    this.#places.set(JSON.stringify(path), place);
  }

  get #here(): Place {
    return {
      line: this.#line,
      column: [...this.#text.slice(this.#lineStart, this.#at)].length + 1,
    };
  }

  #header(): Path {
    const place = this.#here;
    const isArray = this.#text.startsWith("[[", this.#at);
    this.#move(isArray ? 2 : 1);
    const keys = this.#dottedKey();
    this.#move(isArray ? 2 : 1);
    let path: Path = [];
    keys.forEach((key, index) => {
      path = [...path, key];
      const id = JSON.stringify(path);
      const count = this.#tables.get(id) ?? 0;
      if (index === keys.length - 1 && isArray) {
        this.#tables.set(id, count + 1);
        path = [...path, count];
      } else if (count > 0) {
        path = [...path, count - 1];
      }
    });
    this.#mark(path, place);
    return path;
  }

  #assignment(table: Path): void {
    const place = this.#here;
    const path = [...table, ...this.#dottedKey()];
    this.#mark(path, place);
    this.#move(1); // =
    this.#value(path);
  }

  #dottedKey(): string[] {
    const keys: string[] = [];
    for (;;) {
      this.#skipBlank(false);
      const quote = this.#text[this.#at]!;
      if (quote === '"' || quote === "'") {
        const from = this.#at;
        this.#string();
        const written = this.#text.slice(from, this.#at);
        keys.push(quote === '"' ? unescaped(written) : written.slice(1, -1));
      } else {
        const bare = /[A-Za-z0-9_-]*/y;
        bare.lastIndex = this.#at;
        const key = bare.exec(this.#text)![0];
        this.#move(key.length);
        keys.push(key);
      }
      this.#skipBlank(false);
      if (this.#text[this.#at] !== ".") return keys;
      this.#move(1);
    }
  }

  #value(path: Path): void {
    this.#skipBlank(true);
    const first = this.#text[this.#at];
    if (first === '"' || first === "'") return this.#string();
    if (first === "[") return this.#items((index) => this.#value([...path, index]), "]", path);
    if (first === "{") return this.#items(() => this.#assignment(path), "}", null);
    const scalar = /[^\n,\]}#]*/y;
    scalar.lastIndex = this.#at;
    this.#move(scalar.exec(this.#text)![0].length);
  }

  /** @param marked the path whose items are marked by their index; null: they mark themselves. */
  #items(item: (index: number) => void, end: string, marked: Path | null): void {
    this.#move(1);
    for (let index = 0; this.#at < this.#text.length; index++) {
      this.#skipBlank(true);
      if (this.#text[this.#at] === end) break;
      if (marked !== null) this.#mark([...marked, index]);
      item(index);
      this.#skipBlank(true);
      if (this.#text[this.#at] === ",") this.#move(1);
    }
    this.#move(1);
  }

  #string(): void {
    const quote = this.#text[this.#at]!;
    const marks = this.#text.startsWith(quote.repeat(3), this.#at) ? quote.repeat(3) : quote;
    this.#move(marks.length);
    while (this.#at < this.#text.length && !this.#text.startsWith(marks, this.#at)) {
      this.#move(quote === '"' && this.#text[this.#at] === "\\" ? 2 : 1);
    }
    this.#move(marks.length);
    // One or two quotes may stand in front of the closing three.
    while (marks.length === 3 && this.#text[this.#at] === quote) this.#move(1);
  }

  #skipBlank(linesToo: boolean): void {
    for (;;) {
      const character = this.#text[this.#at];
      if (character === "#" && linesToo) {
        while (this.#at < this.#text.length && this.#text[this.#at] !== "\n") this.#move(1);
      } else if (
        character === " " || character === "\t" || character === "\ufeff" ||
        linesToo && (character === "\n" || character === "\r")
      ) {
        this.#move(1);
      } else {
        return;
      }
    }
  }

  #move(count: number): void {
    for (; count > 0; count--) {
      if (this.#text[this.#at++] !== "\n") continue;
      this.#line++;
      this.#lineStart = this.#at;
    }
  }
}

function unescaped(written: string): string {
  try {
    return String(JSON.parse(written));
  } catch {
    return written.slice(1, -1); // an escape that JSON does not have: only its place is lost
  }
}
