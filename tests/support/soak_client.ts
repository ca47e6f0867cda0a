// One client of the isolation soak: what it says, what must come back, and what it knows of itself.

import { Random, randomPieces } from "./random.ts";
import { remember, SOAK_PASSWORD, SOAK_ROLE, type SoakWorld, tenantName } from "./soak_world.ts";
import { DATABASE } from "./wire_bench.ts";
import {
  type CancelKey,
  cancelKey,
  cancelRequest,
  concat,
  cstring,
  errorFields,
  int16,
  int32,
  message,
  RawClient,
  type RawMessage,
  startup,
} from "./wire_raw_client.ts";

const TEXT = new TextDecoder();
const UTF8 = new TextEncoder();

/** Reported parameters that clients of the soak set, and what they may be set to. */
export const FOLLOWING: Readonly<Record<string, readonly string[]>> = {
  DateStyle: ["ISO, MDY", "German, DMY", "SQL, DMY"],
  IntervalStyle: ["postgres", "iso_8601"],
  TimeZone: ["UTC", "Asia/Tokyo", "America/Lima"],
};

/** One message that must come. */
export interface Reply {
  readonly type: string;
  /** Any number of them, none included. */
  readonly many?: boolean;
  readonly check?: (body: Uint8Array) => void;
}

/** What ends with one ReadyForQuery. */
export interface Unit {
  readonly bytes: Uint8Array;
  readonly replies: readonly Reply[];
  /** The status in the ReadyForQuery. */
  readonly status: "I" | "T" | "E";
}

/** The connection is over, as it may be. */
export class Disconnected extends Error {}

export class SoakClient {
  readonly tenant: string;
  readonly name: string;
  readonly random: Random;
  raw: RawClient | null = null;
  key: CancelKey | null = null;
  /** Server process of the last answer that told it. */
  pid = 0;
  /** It keeps its backend: it should not stay for long. */
  kept = false;
  /** A cancel request for what runs now has been sent. */
  cancelling = false;
  /** Named statements, and the text in them that is this client's alone. */
  readonly prepared = new Map<string, string>();
  /** Values that the client has been told, and those that it has set. */
  readonly told = new Map<string, string>();
  settings = new Map<string, string>();
  initial = new Map<string, string>();
  readonly #steps: string[] = [];
  #markers = 0;

  constructor(readonly world: SoakWorld, tenantNumber: number, number: number) {
    this.tenant = tenantName(tenantNumber);
    this.name = `${this.tenant}${number}`;
    this.random = new Random(world.options.seed * 7919 + tenantNumber * 101 + number);
  }

  /** A word that nobody else has ever said. */
  marker(): string {
    return `${this.tenant}.${this.name}.${++this.#markers}.${this.random.integer(0, 1e9)}`;
  }

  note(step: string): void {
    remember(this.#steps, step);
  }

  fail(error: unknown): void {
    this.world.fail(this.name, this.pid, this.#steps, error);
  }

  /** Logs in, with settings of its own in the start-up message now and then. */
  async connect(): Promise<void> {
    this.close();
    const { random } = this;
    const parameters: Record<string, string> = { application_name: this.name };
    if (random.chance(0.5)) parameters["TimeZone"] = random.pick(FOLLOWING["TimeZone"]!);
    if (random.chance(0.3)) parameters["datestyle"] = random.pick(FOLLOWING["DateStyle"]!);
    this.note(`connects ${JSON.stringify(parameters)}`);
    this.raw = await RawClient.connect(this.world.front.port);
    this.world.logins++;
    const user = `trusty.${this.tenant}`;
    await this.send(startup({ user, database: DATABASE, ...parameters }));
    demand((await this.#next()).type === "R", "the password is asked for");
    await this.send(message("p", cstring(SOAK_PASSWORD)));
    this.told.clear();
    const greeting: RawMessage[] = [];
    for (;;) {
      const next = await this.#next();
      if (next.type === "E") this.#fatal(next.body);
      greeting.push(next);
      if (next.type === "S") this.#learn(next.body);
      if (next.type === "Z") break;
    }
    this.key = cancelKey(greeting);
    this.kept = false;
    this.prepared.clear();
    this.settings = new Map([["application_name", this.told.get("application_name")!]]);
    for (const name of Object.keys(FOLLOWING)) this.settings.set(name, this.told.get(name)!);
    for (const [name, value] of Object.entries(parameters)) {
      const canonical = Object.keys(FOLLOWING).find((each) => each.toLowerCase() === name) ?? name;
      demand(this.told.get(canonical) === value, `${name} is ${value} from the start`);
    }
    this.initial = new Map(this.settings);
  }

  close(): void {
    this.raw?.close();
    this.raw = null;
  }

  async send(bytes: Uint8Array, inPieces = false): Promise<void> {
    const pieces = inPieces ? randomPieces(bytes, this.random, 200) : [bytes];
    try {
      for (const piece of pieces) await this.raw!.send(piece);
    } catch {
      // The server's last words are still to be read.
    }
  }

  /** Says all of it in one go, and reads exactly what must come back. */
  async exchange(...units: readonly Unit[]): Promise<void> {
    await this.send(concat(units.map(({ bytes }) => bytes)), this.random.chance(0.2));
    for (const unit of units) await this.receive(unit.replies, unit.status);
  }

  /** Reads these replies and ReadyForQuery. */
  async receive(replies: readonly Reply[], status: Unit["status"]): Promise<void> {
    this.world.exchanges++;
    let got = await this.nextReply();
    for (const { type, many = false, check } of replies) {
      if (got.type === "E" && type !== "E") {
        if (await this.#isCancelled(got)) return;
      }
      while (many && got.type === type) {
        check?.(got.body);
        got = await this.nextReply();
      }
      if (many) continue;
      demand(got.type === type, `${describe(got)} came for ${type}`);
      check?.(got.body);
      got = await this.nextReply();
    }
    if (got.type === "E" && await this.#isCancelled(got)) return;
    demand(got.type === "Z", `${describe(got)} came for the end`);
    demand(TEXT.decode(got.body) === status, `status ${TEXT.decode(got.body)} for ${status}`);
  }

  /** The next message that is an answer; a FATAL ends the connection here. */
  async nextReply(): Promise<RawMessage> {
    for (;;) {
      const next = await this.#next();
      switch (next.type) {
        case "S":
          this.#learn(next.body);
          continue;
        case "A": {
          const [channel, payload] = TEXT.decode(next.body.subarray(4)).split("\0");
          demand(channel === this.tenant, `a notification on ${channel}: ${payload}`);
          continue;
        }
        case "N":
          continue;
        case "E":
          if (errorFields(next.body)["V"] === "FATAL") this.#fatal(next.body);
      }
      return next;
    }
  }

  /** Cancels what runs now, and waits until pgvpd has done it. */
  async cancel(): Promise<void> {
    this.cancelling = true;
    using canceller = await RawClient.connect(this.world.front.port);
    await canceller.send(cancelRequest(this.key!));
    await canceller.ended();
  }

  /** After an error of a cancelled statement: the rest of its unit does not come. */
  async #isCancelled({ body }: RawMessage): Promise<boolean> {
    const { C: code, M: text } = errorFields(body);
    demand(code === "57014" && this.cancelling, `error ${code} that nobody caused: ${text}`);
    this.world.cancelled++;
    demand((await this.nextReply()).type === "Z", "ReadyForQuery behind a cancelled statement");
    return true;
  }

  async #next(): Promise<RawMessage> {
    const next = await this.raw!.next();
    if (next === null) {
      const isMourning = this.world.mourned(this.name, "the end");
      demand(isMourning, "the connection ended without a word");
      throw new Disconnected();
    }
    return next;
  }

  #fatal(body: Uint8Array): never {
    const { C: code, M: text } = errorFields(body);
    const isMourning = code === "57P01" || code === "08006";
    demand(
      isMourning && this.world.mourned(this.name, `${code} ${text}`),
      `FATAL ${code} that nobody caused: ${text}`,
    );
    throw new Disconnected();
  }

  #learn(body: Uint8Array): void {
    const [name, value] = TEXT.decode(body).split("\0");
    this.told.set(name!, value!);
  }

  /** What a probe must say. */
  readonly #probed = (marker: string) => (body: Uint8Array) => {
    const [said, tenant, role, pid, residue, rows, name, ...following] = fields(body);
    this.pid = Number(pid);
    this.world.served(this.pid, this.tenant, this.name, marker);
    demand(said === marker, `${said} answers ${marker}`);
    demand(tenant === this.tenant, `the context is ${tenant}`);
    demand(role === SOAK_ROLE, `the role is ${role}`);
    demand(residue === "", `found of others: ${residue}`);
    demand(rows === "0", `${rows} rows of others`);
    const names = ["application_name", ...Object.keys(FOLLOWING)];
    [name, ...following].forEach((value, index) => {
      const known = names[index]!;
      demand(value === this.settings.get(known), `${known} is ${value}, and was not set to it`);
      demand(value === this.told.get(known), `${known} is ${value}, which the client was not told`);
    });
  };

  /** Asks for everything that must be the client's own. */
  probeSql(marker: string): string {
    const residue = this.random.chance(0.5) ? `soak_residue('${this.tenant}')` : "''";
    const following = Object.keys(FOLLOWING).map((name) => `current_setting('${name}')`);
    return `SELECT '${marker}', current_setting('app.current_tenant_id', true), current_user, ` +
      `pg_backend_pid(), ${residue}, ` +
      `(SELECT count(*) FROM soak_notes WHERE tenant <> '${this.tenant}'), ` +
      `current_setting('application_name'), ${following.join(", ")}`;
  }

  /** A probe as a simple query. */
  probe(status: Unit["status"] = "I"): Unit {
    const marker = this.marker();
    const check = this.#probed(marker);
    return simple(this.probeSql(marker), [T, { type: "D", check }, C], status);
  }

  /** A probe as an extended query, of a statement without a name. */
  extendedProbe(status: Unit["status"] = "I"): Unit {
    const marker = this.marker();
    const check = this.#probed(marker);
    return {
      bytes: concat([parse("", this.probeSql(marker)), bind("", []), execute(), SYNC]),
      replies: [{ type: "1" }, { type: "2" }, { type: "D", check }, C],
      status,
    };
  }
}

export function demand(condition: boolean, sentence: string): asserts condition {
  if (!condition) throw new Error(sentence);
}

export const T: Reply = { type: "T" };
export const C: Reply = { type: "C" };

export function simple(sql: string, replies: readonly Reply[], status: Unit["status"]): Unit {
  return { bytes: message("Q", cstring(sql)), replies, status };
}

/** An error with this word in it. */
export function errorWith(word: string, code: string): Reply {
  return {
    type: "E",
    check: (body) => {
      const { C: got, M: text } = errorFields(body);
      demand(got === code && text!.includes(word), `error ${got} ${text} for ${code} ${word}`);
    },
  };
}

/** The values of a DataRow as text. */
export function fields(body: Uint8Array): (string | null)[] {
  const view = new DataView(body.buffer, body.byteOffset);
  let at = 2;
  return Array.from({ length: view.getInt16(0) }, () => {
    const size = view.getInt32(at);
    at += 4 + Math.max(size, 0);
    return size < 0 ? null : TEXT.decode(body.subarray(at - size, at));
  });
}

export const SYNC = message("S");
export function parse(name: string, sql: string): Uint8Array {
  return message("P", cstring(name), cstring(sql), int16(0));
}
export function bind(statement: string, parameters: readonly string[]): Uint8Array {
  const values = parameters.map((text) => UTF8.encode(text));
  const encoded = values.flatMap((value) => [int32(value.length), value]);
  return message(
    "B",
    cstring(""),
    cstring(statement),
    int16(0),
    int16(values.length),
    ...encoded,
    int16(0),
  );
}
export function execute(): Uint8Array {
  return message("E", cstring(""), int32(0));
}

function describe({ type, body }: RawMessage): string {
  return `${type} ${JSON.stringify(TEXT.decode(body.subarray(0, 200)))}`;
}
