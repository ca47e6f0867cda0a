// The recorder: says the same to a server and to a proxy, and writes down what each answers.

import { errorFields, RawClient, type RawMessage } from "./wire_raw_client.ts";

/** One burst of messages, and how one knows that everything has been answered. */
export interface Step {
  /** What it says, for people. */
  readonly text: string;
  readonly bytes: Uint8Array;
  /** ReadyForQuery messages that it asks for. */
  readonly ready: number;
  /** Replies that a Flush at its end brings out; they do not come after an error. */
  readonly flushed: number;
  /** What is sent when the server asks for the data of a COPY. */
  readonly data?: Uint8Array;
}

/** The other side has ended the connection. */
export class HungUp extends Error {}

/** What was answered to each step: a line for each message. */
export type Transcript = readonly (readonly string[])[];

/** Replies that each answer one message; those that stand for several are left out. */
const ANSWERS = "123TnCsIG";

/** Called between two steps, when the client is in no transaction and in no batch. */
export type Interlude = () => Promise<void>;

export async function record(
  client: RawClient,
  steps: readonly Step[],
  interlude: Interlude = async () => {},
): Promise<Transcript> {
  const transcript: string[][] = [];
  let state = { failed: false, status: "I", open: false };
  for (const step of steps) {
    if (state.status === "I" && !state.open) await interlude();
    const lines: string[] = [];
    transcript.push(lines);
    state = await take(client, step, state, lines);
  }
  return transcript;
}

interface State {
  /** An error was told, and no ReadyForQuery since. */
  readonly failed: boolean;
  readonly status: string;
  /** Something was said behind the last Sync. */
  readonly open: boolean;
}

async function take(
  client: RawClient,
  step: Step,
  { failed, status }: State,
  lines: string[],
): Promise<State> {
  await client.send(step.bytes);
  let readies = 0;
  let answers = 0;
  const flushDone = () => step.flushed === 0 || failed || answers >= step.flushed;
  while (readies < step.ready || readies === step.ready && !flushDone()) {
    const message = await client.next();
    if (message === null) {
      throw new HungUp(lines.join("\n"));
    }
    lines.push(lineOf(message));
    if (message.type === "Z") {
      readies++;
      answers = 0;
      failed = false;
      status = String.fromCharCode(message.body[0]!);
    } else if (message.type === "E") failed = true;
    else if (ANSWERS.includes(message.type)) answers++;
    if (message.type === "G" && step.data !== undefined) await client.send(step.data);
  }
  return { failed, status, open: step.flushed > 0 };
}

/** A message as a line; what may differ between a server and a proxy is left out. */
function lineOf({ type, body }: RawMessage): string {
  if (type === "E" || type === "N") {
    const fields = Object.entries(errorFields(body)).map(([key, value]) =>
      `${key}=${value.replace(/(prepared statement )"[^"]*"/, '$1"…"')}`
    );
    return `${type} ${fields.join(" ")}`;
  }
  const text = new TextDecoder("latin1").decode(body);
  return `${type} ${
    JSON.stringify(text.length > 200 ? `${text.length} ${text.slice(0, 200)}` : text)
  }`;
}

/**
 * Two errors are known to come where PostgreSQL goes on; the conversations are different ones then.
 * In a failed transaction a statement cannot be prepared, and so not be used on a backend that does
 * not have it. And a Parse without a name that was skipped leaves the one before it in place;
 * where that was on another backend, there is none.
 */
const EXCUSES = [" C=25P02 ", " M=unnamed prepared statement does not exist "];

function isExcused(line: string | undefined): boolean {
  return EXCUSES.some((excuse) => line?.includes(excuse));
}

/** The first step whose answers differ, with both; null when there is none. */
export function firstDifference(
  steps: readonly Step[],
  expected: Transcript,
  actual: Transcript,
): string | null {
  for (const index of steps.keys()) {
    const [theirs, ours] = [expected[index] ?? [], actual[index] ?? []];
    const at = theirs.findIndex((line, number) => line !== ours[number]);
    if (at < 0 && ours.length === theirs.length) continue;
    if (at >= 0 && isExcused(ours[at])) return null;
    const said = steps.slice(0, index + 1).map((each, number) => `${number}: ${each.text}`);
    return [
      ...said,
      `PostgreSQL: ${theirs.slice(Math.max(0, at - 2)).join("\n  ")}`,
      `pgvpd: ${ours.slice(Math.max(0, at - 2)).join("\n  ")}`,
    ].join("\n");
  }
  return null;
}
