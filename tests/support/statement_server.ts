// What PostgreSQL does about prepared statements, as its documentation has it, and nothing else.

import { splitMessages } from "./messages.ts";

const TEXT = new TextDecoder("latin1");

/**
 * A reply is a word: the letter of the message, for an error `E` and its SQLSTATE, for a
 * CommandComplete `C` and what was executed.
 */
export class StatementServer {
  readonly named = new Map<string, string>();
  unnamed: string | null = null;
  #portal: string | null = null;
  #skipping = false;

  /** As a connection that was cleaned. */
  clean(): void {
    this.named.clear();
    this.unnamed = null;
  }

  take(bytes: Uint8Array): string[] {
    return splitMessages(bytes).flatMap((message) => {
      const type = String.fromCharCode(message[0]!);
      if (this.#skipping && type !== "S") return [];
      const replies = this.#message(type, TEXT.decode(message.subarray(5)).split("\0"));
      if (replies[0]?.startsWith("E") && type !== "Q") this.#skipping = true;
      return replies;
    });
  }

  #message(type: string, [first = "", second = ""]: string[]): string[] {
    switch (type) {
      case "P":
        return this.#parse(first, second);
      case "B":
        this.#portal = this.#find(second) ?? null;
        return [this.#portal === null ? "E26000" : "2"];
      case "E":
        return [this.#portal === null ? "E34000" : this.#execute(this.#portal)];
      case "D":
        return [
          this.#find(first.slice(1)) === undefined ? "E26000" : `t${this.#find(first.slice(1))}`,
        ];
      case "C":
        if (first === "S") this.unnamed = null;
        this.named.delete(first.slice(1));
        return ["3"];
      case "Q":
        this.unnamed = this.#portal = null;
        return [this.#execute(first), "Z"];
      case "S":
        this.#skipping = false;
        this.#portal = null;
        return ["Z"];
      default:
        throw new Error(`the model knows no message ${type}`);
    }
  }

  #find(name: string): string | undefined {
    return name === "" ? this.unnamed ?? undefined : this.named.get(name);
  }

  #parse(name: string, text: string): string[] {
    if (name === "") this.unnamed = null;
    if (text.includes("bad")) return ["E42601"];
    if (name === "") this.unnamed = text;
    else if (this.named.has(name)) return ["E42P05"];
    else this.named.set(name, text);
    return ["1"];
  }

  #execute(text: string): string {
    if (text.includes("fails")) return "E22012";
    if (!text.startsWith("DEALLOCATE ")) return `C${text}`;
    const name = text.slice("DEALLOCATE ".length).replaceAll('"', "");
    if (name === "ALL") this.named.clear();
    else if (!this.named.delete(name)) return "E26000";
    return name === "ALL" ? "CDEALLOCATE ALL" : "CDEALLOCATE";
  }
}
